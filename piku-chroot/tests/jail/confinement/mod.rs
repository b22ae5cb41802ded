//! What holds the command: filters, Landlock, and the attacks on them.

mod attacks;
mod escapes;
mod filters;
