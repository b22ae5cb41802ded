//! What the app's author is told, all of it in this one file: what was found, what was expected, what to do.

use std::fmt::Write;
use std::io;
use std::path::Path;

use piku_procfile::failure::{Failure, advice};
use piku_procfile::procfile::Entry;

use crate::step::Ended;

/// How many names of a list are shown.
const SHOWN: usize = 12;

/// A count of bytes as people read it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut whole = bytes.div_ceil(1000);
    let mut unit = 0;
    while whole >= 10_000 && unit + 1 < UNITS.len() {
        whole = whole.div_ceil(1000);
        unit += 1;
    }
    format!("{whole} {}", UNITS[unit])
}

/// Names between commas, not more than anybody reads.
fn list(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        let _ = write!(text, " and {} more", names.len() - SHOWN);
    }
    text
}

// The app's folder.

pub(crate) fn nothing_fits(looked_for: &[(&str, String)], names: &[String]) -> Failure {
    let mut text = String::from("no runtime fits this app; looked for:");
    for (runtime, because) in looked_for {
        let _ = write!(text, "\n  {runtime}: {because}");
    }
    let there = if names.is_empty() { "nothing".to_owned() } else { list(names) };
    let _ = write!(text, "\nfound at its top: {there}");
    Failure::new(text).hint(
        "the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'",
    )
}

pub(crate) fn leads_out(name: &Path) -> Failure {
    Failure::new(format!("'{}' leads out of the app's folder", name.display()))
        .hint("put a copy of the file into the repository")
}

pub(crate) fn dangling(name: &Path) -> Failure {
    Failure::new(format!("'{}' is a link to nothing", name.display()))
        .hint("commit the file that it points at, or the file itself")
}

pub(crate) fn not_a_file(name: &Path) -> Failure {
    Failure::new(format!("'{}' is not a file", name.display()))
}

pub(crate) fn huge_file(name: &Path, bytes: u64, most: u64) -> Failure {
    Failure::new(format!("'{}' has {}, more than {}", name.display(), size(bytes), size(most)))
}

// The machine.

pub(crate) fn no_jail(err: &anyhow::Error) -> Failure {
    let failure =
        Failure::new(format!("this machine's settings require the jail, and there is none: {err:#}"));
    advice(err).0.into_iter().fold(failure, Failure::hint)
}

pub(crate) fn output_exists(path: &Path) -> Failure {
    Failure::new(format!("'{}' is there already", path.display()))
        .hint("a release is never written over: name a folder that is not there yet")
}

/// A step whose failure no runtime could explain better. `lines` are repeated: what was not shown yet, or says it best.
pub(crate) fn step_failed(name: &str, ended: &Ended, lines: &[String]) -> Failure {
    const KILLED: i32 = 128 + 9;
    if ended.code == KILLED {
        return if ended.out_of_memory { out_of_memory(name, ended.peak) } else { killed(name, ended.peak) };
    }
    let mut text = format!("step '{name}' failed with exit code {}", ended.code);
    let last = lines.iter().filter(|line| !line.trim().is_empty()).rev().take(5).collect::<Vec<_>>();
    for line in last.into_iter().rev() {
        let _ = write!(text, "\n  {line}");
    }
    Failure::new(text)
}

/// A step that wanted more memory than the operator lets builds have.
pub(crate) fn beyond_memory(name: &str, peak: u64, memory: &str) -> Failure {
    Failure::new(format!("step '{name}' ran out of memory at {}; it may have {memory}", size(peak)))
        .hint("build_memory in host.yaml says how much a build may take")
}

pub(crate) fn out_of_memory(name: &str, peak: u64) -> Failure {
    Failure::new(format!(
        "out of memory: the kernel killed step '{name}'; its largest process had {}",
        size(peak)
    ))
    .hint("give the machine swap or more memory, or use packages that need no compiling")
}

pub(crate) fn killed(name: &str, peak: u64) -> Failure {
    Failure::new(format!(
        "step '{name}' was killed, most likely out of memory; its largest process had {}",
        size(peak)
    ))
    .hint("give the machine swap or more memory, or use packages that need no compiling")
}

pub(crate) fn no_space(name: &str) -> Failure {
    Failure::new(format!("no space left on the disk during step '{name}'"))
        .hint("remove old releases or apps, or make the disk larger")
}

// What is to be started.

/// Why a process type cannot be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    message: String,
    hint: Option<String>,
}

/// The programs that a host has from its own packages.
const PACKAGES: [(&str, &str); 12] = [
    ("node", "nodejs"),
    ("npm", "npm"),
    ("npx", "npm"),
    ("java", "default-jre-headless"),
    ("ruby", "ruby"),
    ("bundle", "bundler"),
    ("php", "php-cli"),
    ("perl", "perl"),
    ("go", "golang"),
    ("cargo", "cargo"),
    ("caddy", "caddy"),
    ("redis-server", "redis-server"),
];

impl Problem {
    fn new(message: String) -> Self {
        Self { message, hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn missing_file(path: &str) -> Self {
        Self::new(format!("'{path}' is not there"))
            .hint(format!("is it committed? 'git status --ignored' shows whether .gitignore names it; 'git add -f {path}' adds it"))
    }

    pub(crate) fn dead_link(path: &str) -> Self {
        Self::new(format!("'{path}' is a link that leads to nothing the app can see"))
            .hint("inside the app a link may lead to the app's own files, which are at /app, and to the machine's programs")
    }

    pub(crate) fn missing_folder(path: &str) -> Self {
        Self::new(format!("there is no folder '{path}' in the app"))
            .hint("git keeps no empty folders: put a file into it")
    }

    pub(crate) fn missing_program(name: &str, beside: bool) -> Self {
        if beside {
            return Self::new(format!("'{name}' is not on PATH"))
                .hint(format!("the app has a file of that name: write './{name}'"));
        }
        let problem = Self::new(format!(
            "there is no program '{name}', neither in the app's dependencies nor on this machine"
        ));
        if let Some((_, package)) = PACKAGES.iter().find(|(program, _)| *program == name) {
            problem.hint(format!("on the machine: apt install {package}"))
        } else {
            problem
                .hint(format!("add what brings '{name}' to the dependencies, or install it on the machine"))
        }
    }

    pub(crate) fn is_folder(path: &str) -> Self {
        Self::new(format!("'{path}' is a folder"))
    }

    pub(crate) fn not_executable(path: &str, own: bool) -> Self {
        let problem = Self::new(format!("'{path}' is not executable"));
        if own {
            let path = path.trim_start_matches("./");
            problem.hint(format!("chmod +x {path}, or where files have no modes: git update-index --chmod=+x {path}; then commit"))
        } else {
            problem
        }
    }

    pub(crate) fn unreadable(path: &str, err: &io::Error) -> Self {
        Self::new(format!("cannot read '{path}': {err}"))
    }

    pub(crate) fn empty(path: &str) -> Self {
        Self::new(format!("'{path}' is empty"))
    }

    pub(crate) fn cut(path: &str) -> Self {
        Self::new(format!("'{path}' begins like a program and ends too early"))
    }

    pub(crate) fn wrong_machine(path: &str, its: &str, ours: &str) -> Self {
        let target = match ours {
            "x86_64" => "GOARCH=amd64, or cargo build --target x86_64-unknown-linux-musl",
            "aarch64" => "GOARCH=arm64, or cargo build --target aarch64-unknown-linux-musl",
            "arm" => "GOARCH=arm, or cargo build --target armv7-unknown-linux-musleabihf",
            _ => "the compiler's option for another target",
        };
        Self::new(format!("'{path}' is a program for {its}, this machine is {ours}"))
            .hint(format!("build it for {ours}: {target}"))
    }

    pub(crate) fn missing_loader(path: &str, loader: &Path) -> Self {
        Self::new(format!("'{path}' needs the loader '{}', which this machine has not", loader.display()))
            .hint("it was linked for another C library; link it statically")
    }

    pub(crate) fn missing_interpreter(path: &str, interpreter: &str) -> Self {
        Self::new(format!("the first line of '{path}' asks for '{interpreter}', which is not there"))
    }

    pub(crate) fn windows_lines(path: &str) -> Self {
        Self::new(format!("'{path}' has Windows line ends: its interpreter would be looked for with a carriage return in its name"))
            .hint(format!("put the line '{} text eol=lf' into .gitattributes and commit the file again", path.trim_start_matches("./")))
    }

    pub(crate) fn other_system(path: &str, system: &str) -> Self {
        Self::new(format!("'{path}' is a program for {system}, this machine runs Linux"))
            .hint("build it for Linux")
    }

    pub(crate) fn large_file_pointer(path: &str) -> Self {
        Self::new(format!("'{path}' is a Git LFS pointer, not the file itself"))
            .hint("the machine has no LFS store: commit the file itself")
    }
}

pub(crate) fn cannot_start(problems: &[(Entry, Problem)]) -> Failure {
    let lines: Vec<_> = problems
        .iter()
        .map(|(entry, problem)| format!("Procfile: {}: {}", entry.name, problem.message))
        .collect();
    let mut failure = Failure::new(lines.join("\n"));
    let mut hints: Vec<&String> = problems.iter().filter_map(|(_, problem)| problem.hint.as_ref()).collect();
    hints.dedup();
    for hint in hints {
        failure = failure.hint(hint);
    }
    failure
}

// Python.

pub(crate) fn misspelt_requirements(name: &str) -> Failure {
    Failure::new(format!(
        "this looks like a Python app, but its dependencies are in '{name}'; expected 'requirements.txt'"
    ))
    .hint(format!("git mv {name} requirements.txt"))
}

/// A Python app whose dependencies stand in a format that is not read.
pub(crate) fn other_dependencies(name: &str, export: &str) -> Failure {
    Failure::new(format!(
        "this looks like a Python app, but its dependencies are in '{name}', which is not supported yet; expected 'requirements.txt'"
    ))
    .hint(format!("make one and commit it: {export}"))
}

pub(crate) fn no_python() -> Failure {
    Failure::new("this is a Python app, but the machine has no python3")
        .hint("apt install python3 python3-venv")
}

pub(crate) fn no_venv(minor: &str) -> Failure {
    Failure::new("this is a Python app, recognised, but python3-venv is missing").hint(format!(
        "apt install python3-venv (or python{minor}-venv where python{minor} is not the system's own)"
    ))
}

pub(crate) fn bad_python(path: &Path, why: &str) -> Failure {
    Failure::new(format!("'{}' does not run: {why}", path.display()))
        .hint("apt install --reinstall python3-minimal")
}

pub(crate) fn bad_version(text: &str, from: &str, why: &str) -> Failure {
    Failure::new(format!("{from} asks for Python '{text}': {why}"))
        .hint("good are 3.12, 3.12.1, python-3.12.1 and ranges such as >=3.11,<3.14")
}

pub(crate) fn no_such_version(text: &str, from: &str, there: &[String]) -> Failure {
    Failure::new(format!("{from} asks for Python {text}; this machine has {}", list(there))).hint(format!(
        "ask for one that is there, or install it on the machine so that it is in /usr/bin: {from} may say {}",
        there.first().map_or("3", String::as_str)
    ))
}

pub(crate) fn requirement_place(file: &Path, line: usize, why: &str) -> Failure {
    Failure::new(format!("{}:{line}: {why}", file.display()))
}

pub(crate) fn editable_without_jail(file: &Path, line: usize, path: &str) -> Failure {
    requirement_place(
        file,
        line,
        &format!("'-e {path}' cannot be installed where there is no jail: the path of the build is not the path of the release"),
    )
    .hint(format!("write '{path}' without -e"))
}

pub(crate) fn bad_wsgi(command: &str) -> Failure {
    Failure::new(format!("Procfile: wsgi: '{command}' is not module:callable"))
        .hint("for an app in app.py with 'app = Flask(…)' the line is 'wsgi: app:app'")
}

pub(crate) fn missing_module(process: &str, module: &str) -> Failure {
    Failure::new(format!(
        "Procfile: {process}: there is no module '{module}', neither in the app nor in its dependencies"
    ))
    .hint(format!("expected {0}.py or {0}/__init__.py", module.replace('.', "/")))
}

pub(crate) fn no_process_types() -> Failure {
    Failure::new("this is a Python app without a Procfile, and what is to be started is not obvious").hint(
        "add a file 'Procfile' with a line for each process, for example 'web: gunicorn --bind 127.0.0.1:$PORT app:app' \
         for the callable 'app' in app.py, or 'web: python app.py' for a program that listens on PORT itself",
    )
}

/// A syntax error in a file that the app starts with, or that such a file imports.
pub(crate) fn syntax_error(file: &str, line: Option<u32>, message: &str, how: &str) -> Failure {
    Failure::new(format!("{}: {message}\n{how}", place(file, line)))
        .hint(format!("'python3 -m py_compile {file}' shows the same on your machine"))
}

/// A syntax error in a file that may never be run: a template, an example.
pub(crate) fn syntax_warning(file: &str, line: Option<u32>, message: &str) -> String {
    format!("{}: {message}", place(file, line))
}

fn place(file: &str, line: Option<u32>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
}

// pip.

pub(crate) fn bad_certificate(clock: bool) -> Failure {
    if clock {
        return Failure::new("pip does not trust the package index: its certificate is not yet valid, this machine's clock is wrong")
            .hint("set the clock: timedatectl set-ntp true");
    }
    Failure::new("pip does not trust the package index: its certificate is signed by nobody whom this machine knows")
        .hint("a site with an authority of its own: put its certificate into /usr/local/share/ca-certificates and run update-ca-certificates")
}

pub(crate) fn no_network(reason: &str) -> Failure {
    Failure::new(format!("pip cannot reach the package index: {reason}")).hint(
        "is the machine online? behind a proxy, set HTTPS_PROXY in build_env of host.yaml; then push again",
    )
}

pub(crate) fn conflict(lines: &[String]) -> Failure {
    Failure::new(format!("requirements.txt asks for packages that do not go together\n{}", lines.join("\n")))
        .hint(
            "loosen one of the versions, try it with 'pip install -r requirements.txt' in a fresh virtualenv",
        )
}

pub(crate) fn bad_requirement(error: &str) -> Failure {
    Failure::new(format!("requirements.txt is not understood by pip: {error}"))
        .hint("one requirement a line, such as 'flask>=3' or 'six==1.17.0'")
}

/// `versions` are the newest that the index has; `python` those that need another Python.
pub(crate) fn unsatisfiable(
    requirement: &str,
    line: Option<usize>,
    versions: &[String],
    python: Option<&str>,
) -> Failure {
    let place = line.map_or_else(|| "requirements.txt".to_owned(), |line| format!("requirements.txt:{line}"));
    let text = format!("{place}: there is no '{requirement}' that can be installed");
    if let Some(python) = python {
        return Failure::new(format!("{text}: it needs another Python\n{python}"))
            .hint("ask for an older version of the package, or for another Python in .python-version");
    }
    if versions.is_empty() {
        return Failure::new(format!("{text}: the index knows no such package for this machine"))
            .hint("is the name spelt right?");
    }
    Failure::new(text).hint(format!("the newest versions are {}", versions.join(", ")))
}

pub(crate) fn other_python(error: &str) -> Failure {
    Failure::new(error.to_owned())
        .hint("ask for an older version of the package, or for another Python in .python-version")
}

pub(crate) fn bad_hashes(lines: &[String]) -> Failure {
    Failure::new(format!(
        "the hashes in requirements.txt are not those of the packages\n{}",
        lines.join("\n")
    ))
    .hint("make the file again with the tool that wrote the hashes")
}

pub(crate) fn no_git() -> Failure {
    Failure::new("requirements.txt asks for a git repository, and the machine has no git")
        .hint("apt install git")
}

pub(crate) fn build_failed(package: &str, mend: Option<&str>, lines: &[String]) -> Failure {
    let mut text = format!("'{package}' could not be built");
    for line in lines {
        let _ = write!(text, "\n  {line}");
    }
    let failure = Failure::new(text);
    match mend {
        Some(mend) => failure.hint(format!("on the machine: {mend}")),
        None => failure.hint("a version of it that comes built for this machine (a wheel) needs no compiler"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(1), "1 kB");
        assert_eq!(size(9_999_000), "9999 kB");
        assert_eq!(size(64_000_000), "64 MB");
        assert_eq!(size(u64::MAX), "18446745 TB");
    }

    #[test]
    fn long_lists_end() {
        let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert!(list(&names).ends_with("and 8 more"));
        assert_eq!(list(&names[..2]), "0, 1");
    }
}
