//! The manuals, the help of all tools and the documents agree with the tools.
//!
//! `PIKU_UPDATE=1 cargo test -p piku-tests --test manuals` writes the manuals and completions, `SNAPSHOTS=overwrite` the help.

mod documents;
mod help;
mod pages;
mod verb_pages;
