//! The error for an app that does not exist, which names those that were probably meant.

use std::env;

use piku_report::edit_distance::edit_distance;
use piku_report::user_error::UserError;

use crate::former_names;
use crate::name::AppName;
use crate::paths::PikuRoot;

/// Environment variable of a verb with the scope of a limited key: names of apps, separated by blanks.
pub const KEY_APPS: &str = "PIKU_KEY_APPS";

/// Largest edit distance of a similar name.
const MAX_EDITS: usize = 2;

/// Returns the error "there is no app", with a hint that names similar apps in the scope of the key that runs
/// the verb.
#[must_use]
pub fn unknown_app(root: &PikuRoot, app: &AppName) -> UserError {
    unknown_app_in(root, app, is_reached)
}

/// Returns the scope of the key that runs the verb; `None` for all apps, and without a key.
#[must_use]
pub fn key_scope() -> Option<String> {
    // A scope that is no text has no app.
    let scope = env::var_os(KEY_APPS)?.into_string().unwrap_or_else(|_| " ".to_owned());
    (!scope.is_empty()).then_some(scope)
}

/// Returns whether the key that runs the verb may use the app; true without a key.
#[must_use]
pub fn is_reached(app: &AppName) -> bool {
    key_scope().is_none_or(|scope| scope.split(' ').any(|one| one == app.as_str()))
}

/// Does the same for a key that may use the apps for which `reaches` returns true.
#[must_use]
pub fn unknown_app_in(root: &PikuRoot, app: &AppName, reaches: impl Fn(&AppName) -> bool) -> UserError {
    let error = UserError::new(format!("there is no app '{app}'"));
    if let Some(new) = former_names::find_successor(root, app).filter(|new| reaches(new)) {
        return error.hint(format!("it is called '{new}' now"));
    }
    // An unreadable directory costs only the hint.
    let mut near = root.apps().unwrap_or_default();
    near.retain(|other| other != app && reaches(other) && is_similar(app.as_str(), other.as_str()));
    if near.is_empty() {
        return error;
    }
    let names: Vec<String> = near.iter().map(|name| format!("'{name}'")).collect();
    error.hint(format!("did you mean {}?", names.join(" or ")))
}

/// Returns whether one name is probably a misspelling of the other.
fn is_similar(one: &str, other: &str) -> bool {
    // Two replaced letters out of three make another name.
    let far = MAX_EDITS.min(one.len().min(other.len()) / 2);
    edit_distance(one, other) <= far || one.replace('-', "") == other.replace('-', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names() {
        for (one, other) in [
            ("blog", "blgo"),
            ("bolg", "blog"),
            ("blogs", "blog"),
            ("my-new-app", "mynewapp"),
            ("shop", "shopp"),
        ] {
            assert!(is_similar(one, other) && is_similar(other, one), "{one} {other}");
        }
        assert!(!is_similar("a", "b") && !is_similar("api", "web") && !is_similar("blog", "shop"));
    }
}
