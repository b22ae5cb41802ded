//! Go.

use std::fmt::{Display, Write};

use piku_report::user_error::UserError;

use super::{NOT_A_VERSION, list};
use crate::runtime::RequestedVersion;
use crate::target::TargetArchitecture;

/// The file that an app of several programs lacks.
const EXAMPLE: &str = "add a file 'Procfile' with a line for each process, for example";

pub(crate) fn no_go() -> UserError {
    UserError::new("this is a Go app, recognised, but the machine has no go")
        .hint("apt install golang-go, or a newer one from its tarball in /usr/local/go")
}

pub(crate) fn bad_version(requested: &RequestedVersion) -> UserError {
    requested.malformed("Go", NOT_A_VERSION).hint("good are 1.22 and 1.22.3")
}

pub(crate) fn too_old(requested: &RequestedVersion, installed: &[impl Display]) -> UserError {
    requested.unmet("Go", installed).hint(
        "only Go 1.21 and newer fetch a newer one themselves: on Debian 12 'apt install -t bookworm-backports golang-go', or the \
         tarball in /usr/local/go",
    )
}

/// A newer Go that cannot be fetched.
pub(crate) fn no_toolchain(version: &str, why: &str) -> UserError {
    UserError::new(format!("Go {version} is not on this machine and cannot be fetched: {why}"))
        .hint("is it a release? a go line names the least that will do: 'go 1.22' instead of a newer one than is needed")
        .hint("or install it on the machine in /usr/local/go")
}

pub(crate) fn no_program(tags: &[String]) -> UserError {
    let with = if tags.is_empty() { String::new() } else { format!(" with the tags {}", list(tags)) };
    UserError::new(format!(
        "this is a Go app, but no folder has a 'package main' that is built on this machine{with}"
    ))
    .hint("code behind '//go:build TAG' is built when ENV says GOFLAGS=-tags=TAG")
    .hint("a library has no program to start; the program may be in a module of its own in a sub-folder")
}

pub(crate) fn no_process_types(programs: &[String]) -> UserError {
    let first = programs.first().map_or("app", String::as_str);
    UserError::new(format!(
        "this is a Go app without a Procfile, and which of its programs is to be started is not obvious: {}",
        list(programs)
    ))
    .hint(format!("{EXAMPLE} 'web: bin/{first}'"))
}

pub(crate) fn same_name(name: &str) -> UserError {
    UserError::new(format!("two programs of this Go app are called '{name}'"))
        .hint("a program has the name of its folder: rename one, or say in go.mod which are built: '// +heroku install ./cmd/web'")
}

pub(crate) fn no_module(line: &str) -> UserError {
    UserError::new(format!("a module cannot be fetched: {line}"))
        .hint("is it private? 'go mod vendor' puts a copy into the repository; commit vendor/")
}

/// go.mod or go.work.
pub(crate) fn bad_module(file: &str, lines: &[String]) -> UserError {
    told(&format!("{file} is not understood by go"), lines).hint(
        "'go mod edit -fmt' says the same on your machine; it is a text in UTF-8 without a byte order mark",
    )
}

/// `go build` ended well, and the program is not there.
pub(crate) fn nothing_built(missing: &[String]) -> UserError {
    UserError::new(format!("go ended well but did not build {}", list(missing)))
        .hint("are its files excluded by build tags? 'go list -f {{.IgnoredGoFiles}} ./...' shows which")
}

/// What of Go's own says best why a build failed.
pub(crate) fn not_tidy(lines: &[String]) -> UserError {
    told("go.mod and go.sum do not say all that the code needs", lines)
        .hint("run 'go mod tidy' and commit go.mod and go.sum")
}

pub(crate) fn stale_vendor(lines: &[String]) -> UserError {
    told("vendor/ does not fit go.mod", lines).hint("run 'go mod vendor' and commit vendor/")
}

pub(crate) fn no_network(reason: &str) -> UserError {
    UserError::new(format!("go cannot reach the module proxy: {reason}")).hint(
        "is the machine online? behind a proxy, set HTTPS_PROXY in build_env of host.yaml (GOPROXY for a mirror); then push again",
    )
}

pub(crate) fn no_compiler(lines: &[String]) -> UserError {
    told("the app has C code, and the machine has no C compiler", lines)
        .hint("on the machine: apt install gcc libc6-dev; without C code: CGO_ENABLED=0 in ENV")
}

/// C code that this machine cannot compile for the target, in these packages where they are known.
pub(crate) fn no_cross_compiler(packages: &[String], target: &TargetArchitecture) -> UserError {
    let of = if packages.is_empty() { String::new() } else { format!(" ({})", list(packages)) };
    let failure = UserError::new(format!(
        "the app has C code{of}, which this machine cannot compile for {}",
        target.name
    ));
    let failure = match target.compiler_package() {
        Some(package) => {
            failure.hint(format!("on the machine: apt install {package} libc6-dev-{}-cross", target.debian()))
        }
        None => failure.hint(format!(
            "what Debian's cross compilers make needs a newer machine than {}: push to that machine, which builds it itself",
            target.name
        )),
    };
    failure.hint("where the app works without its C code: CGO_ENABLED=0 in ENV")
}

fn told(what: &str, lines: &[String]) -> UserError {
    let mut text = what.to_owned();
    for line in lines {
        let _ = write!(text, "\n  {line}");
    }
    UserError::new(text)
}
