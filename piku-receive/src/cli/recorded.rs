//! The subcommands that change something, as the audit log names them.

use std::path::PathBuf;

use piku_events::actor;
use piku_events::verb_record::RecordedVerb;
use piku_report::caller;

use super::{KeyAction, ReceiveAction};

/// Returns the record of a subcommand and the root that was named; `None` for one that only reads, or is a part
/// of a push.
pub(super) fn recorded_action(action: &ReceiveAction) -> Option<(RecordedVerb, Option<PathBuf>)> {
    match action {
        ReceiveAction::Key(action) => record_key_action(action),
        ReceiveAction::Create { app, paths, .. } => {
            Some((RecordedVerb::new("create", Some(app.clone())), paths.root.clone()))
        }
        ReceiveAction::Deploy { dry_run: true, .. }
        | ReceiveAction::Admit { .. }
        | ReceiveAction::BeginDeploy { .. }
        | ReceiveAction::Export { .. }
        | ReceiveAction::FinishDeploy { .. }
        | ReceiveAction::Record { .. }
        | ReceiveAction::Ship { .. }
        | ReceiveAction::Targets { .. } => None,
        // The deploy itself is the event.
        ReceiveAction::Deploy { app, rebuild, paths, by, .. } => {
            let verb = if rebuild.is_some() { "rebuild" } else { "deploy" };
            // A rebuild without a verb is that of cron.
            let by = (by != actor::OPERATOR && caller::typed_verb().is_none()).then(|| by.clone());
            let record = RecordedVerb { by, is_event: false, ..RecordedVerb::new(verb, Some(app.clone())) };
            Some((record, paths.root.clone()))
        }
        ReceiveAction::Cancel { app, .. } => {
            Some((RecordedVerb::new("cancel", Some(app.app.clone())), app.root.clone()))
        }
    }
}

fn record_key_action(action: &KeyAction) -> Option<(RecordedVerb, Option<PathBuf>)> {
    match action {
        KeyAction::Add { paths, .. } => Some((RecordedVerb::new("keys:add", None), paths.root.clone())),
        KeyAction::Remove { .. } => Some((RecordedVerb::new("keys:remove", None), None)),
        KeyAction::List { .. } | KeyAction::RenameApp { .. } => None,
    }
}
