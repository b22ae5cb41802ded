//! The Python that an app gets: the version that it requests, and the interpreter of this machine that fits
//! it best.

pub(crate) mod interpreter;
pub(crate) mod pyenv;
pub(crate) mod range;
pub(crate) mod requested;
