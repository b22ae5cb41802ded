//! Rules that explain failed installations of Python packages: by pip, uv, poetry and pipenv.

mod unbuilt_package;

use piku_files::TreeHandle;
use piku_report::user_error::UserError;

use crate::errors::failure_rule::{FailedStep, FailureRule};
use crate::errors::{GIT_REFUSED, ONLINE, PRIVATE_GIT, python, step_failed};
use crate::step::build_step::StepOutcome;
use unbuilt_package::{errors, explain_build_dependencies, find_missing, find_name, uv_errors};

/// The largest number of pip's own lines that are repeated.
const REPEATED: usize = 6;
/// pip's words in front of a requirement that no version meets.
const UNSATISFIED: &str = "Could not find a version that satisfies the requirement *(from ";
const BUILD_DEPENDENCIES: &str = "build dependencies";
const NO_VERSIONS: &[&str] = &["(from versions: none)"];
/// The largest file of requirements that is searched for a line, in bytes.
const LONGEST_FILE: u64 = 8 * 1024 * 1024;
/// The largest number of versions that are listed.
const LISTED: usize = 5;

const NETWORK: &[&str] = &[
    "Temporary failure in name resolution",
    "Name or service not known",
    "No address associated with hostname",
    "Network is unreachable",
    "No route to host",
    "Connection refused",
    "ConnectTimeoutError",
    "Read timed out",
    "Cannot connect to proxy",
];
const UNREACHABLE: &str = "pip cannot reach the package index: {pattern}";
const LINE_UNREACHABLE: &str = "pip cannot reach the package index: {line}";
const CLOCK: (&str, &[&str]) = (
    "pip does not trust the package index: its certificate is not yet valid, this machine's clock is wrong",
    &["set the clock: timedatectl set-ntp true"],
);
const CERTIFICATE: (&str, &[&str]) = (
    "pip does not trust the package index: this machine does not know the authority that signed its certificate",
    &[
        "if your site has its own authority: put its certificate into /usr/local/share/ca-certificates and run update-ca-certificates",
    ],
);
const OTHER_PYTHON: &[&str] =
    &["ask for an older version of the package, or for another Python in .python-version"];

const PIP: [FailureRule; 15] = [
    FailureRule::killed(&[
        "exit code: -9",
        "Killed signal terminated program",
        "died with <Signals.SIGKILL",
        "MemoryError",
    ]),
    FailureRule::no_space(&["No space left on device", "[Errno 28]", "Disk quota exceeded"]),
    FailureRule::new(&["CERTIFICATE_VERIFY_FAILED*not yet valid"], CLOCK.0, CLOCK.1),
    FailureRule::new(
        &["CERTIFICATE_VERIFY_FAILED", "certificate verify failed"],
        CERTIFICATE.0,
        CERTIFICATE.1,
    ),
    // After a retry that helped, pip found versions.
    FailureRule::new(NETWORK, UNREACHABLE, &[ONLINE]).unless(&[UNSATISFIED]),
    FailureRule::new(NETWORK, UNREACHABLE, &[ONLINE]).also(NO_VERSIONS),
    FailureRule::call(&[BUILD_DEPENDENCIES], explain_build_dependencies),
    FailureRule::call(&["ResolutionImpossible"], |step| Some(conflict(step))),
    FailureRule::new(
        &["Invalid requirement", "Could not open requirements file", "no such option:"],
        "pip cannot parse {file}: {line}",
        &["one requirement a line, such as 'flask>=3' or 'six==1.17.0'"],
    ),
    FailureRule::call(&[UNSATISFIED], unsatisfied),
    FailureRule::new(&["requires a different Python"], "{line}", OTHER_PYTHON),
    FailureRule::call(&["DO NOT MATCH THE HASHES", "In --require-hashes mode"], |step| {
        let told = step.lines.iter().map(|line| line.trim()).filter(|line| {
            line.starts_with("Expected sha")
                || line.starts_with("Got ")
                || line.contains("(from -r") && line.ends_with(':')
        });
        let told: Vec<_> = told.map(str::to_owned).collect();
        Some(python::bad_hashes(step.value("file"), &if told.is_empty() { errors(step) } else { told }))
    }),
    FailureRule::new(
        &["Cannot find command 'git'", "Cannot find command \"git\""],
        "{file} asks for a git repository, and the machine has no git",
        &["apt install git"],
    ),
    FailureRule::call(&["× git *did not run successfully"], |step| {
        let reason = step.line_with(&["fatal: ", "pathspec '"]).or_else(|| step.line_with(&["× git "]));
        let reason = reason.unwrap_or_default().trim();
        let file = step.value("file");
        Some(
            UserError::new(format!("{file} asks for a git repository that cannot be fetched: {reason}"))
                .hint("are its address and the branch, tag or commit behind '@' right?")
                .hint(PRIVATE_GIT),
        )
    }),
    FailureRule::call(&[""], |step| {
        let package = find_name(step)?;
        Some(python::build_failed(&package, find_missing(step).as_deref(), &errors(step)))
    }),
];

/// uv's words around the name of a package that did not build.
const UV_UNBUILT: [&str; 2] = ["Failed to build `*`", "Failed to download and build `*`"];

const UV: [FailureRule; 9] = [
    FailureRule::call(&["needs to be updated, but `--locked`", "Unable to find lockfile"], |_| {
        Some(python::stale_lock("uv.lock", "pyproject.toml", "uv lock"))
    }),
    FailureRule::new(
        &["is incompatible with the project's Python requirement", "No interpreter found"],
        "{line}",
        OTHER_PYTHON,
    ),
    FailureRule::new(
        &["Required uv version", "does not match the running version"],
        "{line}",
        &["the line 'UV_VERSION=…' in ENV asks for another one"],
    ),
    FailureRule::call(&["Hash mismatch for"], |step| {
        Some(python::bad_hashes("uv.lock", &uv_errors(&step.outcome.lines)))
    }),
    FailureRule::call(&UV_UNBUILT, |step| {
        let package = UV_UNBUILT.iter().find_map(|pattern| step.capture(pattern))?.replace("==", " ");
        Some(python::build_failed(&package, find_missing(step).as_deref(), &uv_errors(&step.outcome.lines)))
    }),
    FailureRule::new(GIT_REFUSED, "a git repository cannot be fetched: {line}", &[PRIVATE_GIT]),
    FailureRule::new(&["NotValidYet"], CLOCK.0, CLOCK.1),
    FailureRule::new(
        &["invalid peer certificate", "certificate verify failed"],
        CERTIFICATE.0,
        CERTIFICATE.1,
    ),
    FailureRule::new(
        &[
            "dns error",
            "error sending request",
            "tcp connect error",
            "Connection refused",
            "operation timed out",
            "client error (Connect)",
        ],
        LINE_UNREACHABLE,
        &[ONLINE],
    ),
];

const POETRY: [FailureRule; 3] = [
    FailureRule::call(&["changed significantly since poetry.lock", "poetry.lock is not up to date"], |_| {
        Some(python::stale_lock("poetry.lock", "pyproject.toml", "poetry lock"))
    }),
    FailureRule::new(&["All attempts to connect to"], LINE_UNREACHABLE, &[ONLINE]),
    FailureRule::new(
        &["is not allowed by the project", "is not supported by the project"],
        "{line}",
        OTHER_PYTHON,
    ),
];

/// Explains a failed step of pip. `file` declares the dependencies, in the app's `tree`.
pub(super) fn explain_pip(step: &str, outcome: &StepOutcome, tree: &TreeHandle, file: &str) -> UserError {
    let mut failed = FailedStep::new(step, outcome, without_prefix).with("file", file);
    failed.tree = Some(tree);
    if outcome.code == 137 {
        return failed.killed();
    }
    failed.explain(&PIP).unwrap_or_else(|| step_failed(step, outcome, &errors(&failed)))
}

pub(super) fn explain_uv(step: &str, outcome: &StepOutcome) -> UserError {
    let failed = FailedStep::new(step, outcome, without_tree);
    failed.explain(&UV).unwrap_or_else(|| step_failed(step, outcome, &uv_errors(&outcome.lines)))
}

pub(super) fn explain_poetry(step: &str, outcome: &StepOutcome) -> UserError {
    let failed = FailedStep::new(step, outcome, str::trim);
    failed.explain(&POETRY).unwrap_or_else(|| step_failed(step, outcome, &outcome.lines))
}

/// Returns why the dependencies do not accept the Python of the build, in the words of the tool.
pub(super) fn find_python_refusal(outcome: &StepOutcome) -> Option<String> {
    const REFUSALS: [&str; 4] = [
        "requires a different Python",
        "is incompatible with the project's Python requirement",
        "is not allowed by the project",
        "is not supported by the project",
    ];
    let step = FailedStep::new("", outcome, without_prefix);
    if let Some(line) = step.line_with(&REFUSALS) {
        return Some(line.to_owned());
    }
    let requirement = step.capture(UNSATISFIED)?.trim();
    Some(format!("{requirement}: {}", other_python(&step, requirement)?))
}

/// Returns whether the build of a package failed.
pub(super) fn is_failed_build(outcome: &StepOutcome) -> bool {
    let step = FailedStep::new("", outcome, without_prefix);
    find_name(&step).is_some() || step.has(&UV_UNBUILT)
}

fn without_prefix(line: &str) -> &str {
    let line = line.trim_end();
    let bare = line.trim_start();
    bare.strip_prefix("ERROR: ").or_else(|| bare.strip_prefix("error: ")).unwrap_or(line)
}

/// Removes the tree that uv draws in front of the causes of an error.
fn without_tree(line: &str) -> &str {
    line.trim_start_matches("error: ").trim_matches(|letter: char| !letter.is_alphanumeric() && letter != '`')
}

/// Returns the versions that meet a requirement and need another Python, which pip lists among those of all
/// others.
fn other_python(step: &FailedStep<'_>, requirement: &str) -> Option<String> {
    let all = step.capture("Ignored the following versions that require a different python version: *")?;
    let Some((_, exact)) = requirement.split_once("==") else {
        // Any version of a range may be meant.
        let newest: Vec<_> = all.rsplit("; ").take(LISTED).collect();
        return Some(newest.into_iter().rev().collect::<Vec<_>>().join("; "));
    };
    let exact = exact.trim_start_matches('=').trim();
    let is_exact = |one: &&str| one.split_once(' ').is_some_and(|(version, _)| version == exact);
    all.split("; ").find(is_exact).map(str::to_owned)
}

fn unsatisfied(step: &FailedStep<'_>) -> Option<UserError> {
    let file = step.value("file");
    let requirement = step.capture(UNSATISFIED)?.trim();
    if let Some((version, why)) = invalid_metadata(step) {
        return Some(python::invalid_metadata(file, requirement, &version, why));
    }
    let all = step.capture("(from versions: *)").unwrap_or_default().split(", ");
    let all: Vec<_> = all.filter(|version| !version.is_empty() && *version != "none").collect();
    let newest: Vec<_> =
        all[all.len().saturating_sub(LISTED)..].iter().map(|version| (*version).to_owned()).collect();
    let line = step.tree.and_then(|tree| find_line(tree, file, requirement));
    let other = other_python(step, requirement);
    Some(python::unsatisfiable(file, requirement, line, &newest, other.as_deref()))
}

/// Returns the version that pip ignored for its bad metadata, and why: afterwards it claims that there is no
/// such version.
fn invalid_metadata<'a>(step: &'a FailedStep<'_>) -> Option<(String, &'a str)> {
    let at = step.lines.iter().position(|line| line.contains("since it has invalid metadata"))?;
    let version = step.capture("Ignoring version * since")?;
    let why = step.lines[at + 1..].iter().map(|line| line.trim()).find(|line| !line.is_empty());
    let why = why.unwrap_or_default();
    let why = why.split_once("has invalid metadata: ").map_or(why, |(_, why)| why);
    Some((version.replacen(" of ", " of '", 1) + "'", why))
}

/// Returns the number, from 1, of the line that asks for the requirement.
fn find_line(tree: &TreeHandle, file: &str, requirement: &str) -> Option<usize> {
    let is_name = |letter: char| letter.is_alphanumeric() || "._-".contains(letter);
    let name: String = requirement.chars().take_while(|letter| is_name(*letter)).collect();
    let name = name.to_ascii_lowercase();
    let text = tree.read_text(file, LONGEST_FILE).ok()?;
    let asks = |line: &str| {
        let line = line.trim().to_ascii_lowercase();
        line.strip_prefix(&name).is_some_and(|rest| !rest.starts_with(is_name))
    };
    text.lines().position(asks).map(|at| at + 1)
}

fn conflict(step: &FailedStep<'_>) -> UserError {
    let mut lines = step.lines_with(&["because these package versions have conflicting"], REPEATED);
    let causes = step.lines.iter().skip_while(|line| !line.contains("The conflict is caused by")).skip(1);
    let causes = causes.take_while(|line| line.starts_with(' ')).take(REPEATED);
    lines.extend(causes.map(|line| format!("  {}", line.trim())));
    UserError::new(format!(
        "{} asks for packages that do not go together\n{}",
        step.value("file"),
        lines.join("\n")
    ))
    .hint("loosen one of the versions, try it with 'pip install -r requirements.txt' in a fresh virtualenv")
}

#[cfg(test)]
mod tests;
