//! The default command of a Python app: gunicorn for a WSGI callable, uvicorn for an ASGI one, streamlit for
//! a script of it, and the search for what is served.

use crate::app::app_source::AppSource;

/// The WSGI server.
pub(super) const WSGI: &str = "gunicorn";
/// The ASGI server.
pub(super) const ASGI: &str = "uvicorn";

/// The server of scripts that import it. The app depends on it already.
const STREAMLIT: &str = "streamlit";

/// Files that are searched for a callable.
const FILES: [&str; 4] = ["wsgi.py", "app.py", "main.py", "application.py"];
/// Files that the command `fastapi` searches beyond those.
const ASYNC_FILES: [&str; 6] = ["asgi.py", "api.py", "server.py", "app/main.py", "app/app.py", "app/api.py"];
/// Files that only Streamlit names so.
const SCRIPTS: [&str; 2] = ["streamlit_app.py", "Home.py"];
/// Names of callables, and the constructors that make them.
const NAMES: [&str; 2] = ["app", "application"];
const MADE_BY: [(&str, &str); 15] = [
    ("Flask(", WSGI),
    ("flask.Flask(", WSGI),
    ("Bottle(", WSGI),
    ("bottle.Bottle(", WSGI),
    ("falcon.App(", WSGI),
    ("get_wsgi_application(", WSGI),
    ("FastAPI(", ASGI),
    ("fastapi.FastAPI(", ASGI),
    ("Starlette(", ASGI),
    ("Quart(", ASGI),
    ("Litestar(", ASGI),
    ("FastHTML(", ASGI),
    ("fast_app(", ASGI),
    ("Sanic(", ASGI),
    ("get_asgi_application(", ASGI),
];

/// A callable that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PythonServer {
    /// `module:callable`, or the file of a script.
    pub(super) callable: String,
    pub(super) server: &'static str,
    /// The file that defines it.
    pub(super) file: String,
}

impl PythonServer {
    /// Returns the command that serves it.
    pub(super) fn command(&self) -> String {
        let Self { callable, server, .. } = self;
        if *server == STREAMLIT {
            format!(
                "{server} run {callable} --server.address ${{BIND_ADDRESS:-127.0.0.1}} --server.port $PORT --server.headless true --browser.gatherUsageStats false"
            )
        } else if *server == ASGI {
            format!("{server} --host ${{BIND_ADDRESS:-127.0.0.1}} --port $PORT {callable}")
        } else {
            format!("{server} --bind ${{BIND_ADDRESS:-127.0.0.1}}:$PORT {callable}")
        }
    }
}

/// Returns the callable of a `wsgi` entry of the Procfile.
pub(super) fn from_wsgi_entry(callable: &str) -> PythonServer {
    PythonServer { callable: callable.to_owned(), server: WSGI, file: String::new() }
}

/// Finds the callable of an app, if it has exactly one.
pub(super) fn find_server(source: &AppSource) -> anyhow::Result<Option<PythonServer>> {
    let django = source.names.iter().filter(|name| name.ends_with('/') && source.has_entry("manage.py"));
    let files = FILES.iter().chain(&ASYNC_FILES).chain(&SCRIPTS).map(|file| (*file).to_owned());
    let mut found = Vec::new();
    for file in files.chain(django.map(|folder| format!("{folder}wsgi.py"))) {
        if let Some(text) = source.read_bytes(&file)? {
            found.extend(find_callable(&file, &String::from_utf8_lossy(&text)));
        }
    }
    Ok(if found.len() == 1 { found.pop() } else { None })
}

/// Finds the callable that the text of a file defines.
fn find_callable(file: &str, text: &str) -> Option<PythonServer> {
    let module = file.trim_end_matches(".py").replace('/', ".");
    if text.lines().any(|line| line.starts_with("import streamlit") || line.starts_with("from streamlit")) {
        return Some(PythonServer { callable: file.to_owned(), server: STREAMLIT, file: file.to_owned() });
    }
    // Dash keeps its Flask app apart.
    let dash = |line: &str| line.replace(' ', "").starts_with("server=app.server");
    if text.contains("Dash(") && text.lines().any(dash) {
        let callable = format!("{module}:server");
        return Some(PythonServer { callable, server: WSGI, file: file.to_owned() });
    }
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        // `app: FastAPI = FastAPI()`, `app, rt = fast_app()`
        let name = name.split([':', ',']).next()?.trim_end();
        let known = NAMES.into_iter().find(|known| *known == name)?;
        let value = value.trim_start();
        let (_, server) = MADE_BY.iter().find(|(maker, _)| value.starts_with(maker))?;
        Some(PythonServer { callable: format!("{module}:{known}"), server, file: file.to_owned() })
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
        let found = find_server(&AppSource::read(dir.path(), None).unwrap()).unwrap();
        found.map(|served| format!("{} {}", served.server, served.callable))
    }

    #[test]
    fn only_the_obvious() {
        let flask = "from flask import Flask\napp = Flask(__name__)\n";
        assert_eq!(find_in(&[("app.py", flask)]).as_deref(), Some("gunicorn app:app"));
        assert_eq!(find_in(&[("app.py", flask), ("main.py", flask)]), None, "two are not obvious");
        assert_eq!(find_in(&[("app.py", "def main():\n    app = Flask(__name__)\n")]), None);
        assert_eq!(find_in(&[("app.py", "print('hello')\n")]), None);
        let django = "application = get_wsgi_application()\n";
        let found = find_in(&[("manage.py", ""), ("site/wsgi.py", django), ("static/x", "")]);
        assert_eq!(found.as_deref(), Some("gunicorn site.wsgi:application"));
        let html = "app, rt = fast_app()\n";
        assert_eq!(find_in(&[("main.py", html)]).as_deref(), Some("uvicorn main:app"));
        let dash = "app = Dash(__name__)\nserver = app.server\n";
        assert_eq!(find_in(&[("app.py", dash)]).as_deref(), Some("gunicorn app:server"));
        let script = "import streamlit as st\nst.title('hello')\n";
        assert_eq!(find_in(&[("streamlit_app.py", script)]).as_deref(), Some("streamlit streamlit_app.py"));
        let fast = "app: FastAPI = FastAPI()\n";
        assert_eq!(find_in(&[("app/main.py", fast)]).as_deref(), Some("uvicorn app.main:app"));
        assert_eq!(find_in(&[("main.py", fast)]).as_deref(), Some("uvicorn main:app"));
    }
}
