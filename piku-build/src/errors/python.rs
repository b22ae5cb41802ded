//! Errors and warnings of Python apps.

use std::path::Path;

use piku_report::user_error::{UserError, advice};

use super::{join_names, with_lines};
use crate::plan::target_machines::ListedMachine;
use crate::runtime::RequestedVersion;

pub(crate) fn misspelt(name: &str, meant: &str) -> UserError {
    UserError::new(format!(
        "this looks like a Python app, but its dependencies are in '{name}'; expected '{meant}'"
    ))
    .hint(format!("git mv {name} {meant}"))
}

/// The dependencies are in conda's format, which piku does not read.
pub(crate) fn conda(name: &str) -> UserError {
    UserError::new(format!(
        "this looks like a Python app, but its dependencies are in '{name}', which conda reads and piku does not; expected 'requirements.txt'"
    ))
    .hint("make one and commit it: pip list --format=freeze > requirements.txt")
}

pub(crate) fn bad_toml(file: &str, line: usize, why: &str) -> UserError {
    UserError::new(format!("{file}:{line}: {}", why.trim().replace('\n', ": ")))
}

pub(crate) fn bad_lock(file: &str, line: usize, fix: &str) -> UserError {
    UserError::new(format!("{file}:{line}: this is not what its tool writes; was it merged by hand?"))
        .hint(format!("make it again and commit it: {fix}"))
}

/// `Pipfile.lock` was made from another Pipfile; `lines` say what differs.
pub(crate) fn stale_pipfile_lock(lines: &[String]) -> UserError {
    with_lines("Pipfile.lock is out of step with Pipfile, and nothing that is not locked is installed", lines)
        .hint("make it again and commit it: pipenv lock")
}

/// The lock file is older than the file that it locks.
pub(crate) fn stale_lock(lock: &str, file: &str, fix: &str) -> UserError {
    UserError::new(format!(
        "{lock} is out of step with {file}: it was made before {file} was changed, and nothing that is not locked is installed"
    ))
    .hint(format!("make it again and commit it: {fix}"))
}

pub(crate) fn no_lock(lock: &str, fix: &str) -> String {
    format!("there is no {lock}: each build may get other versions; make one with '{fix}' and commit it")
}

/// Returns the warning for an app that does not install as a package.
pub(crate) fn no_root(why: &str) -> String {
    format!(
        "the app itself is not installed as a package: {why}; where it is none, say 'package-mode = false' below [tool.poetry]"
    )
}

pub(crate) fn no_such_installer(setting: &str, place: &str, value: &str) -> UserError {
    UserError::new(format!("{setting} in {place}: '{value}' is not an installer: write uv or pip"))
}

pub(crate) fn bad_tool_version(setting: &str, place: &str, value: &str) -> UserError {
    UserError::new(format!("{setting} in {place}: '{value}' is not a version")).hint("example: 2.1.0")
}

/// The tool that reads the lock file could not be installed.
pub(crate) fn no_tool(tool: &str, why: UserError) -> UserError {
    let failure = UserError::new(format!("cannot install {tool}, which reads the app's lock file: {why}"));
    advice(&why.into()).0.into_iter().fold(failure, UserError::hint)
}

/// pyenv could not build the requested Python.
pub(crate) fn no_such_build(version: &str, from: &str, why: &str, packages: Option<&str>) -> UserError {
    let failure = UserError::new(format!(
        "{from} asks for a Python that is not on this machine, and pyenv cannot build {version}: {why}"
    ));
    match packages {
        Some(packages) => failure.hint(format!("on the machine: apt install {packages}")),
        None => failure
            .hint(format!("put Python-{version}.tar.xz into the folder cache of pyenv, or name a mirror in build_env of host.yaml: PYTHON_BUILD_MIRROR_URL"))
            .hint(format!("or ask in {from} for a Python that is there")),
    }
}

/// pip ignores a release with invalid metadata, and then claims that it does not exist.
pub(crate) fn invalid_metadata(file: &str, requirement: &str, version: &str, why: &str) -> UserError {
    UserError::new(format!(
        "{file}: cannot find a version for '{requirement}': pip ignores version {version}, whose metadata is invalid: {why}"
    ))
    .hint("ask for a newer version of the package; pip before 24.1 would take this one")
}

pub(crate) fn collectstatic(lines: &[String], variable: Option<&str>) -> UserError {
    let failure = with_lines("Django's collectstatic failed", lines);
    let failure = match variable {
        Some(name) => failure.hint(format!(
            "the settings read {name} when they are loaded: give it a value with config:set, or in ENV, or a default in the settings"
        )),
        None => failure.hint("'python manage.py collectstatic --noinput' shows the same on your machine"),
    };
    failure.hint("an app that needs no static files says DISABLE_COLLECTSTATIC=1 in ENV")
}

pub(crate) fn no_static_root() -> String {
    "static files are not collected: the settings have no STATIC_ROOT; DISABLE_COLLECTSTATIC=1 in ENV says that this is meant".to_owned()
}

pub(crate) fn no_python() -> UserError {
    UserError::new("this is a Python app, but the machine has no python3")
        .hint("apt install python3 python3-venv")
}

pub(crate) fn no_venv(minor: &str) -> UserError {
    UserError::new("this is a Python app, recognised, but python3-venv is missing").hint(format!(
        "apt install python3-venv (or python{minor}-venv where python{minor} is not the system's own)"
    ))
}

pub(crate) fn bad_python(path: &Path, why: &str) -> UserError {
    UserError::new(format!("'{}' does not run: {why}", path.display()))
        .hint("apt install --reinstall python3-minimal")
}

pub(crate) fn bad_version(requested: &RequestedVersion, why: &str) -> UserError {
    requested.malformed("Python", why).hint("examples: 3.12, 3.12.1, python-3.12.1, >=3.11,<3.14")
}

/// Machines lack the Python with which a release for them would be built. `common` is one that all have.
pub(crate) fn missing_on_machines(
    minor: &str,
    from: &str,
    lacking: &[&ListedMachine],
    common: Option<&str>,
) -> UserError {
    let of = |machine: &&ListedMachine| {
        let has = if machine.python.is_empty() { "none".to_owned() } else { machine.python.join(" and ") };
        format!("{} ({has})", machine.name)
    };
    let names: Vec<_> = lacking.iter().map(of).collect();
    let what =
        format!("the release would need python{minor} ({from}), which is missing on {}", names.join(", "));
    UserError::new(what).hint(common.map_or_else(
        || format!("install python{minor} there, or build for machines of one release of Debian"),
        |common| format!("PYTHON_VERSION={common} in ENV chooses the one that all of them have"),
    ))
}

/// `names` are the installed ones and `newest` the newest of them.
pub(crate) fn no_such_version(requested: &RequestedVersion, names: &[String], newest: &str) -> UserError {
    let failure = requested.unmet("Python", names);
    let is_range = requested.text.starts_with(['>', '<', '=', '~', '^', '!']);
    let operator = if is_range { ">=" } else { "" };
    failure
        .hint(format!("if the app runs on it, {} may say {operator}{newest}", requested.from))
        .hint(install_hint(&requested.text))
}

/// The requested Python is not installed, and the dependencies refuse the nearest one.
pub(crate) fn refused_python(asked: &str, from: &str, version: &str, why: &str) -> UserError {
    UserError::new(format!(
        "{from} asks for Python {asked}, which is not on this machine, and the app's dependencies refuse the nearest, {version}: {why}"
    ))
    .hint(format!("ask for versions of them that go with Python {version}"))
    .hint(install_hint(asked))
}

/// The requested Python is not installed, and the build of a dependency failed with the nearest one.
pub(crate) fn perhaps_the_python(failure: UserError, asked: &str, from: &str, version: &str) -> UserError {
    failure
        .hint(format!(
            "{from} asks for Python {asked} and gets the nearest, {version}: old versions of a package may fail to build with it"
        ))
        .hint(install_hint(asked))
}

/// Returns the hint about installing the requested Python.
fn install_hint(asked: &str) -> String {
    let version = asked.trim_start_matches(|c: char| !c.is_ascii_digit());
    let version = version.split([',', ' ']).next().unwrap_or("3");
    format!(
        "or have the machine's operator install it: with apt, or as the user that runs piku: pyenv install {version} (or: uv python install {version})"
    )
}

pub(crate) fn requirement_place(file: &Path, line: usize, why: &str) -> UserError {
    UserError::new(format!("{}:{line}: {why}", file.display()))
}

pub(crate) fn editable_without_jail(file: &Path, line: usize, path: &str) -> UserError {
    requirement_place(
        file,
        line,
        &format!("'-e {path}' cannot be installed where there is no jail: the path of the build is not the path of the release"),
    )
    .hint(format!("write '{path}' without -e"))
}

pub(crate) fn bad_wsgi(command: &str) -> UserError {
    UserError::new(format!("Procfile: wsgi: '{command}' is not module:callable"))
        .hint("for an app in app.py with 'app = Flask(…)' the line is 'wsgi: app:app'")
}

pub(crate) fn missing_module(process: &str, module: &str) -> UserError {
    UserError::new(format!(
        "Procfile: {process}: there is no module '{module}', neither in the app nor in its dependencies"
    ))
    .hint(format!("expected {0}.py or {0}/__init__.py", module.replace('.', "/")))
}

/// Several files of an app without a Procfile define something that a server could serve.
pub(crate) fn several_callables(files: &[&str], command: &str) -> UserError {
    let both = if files.len() == 2 { "both" } else { "all" };
    UserError::new(format!(
        "this is a Python app without a Procfile, and {} {both} define what could be started",
        join_names(&files.iter().map(|file| (*file).to_owned()).collect::<Vec<_>>())
    ))
    .hint(format!("add a file 'Procfile' with the line of the one to start, such as 'web: {command}'"))
}

/// Returns the warning that the script of an app without a Procfile gets no requests.
pub(crate) fn script_as_worker(file: &str) -> String {
    format!(
        "{file} uses no web server that piku knows: it runs as a worker. If it listens on $PORT, add a file 'Procfile' \
         with the line 'web: python {file}'"
    )
}

pub(crate) fn no_process_types() -> UserError {
    UserError::new("this is a Python app without a Procfile, and it is not obvious what to start").hint(
        "add a file 'Procfile' with a line for each process, for example 'web: gunicorn --bind 127.0.0.1:$PORT app:app' \
         for the callable 'app' in app.py, or 'web: python app.py' for a program that listens on PORT itself",
    )
}

/// A file that a process type starts, or that such a file imports, has a syntax error.
pub(crate) fn syntax_error(file: &str, line: Option<u32>, message: &str, how: &str) -> UserError {
    UserError::new(format!("{}: {message}\n{how}", format_place(file, line)))
        .hint(format!("'python3 -m py_compile {file}' shows the same on your machine"))
}

/// Returns the warning for a syntax error in a file that may never run, such as a template.
pub(crate) fn syntax_warning(file: &str, line: Option<u32>, message: &str) -> String {
    format!("{}: {message}", format_place(file, line))
}

fn format_place(file: &str, line: Option<u32>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
}

/// A process type starts a server whose package `file`, if there is one, does not list; `fix` adds it.
pub(crate) fn missing_server(process: &str, program: &str, file: Option<&str>, fix: &str) -> UserError {
    let lists = match file {
        Some(file) => format!("which {file} does not list"),
        None => "and the app has no requirements.txt that lists it".to_owned(),
    };
    UserError::new(format!("Procfile: {process} starts '{program}', {lists}")).hint(fix)
}

/// Returns the warning for a server that another dependency may still bring.
pub(crate) fn perhaps_missing_server(process: &str, program: &str, package: &str, file: &str) -> String {
    format!(
        "Procfile: {process} starts '{program}', which {file} does not list: add '{package}' to it, unless another package brings it"
    )
}

// pip.

/// `versions` are the newest on the index, `python` those that need another Python.
pub(crate) fn unsatisfiable(
    file: &str,
    requirement: &str,
    line: Option<usize>,
    versions: &[String],
    python: Option<&str>,
) -> UserError {
    let place = line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    let text = format!("{place}: cannot find a version for '{requirement}'");
    if let Some(python) = python {
        return UserError::new(format!("{text}: it needs another Python\n{python}"))
            .hint("ask for an older version of the package, or for another Python in .python-version");
    }
    if versions.is_empty() {
        return UserError::new(format!("{text}: the index knows no such package for this machine"))
            .hint("is the name spelt right?");
    }
    UserError::new(text).hint(format!("the newest versions are {}", versions.join(", ")))
}

pub(crate) fn bad_hashes(file: &str, lines: &[String]) -> UserError {
    UserError::new(format!("the hashes in {file} are not those of the packages\n{}", lines.join("\n")))
        .hint("make the file again with the tool that wrote the hashes")
}

/// The dependencies that a package needs for its own build could not be installed.
pub(crate) fn build_dependencies(package: &str, lines: &[String]) -> UserError {
    with_lines(format!("'{package}' could not be built: what its build needs cannot be installed"), lines)
        .hint("a version of it that comes built for this machine (a wheel) needs none of that")
}

pub(crate) fn build_failed(package: &str, fix: Option<&str>, lines: &[String]) -> UserError {
    let failure = with_lines(format!("'{package}' could not be built"), lines);
    match fix {
        Some(fix) => failure.hint(format!("on the machine: {fix}")),
        None => failure.hint("a version of it that comes built for this machine (a wheel) needs no compiler"),
    }
}
