//! Process types that look as if they were to get requests, and get none: those of the Python piku that piku
//! does not run, and misspelt `web`.

use super::{ProcessKind, ProcfileEntry};

/// A process type of the Python piku, and what to write instead.
pub(super) struct ForeignType {
    pub(super) message: String,
    pub(super) hint: String,
}

/// Recognises an entry whose command is an argument for a plugin of uWSGI, not a program.
pub(super) fn foreign_type(name: &str, command: &str) -> Option<ForeignType> {
    let is_word = !command.contains([' ', '\t']);
    let (what, instead) = match name {
        "php" if is_word => ("a folder that uWSGI serves with PHP", php_server(command)),
        "rwsgi" => ("a Rack application in uWSGI", puma(command)),
        "jwsgi" => (
            "a Java class in uWSGI",
            "web: java -jar target/app.jar', with the name of your jar, whose program listens on $PORT; it may be \
             built with 'mvn package"
                .to_owned(),
        ),
        "uwsgi" if is_word && is_file(command, "ini") => {
            ("a configuration of uWSGI", format!("web: uwsgi --http $BIND_ADDRESS:$PORT --ini {command}"))
        }
        "uwsgi" if is_word => ("an application in uWSGI", format!("wsgi: {command}', which gunicorn serves, or 'web: gunicorn --bind $BIND_ADDRESS:$PORT {command}")),
        _ => return None,
    };
    Some(ForeignType {
        message: format!(
            "'{name}' was {what} in the Python piku: this piku runs programs that listen on $PORT"
        ),
        hint: format!("write '{instead}'"),
    })
}

fn is_file(command: &str, extension: &str) -> bool {
    command.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension))
}

fn php_server(command: &str) -> String {
    let arguments = if is_file(command, "php") { command.to_owned() } else { format!("-t {command}") };
    format!("web: php -S $BIND_ADDRESS:$PORT {arguments}")
}

fn puma(command: &str) -> String {
    let file =
        if is_file(command, "ru") && command != "config.ru" { format!(" {command}") } else { String::new() };
    format!("web: bundle exec puma -b tcp://$BIND_ADDRESS:$PORT{file}")
}

/// Returns why a plain worker of a Procfile without `web` is probably its `web`.
pub(super) fn unserved_worker(entry: &ProcfileEntry) -> Option<String> {
    if entry.kind != ProcessKind::Worker {
        return None;
    }
    let name = entry.name.as_str();
    if is_like_web(name) {
        return Some(format!("'{name}' is a plain worker and gets no requests: only 'web' does"));
    }
    let uses_port = entry.command.contains("$PORT") || entry.command.contains("${PORT");
    uses_port
        .then(|| format!("'{name}' is a plain worker and gets no $PORT and no requests: only 'web' does"))
}

/// Returns whether the name is `web` in other letters, or with one letter swapped, changed, added or missing.
fn is_like_web(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let without = |word: &str| -> Vec<String> {
        (0..word.len()).map(|at| format!("{}{}", &word[..at], &word[at + 1..])).collect()
    };
    let swapped = ["ewb", "wbe"];
    match name.len() {
        2 => without("web").contains(&name),
        3 => {
            swapped.contains(&name.as_str()) || name.bytes().zip(*b"web").filter(|(a, b)| a != b).count() <= 1
        }
        4 => without(&name).iter().any(|shorter| shorter == "web"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfile::{ParseOptions, Procfile};

    #[test]
    fn one_slip_of_the_finger_is_still_web() {
        for name in ["wbe", "ewb", "Web", "WEB", "webb", "wweb", "we", "eb", "wb", "wen", "web1", "webs"] {
            assert!(is_like_web(name), "{name}");
        }
        for name in ["worker", "beat", "bew", "bot", "w", "webapp", "wbee", "static"] {
            assert!(!is_like_web(name), "{name}");
        }
    }

    #[test]
    fn programs_that_have_such_names_are_plain_workers() {
        for (name, command) in [
            ("php", "php artisan queue:work"),
            ("uwsgi", "uwsgi --http :9090 --wsgi-file app.py"),
            ("worker", "rwsgi"),
            ("wsgi", "app:app"),
        ] {
            assert!(foreign_type(name, command).is_none(), "{name}");
        }
    }

    #[test]
    fn uwsgi_types_of_the_python_piku_are_refused_with_the_line_to_write() {
        for (line, hint) in [
            ("php: public", "write 'web: php -S $BIND_ADDRESS:$PORT -t public'"),
            ("php: .", "-t ."),
            ("php: index.php", "write 'web: php -S $BIND_ADDRESS:$PORT index.php'"),
            ("rwsgi: config.ru", "write 'web: bundle exec puma -b tcp://$BIND_ADDRESS:$PORT'"),
            ("rwsgi: app.ru", "$PORT app.ru'"),
            ("jwsgi: org.example.App:app", "write 'web: java -jar target/app.jar'"),
            ("uwsgi: app.ini", "write 'web: uwsgi --http $BIND_ADDRESS:$PORT --ini app.ini'"),
            ("uwsgi: app:app", "write 'wsgi: app:app', which gunicorn serves"),
        ] {
            let errors =
                Procfile::parse(line.as_bytes(), ParseOptions::default()).expect_err(line).to_string();
            assert!(errors.starts_with("Procfile:1: '") && errors.contains("in the Python piku"), "{errors}");
            assert!(errors.contains(hint), "{errors}");
        }
    }

    fn warnings(text: &str) -> Vec<String> {
        let procfile = Procfile::parse(text.as_bytes(), ParseOptions::default()).expect("is taken");
        procfile.warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_worker_that_was_meant_to_be_web_is_warned_of_if_nothing_gets_requests() {
        for name in ["wbe", "Web", "WEB", "webb", "wb"] {
            let said = warnings(&format!("{name}: a\nworker: b"));
            let what = format!("'{name}' is a plain worker and gets no requests: only 'web' does");
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(&format!("Procfile:1: warning: {what}\n")), "{said:?}");
            assert!(said[0].ends_with("hint: write 'web: a' if it is to answer requests"), "{said:?}");
            for served in ["web", "static", "wsgi"] {
                assert!(warnings(&format!("{name}: a\n{served}: b")).is_empty());
            }
        }
        let said = warnings("server: node app.js --port $PORT").concat();
        assert!(said.contains("'server' is a plain worker and gets no $PORT and no requests"), "{said}");
        assert!(warnings("bot: python bot.py").is_empty());
    }
}
