//! `export`, on repositories as git makes them and as no git would.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod fetch_access;
mod large;
mod place;
mod submodules;
mod trees;
mod update;
