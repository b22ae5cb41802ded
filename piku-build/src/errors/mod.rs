//! The texts of all errors for the author of an app: what was found, what was expected, what to do. Each
//! runtime has a file.

pub(crate) mod buildpack;
pub(crate) mod detection;
pub(crate) mod failure_rule;
pub(crate) mod files;
pub(crate) mod go;
pub(crate) mod image;
pub(crate) mod java;
pub(crate) mod layers;
pub(crate) mod node;
pub(crate) mod pack;
pub(crate) mod process_start;
pub(crate) mod python;
pub(crate) mod ruby;
pub(crate) mod rust;

use std::fmt::Write;
use std::path::Path;

use piku_chroot::jail::TrialError;
use piku_files::free_space;
use piku_files::{FileKind, TreeError};
use piku_layout::settings::Protection;
use piku_procfile::procfile::ProcfileEntry;
use piku_report::user_error::UserError;

use crate::plan::programs::BuiltProgram;
use crate::step::build_step::StepOutcome;

/// The reason why a request for a version is malformed, where the language has no better one.
const NOT_A_VERSION: &str = "it is not a version";
/// The hint for a tool that cannot reach the server of its packages.
pub(crate) const ONLINE: &str =
    "is the machine online? behind a proxy, set HTTPS_PROXY in build_env of host.yaml; then push again";
/// The hint for a git repository that a build cannot fetch.
pub(crate) const PRIVATE_GIT: &str = "a private one needs a deploy key: give its public half to the repository, and its private half to the builds: config:set APP DEPLOY_KEY=$(base64 -w0 < KEY); see docs/runtimes.md";
/// Output of git and ssh for a repository that needs a key, or a program that is missing.
pub(crate) const GIT_REFUSED: &[&str] = &[
    "Permission denied (publickey",
    "could not read Username",
    "Host key verification failed",
    "Repository not found",
    "terminal prompts disabled",
    "cannot run ssh",
];
/// The largest number of names in a list.
const SHOWN: usize = 12;

/// Formats a size in the units of disks: `64 MB`.
pub(crate) fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut whole = bytes.div_ceil(1000);
    let mut unit = 0;
    while whole >= 10_000 && unit + 1 < UNITS.len() {
        whole = whole.div_ceil(1000);
        unit += 1;
    }
    format!("{whole} {}", UNITS[unit])
}

/// Joins names with commas and counts those beyond the first twelve.
pub(crate) fn join_names(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        let _ = write!(text, " and {} more", names.len() - SHOWN);
    }
    text
}

/// Returns an error whose message is followed by lines of a tool's output.
pub(crate) fn with_lines(message: impl Into<String>, lines: &[String]) -> UserError {
    UserError::new(lines.iter().fold(message.into(), |text, line| text + "\n  " + line))
}

/// A setting of the app made the compiler build for another architecture than the release's.
pub(crate) fn other_target(program: &str, its: &str, wanted: &str) -> UserError {
    UserError::new(format!("the build made '{program}' for {its}, and the release is for {wanted}"))
        .hint("does ENV or a configuration file of the app name an architecture? leave that to the build")
}

/// Packages contain native code for this machine, and the release is for another.
pub(crate) fn foreign_packages(packages: &[String], target: &str) -> UserError {
    UserError::new(format!(
        "native code that was built for this machine does not run on {target}: {}",
        join_names(packages)
    ))
    .hint("push to that machine directly: it builds these packages itself")
}

// Errors about the app's folder.

/// The app names a runtime that does not exist.
pub(crate) fn unknown_runtime(from: &str, name: &str, known: &[String]) -> UserError {
    UserError::new(format!("{from} asks for the runtime '{name}'; there are {}", join_names(known)))
        .hint("PIKU_RUNTIMES=node,python names several, and overrides RUNTIME if that is a variable of the app itself")
}

/// The runtime has no default process types.
pub(crate) fn no_procfile(runtime: &str) -> UserError {
    UserError::new(format!("the app has no Procfile, and the runtime {runtime} has no default process types"))
        .hint("add a file 'Procfile' with a line for each process, such as 'web: ./server --port $PORT'")
}

/// A process type starts a compiler's tool, and no built program does the same. `why` says more, if it is not
/// obvious.
pub(crate) fn needs_sources(
    entry: &ProcfileEntry,
    command: &[String],
    programs: &[BuiltProgram],
    why: Option<&'static str>,
) -> UserError {
    let first =
        programs.first().map_or_else(String::new, |program| program.release_path().display().to_string());
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    UserError::new(format!(
        "Procfile: {}: '{}' needs the app's sources, which are not in a release{why}; the build makes {}",
        entry.name,
        command.join(" "),
        join_names(&program_paths(programs))
    ))
    .hint(format!("start what the build makes: '{}: {first}'", entry.name))
}

/// A process type starts a built program in place of a compiler's tool.
pub(crate) fn tool_command_replaced(entry: &ProcfileEntry, replaced: &str, command: &str) -> String {
    let schedule = entry.schedule.as_ref().map_or_else(String::new, |schedule| format!("{schedule} "));
    format!(
        "Procfile: {name}: '{replaced}' needs the app's sources, which are not in a release: the program that is built \
         is started instead, as the line '{name}: {schedule}{command}' does",
        name = entry.name
    )
}

/// Returns the program that is most likely the server, as the example of a hint: one called so, one whose
/// name all others begin with, or the first.
pub(crate) fn likely_program(programs: &[String]) -> &str {
    let called = ["web", "server", "api", "http"]
        .iter()
        .find_map(|word| programs.iter().find(|name| name.split(['-', '_']).any(|part| part == *word)));
    let shared =
        || programs.iter().find(|name| programs.iter().all(|other| other.starts_with(name.as_str())));
    called.or_else(shared).or(programs.first()).map_or("app", String::as_str)
}

/// Adds the programs that the build has made to an error about what cannot start.
pub(crate) fn with_built_programs(failure: UserError, programs: &[BuiltProgram]) -> UserError {
    if programs.is_empty() {
        return failure;
    }
    failure.hint(format!("the build has made {}", join_names(&program_paths(programs))))
}

fn program_paths(programs: &[BuiltProgram]) -> Vec<String> {
    programs.iter().map(|program| program.release_path().display().to_string()).collect()
}

/// The app is recognised, but a tool is missing on the machine. `what` is `a Java app`.
pub(crate) fn missing_tool(what: &str, tool: &str) -> UserError {
    let failure =
        UserError::new(format!("this is {what}, recognised, but '{tool}' is missing on this machine"));
    match process_start::package_of_program(tool) {
        Some(package) => failure.hint(format!("on the machine: apt install {package}")),
        None => failure.hint(format!("install it so that '{tool}' is in /usr/local/bin or /usr/bin")),
    }
}

/// `APP_DIR` is not a folder that can be the app.
pub(crate) fn bad_app_dir(value: &str, from: &str, why: &str) -> UserError {
    UserError::new(format!("APP_DIR in {from} is '{value}': {why}"))
        .hint("APP_DIR names a folder of the repository, such as APP_DIR=backend")
}

pub(crate) fn leads_out(name: &Path) -> UserError {
    UserError::new(format!("'{}' leads out of the app's folder", name.display()))
        .hint("put a copy of the file into the repository")
}

pub(crate) fn dangling(name: &Path) -> UserError {
    UserError::new(format!("'{}' is a link to nothing", name.display()))
        .hint("commit the file that it points at, or the file itself")
}

pub(crate) fn link_in_circle(name: &Path, why: &TreeError) -> UserError {
    let why = std::error::Error::source(why).map_or_else(String::new, ToString::to_string);
    UserError::new(format!("'{}' is a link that cannot be followed: {why}", name.display()))
        .hint("commit the file itself")
}

pub(crate) fn not_a_file(name: &Path, kind: FileKind) -> UserError {
    UserError::new(format!("'{}' is not a file: it is {}", name.display(), kind.name()))
        .hint("put a regular file there, or nothing")
}

pub(crate) fn not_a_folder(name: &Path, kind: FileKind) -> UserError {
    UserError::new(format!("'{}' is not a folder: it is {}", name.display(), kind.name()))
        .hint("the build puts files there: let its steps leave a folder, or nothing")
}

pub(crate) fn huge_file(name: &Path, bytes: u64, most: u64) -> UserError {
    UserError::new(format!(
        "'{}' has {}, more than {}",
        name.display(),
        format_size(bytes),
        format_size(most)
    ))
    .hint("what piku reads itself is a small text: is it the right file?")
}

/// An app with a Procfile has the file of a language that piku does not build.
pub(crate) fn not_built(file: &str, apps: &str) -> String {
    format!(
        "'{file}' is not read: piku builds no {apps}; commit what your machine builds, or name a classic buildpack: BUILDPACK_URL in ENV"
    )
}

/// An app has more files that determine its build than a build reads.
pub(crate) fn too_much_to_read(name: &Path, files: usize, bytes: usize) -> UserError {
    UserError::new(format!(
        "'{}': before its first step a build reads at most {files} files and folders of an app, and {}",
        name.display(),
        format_size(bytes as u64)
    ))
    .hint("are the results of a build committed, or packages? Remove them from the repository")
}

/// A build step left a link that leads piku's writes out of the app's folder.
pub(crate) fn placed_outside(name: &Path) -> UserError {
    UserError::new(format!(
        "'{}' leads out of the app's folder: nothing is written through a link that a build step has left",
        name.display()
    ))
    .hint("let the step make a folder there, or a link to one inside the app that is relative")
}

// Errors about the machine.

pub(crate) fn no_jail(err: &TrialError) -> UserError {
    let failure = UserError::new(format!("this machine's settings require the jail: {err}"));
    err.hints().iter().fold(failure, UserError::hint)
}

/// The machine made jails when piku was installed.
pub(crate) fn lost_jail(err: &TrialError) -> UserError {
    let failure = UserError::new(format!("this machine made jails before and no longer does: {err}"));
    err.hints().iter().fold(failure, UserError::hint).hint(AGAIN)
}

/// The jail lacks protections that it had when piku was installed.
pub(crate) fn lost_protections(lost: &[Protection]) -> UserError {
    let names: Vec<_> = lost.iter().map(|one| one.name()).collect();
    let what = format!("the jail has lost protections that this machine had before: {}", names.join(", "));
    UserError::new(what).hint("piku doctor says why, and how to fix it").hint(AGAIN)
}

/// The hint for an operator who changed the machine on purpose.
const AGAIN: &str = "if that is intended, record it: sudo piku doctor --record";

pub(crate) fn output_exists(path: &Path) -> UserError {
    UserError::new(format!("'{}' already exists", path.display()))
        .hint("a release is never overwritten: name a folder that does not exist yet")
}

/// A step failed, and no runtime has a better explanation. The last of `lines` are repeated, which were not
/// shown yet.
pub(crate) fn step_failed(name: &str, ended: &StepOutcome, lines: &[String]) -> UserError {
    const KILLED: i32 = 128 + 9;
    if ended.code == KILLED {
        return if ended.out_of_memory { out_of_memory(name, ended.peak) } else { killed(name, ended.peak) };
    }
    let mut text = format!("step '{name}' failed with exit code {}", ended.code);
    let last = lines.iter().filter(|line| !line.trim().is_empty()).rev().take(5).collect::<Vec<_>>();
    for line in last.into_iter().rev() {
        let _ = write!(text, "\n  {line}");
    }
    UserError::new(text)
}

/// A link or a file has the name of the folder for profile scripts.
pub(crate) fn profile_is_no_folder(name: &str, kind: FileKind) -> UserError {
    UserError::new(format!(
        "'{name}' is {}; expected a folder of the app, with files that a shell reads before each command",
        kind.name()
    ))
    .hint(format!("commit the folder itself: git rm {name}"))
}

/// A step needed more memory than the operator allows builds: in total if a cgroup counted its `peak`, else
/// in one process.
pub(crate) fn beyond_memory(name: &str, peak: Option<u64>, memory: &str) -> UserError {
    let what = match peak {
        // In the units of the limit.
        Some(peak) => {
            format!("step '{name}' ran out of memory at {}; it may have {memory}", free_space::size(peak))
        }
        None => format!("step '{name}' ran out of memory; each of its processes may have {memory}"),
    };
    UserError::new(what)
        .hint("build_memory in host.yaml sets how much memory a build may use; by default, what is available")
}

/// The hint for a machine whose memory is used up.
const MORE_MEMORY: &str = "give the machine swap (sudo apt-get install systemd-zram-generator) or more memory, use packages that need no compiling, \
    or build on another machine (deploy_to in its host.yaml)";

pub(crate) fn out_of_memory(name: &str, peak: u64) -> UserError {
    UserError::new(format!("out of memory: the kernel killed step '{name}', which had {}", format_size(peak)))
        .hint(MORE_MEMORY)
}

pub(crate) fn killed(name: &str, peak: u64) -> UserError {
    UserError::new(format!(
        "step '{name}' was killed, most likely out of memory; its largest process had {}",
        format_size(peak)
    ))
    .hint(MORE_MEMORY)
}

pub(crate) fn no_space(name: &str) -> UserError {
    UserError::new(format!("no space left on the disk during step '{name}'"))
        .hint("remove old releases or apps, or make the disk larger")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(format_size(1), "1 kB");
        assert_eq!(format_size(9_999_000), "9999 kB");
        assert_eq!(format_size(64_000_000), "64 MB");
        assert_eq!(format_size(u64::MAX), "18446745 TB");
    }

    #[test]
    fn examples_are_servers() {
        for (names, expected) in [
            (&["bin-ctl", "bin", "bin-tool"][..], "bin"),
            (&["seed", "shop-server"], "shop-server"),
            (&["migrate", "web"], "web"),
            (&["a", "b"], "a"),
            (&[], "app"),
        ] {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(likely_program(&names), expected);
        }
    }

    #[test]
    fn long_lists_end() {
        let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert!(join_names(&names).ends_with("and 8 more"));
        assert_eq!(join_names(&names[..2]), "0, 1");
    }
}
