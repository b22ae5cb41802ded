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
/// The folder of apps whose modules are not at the top.
pub(super) const SRC: &str = "src/";
/// Folders whose modules are no part of the app that runs.
const ASIDE: [&str; 8] = ["tests/", "test/", "docs/", "doc/", "examples/", "example/", "scripts/", "tools/"];
/// Modules of a package that are searched if no file at the top says what to serve.
const MODULES: [&str; 5] = ["wsgi.py", "asgi.py", "main.py", "app.py", "application.py"];
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
    /// True if its module is found in the folder `src`, not at the top.
    pub(super) is_below_src: bool,
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
    search_files(source, files.into_iter().chain(packages).chain(django))
}

/// Finds the callables of an app that has none at its top: in modules of its packages, and below `src`.
pub(super) fn find_below(source: &AppSource) -> anyhow::Result<Vec<FoundCallable>> {
    let has_src = source.tree.is_dir(SRC);
    let below = if has_src { source.list(SRC)? } else { Vec::new() };
    let below = below.into_iter().filter_map(|entry| Some(format!("{SRC}{}/", entry.name.to_str()?)));
    let below: Vec<_> = below.filter(|folder| source.tree.is_dir(folder)).take(PACKAGES).collect();
    let is_code = |name: &&String| name.ends_with('/') && *name != SRC && !ASIDE.contains(&name.as_str());
    let top: Vec<_> = source.names.iter().filter(is_code).take(PACKAGES).cloned().collect();
    let modules = |folders: &[String]| -> Vec<String> {
        let files = |folder: &String| MODULES.map(|module| format!("{folder}{module}"));
        folders.iter().flat_map(files).collect()
    };
    let entries = FILES.iter().filter(|_| has_src).map(|file| format!("{SRC}{file}"));
    let packages = below.iter().map(|folder| format!("{folder}{PACKAGE}"));
    for files in [modules(&top), entries.chain(packages).collect(), modules(&below)] {
        let found = search_files(source, files.into_iter())?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Finds the callables that these files construct, or else the factories in them.
fn search_files(
    source: &AppSource,
    files: impl Iterator<Item = String>,
) -> anyhow::Result<Vec<FoundCallable>> {
    let mut found = Vec::new();
    let mut factories = Vec::new();
    for file in files {
        let Some(text) = read(source, &file)? else { continue };
        let (mut one, all) = match find_constructed(&file, &text) {
            Some(one) => (one, &mut found),
            None => match find_factory(&file, &text) {
                Some(one) => (one, &mut factories),
                None => continue,
            },
        };
        let is_script = one.server == STREAMLIT;
        let rest = one.callable.strip_prefix("src.").filter(|_| !is_script);
        if let Some(rest) = rest.filter(|_| file.starts_with(SRC)).map(str::to_owned) {
            one.is_below_src = !source.has_path(format!("{SRC}{PACKAGE}"))? && !imports(&text, "src");
            if one.is_below_src {
                one.callable = rest;
            }
        }
        all.push(one);
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
        return Ok(is_known.then_some(FoundCallable { callable, server: WSGI, file, is_below_src: false }));
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
    Some(FoundCallable {
        callable: format!("{module}:{name}"),
        server,
        file: file.to_owned(),
        is_below_src: false,
    })
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
        return Some(FoundCallable {
            callable: file.to_owned(),
            server: STREAMLIT,
            file: file.to_owned(),
            is_below_src: false,
        });
    }
    // Dash keeps its Flask app apart.
    let dash = |line: &str| line.replace(' ', "").starts_with("server=app.server");
    if text.contains("Dash(") && text.lines().any(dash) {
        let callable = format!("{module}:server");
        return Some(FoundCallable { callable, server: WSGI, file: file.to_owned(), is_below_src: false });
    }
    let found: Vec<_> = text.lines().filter_map(parse_construction).collect();
    let known = found.iter().find(|(name, _)| NAMES.contains(name));
    let (name, server) = known.or(if found.len() == 1 { found.first() } else { None })?;
    Some(FoundCallable {
        callable: format!("{module}:{name}"),
        server,
        file: file.to_owned(),
        is_below_src: false,
    })
}

/// Parses a line that assigns a callable: `app = Flask(__name__)`, `app: FastAPI = FastAPI()`, `app, rt =
/// fast_app()`.
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
    Some(FoundCallable { callable, server, file: file.to_owned(), is_below_src: false })
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
mod tests;
