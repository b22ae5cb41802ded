//! Confinement of the command: filters, Landlock, and attacks on them.

mod attacks;
mod escapes;
mod filters;
