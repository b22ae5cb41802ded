//! The error about a process type that an app does not have.

use piku_layout::name::{AppName, ProcessName};
use piku_report::edit_distance::nearest_name;
use piku_report::user_error::UserError;

/// Returns the error about a process type that is not one of the known ones, with the one that is probably meant.
pub(crate) fn unknown_type<'a>(
    app: &AppName,
    known: impl Iterator<Item = &'a ProcessName>,
    name: &ProcessName,
) -> UserError {
    let known: Vec<&str> = known.map(ProcessName::as_str).collect();
    let error = UserError::new(format!("{app} has no process type '{name}'"));
    if known.is_empty() {
        return error.hint("its release has only files, which nginx serves: no process can be scaled");
    }
    let near = nearest_name(name.as_str(), known.iter().copied());
    let near = near.map(|near| format!("did you mean '{near}'? ")).unwrap_or_default();
    error.hint(format!("{near}it has: {}", known.join(", ")))
}
