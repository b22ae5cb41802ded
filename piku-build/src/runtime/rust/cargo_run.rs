//! `cargo run` in a Procfile: the program that it would build and start.

use std::path::PathBuf;

use piku_layout::jail::APP;

use super::manifest::{CargoBinary, CargoManifest};
use crate::app::app_source::normalize_path;
use crate::app::started_programs::StartedProgram;
use crate::plan::tool_commands::ToolCommand;

/// Options with a value that do not change which program runs.
const WITH_VALUE: [&str; 9] = [
    "--color",
    "--config",
    "--jobs",
    "--message-format",
    "--profile",
    "--target",
    "--target-dir",
    "-Z",
    "-j",
];
/// Options that choose features, with and without a value.
const FEATURES: [(&str, bool); 4] =
    [("--features", true), ("-F", true), ("--all-features", false), ("--no-default-features", false)];

/// The command `cargo run` with its options.
#[derive(Debug, Default, PartialEq, Eq)]
struct CargoRun {
    binary: Option<String>,
    package: Option<String>,
    /// Folder of the package, from `--manifest-path` or where the command starts.
    folder: Option<PathBuf>,
    /// True if it chooses other features than those of a build.
    has_features: bool,
    is_example: bool,
    /// Number of words in front of the program's arguments.
    words: usize,
}

/// Interprets a command of cargo for a release; `None` for other commands. `has_flags` is true if the app
/// sets flags of the build, which may name features.
pub(super) fn interpret(
    started: &StartedProgram,
    manifest: &CargoManifest,
    has_flags: bool,
) -> Option<ToolCommand> {
    if started.name() != "cargo" {
        return None;
    }
    let Some(run) = parse(started) else { return Some(ToolCommand::NeedsSources(None)) };
    if run.is_example {
        return Some(ToolCommand::NeedsSources(Some("examples are not built")));
    }
    if run.has_features && !has_flags {
        let why = "features of the build are set by RUST_CARGO_BUILD_FLAGS in ENV, such as '--features NAME'";
        return Some(ToolCommand::NeedsSources(Some(why)));
    }
    Some(match find(&run, manifest) {
        Some(binary) => ToolCommand::Runs { program: binary.name.clone(), words: run.words },
        None => ToolCommand::NeedsSources(None),
    })
}

/// Returns the program that a command runs by way of `cargo run`.
pub(super) fn find_binary<'a>(
    started: &StartedProgram,
    manifest: &'a CargoManifest,
) -> Option<&'a CargoBinary> {
    find(&parse(started).filter(|_| started.name() == "cargo")?, manifest)
}

/// Parses `cargo run`; `None` if it is another command of cargo.
fn parse(started: &StartedProgram) -> Option<CargoRun> {
    let words: Vec<&str> = started.words.iter().map(String::as_str).collect();
    let verb = words.iter().skip(1).position(|word| !word.starts_with(['-', '+']))? + 1;
    if !matches!(words[verb], "run" | "r") {
        return None;
    }
    let mut run = CargoRun { folder: started.folder.clone(), ..CargoRun::default() };
    let mut at = verb + 1;
    while let Some(word) = words.get(at) {
        if *word == "--" {
            at += 1;
            break;
        }
        if !word.starts_with('-') {
            break;
        }
        let (name, own) = word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
        let value = || own.or_else(|| words.get(at + 1).copied()).map(str::to_owned);
        let feature = FEATURES.iter().find(|(feature, _)| *feature == name);
        run.has_features |= feature.is_some();
        let mut has_value = WITH_VALUE.contains(&name) || feature.is_some_and(|(_, has_value)| *has_value);
        match name {
            "--bin" => run.binary = value(),
            "--package" | "-p" => run.package = value(),
            "--example" => run.is_example = true,
            "--manifest-path" => {
                let file = started.folder.clone().unwrap_or_default().join(value().unwrap_or_default());
                run.folder = file.parent().map(normalize_path);
            }
            _ => {}
        }
        has_value |= matches!(name, "--bin" | "--package" | "-p" | "--example" | "--manifest-path");
        at += if has_value && own.is_none() { 2 } else { 1 };
    }
    run.words = at.min(words.len());
    Some(run)
}

/// Finds the program as cargo chooses it.
fn find<'a>(run: &CargoRun, manifest: &'a CargoManifest) -> Option<&'a CargoBinary> {
    let folder = run.folder.as_deref().map(|folder| folder.strip_prefix(APP).unwrap_or(folder));
    let is_below = folder.is_some_and(|folder| !folder.as_os_str().is_empty());
    let in_package = |binary: &&CargoBinary| match (&run.package, folder) {
        (Some(package), _) => binary.package == *package,
        (None, Some(folder)) if is_below => binary.folder == folder,
        _ => binary.default,
    };
    let found: Vec<_> = match &run.binary {
        Some(name) => {
            let called: Vec<_> = manifest.binaries.iter().filter(|binary| binary.name == *name).collect();
            match called.as_slice() {
                [_] => called,
                _ => called.into_iter().filter(in_package).collect(),
            }
        }
        None => manifest.binaries.iter().filter(in_package).collect(),
    };
    match found.as_slice() {
        [only] => Some(only),
        _ => found.into_iter().find(|binary| manifest.default_run.as_ref() == Some(&binary.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::started_programs::find_started;

    fn binary(name: &str, package: &str, folder: &str, default: bool) -> CargoBinary {
        CargoBinary {
            name: name.to_owned(),
            package: package.to_owned(),
            version: None,
            folder: folder.into(),
            default,
        }
    }

    #[test]
    fn the_program_that_cargo_would_run() {
        let mut manifest = CargoManifest {
            binaries: vec![
                binary("shop", "shop", "", true),
                binary("seed", "shop", "", true),
                binary("jobs", "jobs", "crates/jobs", false),
                binary("admin", "tools", "crates/tools", false),
                binary("seed", "tools", "crates/tools", false),
            ],
            default_run: Some("shop".to_owned()),
            ..CargoManifest::default()
        };
        let meant = |manifest: &CargoManifest, command: &str| {
            let started = find_started(command).pop().unwrap();
            match interpret(&started, manifest, false) {
                Some(ToolCommand::Runs { program, words }) => {
                    format!("{program} {}", started.words[words..].join(" "))
                }
                Some(ToolCommand::NeedsSources(why)) => why.unwrap_or("refused").to_owned(),
                None => "none".to_owned(),
            }
        };
        for (command, expected) in [
            ("cargo run", "shop "),
            ("cargo run --release -- --port $PORT", "shop --port $PORT"),
            ("cargo +nightly r -q -j 2 serve -x", "shop serve -x"),
            ("cargo run --bin seed", "seed "),
            ("cargo run --release --bin=admin -- x", "admin x"),
            ("cargo run -p jobs", "jobs "),
            ("cargo run -p tools --bin seed", "seed "),
            ("cargo run --manifest-path crates/jobs/Cargo.toml", "jobs "),
            ("cd crates/jobs && cargo run", "jobs "),
            ("cargo run -p tools", "refused"),
            ("cargo run --bin none", "refused"),
            ("cargo build", "refused"),
            ("cargo", "refused"),
            ("cargo run --example demo", "examples are not built"),
            ("./cargo-run", "none"),
        ] {
            assert_eq!(meant(&manifest, command), expected, "{command}");
        }
        assert!(meant(&manifest, "cargo run -F tls").contains("RUST_CARGO_BUILD_FLAGS"));
        manifest.default_run = None;
        assert_eq!(meant(&manifest, "cargo run"), "refused");
    }
}
