//! What a Python app without a Procfile is obviously about: one WSGI callable that says its name itself.

use crate::source::Source;

/// Where such an app lives.
const FILES: [&str; 4] = ["wsgi.py", "app.py", "main.py", "application.py"];
/// How a callable is made, at the beginning of a line.
const NAMES: [&str; 2] = ["app", "application"];
const MADE_BY: [&str; 4] = ["Flask(", "flask.Flask(", "Bottle(", "get_wsgi_application("];

/// The `module:callable`, when there is exactly one.
pub(super) fn find(source: &Source) -> anyhow::Result<Option<String>> {
    let mut found = Vec::new();
    for file in FILES {
        let Some(text) = source.text(file)? else { continue };
        let module = file.trim_end_matches(".py");
        found.extend(callable(&String::from_utf8_lossy(&text)).map(|name| format!("{module}:{name}")));
    }
    if source.has("manage.py") {
        for folder in source.names.iter().filter_map(|name| name.strip_suffix('/')) {
            let Some(text) = source.text(format!("{folder}/wsgi.py"))? else { continue };
            found.extend(
                callable(&String::from_utf8_lossy(&text)).map(|name| format!("{folder}.wsgi:{name}")),
            );
        }
    }
    Ok(if found.len() == 1 { found.pop() } else { None })
}

/// The name of the WSGI callable that a file's text makes.
fn callable(text: &str) -> Option<&'static str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let known = NAMES.into_iter().find(|known| *known == name.trim_end())?;
        MADE_BY.iter().any(|maker| value.trim_start().starts_with(maker)).then_some(known)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn find_in(files: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        find(&Source::read(dir.path(), None).unwrap()).unwrap()
    }

    #[test]
    fn only_the_obvious() {
        let flask = "from flask import Flask\napp = Flask(__name__)\n";
        assert_eq!(find_in(&[("app.py", flask)]).as_deref(), Some("app:app"));
        assert_eq!(find_in(&[("app.py", flask), ("main.py", flask)]), None, "two are not obvious");
        assert_eq!(find_in(&[("app.py", "def main():\n    app = Flask(__name__)\n")]), None);
        assert_eq!(find_in(&[("app.py", "print('hello')\n")]), None);
        let django = "application = get_wsgi_application()\n";
        let found = find_in(&[("manage.py", ""), ("site/wsgi.py", django), ("static/x", "")]);
        assert_eq!(found.as_deref(), Some("site.wsgi:application"));
    }
}
