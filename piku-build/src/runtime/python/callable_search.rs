//! The search for what a server of Python apps serves: a callable, by its constructor or by the place where
//! each framework looks for it, or a script of Streamlit.

use super::default_command::{ASGI, WSGI, imports};
use crate::app::app_source::{AppSource, decode};

/// The server of scripts that import it. The app depends on it already.
pub(super) const STREAMLIT: &str = "streamlit";

/// Files that servers look at first. Any callable in one of them counts, also an imported one.
const ENTRIES: [(&str, &str); 2] = [("wsgi.py", WSGI), ("asgi.py", ASGI)];
/// Files that are searched for a callable.
const FILES: [&str; 13] = [
    "app.py",
    "main.py",
    "application.py",
    "server.py",
    "api.py",
    "index.py",
    "run.py",
    "hello.py",
    "app/main.py",
    "app/app.py",
    "app/api.py",
    "api/main.py",
    "api/index.py",
];
/// Files that only Streamlit names so.
const SCRIPTS: [&str; 2] = ["streamlit_app.py", "Home.py"];
/// The module of a package.
const PACKAGE: &str = "__init__.py";
/// The largest number of packages that are searched.
const PACKAGES: usize = 64;
/// The file with the settings of the command `flask`.
const FLASK_ENV: &str = ".flaskenv";
/// The setting that names the module.
const FLASK_APP: &str = "FLASK_APP";

/// Names of callables that need no constructor, and of functions that make them.
const NAMES: [&str; 2] = ["app", "application"];
const FACTORIES: [&str; 2] = ["create_app", "make_app"];
/// Constructors, and functions that return a callable.
const MADE_BY: [(&str, &str); 16] = [
    ("Flask", WSGI),
    ("APIFlask", WSGI),
    ("Bottle", WSGI),
    ("falcon.App", WSGI),
    ("falcon.API", WSGI),
    ("get_wsgi_application", WSGI),
    ("falcon.asgi.App", ASGI),
    ("FastAPI", ASGI),
    ("Starlette", ASGI),
    ("Quart", ASGI),
    ("Litestar", ASGI),
    ("FastHTML", ASGI),
    ("fast_app", ASGI),
    ("Sanic", ASGI),
    ("BlackSheep", ASGI),
    ("get_asgi_application", ASGI),
];

/// A callable that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundCallable {
    /// `module:callable`, `module:factory()`, or the file of a script.
    pub(super) callable: String,
    pub(super) server: &'static str,
    /// The file that defines it.
    pub(super) file: String,
}

/// Finds the callables of an app. A place that is named for it comes before those that only may have one.
pub(super) fn find(source: &AppSource) -> anyhow::Result<Vec<FoundCallable>> {
    if let Some(found) = find_named(source)? {
        return Ok(vec![found]);
    }
    for (file, server) in ENTRIES {
        if let Some(found) = read(source, file)?.and_then(|text| find_entry(source, file, &text, server)) {
            return Ok(vec![found]);
        }
    }
    let folders = || source.names.iter().filter(|name| name.ends_with('/')).take(PACKAGES);
    let django = folders().filter(|_| source.has_entry("manage.py")).map(|folder| format!("{folder}wsgi.py"));
    let packages = folders().map(|folder| format!("{folder}{PACKAGE}"));
    let files: Vec<_> = FILES.iter().chain(&SCRIPTS).map(|file| (*file).to_owned()).collect();
    let mut found = Vec::new();
    let mut factories = Vec::new();
    for file in files.into_iter().chain(packages).chain(django) {
        let Some(text) = read(source, &file)? else { continue };
        match find_constructed(&file, &text) {
            Some(one) => found.push(one),
            None => factories.extend(find_factory(&file, &text)),
        }
    }
    Ok(if found.is_empty() { factories } else { found })
}

fn read(source: &AppSource, file: &str) -> anyhow::Result<Option<String>> {
    Ok(source.read_bytes(file)?.map(|text| decode(&text)))
}

/// Finds the callable of the module that `FLASK_APP` names, in the variables of the app or in `.flaskenv`.
fn find_named(source: &AppSource) -> anyhow::Result<Option<FoundCallable>> {
    let from_file = || -> anyhow::Result<Option<String>> {
        let text = read(source, FLASK_ENV)?.unwrap_or_default();
        let mut values = text.lines().filter_map(|line| {
            let (name, value) = line.trim().trim_start_matches("export ").split_once('=')?;
            (name.trim() == FLASK_APP).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        });
        Ok(values.next_back())
    };
    let value = match source.variable(FLASK_APP) {
        Some((value, _)) => Some(value.trim().to_owned()),
        None => from_file()?,
    };
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let (module, callable) = value.split_once(':').unwrap_or((&value, ""));
    let module = module.trim_start_matches("./").trim_end_matches(".py").replace('/', ".");
    let path = module.replace('.', "/");
    for file in [format!("{path}.py"), format!("{path}/{PACKAGE}")] {
        let Some(text) = read(source, &file)? else { continue };
        if callable.is_empty() {
            return Ok(find_entry(source, &file, &text, WSGI));
        }
        let callable = format!("{module}:{callable}");
        let is_known = super::compile_check::is_callable(&callable);
        return Ok(is_known.then_some(FoundCallable { callable, server: WSGI, file }));
    }
    Ok(None)
}

/// Finds the callable of a file that is there to be served.
fn find_entry(source: &AppSource, file: &str, text: &str, server: &'static str) -> Option<FoundCallable> {
    if let Some(found) = find_constructed(file, text) {
        return Some(found);
    }
    let module = module_name(file);
    let bound = NAMES.into_iter().find_map(|name| Some((name, find_binding(text, name)?)));
    let Some((name, from)) = bound else { return find_factory(file, text) };
    // The constructor is in another module of the app.
    let path = from.trim_start_matches('.').replace('.', "/");
    let elsewhere = [format!("{path}.py"), format!("{path}/{PACKAGE}")]
        .iter()
        .find_map(|file| read(source, file).ok().flatten())
        .and_then(|text| find_framework(&text));
    let server = elsewhere.or_else(|| find_framework(text)).unwrap_or(server);
    Some(FoundCallable { callable: format!("{module}:{name}"), server, file: file.to_owned() })
}

/// Returns the module from which the text imports `name`, or an empty string if it assigns it.
fn find_binding<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        if let Some((module, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import "))
        {
            let names = names.split('#').next().unwrap_or_default().trim_matches(['(', ')', ' ']);
            let is_bound = |item: &str| item.rsplit(" as ").next().is_some_and(|bound| bound.trim() == name);
            return names.split(',').any(is_bound).then_some(module.trim());
        }
        let (target, value) = line.split_once('=')?;
        let target = target.split(':').next()?.trim_end();
        (target == name && !value.starts_with('=')).then_some("")
    })
}

/// Finds the callable that the text of a file constructs, or the script of Streamlit that it is.
fn find_constructed(file: &str, text: &str) -> Option<FoundCallable> {
    let module = module_name(file);
    if !file.ends_with(PACKAGE) && imports(text, STREAMLIT) {
        return Some(FoundCallable { callable: file.to_owned(), server: STREAMLIT, file: file.to_owned() });
    }
    // Dash keeps its Flask app apart.
    let dash = |line: &str| line.replace(' ', "").starts_with("server=app.server");
    if text.contains("Dash(") && text.lines().any(dash) {
        let callable = format!("{module}:server");
        return Some(FoundCallable { callable, server: WSGI, file: file.to_owned() });
    }
    let found: Vec<_> = text.lines().filter_map(parse_construction).collect();
    let known = found.iter().find(|(name, _)| NAMES.contains(name));
    let (name, server) = known.or(if found.len() == 1 { found.first() } else { None })?;
    Some(FoundCallable { callable: format!("{module}:{name}"), server, file: file.to_owned() })
}

/// Parses a line that assigns a callable: `app = Flask(__name__)`, `app: FastAPI = FastAPI()`, `app, rt = fast_app()`.
fn parse_construction(line: &str) -> Option<(&str, &'static str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.split([':', ',']).next()?.trim_end();
    let is_name = name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) && !name.is_empty();
    let (maker, _) = value.trim_start().split_once('(')?;
    let made = MADE_BY.iter().find(|(known, _)| is_call_of(maker, known));
    made.filter(|_| is_name).map(|(_, server)| (name, *server))
}

/// Returns whether `flask.Flask` or `Flask` is a call of `Flask`.
fn is_call_of(maker: &str, known: &str) -> bool {
    maker.strip_suffix(known).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// Finds the function of a file that makes the callable and needs no argument.
fn find_factory(file: &str, text: &str) -> Option<FoundCallable> {
    let server = find_framework(text)?;
    let factory = FACTORIES.into_iter().find(|factory| {
        let start = format!("def {factory}(");
        // Its arguments may stand on lines of their own.
        let begins = |at: usize| at == 0 || text[..at].ends_with('\n');
        text.match_indices(&start).filter(|(at, _)| begins(*at)).any(|(at, _)| {
            let rest = &text[at + start.len()..];
            let arguments = rest.split(')').next().unwrap_or_default().split(',').map(str::trim);
            arguments.filter(|argument| !argument.is_empty()).all(|argument| argument.contains(['=', '*']))
        })
    })?;
    let callable = format!("{}:{factory}()", module_name(file));
    Some(FoundCallable { callable, server, file: file.to_owned() })
}

/// Returns the server for the framework whose constructor the text calls.
fn find_framework(text: &str) -> Option<&'static str> {
    let calls = |known: &str| {
        text.match_indices(&format!("{known}("))
            .any(|(at, _)| !text[..at].ends_with(|c: char| c == '_' || c.is_alphanumeric()))
    };
    MADE_BY.iter().find(|(known, _)| calls(known)).map(|(_, server)| *server)
}

fn module_name(file: &str) -> String {
    let module = file.strip_suffix(&format!("/{PACKAGE}")).unwrap_or_else(|| file.trim_end_matches(".py"));
    module.replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn find_in(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = find(&AppSource::read(dir.path(), None).unwrap()).unwrap();
        found.iter().map(|found| format!("{} {}", found.server, found.callable)).collect()
    }

    #[test]
    fn constructors() {
        for (file, text, expected) in [
            ("app.py", "app = Flask(__name__)\n", "gunicorn app:app"),
            ("app.py", "app = flask.Flask(\n    __name__)\n", "gunicorn app:app"),
            ("server.py", "api = falcon.App()\n", "gunicorn server:api"),
            ("server.py", "api = falcon.asgi.App()\n", "uvicorn server:api"),
            ("api/index.py", "app = Flask(__name__)\n", "gunicorn api.index:app"),
            ("shop/__init__.py", "app = Flask(__name__)\n", "gunicorn shop:app"),
            ("main.py", "app, rt = fast_app()\n", "uvicorn main:app"),
            ("app.py", "app = Dash(__name__)\nserver = app.server\n", "gunicorn app:server"),
            ("app/main.py", "app: FastAPI = FastAPI()\n", "uvicorn app.main:app"),
            ("main.py", "app = FastAPI()\nother = FastAPI()\n", "uvicorn main:app"),
            ("Home.py", "import streamlit as st\n", "streamlit Home.py"),
        ] {
            assert_eq!(find_in(&[(file, text)]), [expected], "{file}: {text}");
        }
        for (file, text) in [
            ("app.py", "def main():\n    app = Flask(__name__)\n"),
            ("app.py", "print('hello')\n"),
            ("app.py", "one = FastAPI()\nother = FastAPI()\n"),
            ("app.py", "app = MyFlask(__name__)\n"),
            ("shop/views.py", "app = Flask(__name__)\n"),
            ("app.py", "from shop import app\n"),
            ("app.py", "def create_app(config):\n    return Flask(__name__)\n"),
        ] {
            assert!(find_in(&[(file, text)]).is_empty(), "{file}: {text}");
        }
        let django = "application = get_wsgi_application()\n";
        let found = find_in(&[("manage.py", ""), ("site/wsgi.py", django), ("static/x", "")]);
        assert_eq!(found, ["gunicorn site.wsgi:application"]);
    }

    #[test]
    fn entries_come_before_constructors() {
        let flask = "app = Flask(__name__)\n";
        for (text, expected) in [
            ("from app import app\n", "gunicorn wsgi:app"),
            ("from app import app as application\n", "gunicorn wsgi:application"),
            ("from app import create_app\n\napp = create_app()\n", "gunicorn wsgi:app"),
            ("from app import other\n", "gunicorn app:app"),
        ] {
            assert_eq!(find_in(&[("app.py", flask), ("wsgi.py", text)]), [expected], "{text}");
        }
        let fast = [("shop/__init__.py", "app = FastAPI()\n"), ("wsgi.py", "from shop import app\n")];
        assert_eq!(find_in(&fast), ["uvicorn wsgi:app"]);
    }

    #[test]
    fn the_module_that_flask_app_names() {
        let blog = ("blog.py", "from app import create_app\napp = create_app()\n");
        let factory = ("app/__init__.py", "def create_app(test=None):\n    return Flask(__name__)\n");
        for (setting, text, expected) in [
            (".flaskenv", "FLASK_DEBUG=1\nexport FLASK_APP='blog.py'\n", "gunicorn blog:app"),
            ("ENV", "FLASK_APP=blog\n", "gunicorn blog:app"),
            ("ENV", "FLASK_APP=app:create_app()\n", "gunicorn app:create_app()"),
            ("ENV", "FLASK_APP=app\n", "gunicorn app:create_app()"),
            ("ENV", "FLASK_APP=missing\n", "gunicorn app:create_app()"),
            ("ENV", "FLASK_APP=app:create_app('x;y')\n", "gunicorn app:create_app()"),
        ] {
            assert_eq!(find_in(&[blog, factory, (setting, text)]), [expected], "{text}");
        }
    }
}
