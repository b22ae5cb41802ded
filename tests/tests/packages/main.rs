//! The Debian packages: their contents, and their life from installation to purge.

mod contents;
mod life_cycle;
