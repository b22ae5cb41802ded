//! The built tool on real files: whole outputs and exit codes.

mod command_line;
mod containers;
mod env;
mod input;
mod procfile;
mod render;
mod render_errors;
mod support;

const PROCFILE: &str =
    "# an app\nweb: gunicorn app:app --bind 0.0.0.0:$PORT\ncron: 0  5 * * *  ./backup\nworker: a # b\n";
