//! Releases for hosts that lack them (`skip_down`). They are kept from before the first host deploys until all
//! hosts have them, or until the next deploy: also a deploy that was killed goes on later.

#![expect(clippy::disallowed_methods, reason = "folders of releases, which only piku writes")]

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use piku_files::{atomic_file, remove_all};
use piku_layout::daemon::wake_daemon;
use piku_layout::deploys::missed_release::{MissedMachine, MissedReason, MissedRelease};
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::DeployTo;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::front;
use super::target_host::TargetHost;
use crate::app_context::AppContext;

/// The releases of a deploy, beside those of the deploy before until it has succeeded. The caller holds the
/// app's lock.
pub(super) struct KeptRelease<'a> {
    root: &'a PikuRoot,
    /// Of this deploy.
    new: MissedRelease,
    /// Of this deploy once it has begun, of the one before until then.
    kept: MissedRelease,
    /// Hosts that lack the release, once the deploy has begun.
    machines: Mutex<Option<Vec<MissedMachine>>>,
}

impl<'a> KeptRelease<'a> {
    /// Moves the releases of a deploy out of the folder of the hook.
    pub(super) fn stage(root: &'a PikuRoot, app: &AppDir, releases: &Path) -> anyhow::Result<Self> {
        let (kept, new) = (MissedRelease::of(app), MissedRelease::unfinished(app));
        remove_folder(new.path())?;
        let cannot = || format!("cannot keep the release in '{}'", new.path().display());
        DirBuilder::new().create(new.path()).with_context(cannot)?;
        fs::rename(releases, new.releases()).with_context(cannot)?;
        Ok(Self { root, new, kept, machines: Mutex::new(None) })
    }

    /// Returns the folder of the releases until the deploy begins.
    pub(super) fn staged(&self) -> PathBuf {
        self.new.releases()
    }

    /// Puts the releases in place of those of the deploy before, for all hosts: from here on, those that do not
    /// deploy get them later.
    pub(super) fn begin(&self, machines: &[TargetHost<'_>]) -> anyhow::Result<()> {
        let missed = |machine: &TargetHost<'_>| {
            let reason = if machine.is_down { MissedReason::Down } else { MissedReason::Pending };
            MissedMachine { address: machine.address.to_string(), reason }
        };
        // A host that has failed keeps what it has.
        let lack = machines.iter().filter(|machine| !machine.has_failed()).map(missed).collect::<Vec<_>>();
        let cannot = || format!("cannot keep the release in '{}'", self.new.path().display());
        self.new.write_machines(&lack).with_context(cannot)?;
        if self.kept.path().exists() {
            exchange(&self.new, &self.kept).with_context(cannot)?;
        } else {
            fs::rename(self.new.path(), self.kept.path()).with_context(cannot)?;
            atomic_file::sync_parent(self.kept.path()).with_context(cannot)?;
        }
        *self.machines.lock().unwrap_or_else(PoisonError::into_inner) = Some(lack);
        wake_daemon(self.root);
        Ok(())
    }

    /// Strikes out a host that has the release.
    pub(super) fn strike(&self, machine: &TargetHost<'_>) -> anyhow::Result<()> {
        let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lack) = machines.as_mut() else { return Ok(()) };
        let address = machine.address.to_string();
        lack.retain(|one| one.address != address);
        write_list(&self.kept, lack)
    }

    /// Keeps the releases for the hosts that are down, and forgets those of the deploy before.
    pub(super) fn keep(self, machines: &[TargetHost<'_>]) -> anyhow::Result<()> {
        let has_begun = self.machines.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !has_begun {
            self.begin(machines)?;
        }
        let down = machines.iter().filter(|machine| machine.is_down);
        let down =
            down.map(|one| MissedMachine { address: one.address.to_string(), reason: MissedReason::Down });
        replace_list(&self.kept, &down.collect::<Vec<_>>())?;
        wake_daemon(self.root);
        remove_folder(self.new.path())
    }

    /// Goes back to the releases of the deploy before.
    pub(super) fn discard(self) -> anyhow::Result<()> {
        if self.machines.into_inner().unwrap_or_else(PoisonError::into_inner).is_some() {
            if !self.new.path().exists() {
                return remove_folder(self.kept.path());
            }
            exchange(&self.new, &self.kept).context("cannot put back the release that was kept before")?;
        }
        remove_folder(self.new.path())
    }
}

/// Exchanges two folders in one step.
fn exchange(one: &MissedRelease, other: &MissedRelease) -> io::Result<()> {
    renameat_with(CWD, one.path(), CWD, other.path(), RenameFlags::EXCHANGE)?;
    atomic_file::sync_parent(other.path())
}

/// Returns true if no host waits for a release.
pub(super) fn is_empty(app: &AppDir) -> bool {
    MissedRelease::of(app).waiting().is_empty()
}

/// Forgets what is kept.
pub(super) fn forget(app: &AppDir) -> anyhow::Result<()> {
    remove_folder(MissedRelease::of(app).path())
}

/// Keeps the daemon from sending the release to hosts that are back, for a stopped app, or lets it again. The caller
/// holds the app's lock.
pub(crate) fn hold(context: &AppContext<'_>, is_held: bool) -> anyhow::Result<()> {
    let missed = MissedRelease::of(&context.dir());
    missed.hold(is_held).with_context(|| format!("cannot write in '{}'", missed.path().display()))?;
    if !is_held && !missed.waiting().is_empty() {
        wake_daemon(context.root);
    }
    Ok(())
}

/// Has no host get the release, because the others leave it. Those that `is_current` names the address of have what the
/// others go back to; the rest counts as outdated until the next deploy. The caller holds the app's lock.
pub(crate) fn withdraw(
    context: &AppContext<'_>,
    to: &DeployTo,
    is_current: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    let missed = MissedRelease::of(&context.dir());
    let mut lack = missed.machines();
    if lack.is_empty() {
        return forget(&context.dir());
    }
    lack.retain(|one| !is_current(&one.address));
    for one in &mut lack {
        one.reason = MissedReason::Failed;
    }
    replace_list(&missed, &lack)?;
    front::refresh(context, to);
    Ok(())
}

/// Replaces the list of hosts; without any, the releases are removed.
pub(super) fn replace_list(missed: &MissedRelease, machines: &[MissedMachine]) -> anyhow::Result<()> {
    if machines.is_empty() {
        return remove_folder(missed.path());
    }
    write_list(missed, machines)
}

fn write_list(missed: &MissedRelease, machines: &[MissedMachine]) -> anyhow::Result<()> {
    missed.write_machines(machines).with_context(|| format!("cannot write in '{}'", missed.path().display()))
}

/// Removes a folder; it is renamed first, so that what a kill leaves is not taken for a missed release.
fn remove_folder(path: &Path) -> anyhow::Result<()> {
    let gone = path.with_extension("gone");
    let cannot = || format!("cannot remove '{}'", path.display());
    remove_all(&gone).with_context(cannot)?;
    match fs::rename(path, &gone) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.and_then(|()| remove_all(&gone)).with_context(cannot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_layout::settings::MachineAddress;

    /// Stages a release, and returns it with the two hosts of the app.
    fn with_deploy(check: impl Fn(&Path, KeptRelease<'_>, &mut [TargetHost<'_>])) {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let name = "blog".parse().unwrap();
        let app = root.app(&name);
        let former = MissedRelease::of(&app);
        fs::create_dir_all(former.releases().join("former")).unwrap();
        let of_former = MissedMachine { address: "pi-1".to_owned(), reason: MissedReason::Failed };
        former.write_machines(&[of_former]).unwrap();
        let work = app.path().join("work");
        fs::create_dir_all(work.join("any")).unwrap();
        let to = DeployTo { skip_down: true, ..DeployTo::default() };
        let addresses: Vec<MachineAddress> = ["pi-1", "pi-2"].map(|name| name.parse().unwrap()).to_vec();
        let mut hosts: Vec<_> =
            addresses.iter().map(|address| TargetHost::new(&name, address, &to)).collect();
        let kept = KeptRelease::stage(&root, &app, &work).unwrap();
        assert!(kept.staged().join("any").exists() && former.releases().join("former").exists());
        check(app.path(), kept, &mut hosts);
        assert!(!app.path().join("missed.new").exists() && !app.path().join("missed.gone").exists());
    }

    fn list(app: &Path) -> String {
        fs::read_to_string(app.join("missed/machines")).unwrap_or_default()
    }

    #[test]
    fn a_killed_deploy_leaves_the_hosts_that_lack_the_release() {
        with_deploy(|app, kept, hosts| {
            hosts[1].is_down = true;
            kept.begin(hosts).unwrap();
            assert_eq!(list(app), "pi-1 pending\npi-2");
            assert!(app.join("missed/releases/any").exists());
            kept.strike(&hosts[0]).unwrap();
            assert_eq!(list(app), "pi-2");
            kept.keep(hosts).unwrap();
            assert_eq!(list(app), "pi-2");
        });
    }

    #[test]
    fn a_deploy_without_success_leaves_what_was_kept_before() {
        for has_begun in [false, true] {
            with_deploy(|app, kept, hosts| {
                if has_begun {
                    kept.begin(hosts).unwrap();
                }
                kept.discard().unwrap();
                assert_eq!(list(app), "pi-1 failed");
                assert!(app.join("missed/releases/former").exists());
            });
        }
    }

    #[test]
    fn nothing_is_kept_when_all_hosts_have_the_release() {
        with_deploy(|app, kept, hosts| {
            kept.begin(hosts).unwrap();
            for host in &*hosts {
                kept.strike(host).unwrap();
            }
            kept.keep(hosts).unwrap();
            assert!(!app.join("missed").exists());
        });
    }
}
