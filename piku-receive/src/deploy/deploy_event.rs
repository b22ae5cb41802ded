//! The event of a deploy, for journald.

use piku_events::journal::{EventResult, JournalEvent};
use piku_layout::git_history::short_commit;

use crate::app_context::AppContext;
use crate::push::PushOutcome;

/// Sends the event of a deploy that is live or has failed. A push that deployed nothing is none.
pub(crate) fn send_deploy_event(context: &AppContext<'_>, outcome: &PushOutcome) {
    let AppContext { app, key, .. } = context;
    let (result, release, message) = match outcome {
        PushOutcome::Deployed { commit, number } => {
            let short = short_commit(commit);
            (EventResult::Done, Some(*number), format!("{app}: {short} by {key} is live as release {number}"))
        }
        PushOutcome::Failed { commit } => {
            let short = short_commit(commit);
            let live = context.dir().current_number();
            (EventResult::Failed, live, format!("{app}: the deploy of {short} by {key} failed"))
        }
        _ => return,
    };
    JournalEvent { event: "deploy", result, app: Some(app), release, key: Some(key), message: &message }
        .send();
}

/// Sends the event of a release that another host has built.
pub(crate) fn send_release_event(context: &AppContext<'_>, deployed: &anyhow::Result<u64>) {
    let AppContext { app, key, .. } = context;
    let (result, release, message) = if let Ok(number) = deployed {
        (EventResult::Done, Some(*number), format!("{app}: release {number}, sent by {key}, is live"))
    } else {
        let live = context.dir().current_number();
        (EventResult::Failed, live, format!("{app}: the deploy of a release sent by {key} failed"))
    };
    JournalEvent { event: "deploy", result, app: Some(app), release, key: Some(key), message: &message }
        .send();
}
