//! This host's nginx in front of the target hosts (`front`), as `piku-run` controls it: the key by which they
//! recognize its requests, and draining of one of them while it deploys.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};

use anyhow::{Context, bail, ensure};
use piku_layout::settings::DeployTo;
use piku_report::progress;

use super::for_each_healthy;
use super::target_host::TargetHost;
use crate::app_context::AppContext;

/// Has the front check the settings of the app in this release, which apply once a host has deployed it, and gives
/// all hosts its key. Does nothing without a front.
pub(super) fn prepare(
    context: &AppContext<'_>,
    to: &DeployTo,
    machines: &mut [TargetHost<'_>],
) -> anyhow::Result<()> {
    if to.front.is_none() {
        return Ok(());
    }
    let Some(tree) = machines.iter().find(|one| one.failure.is_none()).map(|one| one.folder.join("app"))
    else {
        return Ok(());
    };
    let key = run_front(context, &["prepare"], Some(&tree))?;
    for_each_healthy(machines, |machine| machine.send_front_key(&key));
    Ok(())
}

/// Renders the front again, after a change of what `piku-run` reads. An error is only reported.
pub(crate) fn refresh(context: &AppContext<'_>, to: &DeployTo) {
    if to.front.is_some() {
        if let Err(err) = run_front(context, &["refresh"], None) {
            progress::error(&format!("the front of {}: {err:#}", context.app));
        }
    }
}

/// Does the same, and prints the URLs of the front as the last line of a push.
pub(super) fn refresh_and_show(context: &AppContext<'_>, to: &DeployTo) {
    if to.front.is_none() {
        return;
    }
    match run_front(context, &["refresh", "--urls"], None) {
        Ok(urls) => {
            let urls = String::from_utf8_lossy(&urls);
            if !urls.is_empty() {
                progress::step(&format!("{} is live: {}", context.app, urls.trim_end().replace('\n', " ")));
            }
        }
        Err(err) => progress::error(&format!("the front of {}: {err:#}", context.app)),
    }
}

/// Runs `piku-run front APP WORDS [TREE]` and returns its output.
fn run_front(context: &AppContext<'_>, words: &[&str], tree: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let mut command = context.command("piku-run")?;
    command.args(["front", context.app.as_str()]).args(words).args(tree);
    let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let out = out.context("cannot run 'piku-run front'")?;
    ensure!(out.status.success(), "'piku-run front {}' failed", words.join(" "));
    Ok(out.stdout)
}

/// The change of a host while it gets no requests: it decides which settings apply at the front afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostChange {
    /// It has the new release.
    Deploy,
    /// It has the release before again.
    Undo,
    /// It has gone back to a release that another deploy had made, by the verb `rollback`.
    Rollback,
    /// Its instances were replaced, by those of the same deploy.
    Restart,
}

/// A host that gets no requests from the front. If this process ends, it gets requests again.
pub(super) struct DrainedHost {
    child: Child,
    stdin: ChildStdin,
}

impl DrainedHost {
    /// Takes the host out of the front, and returns when its requests have ended. `None` without a front, or before
    /// the first deploy.
    pub(super) fn begin(context: &AppContext<'_>, to: &DeployTo, name: &str) -> anyhow::Result<Option<Self>> {
        if to.front.is_none() || !context.dir().front().exists() {
            return Ok(None);
        }
        let mut command = context.command("piku-run")?;
        command.args(["front", context.app.as_str(), "drain", name]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.context("cannot run 'piku-run front'")?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("no pipes");
        };
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        if read.is_ok() && line.trim() == "drained" {
            return Ok(Some(Self { child, stdin }));
        }
        drop(stdin);
        let _ = child.wait();
        bail!("cannot drain it");
    }

    /// Puts the host back when it answers.
    ///
    /// # Errors
    /// Fails if it does not answer in time. It gets requests as soon as it does.
    pub(super) fn finish(mut self, change: HostChange) -> anyhow::Result<()> {
        let word = match change {
            HostChange::Deploy => "deployed\n",
            HostChange::Undo => "undone\n",
            HostChange::Rollback => "rolled-back\n",
            HostChange::Restart => "restarted\n",
        };
        // A process that has ended is reported by its exit code.
        let _ = self.stdin.write_all(word.as_bytes());
        drop(self.stdin);
        let status = self.child.wait().context("cannot wait for 'piku-run front'")?;
        ensure!(status.success(), "it does not answer the front");
        Ok(())
    }
}

/// Changes a host while the front sends it no requests. `change` returns why it has failed, and true if the host could
/// be reached; so does this function.
pub(crate) fn change_drained(
    context: &AppContext<'_>,
    to: &DeployTo,
    name: &str,
    kind: HostChange,
    change: impl FnOnce() -> (Option<String>, bool),
) -> (Option<String>, bool) {
    let drained = match DrainedHost::begin(context, to, name) {
        Ok(drained) => drained,
        Err(err) => return (Some(format!("{err:#}")), true),
    };
    let (failure, is_reached) = change();
    // After a failure it gets requests again, as it is.
    let finished = drained.filter(|_| failure.is_none()).map_or(Ok(()), |host| host.finish(kind));
    (failure.or_else(|| finished.err().map(|err| format!("{err:#}"))), is_reached)
}
