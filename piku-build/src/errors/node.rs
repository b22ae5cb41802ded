//! Node and its package managers.

use std::fmt::{Display, Write};

use piku_report::user_error::UserError;

use crate::runtime::RequestedVersion;
use crate::step::build_step::StepOutcome;

/// What says the process types of a front end.
pub(crate) const BY_BUILD: &str = "what the build makes";

pub(crate) fn misspelt(name: &str) -> UserError {
    UserError::new(format!(
        "this looks like a Node app, but its dependencies are in '{name}'; expected 'package.json'"
    ))
    .hint(format!("git mv {name} package.json"))
}

pub(crate) fn no_package() -> UserError {
    UserError::new("a Node app needs a package.json at its top").hint("'npm init' makes one")
}

pub(crate) fn bad_package(line: usize, column: usize, why: &str) -> UserError {
    UserError::new(format!("package.json:{line}:{column}: {why}"))
        .hint("'npm pkg get name' says the same on your machine")
}

pub(crate) fn bad_version(requested: &RequestedVersion, why: &str) -> UserError {
    requested.malformed("Node", why).hint("good are 22, 22.x, 20.11.1, >=20, ^20.9 || >=22 and lts/*")
}

pub(crate) fn engines_refuse(engines: &str, version: &str, from: &str) -> String {
    format!("engines.node in package.json wants {engines}; Node {version} is taken, as {from} says")
}

pub(crate) fn no_such_version(requested: &RequestedVersion, installed: &[impl Display]) -> UserError {
    requested.unmet("Node", installed).hint(format!(
        "ask for one that is there, or put another below /usr/local/lib/nodejs/: {} may say {}",
        requested.from,
        installed.first().map_or_else(|| "*".to_owned(), ToString::to_string)
    ))
}

pub(crate) fn unknown_manager(text: &str) -> UserError {
    UserError::new(format!("packageManager in package.json is '{text}'; npm, yarn and pnpm are known here"))
        .hint("'npm pkg delete packageManager' lets npm install")
}

pub(crate) fn unknown_lock_format(name: &str, format: &str) -> UserError {
    UserError::new(format!("{name} has the format '{format}', of which it is not known here who reads it"))
        .hint("say it in package.json: \"packageManager\": \"pnpm@10.0.0\"")
}

pub(crate) fn no_lock(program: &str, unread: Option<&str>) -> String {
    match unread {
        Some(name) => format!(
            "'{name}' is not read: {program} installs what package.json allows, which may be other versions each time"
        ),
        None => format!(
            "there is no lock file: {program} installs what package.json allows; 'npm install' makes one, commit it"
        ),
    }
}

pub(crate) fn other_lock(name: &str, program: &str, from: &str) -> String {
    format!("'{name}' is not obeyed: {program} installs, as {from} says; remove the one that is out of use")
}

pub(crate) fn committed_modules() -> String {
    "'node_modules' is in the repository and is not used; 'git rm -r --cached node_modules' and a line in .gitignore take it out".to_owned()
}

pub(crate) fn no_process_types() -> UserError {
    UserError::new("this is a Node app, and what is to be started is not obvious").hint(
        "add a start script to package.json, such as \"start\": \"node server.js\", or a file 'Procfile' with the line 'web: node server.js'",
    )
}

pub(crate) fn built_nothing(folders: &[&str]) -> UserError {
    UserError::new(format!(
        "the build script has ended well, and made no page to serve: there is no index.html in {}",
        folders.join(", ")
    ))
    .hint("a Procfile says where it is ('static: FOLDER') or what is to be started ('web: node server.js')")
}

/// Whose lock file does not say what package.json asks for.
fn out_of_step(lock: &str, mend: &str, lines: &[String]) -> UserError {
    let mut text = format!("{lock} is out of step with package.json");
    for line in lines {
        let _ = write!(text, "\n  {line}");
    }
    UserError::new(text).hint(format!("run '{mend}' and commit {lock}"))
}

/// What a package manager's failure means; `None` when that is not known.
pub(crate) fn failed(step: &str, ended: &StepOutcome) -> Option<UserError> {
    let lines = &ended.lines;
    let find = |text: &str| lines.iter().find(|line| line.contains(text));
    let has = |text: &str| find(text).is_some();
    if ended.wanted_memory() {
        return None;
    }
    if has("can only install packages when your package.json and") {
        let front = |line: &String| {
            line.trim_start_matches("npm error").trim_start_matches("npm ERR!").trim().to_owned()
        };
        let known = ["Missing:", "Invalid:"];
        let missing: Vec<_> = lines
            .iter()
            .map(front)
            .filter(|line| known.iter().any(|known| line.starts_with(known)))
            .take(5)
            .collect();
        return Some(out_of_step("package-lock.json", "npm install", &missing));
    }
    if has("lockfile needs to be updated") || has("lockfile would have been modified") || has("YN0028") {
        return Some(out_of_step("yarn.lock", "yarn install", &[]));
    }
    if has("ERR_PNPM_OUTDATED_LOCKFILE") {
        return Some(out_of_step("pnpm-lock.yaml", "pnpm install", &[]));
    }
    if let Some(line) = find("code ETARGET").and_then(|_| find("No matching version found")) {
        return Some(
            UserError::new(clean(line))
                .hint("ask for a version that the registry has: 'npm view NAME versions'"),
        );
    }
    if let Some(line) =
        find("code E404").and_then(|_| find("is not in this registry").or_else(|| find("404 ")))
    {
        return Some(
            UserError::new(clean(line))
                .hint("is the name spelt right? a package of your own needs a registry in .npmrc"),
        );
    }
    if let Some(line) = find("code EBADENGINE").and_then(|_| find("Not compatible")) {
        return Some(
            UserError::new(clean(line))
                .hint("ask for another Node in engines.node, or take engine-strict out of .npmrc"),
        );
    }
    if has("gyp http GET") && has("gyp ERR! configure error") {
        return Some(
            UserError::new("a package has native code that must be compiled, and the C headers of this Node cannot be downloaded")
                .hint("on the machine: the package with them beside node, for Debian's own apt install libnode-dev"),
        );
    }
    if ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET"].iter().any(|code| has(code)) {
        let line =
            find("request to").or_else(|| find("getaddrinfo")).map(|line| clean(line)).unwrap_or_default();
        return Some(UserError::new(format!("{step} cannot reach the package registry: {line}")).hint(
            "is the machine online? behind a proxy, set HTTPS_PROXY in build_env of host.yaml; then push again",
        ));
    }
    if ["gyp ERR! find Python", "not found: make", "gyp ERR! stack Error: not found: g++"]
        .iter()
        .any(|text| has(text))
    {
        return Some(
            UserError::new(
                "a package has native code that must be compiled, and the machine has no compiler",
            )
            .hint("on the machine: apt install build-essential python3"),
        );
    }
    None
}

fn clean(line: &str) -> String {
    line.trim_start_matches("npm error").trim_start_matches("npm ERR!").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &str) -> String {
        let lines = lines.lines().map(str::to_owned).collect();
        let ended = StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 };
        failed("npm", &ended).map(|failure| failure.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_npm_says_becomes_what_it_means() {
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
