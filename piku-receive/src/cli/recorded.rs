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
        // It records each machine.
        | ReceiveAction::CatchUp { .. }
        | ReceiveAction::Export { .. }
        | ReceiveAction::FinishDeploy { .. }
        | ReceiveAction::Record { .. }
        // The session or the tools record the verb.
        | ReceiveAction::Relay { .. }
        | ReceiveAction::Distribute { .. }
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
        KeyAction::Remove { root, .. } => Some((RecordedVerb::new("keys:remove", None), root.clone())),
        KeyAction::List { .. } | KeyAction::RenameApp { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ReceiveCli;
    use clap::Parser;

    #[test]
    fn changes_of_keys_are_logged_in_the_root_that_was_named() {
        for (line, verb) in [("key add a", "keys:add"), ("key remove a", "keys:remove")] {
            let words = ["piku-receive"].into_iter().chain(line.split(' ')).chain(["--root", "/r"]);
            let action = ReceiveCli::try_parse_from(words).unwrap().action.unwrap();
            let (record, root) = recorded_action(&action).unwrap();
            assert_eq!((record.verb, root), (verb, Some("/r".into())));
        }
    }
}
