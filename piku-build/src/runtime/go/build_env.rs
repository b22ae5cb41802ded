//! The environment of a Go build: the architecture, the flags and tags in `GOFLAGS`, and the variables of its
//! steps.

use std::collections::BTreeMap;
use std::path::Path;

use piku_layout::jail::PATH;

use super::super::BuildTarget;
use super::super::version::RuntimeVersion;
use super::cross;
use super::toolchain::GoChoice;
use crate::app::app_source::AppSource;
use crate::tree::root_view::is_executable;

/// Returns Go's name of an architecture.
pub(super) fn go_architecture(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i686" | "i586" | "i386" => "386",
        other if other.starts_with("arm") => "arm",
        other => other,
    }
    .to_owned()
}

pub(super) fn go_flags<'a>(source: &'a AppSource, build_target: &'a BuildTarget) -> &'a str {
    let host = || build_target.operator_env.get("GOFLAGS").map_or("", String::as_str);
    source.variable("GOFLAGS").map_or_else(host, |(value, _)| value)
}

/// Returns the build tags in `GOFLAGS`.
pub(super) fn build_tags(source: &AppSource, build_target: &BuildTarget) -> Vec<String> {
    let flags = go_flags(source, build_target);
    let mut words = flags.split_whitespace().map(|word| word.trim_start_matches('-'));
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let value = word.strip_prefix("tags=").or_else(|| (word == "tags").then(|| words.next()).flatten());
        found.extend(value.unwrap_or_default().split(',').filter(|tag| !tag.is_empty()).map(str::to_owned));
    }
    found
}

pub(super) fn build_env(
    source: &AppSource,
    build_target: &BuildTarget,
    choice: &GoChoice,
) -> anyhow::Result<BTreeMap<String, String>> {
    let root = choice.installed.root.display();
    let toolchain =
        choice.fetched.as_ref().map_or_else(|| "local".to_owned(), |version| format!("go{version}"));
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), format!("{root}/bin:{PATH}")),
        ("GOTOOLCHAIN".to_owned(), toolchain),
        // git must not ask for a password.
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
    ]);
    if let Some(target) = build_target.cross {
        env.extend(cross::env(source, build_target, target)?);
        return Ok(env);
    }
    // Go 1.20 and newer detect that no C compiler is installed.
    let compiler = ["gcc", "cc"].iter().any(|name| is_executable(&Path::new("/usr/bin").join(name)));
    if !compiler && choice.installed.version < RuntimeVersion([1, 20, 0]) {
        env.insert("CGO_ENABLED".to_owned(), "0".to_owned());
    }
    Ok(env)
}
