//! The package that could not be built, in the output of pip 23 to 26 and of uv, and the reason that its
//! build gave.

use piku_report::user_error::UserError;

use crate::errors::failure_rule::FailedStep;
use crate::errors::python;

/// The largest number of lines that are repeated.
const REPEATED: usize = 6;
/// pip's words around the name of a package that did not build, the most exact first.
const NAMED: [&str; 7] = [
    "Failed to build '*' when ",
    "Failed building wheel for *",
    "× Running setup.py install for * did not run",
    "× installing build dependencies for * did not run",
    "× Building wheel for * (",
    "Could not build wheels for *,",
    "Failed to build *",
];
/// pip's names of kinds of failures, each followed by the package if pip knows it.
const KINDS: [&str; 4] = [
    "legacy-install-failure",
    "metadata-generation-failed",
    "failed-wheel-build-for-install",
    "subprocess-exited-with-error",
];
/// The end of what a build has printed, which pip frames. pip may have run in there itself.
const FRAME: (&str, &str) = (" lines of output]", "[end of output]");

/// A tool or library that a compiler or a build script lacks, and the Debian package that brings it.
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
    ("pkg-config: not found", "apt install pkg-config"),
];
/// Signs that there is no compiler at all.
const NO_COMPILER: [&str; 4] =
    ["gcc' failed: No such file", "gcc: not found", "cc: not found", "Unknown compiler(s)"];

/// Returns pip's own lines, without those that the build of a package has printed.
pub(super) fn outer_lines<'a>(step: &FailedStep<'a>) -> Vec<&'a str> {
    let mut depth = 0_usize;
    let is_outer = |line: &&&str| {
        depth += usize::from(line.ends_with(FRAME.0));
        let is_outer = depth == 0;
        depth -= usize::from(line.trim() == FRAME.1).min(depth);
        is_outer
    };
    step.lines.iter().filter(is_outer).copied().collect()
}

/// Returns the package that did not build.
pub(super) fn find_name(step: &FailedStep<'_>) -> Option<String> {
    let lines = outer_lines(step);
    let name = NAMED.into_iter().find_map(|pattern| FailedStep::capture_in(&lines, pattern));
    if let Some(name) = name {
        return Some(name.trim().to_owned());
    }
    let kind = lines.iter().position(|line| KINDS.contains(&line.trim()))?;
    let named = lines[kind..].iter().find_map(|line| line.trim().strip_prefix("╰─> "));
    if let Some(name) = named.filter(|name| !name.contains(' ')) {
        return Some(name.to_owned());
    }
    // Otherwise it is the last one that was collected before the first failure.
    let last = lines[..kind].iter().rev().find_map(|line| {
        ["Collecting ", "Processing ", "Obtaining "].iter().find_map(|front| line.strip_prefix(front))
    })?;
    Some(last.split(" (from").next().unwrap_or(last).trim().to_owned())
}

/// Returns the Debian package with the tool or library that a build lacks, or where to look for it.
pub(super) fn find_missing(step: &FailedStep<'_>) -> Option<String> {
    // The name of a tool is in many good lines too.
    let complaints = ["not found", "No such file", "not installed", "can't find", "cannot find"];
    let is_complaint = |line: &str| complaints.iter().any(|text| line.contains(text));
    let is_missing = |name: &str| step.lines.iter().any(|line| line.contains(name) && is_complaint(line));
    if let Some((_, package)) = MISSING.iter().find(|(name, _)| is_missing(name)) {
        return Some((*package).to_owned());
    }
    if step.has(&NO_COMPILER) {
        return Some("apt install build-essential python3-dev".to_owned());
    }
    let header = step.capture("fatal error: *: No such file or directory")?;
    Some(format!("the -dev package that has '{header}': apt-file search {header}"))
}

/// Explains a build whose own dependencies could not be installed, which pip reports with the words for a bad
/// requirement.
pub(super) fn explain_build_dependencies(step: &FailedStep<'_>) -> Option<UserError> {
    let lines = outer_lines(step);
    let is_dependencies = |line: &str| {
        line.contains("× pip subprocess to install build dependencies did not run")
            || line.contains("× installing build dependencies for ")
    };
    if !lines.iter().any(|line| is_dependencies(line)) {
        return None;
    }
    let package = find_name(step)?;
    Some(python::build_dependencies(&package, &errors(step)))
}

/// Returns the lines that pip and the build call errors, or else the last ones.
pub(super) fn errors(step: &FailedStep<'_>) -> Vec<String> {
    let lines: Vec<&str> = step.outcome.lines.iter().map(|line| line.trim()).collect();
    let is_error = |line: &str| {
        line.starts_with("ERROR: ") || line.starts_with("error: ") || line.contains("fatal error: ")
    };
    let is_said = |line: &str| {
        let text = line.trim_start_matches("ERROR: ").trim_start_matches("error: ");
        KINDS.contains(&text)
            || text.starts_with("Failed building wheel")
            || text.starts_with("Failed to build")
            || text.starts_with("Could not build wheels")
            // The whole command of a compiler, which has printed the error itself.
            || text.starts_with("Command '[")
    };
    // An exception is the last line of its trace.
    let end = lines.iter().position(|line| *line == FRAME.1);
    let from = end.and_then(|end| lines[..end].iter().rposition(|line| line.ends_with(FRAME.0)));
    let last = end.and_then(|end| lines[..end].iter().rposition(|line| !line.is_empty()));
    let is_explained =
        from.zip(end).is_some_and(|(from, end)| lines[from..end].iter().any(|line| is_error(line)));
    let mut shown: Vec<String> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if is_error(line) && !is_said(line) || !is_explained && Some(at) == last {
            let line = line.trim_start_matches("ERROR: ").to_owned();
            if !shown.contains(&line) {
                shown.push(line);
            }
        }
    }
    if shown.is_empty() {
        shown = lines.iter().filter(|line| !line.is_empty()).map(|line| (*line).to_owned()).collect();
    }
    shown.split_off(shown.len().saturating_sub(REPEATED))
}

/// Returns the lines of uv's error and of its causes; of the failed build only its errors.
pub(super) fn uv_errors(lines: &[String]) -> Vec<String> {
    let begins = |line: &String| {
        let line = line.trim_start();
        line.starts_with("error:") || line.starts_with('×')
    };
    let Some(from) = lines.iter().position(begins) else {
        let last = lines.iter().filter(|line| !line.trim().is_empty());
        let last: Vec<String> = last.cloned().collect();
        return last[last.len().saturating_sub(REPEATED)..].to_vec();
    };
    let lines: Vec<&str> =
        lines[from..].iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()).collect();
    let is_output = |line: &str| matches!(line.trim(), "[stdout]" | "[stderr]");
    let is_hint = |line: &str| line.trim_start().starts_with("hint: ");
    let begin = lines.iter().position(|line| is_output(line)).unwrap_or(lines.len());
    let end = lines[begin..].iter().position(|line| is_hint(line)).map_or(lines.len(), |at| begin + at);
    let mut shown: Vec<&str> =
        lines[..begin].iter().filter(|line| !is_hint(line)).take(REPEATED).copied().collect();
    let output = &lines[begin..end];
    let wrong: Vec<&str> = output
        .iter()
        .map(|line| line.trim())
        .filter(|line| {
            (line.contains("error: ") || line.contains("Error: ")) && !line.starts_with("error: Command '[")
        })
        .collect();
    match wrong.as_slice() {
        [] => shown.extend(output.last().map(|line| line.trim()).filter(|line| !is_output(line))),
        some => shown.extend(&some[some.len().saturating_sub(3)..]),
    }
    shown.extend(
        lines
            .iter()
            .filter(|line| is_hint(line) && !line.contains("usually indicate"))
            .map(|line| line.trim()),
    );
    shown.into_iter().map(str::to_owned).collect()
}
