//! Rules that explain failed package managers.

use piku_report::user_error::UserError;

use crate::errors::failure_rule::{FailedStep, FailureRule};
use crate::errors::{GIT_REFUSED, ONLINE, PRIVATE_GIT};
use crate::step::build_step::StepOutcome;

const NETWORK: &[&str] = &["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET"];
const UNREACHABLE: &str = "{step} cannot reach the package registry: {line}";
const MISSPELT: &[&str] = &["is the name spelt right? your own package needs a registry in .npmrc"];

const RULES: [FailureRule; 13] = [
    FailureRule::new(
        &["can only install packages when your package.json and"],
        "package-lock.json is out of step with package.json",
        &["run 'npm install' and commit package-lock.json"],
    )
    .repeat_lines(&["Missing:", "Invalid:"], 5),
    FailureRule::new(
        &["lockfile needs to be updated", "lockfile would have been modified", "YN0028"],
        "yarn.lock is out of step with package.json",
        &["run 'yarn install' and commit yarn.lock"],
    ),
    FailureRule::new(
        &["ERR_PNPM_OUTDATED_LOCKFILE"],
        "pnpm-lock.yaml is out of step with package.json",
        &["run 'pnpm install' and commit pnpm-lock.yaml"],
    ),
    FailureRule::new(
        &["No matching version found"],
        "{line}",
        &["ask for a version that the registry has: 'npm view NAME versions'"],
    )
    .also(&["code ETARGET"]),
    FailureRule::new(&["is not in this registry"], "{line}", MISSPELT).also(&["code E404"]),
    FailureRule::new(&["404 "], "{line}", MISSPELT).also(&["code E404"]),
    FailureRule::new(
        &["Not compatible"],
        "{line}",
        &["ask for another Node in engines.node, or take engine-strict out of .npmrc"],
    )
    .also(&["code EBADENGINE"]),
    FailureRule::new(
        &["gyp http GET"],
        "a package has native code that must be compiled, and the C headers of this Node cannot be downloaded",
        &["on the machine: the package with them beside node, for Debian's own apt install libnode-dev"],
    )
    .also(&["gyp ERR! configure error"]),
    FailureRule::new(GIT_REFUSED, "a git repository in package.json cannot be fetched: {line}", &[PRIVATE_GIT]),
    FailureRule::new(&["request to"], UNREACHABLE, &[ONLINE]).also(NETWORK),
    FailureRule::new(&["getaddrinfo"], UNREACHABLE, &[ONLINE]).also(NETWORK),
    FailureRule::new(NETWORK, UNREACHABLE, &[ONLINE]),
    FailureRule::new(
        &["gyp ERR! find Python", "not found: make", "gyp ERR! stack Error: not found: g++"],
        "a package has native code that must be compiled, and the machine has no compiler",
        &["on the machine: apt install build-essential python3"],
    ),
];

/// Explains a failed step; `None` if no rule matches.
pub(super) fn explain(step: &str, outcome: &StepOutcome) -> Option<UserError> {
    if outcome.is_out_of_memory() {
        return None;
    }
    FailedStep::new(step, outcome, clean).explain(&RULES)
}

fn clean(line: &str) -> &str {
    line.trim_start_matches("npm error").trim_start_matches("npm ERR!").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &str) -> String {
        let lines = lines.lines().map(str::to_owned).collect();
        let ended = StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 };
        explain("npm", &ended).map(|failure| failure.to_string()).unwrap_or_default()
    }

    #[test]
    fn failures_are_explained() {
        let sync = "npm error code EUSAGE\nnpm error\nnpm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync. Please update your lock file with `npm install` before continuing.\nnpm error\nnpm error Missing: ms@2.1.3 from lock file\n";
        assert_eq!(
            told(sync),
            "package-lock.json is out of step with package.json\n  Missing: ms@2.1.3 from lock file"
        );
        let target = "npm error code ETARGET\nnpm error notarget No matching version found for ms@99.\n";
        assert!(told(target).contains("No matching version found for ms@99"));
        assert!(
            told("npm error code ENOTFOUND\nnpm error request to https://x/ms failed\n")
                .contains("cannot reach")
        );
        let gyp = "npm error gyp http GET https://x/headers.tar.gz\nnpm error gyp ERR! configure error\nnpm error getaddrinfo ENOTFOUND x\n";
        assert!(told(gyp).contains("C headers"), "{}", told(gyp));
        assert_eq!(told("Error: x\n"), "");
    }
}
