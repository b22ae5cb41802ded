//! Detection of misspelt file names: Linux tells `procfile` from `Procfile`.

use piku_report::edit_distance::edit_distance;

use crate::env;
use crate::procfile;

/// Returns whether a file name is a misspelling of the wanted one: other case, or at most `far` letters
/// inserted, removed or replaced.
#[must_use]
pub fn is_close(name: &str, wanted: &str, far: usize) -> bool {
    !name.ends_with('/')
        && name != wanted
        && (name.eq_ignore_ascii_case(wanted)
            || edit_distance(&name.to_ascii_lowercase(), &wanted.to_ascii_lowercase()) <= far)
}

/// Returns the name of a file that is probably meant to be the Procfile: `procfile`, `Procfile.txt`. Those of
/// folders end with `/`.
#[must_use]
pub fn find_procfile(names: &[String]) -> Option<&str> {
    find(names, |name| {
        // `profile` is a name of its own.
        let far = usize::from(name.starts_with('P'));
        is_close(without_text_ending(name), procfile::FILE, far) || is_other_ending(name, "procfile")
    })
}

/// Returns the name of a file that is probably meant to be ENV: `.env`, `env`, `ENV.txt`.
#[must_use]
pub fn find_env(names: &[String]) -> Option<&str> {
    find(names, |name| {
        let bare = without_text_ending(name);
        is_close(bare.strip_prefix('.').unwrap_or(bare), env::FILE, 0)
            || is_other_ending(name, "env")
            || name == ".ENV"
    })
}

fn find(names: &[String], is_meant: impl Fn(&str) -> bool) -> Option<&str> {
    names.iter().map(String::as_str).find(|name| !name.ends_with('/') && is_meant(name))
}

/// Removes the ending that editors add to a text.
fn without_text_ending(name: &str) -> &str {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_text = ["txt", "text", "yml", "yaml"].iter().any(|text| ending.eq_ignore_ascii_case(text));
    if is_text && !stem.is_empty() { stem } else { name }
}

/// Returns whether only the ending of a text keeps a name from being the wanted one, in any case.
fn is_other_ending(name: &str, wanted: &str) -> bool {
    let stem = without_text_ending(name);
    stem != name && stem.trim_start_matches('.').eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_are_meant() {
        let found = |name: &str, find: fn(&[String]) -> Option<&str>| find(&[name.to_owned()]).is_some();
        for name in [
            "procfile",
            "PROCFILE",
            "ProcFile",
            "Procfile.txt",
            "procfile.txt",
            "Procfile.yml",
            "Procfle",
            "Profile",
        ] {
            assert!(found(name, find_procfile), "{name}");
        }
        for name in [
            "Procfile",
            "Procfile.dev",
            "procfile/",
            "Dockerfile",
            "Makefile",
            "profile.txt.bak",
            "profile",
            "proc",
        ] {
            assert!(!found(name, find_procfile), "{name}");
        }
        for name in ["env", "Env", ".env", ".ENV", "ENV.txt", ".env.txt", "env.yml"] {
            assert!(found(name, find_env), "{name}");
        }
        for name in ["ENV", "env/", ".env.example", "env.py", "environment", "eng", ".envrc"] {
            assert!(!found(name, find_env), "{name}");
        }
    }

    #[test]
    fn misspelt_names() {
        for name in [
            "requirments.txt",
            "requirement.txt",
            "Requirements.txt",
            "requirements.text",
            "requirememts.txt",
        ] {
            assert!(is_close(name, "requirements.txt", 2), "{name}");
        }
        for name in [
            "requirements.txt",
            "requirements-dev.txt",
            "requirements.in",
            "requirements/",
            "requirements.txt/",
            "README.txt",
        ] {
            assert!(!is_close(name, "requirements.txt", 2), "{name}");
        }
        assert!(is_close("pipfile", "Pipfile", 0) && !is_close("Profile", "Pipfile", 0));
    }
}
