//! Compiled forms of packages, which all apps of the machine share.
//!
//! An app that could choose the compiled form that another app takes would run its code there. A compiled form therefore
//! has a key: the hash of its sources, their paths and the compiler. It is made from copies of these sources alone, in a
//! jail that sees nothing else and ends with it. Sources that attack the compiler change only their own compiled form. No
//! step and no process sees the store: `piku-build` copies out of it what belongs to sources that the app has.

pub(crate) mod compilation;
mod compile_jail;
pub(crate) mod compiled_store;
mod source_groups;
