//! Errors about images of releases.

use std::path::Path;

use piku_files::free_space::size;
use piku_layout::name::AppName;
use piku_report::user_error::UserError;

use piku_release::architecture::ProgramArchitecture;

pub(crate) fn whiteout(path: &Path) -> UserError {
    UserError::new(format!("'{}' cannot be in an image: such a name removes a file there", path.display()))
        .hint("give the file another name")
}

pub(crate) fn built_without_jail(number: u64) -> UserError {
    UserError::new(format!(
        "release {number} was built without the jail: its files refer to their place here"
    ))
    .hint("piku doctor says what the jail needs; then push again")
}

pub(crate) fn needs_folder(folder: &Path) -> UserError {
    UserError::new(format!("the release needs '{}' of this machine, which no package has", folder.display()))
        .hint("build it with an interpreter of Debian's, or of piku's own: see docs/runtimes.md")
}

pub(crate) fn other_architecture(needed: &ProgramArchitecture, asked: &str) -> UserError {
    UserError::new(format!("the release is for {needed}, not for {asked}"))
        .hint(format!("build it for that one: piku-build build --architecture {asked}"))
}

pub(crate) fn no_release_for(asked: &str) -> UserError {
    UserError::new(format!("none of the releases runs on {asked}"))
        .hint(format!("build one for it: piku-build build --architecture {asked}"))
}

pub(crate) fn unused_release(dir: &Path) -> UserError {
    UserError::new(format!(
        "'{}' is for none of the architectures that are asked for, or another release is",
        dir.display()
    ))
    .hint("leave it out, or name its architecture, too")
}

pub(crate) fn other_app(its: &AppName, first: &AppName) -> UserError {
    UserError::new(format!("one image cannot be of {first} and {its}"))
}

pub(crate) fn same_platform(platform: &str) -> UserError {
    UserError::new(format!("two of the releases are for {platform}"))
        .hint("an image has one release for each architecture: build the others with --architecture")
}

/// `files` are descriptions, such as `program '/usr/local/bin/x' of web`.
pub(crate) fn of_no_package(files: &[&str]) -> UserError {
    let listed = files.join(", ");
    UserError::new(format!("the image would lack what belongs to no package of this machine: {listed}"))
        .hint("use Debian's packages of them, or give a base that has them: --base DIR, or --base TAR")
}

pub(crate) fn no_debian(program: &str) -> UserError {
    UserError::new(format!("a base is made of Debian's packages, and this machine has no '{program}'"))
        .hint("give one: --base DIR, or --base TAR")
}

pub(crate) fn no_sources() -> UserError {
    UserError::new("apt has no sources of Debian, of which a base could be made")
        .hint("apt update, or give a base: --base DIR, or --base TAR")
}

pub(crate) fn no_mmdebstrap() -> UserError {
    UserError::new("mmdebstrap makes the base of an image, and is not installed")
        .hint("sudo apt install mmdebstrap, or give a base: --base DIR, or --base TAR")
}

/// Message of mmdebstrap for a user who is not root and has no user namespace with several ids.
const NO_MODE: &str = "unable to pick chroot mode";

/// `foreign` is the architecture of the base, if it is not that of this machine.
pub(crate) fn mmdebstrap_failed(messages: &str, foreign: Option<&str>) -> UserError {
    if messages.contains(NO_MODE) {
        return UserError::new("mmdebstrap cannot make a base as this user, who has no subordinate ids")
            .hint(
                "sudo apt install uidmap, and give the user a range of ids that no other one has, by a line such as \
                 'USER:100000:65536' in both /etc/subuid and /etc/subgid; or give a base with --base",
            );
    }
    let failure = UserError::new(format!("mmdebstrap has made no base:\n{messages}"));
    match foreign {
        Some(architecture) => failure.hint(format!(
            "is the machine online, and do the servers of its apt have packages for {architecture}? \
             or give a base with --base"
        )),
        None => failure.hint("is the machine online, and does apt update work? or give a base with --base"),
    }
}

pub(crate) fn no_base(path: &Path, why: &str) -> UserError {
    UserError::new(format!("'{}' is no base for an image: {why}", path.display()))
        .hint("a base is a directory with a system, a tar archive of one, or an image of 'docker save' or 'skopeo copy'")
}

pub(crate) fn compressed(by: &str, program: &str) -> UserError {
    UserError::new(format!("it is compressed by {by}"))
        .hint(format!("{program} FILE, or zstd, which piku reads"))
}

pub(crate) fn other_base(path: &Path, found: &str, wanted: &str) -> UserError {
    UserError::new(format!("'{}' is for {found}, and the release for {wanted}", path.display()))
        .hint("skopeo copy --override-arch ARCHITECTURE fetches that of another one")
}

/// The limits are in bytes and in files.
pub(crate) fn large_base(bytes: u64, files: u64) -> UserError {
    UserError::new(format!("the base has more than {} or {files} files", size(bytes)))
        .hint("give a base with what the release needs and no more")
}

pub(crate) fn other_layer(layer: &str, digest: &str) -> UserError {
    UserError::new(format!("its layer '{layer}' is damaged: what is in it is not sha256:{digest}"))
        .hint("fetch the image again")
}

pub(crate) fn packages_of_own_base(base: &Path) -> UserError {
    UserError::new(format!("--package is for bases that are made here, and '{}' is given", base.display()))
        .hint("install the package in the base")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_subordinate_ids_is_told_where_they_are_given() {
        let told = "E: unable to pick chroot mode automatically (use --mode for manual selection)";
        for foreign in [None, Some("arm64")] {
            let said = format!("{:?}", mmdebstrap_failed(told, foreign));
            assert!(said.contains("/etc/subuid") && !said.contains("online"), "{said}");
        }
        let other = format!("{:?}", mmdebstrap_failed("E: apt-get update failed", None));
        assert!(other.contains("online"), "{other}");
    }
}
