//! A push, from the lock to the verdict.
//!
//! git itself lets `git push` succeed when the hook after it fails; and runs no hook when nothing has changed. But it is
//! the forced command whose exit code `git push` ends with, so both are decided here.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::wait;

use crate::branch::{self, Tip};
use crate::git;
use crate::hook::Place;
use crate::lock::{Lock, Note};
use crate::options::Options;
use crate::refs::Refs;
use crate::repo;
use crate::stale;
use crate::talk;
use crate::verdict::{self, Verdict};

/// How a push ended, for the exit code and the audit log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The deploy branch's tip is live.
    Deployed {
        /// Its commit.
        commit: String,
        /// Its release.
        number: u64,
    },
    /// It was live before, and nothing changed.
    Unchanged,
    /// Stored; nothing was to be deployed.
    Stored,
    /// A dry run: the plan was shown, nothing was stored.
    Planned,
    /// There is no branch, and none came.
    Empty,
    /// The deploy failed.
    Failed {
        /// The commit.
        commit: String,
    },
    /// git's own program failed or was killed before anything was to be deployed.
    Broken {
        /// How, as [`ExitStatus`] says it.
        how: String,
    },
}

impl Outcome {
    /// What the session ends with.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Deployed { .. } | Self::Unchanged | Self::Stored | Self::Planned | Self::Empty => 0,
            Self::Failed { .. } | Self::Broken { .. } => 1,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployed { commit, number } => {
                write!(f, "deployed {} as release {number}", git::short(commit))
            }
            Self::Unchanged => f.write_str("unchanged"),
            Self::Stored => f.write_str("stored"),
            Self::Planned => f.write_str("planned"),
            Self::Empty => f.write_str("empty"),
            Self::Failed { commit } => write!(f, "failed {}", git::short(commit)),
            Self::Broken { how } => write!(f, "broken: {how}"),
        }
    }
}

/// Takes a push for an app.
pub(crate) fn receive(place: &Place<'_>) -> anyhow::Result<Outcome> {
    let app = place.dir();
    let lock = Lock::take(&app, place.key)?;
    repo::ensure(&app, place.scripts)?;
    stale::sweep(&app.repo())?;
    // What had begun when its machine or its process went down has failed: nobody but us holds the lock.
    verdict::close(&app)?;
    let repo = git::open(&app.repo())?;
    let before = branch::deployed(&repo);
    let refs = Refs::of(&repo)?;
    drop(repo);

    let status = receive_pack(place)?;
    let notes = lock.notes();
    if notes.contains(&Note::DryRun) {
        return dry_run(place, &refs, &notes);
    }
    let verdict = verdict::close(&app)?;
    // Opened anew: git has written packs and refs behind the first one's back.
    let repo = git::open(&app.repo())?;
    let tip = branch::deployed_or_first(&repo, &[])?;
    let received = notes.contains(&Note::Received);
    let next = judge(status, received, before.as_ref(), tip.as_ref(), verdict.as_ref());
    say_who_cancelled(&lock);
    match next {
        Next::Done(outcome) => {
            let app = place.app;
            match (&outcome, &verdict) {
                (Outcome::Empty, _) => talk::step(&format!(
                    "Nothing was pushed, and {app} has no branch yet; commit, then push a branch"
                )),
                (Outcome::Unchanged, Some(live)) => talk::step(&format!(
                    "Nothing has changed: {} of {app} was deployed as release {}",
                    git::short(&live.commit),
                    live.number
                )),
                _ => {}
            }
            Ok(outcome)
        }
        Next::Retry(tip) => {
            let commit = tip.commit.to_string();
            talk::step(&format!(
                "Nothing new was pushed; {} of {} is not deployed yet, so that is tried again",
                git::short(&commit),
                place.app
            ));
            deploy(place, &lock, &tip, None, Options::default())
        }
    }
}

/// What a dry run comes to: all refs are where they were.
fn dry_run(place: &Place<'_>, before: &Refs, notes: &[Note]) -> anyhow::Result<Outcome> {
    let repo = git::open(&place.dir().repo())?;
    let commit = branch::deployed(&repo).map(|tip| tip.commit.to_string()).unwrap_or_default();
    before.restore(&repo)?;
    talk::step("A dry run: nothing was stored, nothing is deployed");
    Ok(if notes.contains(&Note::Planned) { Outcome::Planned } else { Outcome::Failed { commit } })
}

fn say_who_cancelled(lock: &Lock) {
    for note in lock.notes() {
        if let Note::Cancelled(by) = note {
            talk::bad(&format!("cancelled by {by}"));
        }
    }
}

/// Deploys a tip that is there already, with its app's lock held.
pub(crate) fn deploy(
    place: &Place<'_>,
    lock: &Lock,
    tip: &Tip,
    branch: Option<&str>,
    options: Options,
) -> anyhow::Result<Outcome> {
    let commit = tip.commit.to_string();
    let status = place.run_hook(tip, branch, options)?;
    say_who_cancelled(lock);
    if options.rebuild {
        return Ok(if status.success() { Outcome::Unchanged } else { Outcome::Failed { commit } });
    }
    if options.dry_run {
        let planned = lock.notes().contains(&Note::Planned);
        return Ok(if planned { Outcome::Planned } else { Outcome::Failed { commit } });
    }
    Ok(match verdict::close(&place.dir())? {
        Some(verdict) if verdict.is_deployed(&commit) => Outcome::Deployed { commit, number: verdict.number },
        _ => Outcome::Failed { commit },
    })
}

/// Runs git's end of a push, and waits for all that it has started.
fn receive_pack(place: &Place<'_>) -> anyhow::Result<ExitStatus> {
    // When the laptop goes away git is killed by SIGPIPE, but the hook goes on: its parent is then us.
    prctl::set_child_subreaper(true).context("cannot become a subreaper")?;
    let status = place
        .command("git")?
        .arg("receive-pack")
        .arg(place.dir().repo())
        .status()
        .context("cannot run 'git receive-pack'")?;
    if !status.success() {
        while !matches!(wait(), Err(Errno::ECHILD)) {}
    }
    Ok(status)
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Done(Outcome),
    Retry(Tip),
}

/// What a push comes to. `received`: git was sent something to store. `before` and `tip`: the deploy branch before and
/// after. `verdict`: never "deploying", since nobody is.
fn judge(
    status: ExitStatus,
    received: bool,
    before: Option<&Tip>,
    tip: Option<&Tip>,
    verdict: Option<&Verdict>,
) -> Next {
    let broken = || Next::Done(Outcome::Broken { how: how(status) });
    let Some(tip) = tip else {
        return match (status.success(), received) {
            (true, true) => Next::Done(Outcome::Stored),
            (true, false) => Next::Done(Outcome::Empty),
            (false, _) => broken(),
        };
    };
    let commit = tip.commit.to_string();
    let changed = before != Some(tip);
    if let Some(verdict) = verdict.filter(|verdict| verdict.is_deployed(&commit)) {
        let number = verdict.number;
        return match (changed, status.success()) {
            // Also when git was killed because the laptop had gone: the hook has done its work.
            (true, _) => Next::Done(Outcome::Deployed { commit, number }),
            (false, false) => broken(),
            (false, true) if received => Next::Done(Outcome::Stored),
            (false, true) => Next::Done(Outcome::Unchanged),
        };
    }
    match (changed, status.success()) {
        (true, _) => Next::Done(Outcome::Failed { commit }),
        (false, false) => broken(),
        (false, true) if received => Next::Done(Outcome::Stored),
        (false, true) => Next::Retry(tip.clone()),
    }
}

fn how(status: ExitStatus) -> String {
    status.signal().map_or_else(
        || format!("git ended with code {}", status.code().unwrap_or(1)),
        |signal| format!("git was ended by signal {signal}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::State;
    use git2::Oid;

    fn tip(digit: &str) -> Tip {
        Tip { reference: "refs/heads/main".to_owned(), commit: Oid::from_str(&digit.repeat(40)).unwrap() }
    }

    fn verdict(digit: &str, state: State) -> Verdict {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let reference = "refs/heads/main".to_owned();
        Verdict { commit: digit.repeat(40), reference, number: 4, by: "alice".to_owned(), at, state }
    }

    fn judged(code: i32, received: bool, before: &str, after: &str, verdict: Option<&Verdict>) -> Next {
        let tips = [before, after].map(|digit| (!digit.is_empty()).then(|| tip(digit)));
        let status = ExitStatus::from_raw(code << 8);
        judge(status, received, tips[0].as_ref(), tips[1].as_ref(), verdict)
    }

    #[test]
    fn the_verdict_decides() {
        let deployed = |digit| verdict(digit, State::Deployed);
        let failed = |digit| verdict(digit, State::Failed);
        let commit = "b".repeat(40);
        let live = Next::Done(Outcome::Deployed { commit: commit.clone(), number: 4 });
        assert_eq!(judged(0, true, "", "b", Some(&deployed("b"))), live);
        assert_eq!(judged(141, true, "a", "b", Some(&deployed("b"))), live, "the laptop went away");
        let not = Next::Done(Outcome::Failed { commit });
        assert_eq!(judged(0, true, "a", "b", Some(&failed("b"))), not);
        assert_eq!(judged(0, true, "a", "b", Some(&deployed("a"))), not, "the hook failed before it began");
        assert_eq!(judged(0, true, "a", "b", None), not);
    }

    #[test]
    fn only_an_unchanged_push_tries_again() {
        let deployed = |digit| verdict(digit, State::Deployed);
        let failed = |digit| verdict(digit, State::Failed);
        assert_eq!(judged(0, false, "a", "a", Some(&failed("a"))), Next::Retry(tip("a")));
        assert_eq!(judged(0, false, "a", "a", None), Next::Retry(tip("a")));
        assert_eq!(judged(0, false, "a", "a", Some(&deployed("b"))), Next::Retry(tip("a")));
        assert_eq!(judged(0, false, "a", "a", Some(&deployed("a"))), Next::Done(Outcome::Unchanged));
        assert_eq!(
            judged(0, true, "a", "a", Some(&failed("a"))),
            Next::Done(Outcome::Stored),
            "another branch"
        );
        assert!(matches!(
            judged(128, false, "a", "a", Some(&failed("a"))),
            Next::Done(Outcome::Broken { .. })
        ));
        assert_eq!(judged(0, false, "", "", None), Next::Done(Outcome::Empty));
        assert_eq!(judged(0, true, "", "", None), Next::Done(Outcome::Stored), "a tag alone");
        assert!(matches!(judged(1, false, "", "", None), Next::Done(Outcome::Broken { .. })));
    }
}
