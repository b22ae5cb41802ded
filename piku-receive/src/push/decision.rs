//! The decision that follows git's part of a push. A push deploys whenever the tip of the deploy branch is not the commit
//! that is live, also when git had nothing to send.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::PushOutcome;
use crate::deploy::live::LiveRelease;
use crate::deploy::verdict::{DeployState, DeployVerdict};
use crate::repository::branch::BranchTip;

/// The state of a push once git's part of it is over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PushState<'a> {
    /// git was sent something to store.
    pub(super) received: bool,
    /// The objects that were sent were refused.
    pub(super) refused: bool,
    /// The deploy branch before the push.
    pub(super) before: Option<&'a BranchTip>,
    /// The deploy branch after it.
    pub(super) tip: Option<&'a BranchTip>,
    /// The deploy that the hook has begun in this push; never "deploying", since it has ended.
    pub(super) begun: Option<&'a DeployVerdict>,
    /// The last deploy of all.
    pub(super) last: Option<&'a DeployVerdict>,
    /// The release that is live.
    pub(super) live: Option<&'a LiveRelease>,
}

/// The decision: how the push has ended, or the tip that is still to be deployed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    Done(PushOutcome),
    Deploy(BranchTip),
}

/// Decides it. `status` is that of git's end.
pub(super) fn decide(status: ExitStatus, push: &PushState<'_>) -> NextStep {
    let broken = || NextStep::Done(PushOutcome::Broken { how: how(status) });
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
        // Also when git was killed because the laptop had gone: the hook has done its work.
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
        // A tag or another branch: who pushes that does not ask for a deploy.
        (true, false, true) => NextStep::Done(PushOutcome::Stored),
        (true, false, false) if is_live && !has_failed => NextStep::Done(PushOutcome::Unchanged),
        (true, false, false) => NextStep::Deploy(tip.clone()),
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
    use git2::Oid;

    fn tip(digit: &str) -> BranchTip {
        BranchTip {
            reference: "refs/heads/main".to_owned(),
            commit: Oid::from_str(&digit.repeat(40)).unwrap(),
        }
    }

    fn verdict(digit: &str, state: DeployState) -> DeployVerdict {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let reference = "refs/heads/main".to_owned();
        DeployVerdict { commit: digit.repeat(40), reference, number: 4, by: "alice".to_owned(), at, state }
    }

    fn live(digit: &str) -> LiveRelease {
        LiveRelease { commit: digit.repeat(40), number: 4 }
    }

    /// A push that changes nothing, with this tip, while this commit is live and this deploy was the last.
    fn unchanged(tip_is: &str, live_is: &str, last: Option<&DeployVerdict>) -> NextStep {
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

    fn pushed(code: i32, before: &str, after: &str, begun: Option<&DeployVerdict>) -> NextStep {
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
