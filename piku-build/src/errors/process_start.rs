//! Errors about process types that cannot start.

use std::io;
use std::path::Path;

use piku_procfile::procfile::ProcfileEntry;
use piku_report::diagnostic::Diagnostics;
use piku_report::user_error::UserError;

use piku_release::architecture::ProgramArchitecture;
use piku_release::machine::TargetMachine;

/// A reason why a process type cannot start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StartProblem {
    message: String,
    hint: Option<String>,
}

/// Programs, and the Debian packages that contain them.
const PACKAGES: &[(&str, &str)] = &[
    ("node", "nodejs"),
    ("npm", "npm"),
    ("npx", "npm"),
    ("java", "default-jre-headless"),
    ("ruby", "ruby"),
    ("bundle", "ruby-bundler"),
    ("php", "php-cli"),
    ("perl", "perl"),
    ("go", "golang"),
    ("cargo", "cargo"),
    ("mvn", "maven"),
    ("gradle", "gradle"),
    ("lein", "leiningen"),
    ("caddy", "caddy"),
    ("redis-server", "redis-server"),
    ("git", "git"),
    ("nginx", "nginx-light"),
];

/// Returns the Debian package that contains a program.
pub(super) fn package_of_program(program: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|(name, _)| *name == program).map(|(_, package)| *package)
}

/// Returns the compiler options that build a program for this machine.
fn how_to_build_for(machine: &TargetMachine) -> &'static str {
    match machine.programs().first().map(|first| (first.family(), first.level())) {
        Some(("x86_64", _)) => "GOARCH=amd64, or cargo build --target x86_64-unknown-linux-musl",
        Some(("aarch64", _)) => "GOARCH=arm64, or cargo build --target aarch64-unknown-linux-musl",
        Some(("arm", 7..)) => "GOARCH=arm GOARM=7, or cargo build --target armv7-unknown-linux-musleabihf",
        Some(("arm", _)) => "GOARCH=arm GOARM=6, or cargo build --target arm-unknown-linux-musleabihf",
        _ => "compilers have an option for the target",
    }
}

impl StartProblem {
    fn new(message: String) -> Self {
        Self { message, hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn missing_file(path: &str) -> Self {
        let problem = Self::new(format!("'{path}' does not exist"));
        let is_jar = Path::new(path).extension().is_some_and(|extension| extension == "jar");
        if let Some((folder, _)) = path.rsplit_once('/').filter(|_| is_jar) {
            return problem.hint(format!(
                "the name of a jar ends with its version, which changes: '{folder}/*.jar' fits any, where there is one; without a Procfile the jar that is a program is found"
            ));
        }
        if path.starts_with("vendor/bin/heroku-php-") {
            return problem.hint(super::detection::PHP);
        }
        problem
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
        if name.starts_with("heroku-php-") {
            problem.hint(super::detection::PHP)
        } else if let Some(package) = package_of_program(name) {
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

    pub(crate) fn truncated(path: &str) -> Self {
        Self::new(format!("'{path}' begins like a program and ends too early"))
    }

    pub(crate) fn object_file(path: &str) -> Self {
        Self::new(format!("'{path}' begins like a program, but is an object file or damaged"))
    }

    pub(crate) fn wrong_machine(path: &str, its: &ProgramArchitecture, machine: &TargetMachine) -> Self {
        let ours = machine.name_beside(its);
        Self::new(format!("'{path}' is a program for {its}, this machine is {ours}"))
            .hint(format!("build it for {ours}: {}", how_to_build_for(machine)))
    }

    pub(crate) fn wrong_target(path: &str, its: &ProgramArchitecture, machine: &TargetMachine) -> Self {
        let wanted = machine.name_beside(its);
        Self::new(format!("'{path}' is a program for {its}, the release is for {wanted}"))
            .hint(format!("build it for {wanted}: {}", how_to_build_for(machine)))
    }

    pub(crate) fn missing_loader(path: &str, loader: &Path) -> Self {
        Self::new(format!(
            "'{path}' needs the loader '{}', which is missing on this machine",
            loader.display()
        ))
        .hint("it was linked for another C library; link it statically")
    }

    pub(crate) fn missing_interpreter(path: &str, interpreter: &str) -> Self {
        Self::new(format!("the first line of '{path}' asks for '{interpreter}', which does not exist"))
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

/// Returns the error for process types, set by other files than the Procfile, that a Procfile could not have.
pub(crate) fn cannot_read(found: &Diagnostics) -> UserError {
    let lines: Vec<_> = found.0.iter().map(|problem| format!("Procfile: {}", problem.message)).collect();
    let hints = found.0.iter().filter_map(|problem| problem.hint.as_ref());
    hints.fold(UserError::new(lines.join("\n")), UserError::hint)
}

pub(crate) fn cannot_start(problems: &[(ProcfileEntry, StartProblem)]) -> UserError {
    let lines: Vec<_> = problems
        .iter()
        .map(|(entry, problem)| format!("Procfile: {}: {}", entry.name, problem.message))
        .collect();
    let mut failure = UserError::new(lines.join("\n"));
    let mut hints: Vec<&String> = problems.iter().filter_map(|(_, problem)| problem.hint.as_ref()).collect();
    hints.dedup();
    for hint in hints {
        failure = failure.hint(hint);
    }
    failure
}
