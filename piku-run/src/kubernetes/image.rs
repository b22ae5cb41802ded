//! Image of a release: packed by piku-build, and sent to a registry by skopeo or to the nodes of k3s by ssh.

#![expect(
    clippy::disallowed_methods,
    reason = "images, and records beside releases, which only piku writes; trees are opened by piku-build"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::settings::{MachineAddress, expand_home};
use piku_release::architecture::{ProgramArchitecture, ReleaseArchitecture};
use piku_release::folded;
use piku_release::machine;
use piku_release::manifest::BuiltRelease;
use piku_report::progress;
use piku_report::user_error::{self, UserError};
use serde::{Deserialize, Serialize};

use super::KubernetesApp;
use super::kubectl::missing_program;
use crate::ipc::fan_out::ask_all;
use crate::process::sibling_tool::sibling_tool;
use crate::releases::{ASIDE, current, lock_new_release};

/// Tool that makes the image.
const PACKER: &str = "piku-build";
/// Registry in the names of images that are sent to nodes.
const NO_REGISTRY: &str = "localhost";
/// Command that stores an image on a node of k3s.
const IMPORT: &str = "k3s ctr images import -";
/// File with the passwords of registries, unless the settings name another.
const AUTH_FILE: &str = "~/.config/containers/auth.json";
/// Record of the image in the directory of a release.
const RECORD: &str = "image.json";

/// Image of a release and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SentImage {
    /// Name with tag and, in a registry, digest.
    image: String,
    /// Registry, or the nodes.
    place: String,
    /// Architectures in the settings when it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    architectures: Vec<String>,
    /// True if some of the nodes did not get it, or one of them has lost it.
    #[serde(default)]
    is_partial: bool,
}

impl KubernetesApp {
    /// Returns the image of the live release. The nodes run it already, so that the registry is not asked for it.
    pub(super) fn live_image(&self, number: u64) -> anyhow::Result<String> {
        let sent = self.sent_images(number)?.into_iter().next();
        sent.map_or_else(|| self.provide_image(number), |sent| Ok(sent.image))
    }

    /// Returns the records of a release's image where the nodes get it.
    fn sent_images(&self, number: u64) -> anyhow::Result<Vec<SentImage>> {
        let records = self.image_records(number)?;
        let read = |path: &PathBuf| serde_json::from_slice(&fs::read(path).ok()?).ok();
        let is_same =
            |sent: &SentImage| sent.place == self.place() && sent.architectures == self.target.architecture;
        Ok(records.iter().filter_map(read).filter(is_same).collect())
    }

    /// Returns the paths of the records: one with another config has the tree, and the image, of the one that was
    /// built.
    fn image_records(&self, number: u64) -> anyhow::Result<[PathBuf; 2]> {
        let release = BuiltRelease::read(&self.dir.release(number))?;
        let tree_of = release.tree_of.unwrap_or(number);
        Ok([number, tree_of].map(|number| self.dir.release(number).join(RECORD)))
    }

    /// Returns the image of a release, and sends it first if it is not where the nodes get it.
    pub(super) fn provide_image(&self, number: u64) -> anyhow::Result<String> {
        // Garbage collection takes a folder without it for a leftover.
        let _packing = lock_new_release(&self.root, &self.dir)?;
        let tree_of = BuiltRelease::read(&self.dir.release(number))?.tree_of.unwrap_or(number);
        if let Some(sent) = self.sent_images(number)?.into_iter().find(|sent| self.is_there(sent)) {
            self.write_image_record(number, &sent)?;
            return Ok(sent.image);
        }
        folded::unfold(&self.dir, number)?;
        let folder = tempfile::Builder::new().prefix(ASIDE).tempdir_in(self.dir.path());
        let folder =
            folder.with_context(|| format!("cannot make a folder in '{}'", self.dir.path().display()))?;
        let archive = folder.path().join("image.tar");
        let name =
            format!("{}/{}:{tree_of}", self.target.registry.as_deref().unwrap_or(NO_REGISTRY), self.app);
        progress::step("Packing the image");
        self.pack_image(number, &archive, &name)?;
        progress::step(&format!("Sending the image {name} to {}", self.place()));
        let (image, is_partial) = match self.target.nodes.as_slice() {
            [] => (self.send_to_registry(&archive, &name)?, false),
            nodes => (name.clone(), self.send_to_nodes(&archive, nodes)?),
        };
        let architectures = self.target.architecture.clone();
        let sent = SentImage { image, place: self.place(), architectures, is_partial };
        self.write_image_record(number, &sent)?;
        Ok(sent.image)
    }

    /// Returns where the images are.
    fn place(&self) -> String {
        let nodes: Vec<String> = self.target.nodes.iter().map(MachineAddress::to_string).collect();
        self.target.registry.clone().unwrap_or_else(|| nodes.join(", "))
    }

    /// Returns the architectures of a release's image, by the names of Go.
    pub(super) fn image_architectures(&self, release: &BuiltRelease) -> anyhow::Result<BTreeSet<String>> {
        let go_name = |program: &ProgramArchitecture| program.go_name().to_owned();
        if !self.target.architecture.is_empty() {
            let named = self.target.architecture.iter().map(|name| ProgramArchitecture::parse(name));
            return Ok(named.map(|program| go_name(&program)).collect());
        }
        let program = match ReleaseArchitecture::parse(&release.architecture) {
            ReleaseArchitecture::Native(program) => program,
            ReleaseArchitecture::Any => ProgramArchitecture::parse(&machine::architecture()?),
        };
        Ok(BTreeSet::from([go_name(&program)]))
    }

    /// Notes that a node cannot get the image of a release: the next deploy sends it again.
    pub(super) fn note_lost_image(&self, number: u64) {
        let noted = self.sent_images(number).and_then(|sent| {
            let Some(sent) = sent.into_iter().next() else { return Ok(()) };
            let lost = SentImage { is_partial: true, ..sent };
            let tree_of = BuiltRelease::read(&self.dir.release(number))?.tree_of.unwrap_or(number);
            // The release of the tree may be gone.
            let has_dir = self.dir.release(tree_of).is_dir();
            [Some(number), has_dir.then_some(tree_of)]
                .into_iter()
                .flatten()
                .try_for_each(|number| self.write_image_record(number, &lost))
        });
        if let Err(err) = noted {
            progress::warning(&format!("the image will not be sent again by itself: {err:#}"));
        }
    }

    /// Returns whether the registry still has an image. Nodes are not asked: the event of a pod that lacks it names the image.
    fn is_there(&self, sent: &SentImage) -> bool {
        if self.target.registry.is_none() {
            return !sent.is_partial;
        }
        let mut skopeo = skopeo_command("inspect");
        let Ok(options) = self.registry_options("tls-verify") else { return false };
        skopeo.args(options).args(["--raw", &format!("docker://{}", without_tag(&sent.image))]);
        skopeo.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn write_image_record(&self, number: u64, sent: &SentImage) -> anyhow::Result<()> {
        let path = self.dir.release(number).join(RECORD);
        let text = serde_json::to_vec(sent).context("cannot write the record as JSON")?;
        atomic_file::write(&path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Packs the image of a release; its name goes with it.
    fn pack_image(&self, number: u64, archive: &Path, name: &str) -> anyhow::Result<()> {
        let output =
            File::create(archive).with_context(|| format!("cannot write '{}'", archive.display()))?;
        let mut packer = sibling_tool(PACKER);
        packer.args(["pack", "--format", "oci", "--tag", name]).arg(self.dir.release(number));
        packer.arg("--layers").arg(self.dir.layers());
        packer.arg("--bases").arg(self.root.image_bases());
        packer.arg("--settings").arg(self.root.settings());
        let target = &self.target;
        if let Some(base) = &target.base {
            packer.arg("--base").arg(expand_home(base));
        }
        packer.args(target.packages.iter().map(|name| format!("--package={name}")));
        packer.args(target.architecture.iter().map(|name| format!("--architecture={name}")));
        let status = packer.stdin(Stdio::null()).stdout(output).status();
        let status = status.with_context(|| format!("cannot run '{PACKER}'"))?;
        if status.success() { Ok(()) } else { Err(UserError::new("the image could not be packed").into()) }
    }

    /// Returns the options for the registry; `tls` is the name of the option for TLS.
    fn registry_options(&self, tls: &str) -> anyhow::Result<Vec<String>> {
        let auth = format!("--authfile={}", self.auth_file()?.display());
        let plain = (!self.target.registry_tls).then(|| format!("--{tls}=false"));
        Ok([auth].into_iter().chain(plain).collect())
    }

    /// Returns the file with the registry's password, or an empty one. The default of skopeo depends on the session.
    fn auth_file(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.target.registry_auth {
            return Ok(expand_home(path));
        }
        let default = expand_home(Path::new(AUTH_FILE));
        if default.is_file() {
            return Ok(default);
        }
        current::create_dir(self.dir.run())?;
        let empty = self.dir.run().join("no-registry-auth.json");
        atomic_file::write(&empty, b"{}", 0o600)
            .with_context(|| format!("cannot write '{}'", empty.display()))?;
        Ok(empty)
    }

    /// Sends the image to the registry. Returns its name with tag and digest.
    fn send_to_registry(&self, archive: &Path, name: &str) -> anyhow::Result<String> {
        let digest = archive.with_file_name("digest");
        let mut skopeo = skopeo_command("copy");
        skopeo.args(["--quiet", "--retry-times", "3", "--digestfile"]).arg(&digest);
        skopeo.args(self.registry_options("dest-tls-verify")?);
        // Docker's form has one image, and is read where it is; a layout is unpacked first.
        let form = if self.target.architecture.len() > 1 {
            skopeo.arg("--all");
            "oci-archive"
        } else {
            "docker-archive"
        };
        skopeo.env("TMPDIR", archive.parent().unwrap_or(archive));
        skopeo.arg(format!("{form}:{}", archive.display())).arg(format!("docker://{name}"));
        run_to_end(skopeo, |told| {
            let err = UserError::new(format!("cannot send the image: {}", skopeo_reason(told)));
            if told.contains("unauthorized") || told.contains("authentication required") {
                let registry = self.place();
                return err.hint(format!("as the user piku: skopeo login --authfile {AUTH_FILE} {registry}"));
            }
            err
        })?;
        let digest = fs::read_to_string(&digest).context("cannot read the image's digest")?;
        Ok(format!("{name}@{}", digest.trim()))
    }

    /// Sends the image to all nodes. Returns true if some did not get it: pods can run on the others.
    ///
    /// # Errors
    /// Fails if none gets it.
    fn send_to_nodes(&self, archive: &Path, nodes: &[MachineAddress]) -> anyhow::Result<bool> {
        let send = |node: &MachineAddress| self.send_to_node(archive, node);
        let failed: Vec<String> =
            ask_all(nodes, send).into_iter().filter_map(|sent| Some(format!("{:#}", sent.err()?))).collect();
        if failed.len() == nodes.len() {
            return Err(UserError::new(failed.join("\n")).into());
        }
        for why in &failed {
            progress::warning(why);
        }
        Ok(!failed.is_empty())
    }

    fn send_to_node(&self, image: &Path, node: &MachineAddress) -> anyhow::Result<()> {
        let image = File::open(image).with_context(|| format!("cannot open '{}'", image.display()))?;
        let mut ssh = Command::new("ssh");
        ssh.args(self.to.ssh_arguments(node)).arg(IMPORT).stdin(image);
        run_to_end(ssh, |told| {
            let last = told.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
            UserError::new(format!("cannot send the image to {node}: {}", last.trim()))
        })
    }
}

/// Returns a skopeo that does this.
fn skopeo_command(action: &str) -> Command {
    let mut skopeo = Command::new("skopeo");
    // The policy is about whose images may run on this machine, where none does.
    skopeo.args(["--insecure-policy", action]).stdin(Stdio::null());
    skopeo
}

/// Runs a command without output; if it fails, `explain` makes the error of what it has told.
fn run_to_end(mut command: Command, explain: impl FnOnce(&str) -> UserError) -> anyhow::Result<()> {
    command.env_remove(user_error::TALK).stdout(Stdio::null()).stderr(Stdio::piped());
    let out = command.spawn().map_err(|err| missing_program(&command, &err))?.wait_with_output();
    let out = out.with_context(|| format!("cannot wait for {}", command.get_program().to_string_lossy()))?;
    if out.status.success() { Ok(()) } else { Err(explain(&String::from_utf8_lossy(&out.stderr)).into()) }
}

/// Returns the message of skopeo's last line: `time="…" level=fatal msg="…"`.
fn skopeo_reason(told: &str) -> String {
    let last = told.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("skopeo has failed");
    let message = last.split_once("msg=\"").and_then(|(_, rest)| rest.strip_suffix('"'));
    message.unwrap_or(last).replace("\\\"", "\"").replace("\\n", " ").replace("\\t", "").trim_end().to_owned()
}

/// Removes the tag in front of a digest: skopeo takes one of the two.
fn without_tag(image: &str) -> String {
    let Some((name, digest)) = image.split_once('@') else { return image.to_owned() };
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name[last..].find(':').map_or(name.len(), |colon| last + colon);
    format!("{}@{digest}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_says_more_than_a_tag() {
        for (image, wanted) in [
            ("pi:5000/apps/blog:12@sha256:ab", "pi:5000/apps/blog@sha256:ab"),
            ("pi:5000/blog@sha256:ab", "pi:5000/blog@sha256:ab"),
            ("pi:5000/blog:12", "pi:5000/blog:12"),
        ] {
            assert_eq!(without_tag(image), wanted);
        }
    }

    #[test]
    fn the_reason_of_skopeo_in_one_line() {
        let told = "time=\"2026-11-29T12:00:00Z\" level=fatal msg=\"pinging container registry pi:5000: Get \\\"x\\\": refused\"\n";
        assert_eq!(skopeo_reason(told), "pinging container registry pi:5000: Get \"x\": refused");
        assert_eq!(skopeo_reason("plain\n\n"), "plain");
        assert_eq!(skopeo_reason(""), "skopeo has failed");
    }
}
