//! The machine's Pythons: which there are, what one says about itself, and which of them an app gets.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::version::{Asked, Fit, Version};
use crate::explain;
use crate::source::{Source, decode};
use crate::view::runs;

/// Where the system's are, and those that its owner has built. What PATH has in front for the caller does not count: the
/// jail shows /usr alone.
const FOLDERS: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// Isolated: neither PYTHON variables nor the working directory nor site-packages have a say.
const ASK: [&str; 4] = [
    "-I",
    "-S",
    "-c",
    "import sys, os, importlib.util as u\n\
     try: libc = os.confstr('CS_GNU_LIBC_VERSION')\n\
     except (ValueError, OSError): libc = 'other'\n\
     spec = u.find_spec('ensurepip')\n\
     print('%d.%d.%d' % sys.version_info[:3], libc, int(bool(spec and spec.origin)), sep='\\n')",
];

/// One Python of the machine.
#[derive(Debug, Clone)]
pub(super) struct Interpreter {
    /// The program, `/usr/bin/python3.11`.
    pub(super) path: PathBuf,
    /// Its exact version.
    pub(super) version: Version,
    /// The C library it runs on: a compiled package fits one of them.
    pub(super) libc: String,
    /// Whether it can put pip into a virtualenv; Debian has that in a package of its own.
    pub(super) has_ensurepip: bool,
}

/// What an app gets.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) interpreter: Interpreter,
    /// Where the version was asked for.
    pub(super) from: String,
    /// What its author should know.
    pub(super) warnings: Vec<String>,
}

/// A program `python3.X`, not yet asked.
struct Candidate {
    path: PathBuf,
    /// Its X.Y, the third part 0.
    line: Version,
    default: bool,
}

/// Finds the Python that the app asks for.
///
/// # Errors
/// When there is none, or none that fits.
pub(super) fn choose(source: &Source) -> anyhow::Result<Choice> {
    let candidates = candidates();
    if candidates.is_empty() {
        return Err(explain::python::no_python().into());
    }
    let mut warnings = Vec::new();
    let Some((text, from)) = asked(source, &mut warnings)? else {
        let interpreter = ask(&candidates[0])?;
        return Ok(Choice { interpreter, from: "the machine's python3".to_owned(), warnings });
    };
    let asked =
        Asked::parse(&text).map_err(|err| explain::python::bad_version(&text, &from, &err.to_string()))?;
    let mut near = None;
    for candidate in candidates.iter().filter(|candidate| asked.fits_line(candidate.line)) {
        let interpreter = ask(candidate)?;
        if asked.fit(interpreter.version) == Fit::Exact {
            return Ok(Choice { interpreter, from, warnings });
        }
        near = near.or(Some(interpreter));
    }
    let Some(interpreter) = near else {
        let there: Vec<_> = candidates.iter().map(|candidate| candidate.line.minor()).collect();
        return Err(explain::python::no_such_version(&text, &from, &there).into());
    };
    warnings
        .push(format!("{from} asks for Python {text}, this machine has {}: using that", interpreter.version));
    Ok(Choice { interpreter, from, warnings })
}

/// The version asked for and where, the most deliberate place first.
fn asked(source: &Source, warnings: &mut Vec<String>) -> anyhow::Result<Option<(String, String)>> {
    // An empty one is how a config takes back what ENV says.
    let variable = source.variable("PYTHON_VERSION").filter(|(value, _)| !value.trim().is_empty());
    if let Some((value, place)) = variable {
        return Ok(Some((value.trim().to_owned(), format!("PYTHON_VERSION in {place}"))));
    }
    let mut found: Vec<(String, String)> = Vec::new();
    for name in [".python-version", "runtime.txt"] {
        let Some(text) = source.text(name)? else { continue };
        let text = decode(&text);
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        // pyenv's file may name several; the first is the one that `python` is.
        match lines.into_iter().find(|line| !line.is_empty()) {
            Some("system") => {}
            Some(line) => found.push((line.to_owned(), name.to_owned())),
            None => warnings.push(format!("{name} is empty")),
        }
    }
    if let [(first, place), (second, other)] = found.as_slice() {
        if second.trim_start_matches("python-") != first.trim_start_matches("python-") {
            warnings.push(format!("{place} says {first} and {other} says {second}: taking {place}"));
        }
    }
    Ok(found.into_iter().next())
}

/// The machine's own `python3` first, then the newest.
fn candidates() -> Vec<Candidate> {
    let default = fs::canonicalize("/usr/bin/python3").ok();
    let mut found: Vec<Candidate> = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(line) = line_of(&entry.file_name().to_string_lossy()) else { continue };
            // One that lives elsewhere is not to be seen from the jail.
            let Ok(real) = fs::canonicalize(&path) else { continue };
            if !real.starts_with("/usr") || !runs(&real) || found.iter().any(|other| other.line == line) {
                continue;
            }
            found.push(Candidate { default: default.as_ref() == Some(&real), path, line });
        }
    }
    found.sort_by_key(|candidate| (!candidate.default, std::cmp::Reverse(candidate.line)));
    found
}

/// `python3.11` is 3.11; `python3`, `python3.11-config` and others are none of it.
fn line_of(name: &str) -> Option<Version> {
    let minor = name.strip_prefix("python3.")?;
    minor
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| minor.parse().ok())
        .flatten()
        .map(|minor| Version([3, minor, 0]))
}

fn ask(candidate: &Candidate) -> anyhow::Result<Interpreter> {
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
    let parts = (lines.next().and_then(Version::parse), lines.next(), lines.next());
    let (Some(version), Some(libc), Some(ensurepip)) = parts else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(bad(said.lines().last().unwrap_or("it says nothing")).into());
    };
    Ok(Interpreter { path, version, libc: libc.to_owned(), has_ensurepip: ensurepip == "1" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let source = Source::read(dir.path(), None).unwrap();
        (dir, source)
    }

    fn choice(files: &[(&str, &str)]) -> anyhow::Result<Choice> {
        choose(&source(files).1)
    }

    #[test]
    fn names_of_programs() {
        assert_eq!(line_of("python3.11"), Some(Version([3, 11, 0])));
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
        assert!(near.warnings[0].contains("99") && near.from == "runtime.txt", "{near:?}");
        let env =
            choice(&[("ENV", &format!("PYTHON_VERSION={minor}\n")), (".python-version", "2.7")]).unwrap();
        assert_eq!(env.from, "PYTHON_VERSION in ENV");
        let empty =
            choice(&[("ENV", "PYTHON_VERSION=\n"), (".python-version", &format!("python{minor}"))]).unwrap();
        assert_eq!(empty.from, ".python-version");
        let both = choice(&[(".python-version", &minor), ("runtime.txt", "python-3.4.1")]).unwrap();
        assert_eq!(both.warnings.len(), 1, "{both:?}");
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let err = choice(&[(".python-version", "3.99\n")]).unwrap_err().to_string();
        assert!(err.contains(".python-version asks for Python 3.99; this machine has 3."), "{err}");
        let err = choice(&[("runtime.txt", "pypy3.9\n")]).unwrap_err().to_string();
        assert!(err.contains("only CPython"), "{err}");
    }
}
