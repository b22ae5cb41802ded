//! Errors of Go apps.

use std::fmt::Display;

use piku_report::user_error::UserError;

use super::{NOT_A_VERSION, join_names, likely_program};
use crate::runtime::RequestedVersion;
use piku_release::target::TargetArchitecture;

/// The hint for an app without a Procfile.
const EXAMPLE: &str = "add a file 'Procfile' with a line for each process, for example";

pub(crate) fn no_go() -> UserError {
    UserError::new("this is a Go app, recognised, but the machine has no go")
        .hint("apt install golang-go, or a newer one from its tarball in /usr/local/go")
}

/// The dependencies of an app without a module are in the file of an older tool.
pub(crate) fn old_dependencies(file: &str) -> String {
    format!(
        "'{file}' is not read: Go takes dependencies from go.mod alone; run 'go mod init NAME && go mod tidy' and commit go.mod and go.sum"
    )
}

pub(crate) fn bad_version(requested: &RequestedVersion) -> UserError {
    requested.malformed("Go", NOT_A_VERSION).hint("examples: 1.22, 1.22.3")
}

pub(crate) fn too_old(requested: &RequestedVersion, installed: &[impl Display]) -> UserError {
    requested.unmet("Go", installed).hint(
        "only Go 1.21 and newer fetch a newer one themselves: on Debian 12 'apt install -t bookworm-backports golang-go', or the \
         tarball in /usr/local/go",
    )
}

pub(crate) fn no_program(tags: &[String]) -> UserError {
    let with = if tags.is_empty() { String::new() } else { format!(" with the tags {}", join_names(tags)) };
    UserError::new(format!(
        "this is a Go app, but no folder has a 'package main' that is built on this machine{with}"
    ))
    .hint("code behind '//go:build TAG' is built when ENV says GOFLAGS=-tags=TAG")
    .hint("a library has no program to start; the program may be in its own module in a subfolder")
}

pub(crate) fn selects_nothing(from: &str, pattern: &str, programs: &[String]) -> UserError {
    UserError::new(format!(
        "{from} names '{pattern}', which selects none of the programs: {}",
        join_names(programs)
    ))
    .hint("a pattern is a folder with './' in front, './cmd/...', or an import path that go.mod has")
}

pub(crate) fn no_process_types(programs: &[String]) -> UserError {
    let first = likely_program(programs);
    UserError::new(format!(
        "this is a Go app without a Procfile, and it is not obvious which of its programs to start: {}",
        join_names(programs)
    ))
    .hint(format!("{EXAMPLE} 'web: bin/{first}'"))
}

pub(crate) fn same_name(name: &str) -> UserError {
    UserError::new(format!("two programs of this Go app are called '{name}'"))
        .hint("a program has the name of its folder: rename one, or say in go.mod which are built: '// +heroku install ./cmd/web'")
}

/// `go build` succeeded without making a program.
pub(crate) fn nothing_built(missing: &[String]) -> UserError {
    UserError::new(format!("go succeeded but did not build {}", join_names(missing)))
        .hint("are its files excluded by build tags? 'go list -f {{.IgnoredGoFiles}} ./...' shows which")
}

/// This machine cannot compile the C code of these packages for the target.
pub(crate) fn no_cross_compiler(packages: &[String], target: &TargetArchitecture) -> UserError {
    let of = if packages.is_empty() { String::new() } else { format!(" ({})", join_names(packages)) };
    let failure = UserError::new(format!(
        "the app has C code{of}, which this machine cannot compile for {}",
        target.name
    ));
    let failure = match target.compiler_package() {
        Some(package) => {
            failure.hint(format!("on the machine: apt install {package} libc6-dev-{}-cross", target.debian()))
        }
        None => failure.hint(format!(
            "Debian's cross compilers make programs for newer machines than {}: push to that machine, which builds the app itself",
            target.name
        )),
    };
    failure.hint("if the app works without its C code, set CGO_ENABLED=0 in ENV")
}
