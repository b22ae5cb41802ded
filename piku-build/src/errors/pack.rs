//! Errors about a release that does not run on another machine.

use std::path::Path;

use piku_layout::name::AppName;
use piku_report::user_error::UserError;

use piku_release::architecture::ProgramArchitecture;
use piku_release::machine::TargetMachine;

pub(crate) fn link_out(path: &Path, target: &Path) -> UserError {
    UserError::new(format!("'{}' is a link out of the release, to '{}'", path.display(), target.display()))
        .hint("a release that is packed has links within it and to the system's own programs only: put a copy there")
}

/// The release is stored as a difference, by an older piku.
pub(crate) fn folded(number: u64, app: &AppName) -> UserError {
    UserError::new(format!("of release {number} only what differs from a newer one is kept"))
        .hint(format!("piku rollback {app} {number} makes a whole one of it"))
}

pub(crate) fn other_app(its: &AppName, ours: &AppName) -> UserError {
    UserError::new(format!("this is a release of {its}, not of {ours}"))
}

/// `file` is a file in the release that needs the architecture, if one is known.
pub(crate) fn other_architecture(
    its: &ProgramArchitecture,
    file: Option<&str>,
    machine: &TargetMachine,
) -> UserError {
    let ours = machine.name_beside(its);
    let what = match file {
        Some(file) => format!("this release needs {its} for '{file}', this machine is {ours}"),
        None => format!("this release was built for {its}, this machine is {ours}"),
    };
    UserError::new(what).hint("build it on a machine like this one: git push to this one does")
}

pub(crate) fn old_glibc(needed: &str, here: &str) -> UserError {
    UserError::new(format!("this release needs glibc {needed}, this machine has {here}"))
        .hint("build it on a machine whose system is no newer than this one's")
}

pub(crate) fn no_glibc(needed: &str, has_musl: bool) -> UserError {
    let here = if has_musl { "this machine's C library is musl" } else { "this machine has none" };
    UserError::new(format!("this release needs glibc {needed}, {here}"))
        .hint("build it on a machine like this one, or link it statically")
}

pub(crate) fn no_musl() -> UserError {
    UserError::new("this release needs the C library musl, which is missing on this machine")
        .hint("build it on a machine like this one, or link it statically")
}

pub(crate) fn no_interpreter(link: &Path) -> UserError {
    let shown: String = link.to_string_lossy().chars().take(200).collect();
    UserError::new(format!("'{shown}' is not an interpreter that a release may need"))
        .hint("a release is made by 'piku-build pack' of this version")
}

pub(crate) fn missing_program(link: &Path, wanted: &Path) -> UserError {
    let also = if link == wanted { String::new() } else { format!(" (as '{}')", link.display()) };
    let package = wanted.file_name().unwrap_or_default().to_string_lossy();
    UserError::new(format!(
        "this release needs '{}'{also}, which is missing on this machine",
        wanted.display()
    ))
    .hint(format!(
        "apt install {package}, where the system has that; or let both machines run the same system"
    ))
}

pub(crate) fn missing_command(name: &str) -> UserError {
    let package = match name {
        "node" => "nodejs",
        "java" => "default-jre-headless",
        other => other,
    };
    UserError::new(format!("this release is started by '{name}', which is missing on this machine"))
        .hint(format!("apt install {package}, on that machine"))
}

pub(crate) fn other_program(link: &Path, wanted: &Path, found: &Path) -> UserError {
    UserError::new(format!(
        "this release needs '{}', but '{}' is '{}' on this machine",
        wanted.display(),
        link.display(),
        found.display()
    ))
    .hint("let both machines run the same system, or ask for a version that both have")
}

pub(crate) fn other_sandbox(jailed: bool) -> UserError {
    if jailed {
        UserError::new(
            "this release was built for the jail, and this machine has none, or is told not to use it",
        )
        .hint("piku doctor says what the jail needs; 'sandbox' in host.yaml is the same on both machines")
    } else {
        UserError::new("this release was built without the jail, and such releases are taken where host.yaml says 'sandbox: off'")
            .hint("piku doctor on the building machine says what the jail needs there")
    }
}

pub(crate) fn bound_to_its_place(layer: &str, mount: &Path) -> UserError {
    UserError::new(format!(
        "this release was built without the jail: its layer '{layer}' works at '{}' alone",
        mount.display()
    ))
    .hint("build where there is a jail, or keep everything in the same folders on both machines")
}

/// Combines problems into one error; `None` if there are none.
pub(crate) fn combine(problems: Vec<UserError>) -> Option<UserError> {
    let mut problems = problems.into_iter();
    let first = problems.next()?;
    Some(problems.fold(first, UserError::and))
}
