//! Errors and warnings of Node apps.

use std::fmt::Display;

use piku_report::user_error::UserError;

use super::with_lines;
use crate::runtime::RequestedVersion;

/// The source of the process types of an app that its build turns into static files.
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
    requested.malformed("Node", why).hint("examples: 22, 22.x, 20.11.1, >=20, ^20.9 || >=22, lts/*")
}

pub(crate) fn engines_refuse(engines: &str, version: &str, from: &str) -> String {
    format!("engines.node in package.json wants {engines}; Node {version} is taken, as {from} says")
}

pub(crate) fn no_such_version(requested: &RequestedVersion, installed: &[impl Display + Ord]) -> UserError {
    requested.unmet("Node", installed).hint(format!(
        "if the app runs on it, {} may say {}; or put another below /usr/local/lib/nodejs/",
        requested.from,
        installed.iter().max().map_or_else(|| "*".to_owned(), ToString::to_string)
    ))
}

pub(crate) fn bad_npm_version(requested: &RequestedVersion, why: &str) -> UserError {
    requested.malformed("npm", why).hint("examples: 10, 10.x, 8.19.4, >=8, ^8.1 || >=10")
}

pub(crate) fn npm_does_not_run(requested: &RequestedVersion, node: u32) -> String {
    let RequestedVersion { text, from } = requested;
    format!(
        "{from} asks for npm {text}, which does not run under Node {node}: the npm that belongs to that Node is used"
    )
}

pub(crate) fn node_without_npm() -> UserError {
    UserError::new("no npm runs under this Node").hint("ask for 0.10 or a newer one in engines.node")
}

pub(crate) fn npm_reads_no_lock(npm: u32) -> String {
    format!(
        "npm {npm}, which belongs to this Node, does not read package-lock.json: it installs what package.json allows"
    )
}

/// A fetched Node does not run on this machine.
pub(crate) fn fetched_node_fails(requested: &str, from: &str, lines: &[String]) -> UserError {
    let last: Vec<String> = lines.iter().rev().take(3).rev().cloned().collect();
    with_lines(format!("Node {requested} ({from}) does not run on this machine"), &last)
        .hint("ask for another one, or put one below /usr/local/lib/nodejs/")
}

/// A fetched package holds another Node than its name says.
pub(crate) fn other_node(requested: &str, from: &str, version: &str) -> UserError {
    UserError::new(format!("Node {requested} ({from}) turned out to be Node {version}"))
        .hint("ask for another one, or put one below /usr/local/lib/nodejs/")
}

pub(crate) fn unknown_manager(text: &str) -> UserError {
    UserError::new(format!("packageManager in package.json is '{text}'; npm, yarn and pnpm are known here"))
        .hint("'npm pkg delete packageManager' lets npm install")
}

pub(crate) fn bad_manager_version(text: &str, version: &str) -> UserError {
    UserError::new(format!("packageManager in package.json is '{text}': '{version}' is not a version"))
        .hint("example: \"packageManager\": \"pnpm@10.0.0\"")
}

pub(crate) fn unknown_lock_format(name: &str, format: &str) -> UserError {
    UserError::new(format!("{name} has the unknown format '{format}'"))
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
    UserError::new("this is a Node app, and it is not obvious what to start").hint(
        "add a start script to package.json, such as \"start\": \"node server.js\", or a file 'Procfile' with the line 'web: node server.js'",
    )
}

/// A build made no page. `is_kit` if the framework of Svelte left something else.
pub(crate) fn built_nothing(folders: &[&str], is_kit: bool) -> UserError {
    let failure = UserError::new(format!(
        "the build script succeeded, but made no page to serve: index.html is not in {}",
        folders.join(", ")
    ));
    if is_kit {
        return failure.hint(
            "SvelteKit builds a server with @sveltejs/adapter-node in svelte.config.js, or pages with @sveltejs/adapter-static",
        );
    }
    failure.hint("a Procfile says where it is ('static: FOLDER') or what to start ('web: node server.js')")
}

/// Returns the warning that development dependencies are kept, since a process type starts one of them.
pub(crate) fn started_development(name: &str) -> String {
    format!(
        "all development dependencies are kept, since a process starts '{name}', which is one of them: 'npm install {name}' \
         moves it to the dependencies"
    )
}
