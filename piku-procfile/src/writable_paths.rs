//! `WRITABLE_PATHS`: files and folders of the app tree that are kept over releases; and `APP_READONLY`.

use std::ffi::OsStr;

use piku_layout::writable_path::WritablePath;
use piku_report::user_error::UserError;

/// Name of the variable.
pub const VARIABLE: &str = "WRITABLE_PATHS";
/// Name of the variable that keeps the whole app tree read-only.
pub const READ_ONLY: &str = "APP_READONLY";

/// Maximum number of paths of an app: each takes time at every start.
const MAX_PATHS: usize = 64;

/// Parses the value of `WRITABLE_PATHS`, such as `db.sqlite3,uploads`. An unset variable has no paths.
///
/// # Errors
/// Fails if an item is not a path in the app.
pub fn parse_writable_paths(value: Option<&str>) -> anyhow::Result<Vec<WritablePath>> {
    let words = value.unwrap_or_default().split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    let hint = format!("write paths from the top of the app, such as {VARIABLE}=db.sqlite3,public/uploads");
    let mut paths = Vec::new();
    for word in words {
        let path = WritablePath::parse(OsStr::new(word)).map_err(|why| {
            let shown: String = word.chars().take(100).collect();
            UserError::new(format!("{VARIABLE}: '{}' {why}", shown.escape_debug())).hint(&hint)
        })?;
        paths.push(path);
    }
    if paths.len() > MAX_PATHS {
        let what = format!("{VARIABLE}: more than {MAX_PATHS} paths");
        return Err(UserError::new(what).hint("name the folders that contain them").into());
    }
    Ok(paths)
}

/// Parses the value of `APP_READONLY`. An unset variable is false.
///
/// # Errors
/// Fails if the value is neither of `1`, `true`, `yes`, `on` nor of `0`, `false`, `no`, `off`, empty.
pub fn parse_read_only(value: Option<&str>) -> anyhow::Result<bool> {
    match value.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        other => {
            let shown: String = other.chars().take(20).collect();
            let what = format!("{READ_ONLY}: '{}' is neither 1 nor 0", shown.escape_debug());
            Err(UserError::new(what).hint(format!("write {READ_ONLY}=1, or remove it")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_separated_by_commas_or_blanks() {
        let paths = |value| parse_writable_paths(Some(value)).unwrap();
        assert!(parse_writable_paths(None).unwrap().is_empty() && paths(" , ").is_empty());
        let shown: Vec<_> = paths("db.sqlite3, storage/ .next/cache")
            .iter()
            .map(|path| path.path().display().to_string())
            .collect();
        assert_eq!(shown, ["db.sqlite3", "storage", ".next/cache"]);
    }

    #[test]
    fn a_bad_path_is_named_with_its_variable() {
        for (bad, word) in [
            ("uploads,/app/db", "'/app/db' is absolute"),
            ("../data", "'../data' contains '..'"),
            (".", "'.' is the whole app"),
            (&"a,".repeat(65), "more than 64 paths"),
        ] {
            let message = parse_writable_paths(Some(bad)).unwrap_err().to_string();
            assert!(message.starts_with("WRITABLE_PATHS: ") && message.contains(word), "{message}");
        }
    }

    #[test]
    fn read_only_is_a_yes_or_no() {
        for (value, expected) in [("1", true), ("TRUE", true), ("0", false), ("", false), ("off", false)] {
            assert_eq!(parse_read_only(Some(value)).unwrap(), expected, "{value}");
        }
        assert!(!parse_read_only(None).unwrap());
        assert!(parse_read_only(Some("maybe")).unwrap_err().to_string().starts_with("APP_READONLY: 'maybe'"));
    }
}
