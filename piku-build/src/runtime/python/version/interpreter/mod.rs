//! The installed Pythons, and the one that an app gets.

#![expect(clippy::disallowed_methods, reason = "interpreters of the machine")]

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::app::app_source::AppSource;
use crate::errors;
use crate::plan::build_plan::LayerPlan;
use crate::runtime::BuildTarget;
use crate::runtime::python::version::pyenv;
use crate::runtime::python::version::range::PythonRange;
use crate::runtime::python::version::requested::{self, RequestedPython};
use crate::runtime::version::{RuntimeVersion, VersionMatch, nearest};
use crate::step::build_step::BuildStep;
use crate::tree::root_view::is_executable;

/// Directories with Debian's Pythons and those that the administrator has built. PATH does not count: the
/// jail shows /usr alone.
const FOLDERS: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// Arguments that make an interpreter print its version, its C library, whether it has `ensurepip`, and the
/// wheels that this may install, which Debian keeps apart. Isolated: `PYTHON` variables, the working
/// directory and site-packages have no effect.
const INSPECT: [&str; 4] = [
    "-I",
    "-S",
    "-c",
    "import sys, os\n\
     from importlib.machinery import PathFinder\n\
     try: libc = os.confstr('CS_GNU_LIBC_VERSION')\n\
     except (ValueError, OSError): libc = 'other'\n\
     spec = PathFinder.find_spec('ensurepip')\n\
     own = os.path.join(os.path.dirname(spec and spec.origin or ''), '_bundled')\n\
     wheels = [os.path.join(d, f) for d in (own, '/usr/share/python-wheels') if os.path.isdir(d) for f in sorted(os.listdir(d))]\n\
     stamps = ['%s %d %d' % (os.path.basename(f), s.st_size, s.st_mtime) for f in wheels for s in [os.stat(f)]]\n\
     print('%d.%d.%d' % sys.version_info[:3], libc, int(bool(spec and spec.origin)), '; '.join(stamps), sep='\\n')",
];

/// A Python of the machine that runs.
#[derive(Debug, Clone)]
pub(crate) struct PythonInterpreter {
    /// Path of the program: `/usr/bin/python3.11`.
    pub(crate) path: PathBuf,
    pub(crate) version: RuntimeVersion,
    /// The C library it runs on, and compiled packages with it.
    pub(crate) libc: String,
    /// True if it can put pip into a virtualenv; on Debian that needs python3-venv.
    pub(crate) has_ensurepip: bool,
    /// The wheels that this installs, with their sizes and dates.
    pub(crate) wheels: String,
    /// True for one that is a layer of the app, which the app's settings may have changed.
    pub(crate) is_apps: bool,
    /// Its home, if no jail shows that by itself.
    pub(crate) home: Option<PathBuf>,
}

impl PythonInterpreter {
    /// Returns the step of this name that makes a virtualenv in `venv`.
    pub(crate) fn make_venv(&self, name: &'static str, venv: &Path, with_pip: bool) -> BuildStep {
        let (python, venv) = (self.path.to_string_lossy(), venv.to_string_lossy());
        // -I: the app's folder is the working directory, and its files must not shadow Python's modules.
        let mut run: Vec<&str> = vec![&python, "-I", "-m", "venv"];
        if !with_pip {
            run.push("--without-pip");
        }
        run.push(&venv);
        BuildStep::new(name, &run, true)
    }
}

/// The Python that an app gets.
pub(crate) struct PythonChoice {
    pub(crate) interpreter: PythonInterpreter,
    /// The place of the request, or what decided without one.
    pub(crate) from: String,
    /// The request, if the interpreter is not what was requested.
    pub(crate) unmet: Option<String>,
    /// The layer that holds the interpreter, if it is built first.
    pub(crate) layer: Option<LayerPlan>,
    pub(crate) warnings: Vec<String>,
}

/// An installed Python that has not said what it is yet, unless it is the system's.
struct InstalledPython {
    path: PathBuf,
    version: RuntimeVersion,
    is_system: bool,
    is_default: bool,
    /// The interpreter of a system's Python that runs.
    inspected: Option<PythonInterpreter>,
    /// Its home, if no jail shows that by itself.
    home: Option<PathBuf>,
}

/// Chooses the Python for the app: a version as requested, else another patch of it, else one that is built
/// for it, else, if a single version was requested, the next newer one, else the newest of the older ones.
///
/// # Errors
/// Fails if no Python is installed, or none that matches the request.
pub(crate) fn choose(source: &AppSource, target: &BuildTarget) -> anyhow::Result<PythonChoice> {
    let mut installed = list_installed(target.operator_env);
    let default = installed.first().ok_or_else(errors::python::no_python)?;
    let mut warnings = Vec::new();
    let Some(RequestedPython { version: requested, any_of }) = requested::read(source, &mut warnings)? else {
        let from = "the machine's python3".to_owned();
        return Ok(PythonChoice {
            interpreter: default.inspect()?,
            from,
            unmet: None,
            layer: None,
            warnings,
        });
    };
    let mut names: Vec<_> = installed.iter().map(InstalledPython::name).collect();
    names.dedup();
    loop {
        let nearest_to = |range: &PythonRange| {
            nearest(&installed, |python| python.version, |version| range.matches(version))
        };
        let best = any_of.iter().filter_map(nearest_to).min_by_key(|(_, matched)| *matched);
        if best.is_none_or(|(_, matched)| matched > VersionMatch::SameLine) {
            if let Some(recipe) = pyenv::find_recipe(target.operator_env, &any_of) {
                let any = installed.iter().find_map(|python| python.inspect().ok());
                let libc = any.ok_or_else(errors::python::no_python)?.libc;
                let (interpreter, layer) = recipe.plan(target, libc);
                let (from, layer) = (requested.from, Some(layer));
                return Ok(PythonChoice { interpreter, from, unmet: None, layer, warnings });
            }
        }
        let (python, matched) = best.ok_or_else(|| {
            let newest = installed.iter().max_by_key(|python| python.version).map(InstalledPython::name);
            errors::python::no_such_version(&requested, &names, newest.as_deref().unwrap_or("3"))
        })?;
        match python.inspect() {
            Ok(interpreter) => {
                let is_met = matched == VersionMatch::Exact;
                warnings.extend((!is_met).then(|| requested.substitution("Python", interpreter.version)));
                let unmet = (!is_met).then_some(requested.text);
                return Ok(PythonChoice { interpreter, from: requested.from, unmet, layer: None, warnings });
            }
            Err(err) if python.is_system => return Err(err),
            // A broken installation in a home does not stop the build: another one may do.
            Err(err) => {
                warnings.push(format!("{err:#}"));
                let broken = python.path.clone();
                installed.retain(|python| python.path != broken);
            }
        }
    }
}

/// Returns the Python that tools run on that are not part of the app: the machine's own if it has
/// `ensurepip`, since tools drop old Pythons sooner than apps do.
pub(crate) fn find_for_tools(target: &BuildTarget) -> Option<PythonInterpreter> {
    let installed = list_installed(target.operator_env).into_iter();
    installed
        .filter(|python| python.is_default)
        .find_map(|python| python.inspected.filter(|it| it.has_ensurepip))
}

/// Returns the homes of the interpreters that no jail shows by itself.
pub(crate) fn list_homes(build_env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    list_side_by_side(build_env).filter_map(|python| python.home).collect()
}

impl InstalledPython {
    /// Returns the version to request in order to get this one: apt keeps one patch of each X.Y.
    fn name(&self) -> String {
        if self.is_system { self.version.minor() } else { self.version.to_string() }
    }

    /// Runs the interpreter to learn its exact version and C library.
    fn inspect(&self) -> anyhow::Result<PythonInterpreter> {
        self.inspected.clone().map_or_else(|| inspect(&self.path, self.home.clone()), Ok)
    }
}

/// Lists the installed Pythons in order of preference: the machine's `python3`, the system's others, then
/// those of pyenv and uv, the newest first.
fn list_installed(build_env: &BTreeMap<String, String>) -> Vec<InstalledPython> {
    let default = fs::canonicalize("/usr/bin/python3").ok();
    let mut found: Vec<InstalledPython> = Vec::new();
    for entry in FOLDERS.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
        let path = entry.path();
        let Some(line) = parse_program_name(&entry.file_name().to_string_lossy()) else { continue };
        // The jail shows /usr alone.
        let Ok(real) = fs::canonicalize(&path) else { continue };
        let is_known = found.iter().any(|other| other.version.minor() == line.minor());
        if is_known || !real.starts_with("/usr") || !is_executable(&real) {
            continue;
        }
        let inspected = inspect(&path, None).ok();
        let version = inspected.as_ref().map_or(line, |interpreter| interpreter.version);
        let is_default = default.as_ref() == Some(&real);
        found.push(InstalledPython { path, version, is_system: true, is_default, inspected, home: None });
    }
    found.extend(list_side_by_side(build_env));
    found.sort_by_key(|python| (!python.is_default, !python.is_system, std::cmp::Reverse(python.version)));
    found
}

/// Lists the Pythons of pyenv and uv, whose homes are named by their versions.
fn list_side_by_side(build_env: &BTreeMap<String, String>) -> impl Iterator<Item = InstalledPython> {
    pyenv::list_homes(build_env).into_iter().filter_map(|home| {
        let version = pyenv::parse_home_name(&home).filter(|version| version.0[0] == 3)?;
        let path = home.join(format!("bin/python{}", version.minor()));
        let home = (!home.starts_with("/usr")).then_some(home);
        let python =
            InstalledPython { path, version, is_system: false, is_default: false, inspected: None, home };
        is_executable(&python.path).then_some(python)
    })
}

/// Parses the name of a program, `python3.11`, as 3.11; rejects `python3`, `python3.11-config` and others.
fn parse_program_name(name: &str) -> Option<RuntimeVersion> {
    let minor =
        name.strip_prefix("python3.").filter(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()))?;
    minor.parse().ok().map(|minor| RuntimeVersion([3, minor, 0]))
}

/// Identity of a program: device, inode, length and time of its last change.
type ProgramMark = (u64, u64, u64, i64, i64);

/// Interpreters that this process has run: a plan needs each several times, and its start takes longer than the rest.
static INSPECTED: Mutex<Vec<(ProgramMark, PythonInterpreter)>> = Mutex::new(Vec::new());

/// Runs an interpreter, unless this process has, to learn what it is.
fn inspect(path: &Path, home: Option<PathBuf>) -> anyhow::Result<PythonInterpreter> {
    let mark = fs::metadata(path)
        .map(|about| (about.dev(), about.ino(), about.len(), about.ctime(), about.ctime_nsec()));
    let Ok(mark) = mark else { return run_inspection(path, home) };
    let known = || INSPECTED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_same = |(found, python): &&(ProgramMark, PythonInterpreter)| *found == mark && python.path == path;
    if let Some((_, python)) = known().iter().find(is_same) {
        return Ok(PythonInterpreter { home, ..python.clone() });
    }
    let python = run_inspection(path, home)?;
    known().push((mark, python.clone()));
    Ok(python)
}

fn run_inspection(path: &Path, home: Option<PathBuf>) -> anyhow::Result<PythonInterpreter> {
    let bad = |why: &str| errors::python::bad_python(path, why);
    let output = Command::new(path)
        .args(INSPECT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|err| bad(&err.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let parts = (lines.next().and_then(RuntimeVersion::exact), lines.next(), lines.next(), lines.next());
    let (Some(version), Some(libc), Some(ensurepip), wheels) = parts else {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(bad(stderr.lines().last().unwrap_or("it says nothing")).into());
    };
    let (path, libc) = (path.to_owned(), libc.to_owned());
    let wheels = wheels.unwrap_or_default().to_owned();
    Ok(PythonInterpreter {
        path,
        version,
        libc,
        has_ensurepip: ensurepip == "1",
        wheels,
        is_apps: false,
        home,
    })
}
