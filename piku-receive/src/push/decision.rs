//! Decides what follows after git has received a push. A push deploys if the tip of the deploy branch is not
//! the live commit, even if git had nothing to send.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::PushOutcome;
use crate::deploy::deploy_record::{DeployRecord, DeployState};
use crate::deploy::live::LiveRelease;
use crate::repository::branch::BranchTip;

/// State of a push after `git receive-pack`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PushState<'a> {
    /// git received objects or commands.
    pub(super) received: bool,
    /// The received objects were refused.
    pub(super) refused: bool,
    /// Deploy branch before the push.
    pub(super) before: Option<&'a BranchTip>,
    /// Deploy branch after the push.
    pub(super) tip: Option<&'a BranchTip>,
    /// Deploy that the hook of this push began; its state is final.
    pub(super) begun: Option<&'a DeployRecord>,
    /// The last deploy, of this push or an earlier one.
    pub(super) last: Option<&'a DeployRecord>,
    pub(super) live: Option<&'a LiveRelease>,
}

/// Result of a push, or the tip that must still be deployed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    Done(PushOutcome),
    Deploy(BranchTip),
}

/// Decides from the exit status of `git receive-pack` and the state of the push.
pub(super) fn decide(status: ExitStatus, push: &PushState<'_>) -> NextStep {
    let broken = || NextStep::Done(PushOutcome::Broken { how: describe_status(status) });
    let Some(tip) = push.tip else {
        return match (status.success(), push.refused, push.received) {
            (false, ..) => broken(),
            (true, true, _) => NextStep::Done(PushOutcome::Refused),
            (true, false, true) => NextStep::Done(PushOutcome::Stored),
            (true, false, false) => NextStep::Done(PushOutcome::Empty),
        };
    };
    let commit = tip.commit.to_string();
    if push.before != Some(tip) {
        // The hook finishes even if git is killed because the client has gone away.
        return NextStep::Done(match push.begun.filter(|begun| begun.is_deployed(&commit)) {
            Some(begun) => PushOutcome::Deployed { commit, number: begun.number },
            None => PushOutcome::Failed { commit },
        });
    }
    let has_failed =
        push.last.is_some_and(|last| last.commit == commit && last.state != DeployState::Deployed);
    let is_live = push.live.is_some_and(|live| live.commit == commit);
    match (status.success(), push.refused, push.received) {
        (false, ..) => broken(),
        (true, true, _) => NextStep::Done(PushOutcome::Refused),
        // A push of a tag or of another branch does not ask for a deploy.
        (true, false, true) => NextStep::Done(PushOutcome::Stored),
        (true, false, false) if is_live && !has_failed => NextStep::Done(PushOutcome::Unchanged),
        (true, false, false) => NextStep::Deploy(tip.clone()),
    }
}

fn describe_status(status: ExitStatus) -> String {
    status.signal().map_or_else(
        || format!("git ended with code {}", status.code().unwrap_or(1)),
        |signal| format!("git was ended by signal {signal}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::Oid;

    fn tip(digit: &str) -> BranchTip {
        BranchTip {
            reference: "refs/heads/main".to_owned(),
            commit: Oid::from_str(&digit.repeat(40)).unwrap(),
        }
    }

    fn verdict(digit: &str, state: DeployState) -> DeployRecord {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let reference = "refs/heads/main".to_owned();
        DeployRecord { commit: digit.repeat(40), reference, number: 4, by: "alice".to_owned(), at, state }
    }

    fn live(digit: &str) -> LiveRelease {
        LiveRelease { commit: digit.repeat(40), number: 4 }
    }

    /// Returns a push that changes nothing, with this tip, while this commit is live and this deploy was the
    /// last.
    fn unchanged(tip_is: &str, live_is: &str, last: Option<&DeployRecord>) -> NextStep {
        let (tip, live) = (tip(tip_is), (!live_is.is_empty()).then(|| live(live_is)));
        let push = PushState {
            before: Some(&tip),
            tip: Some(&tip),
            last,
            live: live.as_ref(),
            ..PushState::default()
        };
        decide(ExitStatus::from_raw(0), &push)
    }

    fn pushed(code: i32, before: &str, after: &str, begun: Option<&DeployRecord>) -> NextStep {
        let tips = [before, after].map(|digit| (!digit.is_empty()).then(|| tip(digit)));
        let push = PushState {
            received: true,
            before: tips[0].as_ref(),
            tip: tips[1].as_ref(),
            begun,
            last: begun,
            ..PushState::default()
        };
        decide(ExitStatus::from_raw(code << 8), &push)
    }

    #[test]
    fn the_deploy_that_the_push_has_begun_decides() {
        let deployed = |digit| verdict(digit, DeployState::Deployed);
        let failed = |digit| verdict(digit, DeployState::Failed);
        let commit = "b".repeat(40);
        let is_live = NextStep::Done(PushOutcome::Deployed { commit: commit.clone(), number: 4 });
        assert_eq!(pushed(0, "", "b", Some(&deployed("b"))), is_live);
        assert_eq!(pushed(141, "a", "b", Some(&deployed("b"))), is_live, "the laptop went away");
        let not = NextStep::Done(PushOutcome::Failed { commit });
        assert_eq!(pushed(0, "a", "b", Some(&failed("b"))), not);
        assert_eq!(pushed(0, "a", "b", Some(&deployed("a"))), not);
        assert_eq!(pushed(0, "a", "b", None), not, "the hook failed before it began");
    }

    #[test]
    fn nothing_has_changed_only_where_the_tip_is_live() {
        let deployed = |digit| verdict(digit, DeployState::Deployed);
        let failed = |digit| verdict(digit, DeployState::Failed);
        let none = NextStep::Done(PushOutcome::Unchanged);
        assert_eq!(unchanged("a", "a", Some(&deployed("a"))), none);
        assert_eq!(unchanged("a", "a", None), none, "a release from another machine");
        assert_eq!(unchanged("a", "a", Some(&failed("b"))), none, "another branch has failed");
        let again = NextStep::Deploy(tip("a"));
        assert_eq!(unchanged("a", "b", Some(&deployed("a"))), again, "after a rollback");
        assert_eq!(unchanged("a", "b", Some(&deployed("b"))), again, "after a deploy of another branch");
        assert_eq!(unchanged("a", "a", Some(&failed("a"))), again, "the last deploy of it failed");
        assert_eq!(unchanged("a", "b", Some(&failed("a"))), again);
        assert_eq!(unchanged("a", "", None), again);
    }

    #[test]
    fn what_git_stores_or_refuses_is_no_wish_for_a_deploy() {
        let tip = tip("a");
        let push = PushState { before: Some(&tip), tip: Some(&tip), ..PushState::default() };
        let ended = |code: i32, push| decide(ExitStatus::from_raw(code << 8), &push);
        assert_eq!(ended(0, PushState { received: true, ..push }), NextStep::Done(PushOutcome::Stored));
        let refused = PushState { received: true, refused: true, ..push };
        assert_eq!(ended(0, refused), NextStep::Done(PushOutcome::Refused));
        assert!(matches!(ended(128, push), NextStep::Done(PushOutcome::Broken { .. })));
        let empty = PushState::default();
        assert_eq!(ended(0, empty), NextStep::Done(PushOutcome::Empty));
        assert_eq!(
            ended(0, PushState { received: true, ..empty }),
            NextStep::Done(PushOutcome::Stored),
            "a tag"
        );
        assert!(matches!(ended(1, empty), NextStep::Done(PushOutcome::Broken { .. })));
    }
}
