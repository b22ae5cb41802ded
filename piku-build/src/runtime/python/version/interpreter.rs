//! The machine's Pythons: which there are, what one says about itself, and which of them an app gets.

#![expect(clippy::disallowed_methods, reason = "interpreters of the machine")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::app::app_source::AppSource;
use crate::explain;
use crate::plan::build_plan::LayerPlan;
use crate::runtime::BuildTarget;
use crate::runtime::python::version::pyenv;
use crate::runtime::python::version::range::PythonFit;
use crate::runtime::python::version::requested::{self, RequestedPython};
use crate::runtime::version::RuntimeVersion;
use crate::step::build_step::BuildStep;
use crate::tree::root_view::runs;

/// Where the system's are, and those that its owner has built. What PATH has in front for the caller does not count: the
/// jail shows /usr alone.
const FOLDERS: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// Isolated: neither PYTHON variables nor the working directory nor site-packages have a say.
const ASK: [&str; 4] = [
    "-I",
    "-S",
    "-c",
    "import sys, os\n\
     from importlib.machinery import PathFinder\n\
     try: libc = os.confstr('CS_GNU_LIBC_VERSION')\n\
     except (ValueError, OSError): libc = 'other'\n\
     spec = PathFinder.find_spec('ensurepip')\n\
     print('%d.%d.%d' % sys.version_info[:3], libc, int(bool(spec and spec.origin)), sep='\\n')",
];

/// One Python of the machine.
#[derive(Debug, Clone)]
pub(crate) struct PythonInterpreter {
    /// The program, `/usr/bin/python3.11`.
    pub(crate) path: PathBuf,
    /// Its exact version.
    pub(crate) version: RuntimeVersion,
    /// The C library it runs on: a compiled package fits one of them.
    pub(crate) libc: String,
    /// Whether it can put pip into a virtualenv; Debian has that in a package of its own.
    pub(crate) has_ensurepip: bool,
    /// Its home, where that is a folder that no jail shows by itself.
    pub(crate) home: Option<PathBuf>,
}

impl PythonInterpreter {
    /// The step of this name that makes a virtualenv in this folder.
    pub(crate) fn make_venv(&self, name: &'static str, venv: &Path, with_pip: bool) -> BuildStep {
        let (python, venv) = (self.path.to_string_lossy(), venv.to_string_lossy());
        // -I: the app's folder is the working directory, and its files are no modules of ours.
        let mut run: Vec<&str> = vec![&python, "-I", "-m", "venv"];
        if !with_pip {
            run.push("--without-pip");
        }
        run.push(&venv);
        BuildStep::new(name, &run, true)
    }
}

/// What an app gets.
pub(crate) struct PythonChoice {
    pub(crate) interpreter: PythonInterpreter,
    /// Where the version was asked for.
    pub(crate) from: String,
    /// What was asked for, where it is not that.
    pub(crate) unmet: Option<String>,
    /// The layer with it, where it is to be built first.
    pub(crate) layer: Option<LayerPlan>,
    /// What its author should know.
    pub(crate) warnings: Vec<String>,
}

/// A program `python3.X`, not yet asked.
struct PythonCandidate {
    path: PathBuf,
    /// Its X.Y, and the third part where its home says it, else 0.
    version: RuntimeVersion,
    exact: bool,
    default: bool,
    home: Option<PathBuf>,
}

/// Finds the Python that the app asks for: as it was asked, else another patch of it, else one that is built for it, else, for
/// one that was named and not described by a range, the next newer.
///
/// # Errors
/// When there is none, or none that fits.
pub(crate) fn choose(source: &AppSource, site: &BuildTarget) -> anyhow::Result<PythonChoice> {
    let candidates = candidates(site.build_env);
    if candidates.is_empty() {
        return Err(explain::python::no_python().into());
    }
    let mut warnings = Vec::new();
    let Some(RequestedPython { text, from, any_of }) = requested::asked(source, &mut warnings)? else {
        let interpreter = ask(&candidates[0])?;
        let from = "the machine's python3".to_owned();
        return Ok(PythonChoice { interpreter, from, unmet: None, layer: None, warnings });
    };
    let mut near = None;
    for asked in &any_of {
        for candidate in candidates.iter().filter(|candidate| asked.fits_line(candidate.version)) {
            if near.is_some() && candidate.exact && asked.fit(candidate.version) != PythonFit::Exact {
                continue;
            }
            let interpreter = match ask(candidate) {
                // Half an installation of somebody's own is no reason not to take another one.
                Err(err) if candidate.exact => {
                    warnings.push(format!("{err:#}"));
                    continue;
                }
                asked => asked?,
            };
            if asked.fit(interpreter.version) == PythonFit::Exact {
                return Ok(PythonChoice { interpreter, from, unmet: None, layer: None, warnings });
            }
            near = near.or(Some(interpreter));
        }
    }
    if near.is_none() {
        if let Some(recipe) = pyenv::recipe(site.build_env, &any_of) {
            let libc = ask(&candidates[0])?.libc;
            let layer = recipe.layer(site, &libc);
            let path = layer.mount.join("bin/python3");
            let interpreter =
                PythonInterpreter { path, version: recipe.version, libc, has_ensurepip: true, home: None };
            return Ok(PythonChoice { interpreter, from, unmet: None, layer: Some(layer), warnings });
        }
        let newer =
            |candidate: &&PythonCandidate| any_of.iter().any(|asked| asked.is_before(candidate.version));
        let mut all: Vec<_> = candidates.iter().filter(newer).collect();
        all.sort_by_key(|candidate| candidate.version);
        near = all.into_iter().find_map(|candidate| ask(candidate).ok());
    }
    let Some(interpreter) = near else {
        let mut there: Vec<_> = candidates.iter().map(PythonCandidate::name).collect();
        there.dedup();
        return Err(explain::python::no_such_version(&text, &from, &there).into());
    };
    warnings
        .push(format!("{from} asks for Python {text}, this machine has {}: using that", interpreter.version));
    Ok(PythonChoice { interpreter, from, unmet: Some(text), layer: None, warnings })
}

/// The Python that tools run on which are no part of the app: the machine's own where it can, since tools leave old ones
/// behind sooner than apps do.
pub(crate) fn for_tools(site: &BuildTarget) -> Option<PythonInterpreter> {
    candidates(site.build_env)
        .iter()
        .filter(|candidate| candidate.default)
        .find_map(|candidate| ask(candidate).ok().filter(|interpreter| interpreter.has_ensurepip))
}

/// The homes of those that no jail shows by itself.
pub(crate) fn homes(build_env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    candidates(build_env).into_iter().filter_map(|candidate| candidate.home).collect()
}

impl PythonCandidate {
    fn name(&self) -> String {
        if self.exact { self.version.to_string() } else { self.version.minor() }
    }
}

/// The machine's own `python3` first, then the system's newest, then those of pyenv and uv, the newest first.
fn candidates(build_env: &BTreeMap<String, String>) -> Vec<PythonCandidate> {
    let default = fs::canonicalize("/usr/bin/python3").ok();
    let mut found: Vec<PythonCandidate> = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(version) = line_of(&entry.file_name().to_string_lossy()) else { continue };
            // One that lives elsewhere is not to be seen from the jail.
            let Ok(real) = fs::canonicalize(&path) else { continue };
            if !real.starts_with("/usr") || !runs(&real) || found.iter().any(|other| other.version == version)
            {
                continue;
            }
            let default = default.as_ref() == Some(&real);
            found.push(PythonCandidate { path, version, exact: false, default, home: None });
        }
    }
    for home in pyenv::homes(build_env) {
        let Some(version) = pyenv::version_of(&home).filter(|version| version.0[0] == 3) else { continue };
        let path = home.join(format!("bin/python{}", version.minor()));
        if runs(&path) {
            let home = (!home.starts_with("/usr")).then_some(home);
            found.push(PythonCandidate { path, version, exact: true, default: false, home });
        }
    }
    found
        .sort_by_key(|candidate| (!candidate.default, candidate.exact, std::cmp::Reverse(candidate.version)));
    found
}

/// `python3.11` is 3.11; `python3`, `python3.11-config` and others are none of it.
fn line_of(name: &str) -> Option<RuntimeVersion> {
    let minor = name.strip_prefix("python3.")?;
    minor
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| minor.parse().ok())
        .flatten()
        .map(|minor| RuntimeVersion([3, minor, 0]))
}

fn ask(candidate: &PythonCandidate) -> anyhow::Result<PythonInterpreter> {
    let path = candidate.path.clone();
    let bad = |why: &str| explain::python::bad_python(&candidate.path, why);
    let output = Command::new(&path)
        .args(ASK)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|err| bad(&err.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let parts = (lines.next().and_then(RuntimeVersion::exact), lines.next(), lines.next());
    let (Some(version), Some(libc), Some(ensurepip)) = parts else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(bad(said.lines().last().unwrap_or("it says nothing")).into());
    };
    let (libc, home) = (libc.to_owned(), candidate.home.clone());
    Ok(PythonInterpreter { path, version, libc, has_ensurepip: ensurepip == "1", home })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(files: &[(&str, &str)]) -> (tempfile::TempDir, AppSource) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let source = AppSource::read(dir.path(), None).unwrap();
        (dir, source)
    }

    /// What the system alone has to offer, and what lies below `home`.
    fn choice_with(home: &std::path::Path, files: &[(&str, &str)]) -> anyhow::Result<PythonChoice> {
        let build_env = BTreeMap::from([
            ("PYENV_ROOT".to_owned(), home.display().to_string()),
            ("UV_PYTHON_INSTALL_DIR".to_owned(), home.join("uv").display().to_string()),
        ]);
        let site = BuildTarget {
            jailed: true,
            store: None,
            tools: None,
            architecture: "x86_64",
            cross: None,
            build_env: &build_env,
            commit: "",
        };
        choose(&source(files).1, &site)
    }

    fn choice(files: &[(&str, &str)]) -> anyhow::Result<PythonChoice> {
        choice_with("/nowhere".as_ref(), files)
    }

    fn error(files: &[(&str, &str)]) -> String {
        choice(files).err().expect("no Python fits").to_string()
    }

    #[test]
    fn names_of_programs() {
        assert_eq!(line_of("python3.11"), Some(RuntimeVersion([3, 11, 0])));
        for other in ["python3", "python3.", "python3.11-config", "python3.11m", "python2.7", "pythonw3.1"] {
            assert_eq!(line_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_machines_own_is_the_default_and_asked_for_by_name() {
        let own = choice(&[]).unwrap();
        assert!(own.interpreter.path.starts_with("/usr") && own.warnings.is_empty());
        let version = own.interpreter.version;
        let exact = choice(&[(".python-version", &format!("# a comment\n{version}\n"))]).unwrap();
        assert_eq!((exact.interpreter.version, exact.from.as_str()), (version, ".python-version"));
        let minor = version.minor();
        let near = choice(&[("runtime.txt", &format!("python-{minor}.99\n"))]).unwrap();
        assert!(near.warnings[0].contains("99") && near.from == "runtime.txt", "{:?}", near.warnings);
        let env =
            choice(&[("ENV", &format!("PYTHON_VERSION={minor}\n")), (".python-version", "2.7")]).unwrap();
        assert_eq!(env.from, "PYTHON_VERSION in ENV");
        let empty =
            choice(&[("ENV", "PYTHON_VERSION=\n"), (".python-version", &format!("python{minor}"))]).unwrap();
        assert_eq!(empty.from, ".python-version");
        let both = choice(&[(".python-version", &minor), ("runtime.txt", "python-3.4.1")]).unwrap();
        assert_eq!(both.warnings.len(), 1, "{:?}", both.warnings);
        let several = choice(&[(".python-version", &format!("3.99.1\npypy3.10\n{minor}\n"))]).unwrap();
        assert_eq!((several.interpreter.version, several.warnings.len()), (version, 0));
        let range = choice(&[("pyproject.toml", "[project]\nrequires-python = '>=3.8,<4'\n")]).unwrap();
        assert_eq!(range.from, "pyproject.toml");
        let older = choice(&[(".python-version", "3.4.1\n")]).unwrap();
        assert!(
            older.warnings[0].contains("asks for Python 3.4.1, this machine has"),
            "{:?}",
            older.warnings
        );
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let err = error(&[(".python-version", "3.99\n")]);
        assert!(err.contains(".python-version asks for Python 3.99; this machine has 3."), "{err}");
        let err = error(&[("runtime.txt", "pypy3.9\n")]);
        assert!(err.contains("only CPython"), "{err}");
        // A range is a promise, not a wish.
        let err = error(&[("pyproject.toml", "[project]\nrequires-python = '>=3.4,<3.5'\n")]);
        assert!(err.contains("pyproject.toml asks for Python >=3.4,<3.5"), "{err}");
    }

    #[test]
    fn pyenv_and_uv_have_more() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let own = choice(&[]).unwrap().interpreter;
        let line = RuntimeVersion([3, own.version.0[1], 0]);
        // Their names say what they are not; enough to see which one is taken.
        for (home, version) in [("versions/3.4.7", "3.4"), ("uv/cpython-3.4.9-linux-x86_64-gnu", "3.4")] {
            let bin = dir.path().join(home).join("bin");
            fs::create_dir_all(&bin).unwrap();
            symlink(&own.path, bin.join(format!("python{version}"))).unwrap();
        }
        symlink("cpython-3.4.9-linux-x86_64-gnu", dir.path().join("uv/cpython-3.4-linux-x86_64-gnu"))
            .unwrap();
        let taken = choice_with(dir.path(), &[(".python-version", "3.4\n")]).unwrap().interpreter;
        assert!(taken.path.ends_with("cpython-3.4.9-linux-x86_64-gnu/bin/python3.4"), "{taken:?}");
        assert!(taken.home.unwrap().ends_with("cpython-3.4.9-linux-x86_64-gnu"));
        assert_eq!(choice_with(dir.path(), &[]).unwrap().interpreter.home, None, "the machine's comes first");

        // One that does not run is passed over, and said.
        let broken = dir.path().join("versions/3.4.99/bin");
        fs::create_dir_all(&broken).unwrap();
        symlink("/bin/false", broken.join("python3.4")).unwrap();
        let other = choice_with(dir.path(), &[(".python-version", "3.4\n")]).unwrap();
        assert_eq!(other.interpreter.version, own.version);
        assert!(other.warnings.iter().any(|said| said.contains("3.4.99/bin/python3.4' does not run")));

        let plugin = dir.path().join("plugins/python-build");
        fs::create_dir_all(plugin.join("bin")).unwrap();
        fs::create_dir_all(plugin.join("share/python-build")).unwrap();
        symlink("/bin/sh", plugin.join("bin/python-build")).unwrap();
        for name in ["3.99.1", "3.99.2", "3.99.3rc1", "3.99-dev", "pypy3.99-7.0", &line.to_string()] {
            fs::write(plugin.join("share/python-build").join(name), "").unwrap();
        }
        let built = choice_with(dir.path(), &[(".python-version", "3.99\n")]).unwrap();
        let layer = built.layer.unwrap();
        assert_eq!(built.interpreter.path.to_str(), Some("/layers/python/bin/python3"));
        assert!(layer.steps[0].run.ends_with(&["3.99.2".to_owned(), "/layers/python".to_owned()]));
        assert_eq!(layer.host.len(), 1);
        fs::create_dir(dir.path().join("cache")).unwrap();
        fs::write(dir.path().join("cache/Python-3.99.1.tar.xz"), "").unwrap();
        let layer = choice_with(dir.path(), &[(".python-version", "3.99\n")]).unwrap().layer.unwrap();
        assert!(layer.host[1].ends_with("cache"));
        assert!(layer.steps[0].run.contains(&"3.99.1".to_owned()), "whose source is there");
        let near = choice_with(dir.path(), &[(".python-version", &format!("{}.999", line.minor()))]).unwrap();
        assert!(near.layer.is_none(), "another patch is good enough");
    }
}
