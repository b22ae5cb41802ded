//! Why pip failed. Its output says so somewhere in the middle, behind retries, notices and tracebacks; this finds the reason.

use piku_files::TreeHandle;
use piku_report::user_error::UserError;

use crate::errors;
use crate::step::build_step::StepOutcome;

/// How many of pip's own lines are repeated when nothing better is known.
const REPEATED: usize = 6;

/// What pip says in front of a requirement that nothing answers.
const UNSATISFIED: &str = "Could not find a version that satisfies the requirement ";
/// A file of requirements is never longer.
const LONGEST_FILE: u64 = 8 * 1024 * 1024;
/// How many versions are listed.
const LISTED: usize = 5;

/// What a process prints that the kernel took the memory from, or one whose child it was.
const KILLED: [&str; 4] =
    ["exit code: -9", "Killed signal terminated program", "died with <Signals.SIGKILL", "MemoryError"];
const NO_SPACE: [&str; 3] = ["No space left on device", "[Errno 28]", "Disk quota exceeded"];
const NETWORK: [&str; 9] = [
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
/// What a compiler or a build script misses, and the Debian package that brings it.
const MISSING: [(&str, &str); 11] = [
    ("pg_config executable not found", "apt install libpq-dev, or use psycopg2-binary"),
    ("mysql_config", "apt install default-libmysqlclient-dev"),
    ("Python.h: No such file", "apt install python3-dev"),
    ("ffi.h: No such file", "apt install libffi-dev"),
    ("libxml/", "apt install libxml2-dev libxslt1-dev"),
    ("jpeglib.h", "apt install libjpeg-dev"),
    ("openssl/", "apt install libssl-dev"),
    ("cargo, the Rust package manager, is not installed", "apt install cargo"),
    ("can't find Rust compiler", "apt install rustc cargo"),
    ("cmake: not found", "apt install cmake"),
    ("gcc", "apt install build-essential python3-dev"),
];

/// The reason of a failed step, as its author is told. `tree` is the app's folder, `file` what in it says the dependencies.
pub(super) fn explain(step: &str, ended: &StepOutcome, tree: &TreeHandle, file: &str) -> UserError {
    let lines = &ended.lines;
    let any =
        |needles: &[&str]| lines.iter().rev().find(|line| needles.iter().any(|needle| line.contains(needle)));
    if ended.code == 137 || any(&KILLED).is_some() {
        // It was, or a compiler that it had started.
        return killed(step, ended);
    }
    if any(&NO_SPACE).is_some() {
        return errors::no_space(step);
    }
    if let Some(line) = any(&["CERTIFICATE_VERIFY_FAILED", "certificate verify failed"]) {
        return errors::python::bad_certificate(line.contains("not yet valid"));
    }
    let unsatisfied = between(lines, UNSATISFIED, "(from ");
    if let Some(reason) = NETWORK.iter().find(|needle| any(&[needle]).is_some()) {
        // A retry that helped is no reason; pip found versions then.
        if unsatisfied.is_none() || any(&["(from versions: none)"]).is_some() {
            return errors::python::no_network(reason);
        }
    }
    if any(&["ResolutionImpossible"]).is_some() {
        return errors::python::conflict(file, &conflict(lines));
    }
    if let Some(line) = any(&["Invalid requirement", "Could not open requirements file", "no such option:"]) {
        return errors::python::bad_requirement(file, error(line));
    }
    if let Some(requirement) = unsatisfied {
        if let Some((version, why)) = invalid(lines) {
            return errors::python::invalid_metadata(file, &requirement, &version, &why);
        }
        let python = other_python(lines, &requirement);
        return errors::python::unsatisfiable(
            file,
            &requirement,
            place(tree, file, &requirement),
            &versions(lines),
            python.as_deref(),
        );
    }
    if let Some(line) = any(&["requires a different Python"]) {
        return errors::python::other_python(error(line));
    }
    if any(&["DO NOT MATCH THE HASHES", "In --require-hashes mode"]).is_some() {
        return errors::python::bad_hashes(file, &hashes(lines));
    }
    if any(&["Cannot find command 'git'", "Cannot find command \"git\""]).is_some() {
        return errors::python::no_git(file);
    }
    let failed = |line: &&String| line.contains("× git ") && line.contains("did not run successfully");
    if let Some(line) = lines.iter().find(failed) {
        let said = any(&["fatal: ", "error: pathspec"]).unwrap_or(line);
        return errors::python::no_repository(file, said.trim());
    }
    if let Some(package) = unbuilt(lines) {
        return errors::python::build_failed(&package, missing(lines), &errors(lines));
    }
    errors::step_failed(step, ended, &errors(lines))
}

/// What of the dependencies does not go with this Python, in words of whoever says so.
pub(super) fn refuses_python(lines: &[String]) -> Option<String> {
    const REFUSALS: [&str; 4] = [
        "requires a different Python",
        "is incompatible with the project's Python requirement",
        "is not allowed by the project",
        "is not supported by the project",
    ];
    let said = lines.iter().find(|line| REFUSALS.iter().any(|needle| line.contains(needle)));
    if let Some(line) = said {
        return Some(error(line).trim_start_matches("error: ").to_owned());
    }
    let requirement = between(lines, UNSATISFIED, "(from ")?;
    Some(format!("{requirement}: {}", other_python(lines, &requirement)?))
}

/// The versions that answer this requirement and need another Python, as pip lists them beside all others that do. Of a range
/// any may be meant.
fn other_python(lines: &[String], requirement: &str) -> Option<String> {
    let all = between(lines, "Ignored the following versions that require a different python version: ", "")?;
    let Some((_, exact)) = requirement.split_once("==") else {
        let newest: Vec<_> = all.rsplit("; ").take(LISTED).collect();
        return Some(newest.into_iter().rev().collect::<Vec<_>>().join("; "));
    };
    let exact = exact.trim_start_matches('=').trim();
    let own = |one: &&str| one.split_once(' ').is_some_and(|(version, _)| version == exact);
    all.split("; ").find(own).map(str::to_owned)
}

/// It was, or a compiler that it had started.
fn killed(step: &str, ended: &StepOutcome) -> UserError {
    errors::step_failed(step, &StepOutcome { code: 137, lines: Vec::new(), ..*ended }, &[])
}

/// What brings the thing that a compiler or a build script misses, where that is known.
pub(super) fn missing(lines: &[String]) -> Option<&'static str> {
    let about = |needle: &str| lines.iter().any(|line| line.contains(needle) && is_about_missing(line));
    MISSING.iter().find(|(needle, _)| about(needle)).map(|(_, mend)| *mend)
}

/// The version that pip passed over for its bad description, and why: it says so, and then that there is no such version.
fn invalid(lines: &[String]) -> Option<(String, String)> {
    let at = lines.iter().position(|line| line.contains("since it has invalid metadata"))?;
    let version = lines[at].split_once("Ignoring version ")?.1.split(" since").next()?;
    let why =
        lines[at + 1..].iter().map(|line| line.trim()).find(|line| !line.is_empty()).unwrap_or_default();
    let why = why.split_once("has invalid metadata: ").map_or(why, |(_, why)| why);
    Some((version.replacen(" of ", " of '", 1) + "'", why.to_owned()))
}

/// What hashes pip wanted and which it got, beside its errors.
fn hashes(lines: &[String]) -> Vec<String> {
    let about = |line: &&String| {
        let line = line.trim();
        ["Expected sha", "Got "].iter().any(|front| line.starts_with(front))
            || line.contains("(from -r") && line.ends_with(':')
    };
    let told: Vec<String> = lines.iter().filter(about).map(|line| line.trim().to_owned()).collect();
    if told.is_empty() { errors(lines) } else { told }
}

/// A compiler's name stands in many good lines too.
fn is_about_missing(line: &str) -> bool {
    ["not found", "No such file", "not installed", "failed", "can't find", "cannot find"]
        .iter()
        .any(|needle| line.contains(needle))
}

/// The text of the first line behind `front`, up to `end`.
fn between(lines: &[String], front: &str, end: &str) -> Option<String> {
    let rest = lines.iter().find_map(|line| line.split_once(front).map(|(_, rest)| rest))?;
    let rest = if end.is_empty() { rest } else { rest.split(end).next().unwrap_or(rest) };
    Some(rest.trim().to_owned())
}

/// A line without pip's own front.
fn error(line: &str) -> &str {
    line.trim().trim_start_matches("ERROR: ")
}

/// What pip itself calls an error, or else its last lines.
fn errors(lines: &[String]) -> Vec<String> {
    let skip = ["subprocess-exited-with-error", "note: This error"];
    let told: Vec<String> = lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| {
            line.starts_with("ERROR: ") || line.starts_with("error: ") || line.contains("fatal error: ")
        })
        .filter(|line| !skip.iter().any(|needle| line.contains(needle)))
        .map(|line| error(line).to_owned())
        .collect();
    let kept = if told.is_empty() {
        lines.iter().filter(|line| !line.trim().is_empty()).cloned().collect()
    } else {
        told
    };
    kept[kept.len().saturating_sub(REPEATED)..].to_vec()
}

/// The lines that say who wants what.
fn conflict(lines: &[String]) -> Vec<String> {
    let mut told: Vec<String> = lines
        .iter()
        .filter(|line| line.contains("because these package versions have conflicting"))
        .map(|line| error(line).to_owned())
        .collect();
    let wanted = lines.iter().skip_while(|line| !line.contains("The conflict is caused by")).skip(1);
    told.extend(
        wanted
            .take_while(|line| line.starts_with(' '))
            .take(REPEATED)
            .map(|line| format!("  {}", line.trim())),
    );
    told
}

/// The newest versions that the index has, oldest first.
fn versions(lines: &[String]) -> Vec<String> {
    let all = between(lines, "(from versions: ", ")").unwrap_or_default();
    let all: Vec<String> = all
        .split(", ")
        .filter(|version| !version.is_empty() && *version != "none")
        .map(str::to_owned)
        .collect();
    all[all.len().saturating_sub(LISTED)..].to_vec()
}

/// The line of the file that asks for it, from 1.
fn place(tree: &TreeHandle, file: &str, requirement: &str) -> Option<usize> {
    let name: String =
        requirement.chars().take_while(|c| c.is_alphanumeric() || "._-".contains(*c)).collect();
    let text = tree.read_text(file, LONGEST_FILE).ok()?;
    let asks = |line: &str| {
        let line = line.trim().to_ascii_lowercase();
        line.strip_prefix(&name.to_ascii_lowercase())
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || "._-".contains(c)))
    };
    text.lines().position(asks).map(|at| at + 1)
}

/// Whether it was the build of a package that failed.
pub(super) fn is_build(lines: &[String]) -> bool {
    unbuilt(lines).is_some() || lines.iter().any(|line| line.contains("Failed to build `"))
}

/// The package that did not build.
fn unbuilt(lines: &[String]) -> Option<String> {
    between(lines, "Failed building wheel for ", "")
        .or_else(|| between(lines, "Failed to build ", ""))
        .or_else(|| between(lines, "Could not build wheels for ", ","))
        .or_else(|| {
            // The name is not in the error itself then: it was the last one collected.
            let failed = lines.iter().any(|line| {
                ["metadata-generation-failed", "subprocess-exited-with-error", "egg_info did not run"]
                    .iter()
                    .any(|n| line.contains(n))
            });
            let last = lines.iter().rev().find_map(|line| {
                let line = line.trim();
                line.strip_prefix("Collecting ").or_else(|| line.strip_prefix("Processing "))
            });
            last.filter(|_| failed).map(|name| name.split(" (from").next().unwrap_or(name).trim().to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, code: i32) -> String {
        let lines = text.lines().map(str::to_owned).collect();
        let ended = StepOutcome { code, lines, out_of_memory: false, peak: 400_000_000 };
        let dir = tempfile::tempdir().unwrap();
        let tree = TreeHandle::open(dir.path()).unwrap();
        explain("pip", &ended, &tree, "requirements.txt").to_string()
    }

    #[test]
    fn only_the_version_that_was_asked_for_needs_another_python() {
        let told = |requirement: &str| {
            let text = format!(
                "ERROR: Ignored the following versions that require a different python version: 1.21.2 Requires-Python \
                 >=3.7,<3.11; 2.5.0 Requires-Python >=3.12\nERROR: Could not find a version that satisfies the requirement \
                 {requirement} (from versions: 1.19.5, 1.26.4)\n"
            );
            refuses_python(&text.lines().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(
            told("numpy==1.21.2").as_deref(),
            Some("numpy==1.21.2: 1.21.2 Requires-Python >=3.7,<3.11")
        );
        assert_eq!(told("numpy==99"), None);
        assert!(told("numpy>=2.5").is_some_and(|told| told.contains("2.5.0 Requires-Python >=3.12")));
    }

    #[test]
    fn finds_the_reason() {
        let no_version = "Collecting six\nERROR: Could not find a version that satisfies the requirement six==99 \
                          (from -r requirements.txt (line 1)) (from versions: 1.0, 1.1)\nERROR: No matching distribution found for six==99\n";
        assert!(told(no_version, 1).contains("there is no 'six==99'"), "{}", told(no_version, 1));
        let offline = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(': Failed to \
                       establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/six/\n\
                       ERROR: Could not find a version that satisfies the requirement six (from versions: none)\n";
        assert!(told(offline, 1).contains("Temporary failure in name resolution"), "{}", told(offline, 1));
        let conflict = "ERROR: Cannot install a==1 and b==2 because these package versions have conflicting dependencies.\n\n\
                        The conflict is caused by:\n    a 1 depends on c<1\n    b 2 depends on c>2\n\nTo fix this you could try to:\n\
                        ERROR: ResolutionImpossible: for help visit x\n";
        let conflict = told(conflict, 1);
        assert!(conflict.contains("a==1 and b==2") && conflict.contains("b 2 depends on c>2"), "{conflict}");
        assert!(!conflict.contains("To fix"), "{conflict}");
        for (text, code, reason) in [
            ("Collecting numpy\n", 137, "killed"),
            ("gcc: fatal error: Killed signal terminated program cc1\n", 1, "killed"),
            (
                "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
                1,
                "no space left",
            ),
            ("ERROR: Invalid requirement: 'foo bar' (from line 1 of requirements.txt)\n", 1, "foo bar"),
            (
                "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate is not yet valid\n",
                1,
                "clock",
            ),
            ("ERROR: Package 'x' requires a different Python: 3.11.2 not in '>=3.13'\n", 1, ">=3.13"),
            (
                "Collecting x\n  error: command 'gcc' failed: No such file or directory\n  ERROR: Failed building wheel for x\n",
                1,
                "'x' could not be built",
            ),
            (
                "Collecting textract==1.6.5 (from -r requirements.txt (line 1))\n\
                 WARNING: Ignoring version 1.6.5 of textract since it has invalid metadata:\n\
                 Requested textract==1.6.5 from x has invalid metadata: .* suffix can only be used with `==` or `!=` operators\n\
                 \x20   extract-msg (<=0.29.*)\nPlease use pip<24.1 if you need to use this version.\n\
                 ERROR: Could not find a version that satisfies the requirement textract==1.6.5 (from versions: 1.0)\n\
                 ERROR: No matching distribution found for textract==1.6.5\n",
                1,
                "pip passes over version 1.6.5 of 'textract', whose metadata is invalid: .* suffix can only",
            ),
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated\n\
                 \x20   six==1.17.0 from x (from -r requirements.txt (line 1)):\n\
                 \x20       Expected sha256 00\n             Got        47\n",
                1,
                "Expected sha256 00\nGot        47",
            ),
            (
                "Collecting git+https://h/x.git (from -r requirements.txt (line 1))\n  Running command git clone -q https://h/x.git\n\
                 \x20 fatal: unable to access 'https://h/x.git/': Failed to connect\n  error: subprocess-exited-with-error\n\
                 \x20 × git clone --filter=blob:none --quiet https://h/x.git /build/tmp/x did not run successfully.\n",
                1,
                "a git repository that cannot be fetched: fatal: unable to access 'https://h/x.git/'",
            ),
            ("something\nelse\n", 3, "exit code 3"),
        ] {
            assert!(told(text, code).contains(reason), "{text} -> {}", told(text, code));
        }
    }
}
