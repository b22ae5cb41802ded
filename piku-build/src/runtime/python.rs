//! Python: `requirements.txt` in a virtualenv, which is a layer; the app's own files byte-compiled in its tree. An app with
//! a Procfile and Python files and no requirements is one too, with an empty virtualenv.

mod defaults;
mod interpreter;
mod pip;
mod requirements;
mod syntax;
mod version;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use piku_procfile::name::ProcessName;
use piku_procfile::procfile::Kind;

use super::{Detection, Runtime, Site};
use crate::disk::Need;
use crate::environment::PATH;
use crate::explain;
use crate::plan::{LayerPlan, Plan};
use crate::source::Source;
use crate::step::{Ended, Step};
use crate::view::View;
use interpreter::{Choice, Interpreter};
use requirements::{FILE, Local, Requirements};

/// Changed when layers are made in another way: the old ones then do not count.
const LAYER_FORMAT: u32 = 1;
/// The layer's name.
const VENV: &str = "venv";
/// What serves `wsgi` entries.
const SERVER: &str = "gunicorn";

/// Dependencies in other formats, and how to make a requirements.txt of them.
const OTHERS: [(&str, &str); 7] = [
    ("uv.lock", "uv export --no-dev --format requirements-txt -o requirements.txt"),
    ("poetry.lock", "poetry export -o requirements.txt"),
    ("Pipfile.lock", "pipenv requirements > requirements.txt"),
    ("Pipfile", "pipenv requirements > requirements.txt"),
    ("pyproject.toml", "a requirements.txt with the one line '.' installs what pyproject.toml says"),
    ("setup.py", "a requirements.txt with the one line '.' installs what setup.py says"),
    ("environment.yml", "pip list --format=freeze > requirements.txt"),
];

/// Settings of pip that change how packages are fetched, not which.
const ONLY_FETCHING: [&str; 8] = [
    "PIP_CACHE_DIR",
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_NO_CACHE_DIR",
    "PIP_PROXY",
    "PIP_RETRIES",
    "PIP_TIMEOUT",
    "PIP_VERBOSE",
];

/// The runtime.
pub(super) struct Python;

impl Runtime for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    fn detect(&self, source: &Source) -> anyhow::Result<Detection> {
        if source.has(FILE) {
            return Ok(Detection::Fits(format!("there is a {FILE}")));
        }
        if let Some(name) = source.names.iter().find(|name| is_misspelt(name)) {
            return Ok(Detection::Refused(explain::python::misspelt_requirements(name)));
        }
        for (name, export) in OTHERS {
            if source.has(name) && (name != "pyproject.toml" || is_project(source)?) {
                return Ok(Detection::Refused(explain::python::other_dependencies(name, export)));
            }
        }
        let own = source.names.iter().find(|name| is_python_file(name));
        Ok(match own {
            Some(name) if source.procfile.is_some() => {
                Detection::Perhaps(format!("there are a Procfile and {name}, and no {FILE}: no dependencies"))
            }
            Some(name) => Detection::Not(format!("{FILE}, or a Procfile beside {name}, which are not there")),
            None => Detection::Not(format!("{FILE}, or *.py files with a Procfile, which are not there")),
        })
    }

    fn plan(&self, source: &Source, site: &Site) -> anyhow::Result<Plan> {
        let Choice { interpreter, from, warnings } = interpreter::choose(source)?;
        let requirements = Requirements::read(source)?;
        let processes = processes(source)?;
        let add_server = processes.values().any(|command| command.starts_with("gunicorn "))
            && !requirements.names.contains(SERVER)
            && (source.procfile.is_none() || has_wsgi(source));
        let with_pip = requirements.any || add_server;
        if with_pip && !interpreter.has_ensurepip {
            return Err(explain::python::no_venv(&interpreter.version.minor()).into());
        }
        if let Some(local) = requirements.local.iter().find(|local| local.editable && !site.jailed) {
            let path =
                if local.path.as_os_str().is_empty() { ".".into() } else { local.path.to_string_lossy() };
            return Err(explain::python::editable_without_jail(&local.file, local.line, &path).into());
        }
        let key = key(source, site, &interpreter, &requirements, add_server)?;
        let mount = site.mount(VENV, &key);
        let python = mount.join("bin/python").to_string_lossy().into_owned();
        let layer = LayerPlan {
            name: VENV,
            steps: layer_steps(&interpreter, &requirements, &mount, with_pip, add_server),
            key,
            need: need(&requirements, with_pip),
            writes_app: !requirements.local.is_empty(),
            mount: mount.clone(),
        };
        Ok(Plan {
            runtime: self.name(),
            version: Some(interpreter.version.to_string()),
            version_from: Some(from),
            layers: vec![layer],
            steps: vec![syntax::step(&python)],
            processes,
            env: env(&mount),
            build_env: build_env(),
            warnings,
            ..Plan::default()
        })
    }

    fn judge(&self, step: &Step, ended: &Ended, plan: &Plan, view: &View) -> anyhow::Result<()> {
        if step.name == syntax::NAME {
            return syntax::judge(ended, plan, view);
        }
        if ended.succeeded() {
            return Ok(());
        }
        Err(pip::explain(step.name, ended, &view.tree).into())
    }

    fn check(&self, plan: &Plan, view: &View) -> anyhow::Result<()> {
        syntax::check_modules(plan, view)
    }
}

/// A name so close to `requirements.txt` that it was meant: `requirments.txt`, `requirement.txt`, `Requirements.txt`.
fn is_misspelt(name: &str) -> bool {
    !name.ends_with('/')
        && name != FILE
        && (name.eq_ignore_ascii_case(FILE) || distance(&name.to_ascii_lowercase(), FILE) <= 2)
}

/// How many letters are to be put in, taken out or replaced (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (column, wanted) in other.iter().enumerate() {
            let replaced = corner + usize::from(letter != *wanted);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// Whether pyproject.toml describes a project; many hold the settings of a linter only.
fn is_project(source: &Source) -> anyhow::Result<bool> {
    let text = source.text("pyproject.toml")?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().any(|line| matches!(line.trim(), "[project]" | "[tool.poetry]")))
}

fn is_python_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "py")
}

fn has_wsgi(source: &Source) -> bool {
    source.procfile.iter().flat_map(|procfile| &procfile.entries).any(|entry| entry.kind == Kind::Wsgi)
}

/// The process types: the Procfile's, `wsgi` entries as commands of gunicorn, or what is obvious without a Procfile.
fn processes(source: &Source) -> anyhow::Result<IndexMap<ProcessName, String>> {
    let Some(procfile) = &source.procfile else {
        let callable = defaults::find(source)?.ok_or_else(explain::python::no_process_types)?;
        return Ok(IndexMap::from([("web".parse()?, serve(&callable))]));
    };
    let mut processes = IndexMap::new();
    for entry in &procfile.entries {
        let (name, mut command) = super::process(entry);
        if entry.kind == Kind::Wsgi {
            if !syntax::is_callable(&entry.command) {
                return Err(explain::python::bad_wsgi(&entry.command).into());
            }
            command = serve(&entry.command);
        }
        processes.insert(name, command);
    }
    Ok(processes)
}

/// How a `module:callable` is served.
fn serve(callable: &str) -> String {
    format!("{SERVER} --bind ${{BIND_ADDRESS:-127.0.0.1}}:$PORT {callable}")
}

/// Everything that determines the virtualenv.
fn key(
    source: &Source,
    site: &Site,
    interpreter: &Interpreter,
    requirements: &Requirements,
    add_server: bool,
) -> anyhow::Result<String> {
    let mut key = site.key(VENV, LAYER_FORMAT);
    key.fact("python", interpreter.path.as_os_str().as_encoded_bytes());
    key.fact("version", interpreter.version.to_string().as_bytes());
    key.fact("libc", interpreter.libc.as_bytes());
    key.fact("mount", site.layers().as_os_str().as_encoded_bytes());
    for (path, content) in &requirements.files {
        key.fact(&format!("requirements {}", path.display()), content);
    }
    for Local { path, editable, .. } in &requirements.local {
        key.fact("local", path.as_os_str().as_encoded_bytes());
        if let Some(real) = source.inside(path)? {
            // Code that is installed in place is read from the release's own tree: only what describes it counts.
            let takes = |below: &Path| !is_git(below) && (!editable || describes(below));
            key.tree(&real, &takes)?;
        }
    }
    if add_server {
        key.fact("added", SERVER.as_bytes());
    }
    // Another index or another policy brings other packages; how they are fetched does not.
    let pip = |name: &&String| name.starts_with("PIP_") && !ONLY_FETCHING.contains(&name.as_str());
    for name in source.env.keys().chain(source.config.keys()).filter(pip) {
        key.fact(name, source.variable(name).map_or("", |(value, _)| value).as_bytes());
    }
    for (name, value) in site.build_env.iter().filter(|(name, _)| pip(name)) {
        key.fact(&format!("host {name}"), value.as_bytes());
    }
    Ok(key.finish())
}

fn is_git(below: &Path) -> bool {
    below.components().any(|part| part.as_os_str() == ".git")
}

/// Files that say what a package is and needs, beside the code in it.
fn describes(below: &Path) -> bool {
    let name = below.file_name().unwrap_or_default().to_string_lossy();
    let extension = below.extension().unwrap_or_default();
    let about_version =
        ["__init__.py", "__about__.py", "setup.py"].contains(&name.as_ref()) || name.contains("version");
    about_version
        || ["toml", "cfg", "txt", "in", "lock"].iter().any(|text| extension == *text)
        || below.components().count() == 1 && extension != "py"
}

fn layer_steps(
    interpreter: &Interpreter,
    requirements: &Requirements,
    mount: &Path,
    with_pip: bool,
    add_server: bool,
) -> Vec<Step> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let step =
        |name, run: &[&str], quiet| Step { name, run: run.iter().map(ToString::to_string).collect(), quiet };
    let (python, venv, pip) =
        (text(interpreter.path.clone()), text(mount.to_owned()), text(mount.join("bin/pip")));
    // -I: the app's folder is the working directory, and its files are no modules of ours.
    let mut make = vec![python.as_str(), "-I", "-m", "venv"];
    if !with_pip {
        make.push("--without-pip");
    }
    make.push(&venv);
    let mut steps = vec![step("venv", &make, true)];
    let mut install = vec![pip.as_str(), "install"];
    if requirements.any {
        install.extend(["--requirement", FILE]);
    }
    if requirements.local.iter().any(|local| local.editable) {
        // Nothing is left in the app's tree then, where a release that finds the layer would not have it.
        install.push("--use-pep517");
    }
    // pip wants a hash for everything or for nothing.
    let apart = add_server && requirements.hashes;
    if add_server && !apart {
        install.push(SERVER);
    }
    if with_pip {
        steps.push(step("pip", &install, false));
    }
    if apart {
        steps.push(step(SERVER, &[&pip, "install", SERVER], false));
    }
    steps
}

/// The room that a virtualenv may take: a rough guess, too low rather than too high.
fn need(requirements: &Requirements, with_pip: bool) -> Need {
    let packages = requirements.names.len() as u64;
    if with_pip {
        Need { bytes: 25_000_000 + 3_000_000 * packages, files: 1500 + 100 * packages }
    } else {
        Need { bytes: 1_000_000, files: 50 }
    }
}

/// The environment of workers.
fn env(mount: &Path) -> BTreeMap<String, String> {
    let bin = mount.join("bin");
    [
        ("PATH", format!("{}:{PATH}", bin.display())),
        ("VIRTUAL_ENV", mount.display().to_string()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("PYTHONUTF8", "1".to_owned()),
        ("PYTHONIOENCODING", "UTF-8".to_owned()),
        // A release is never written to; what it needs is compiled by now.
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What pip is to know in the build, whatever its version.
fn build_env() -> BTreeMap<String, String> {
    ["PIP_NO_INPUT", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_PYTHON_VERSION_WARNING"]
        .map(|name| (name.to_owned(), "1".to_owned()))
        .into_iter()
        .chain(
            [("PIP_PROGRESS_BAR", "off"), ("PIP_ROOT_USER_ACTION", "ignore")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names() {
        for name in [
            "requirments.txt",
            "requirement.txt",
            "Requirements.txt",
            "requirements.text",
            "requirememts.txt",
        ] {
            assert!(is_misspelt(name), "{name}");
        }
        for name in [
            "requirements.txt",
            "requirements-dev.txt",
            "requirements.in",
            "requirements/",
            "requirements.txt/",
            "README.txt",
        ] {
            assert!(!is_misspelt(name), "{name}");
        }
    }

    #[test]
    fn what_describes_a_package() {
        for name in
            ["setup.py", "pyproject.toml", "README", "src/x/__init__.py", "req/base.txt", "x/_version.py"]
        {
            assert!(describes(Path::new(name)), "{name}");
        }
        for name in ["app.py", "src/x/views.py", "src/logo.png"] {
            assert!(!describes(Path::new(name)), "{name}");
        }
    }
}
