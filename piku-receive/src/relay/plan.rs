//! The decision where a verb is executed: on this host, on each target host, on one of them, or nowhere.

use piku_layout::name::AppName;
use piku_layout::settings::{DeployTo, MachineAddress};

/// Where a verb is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RelayPlan {
    /// On this host alone.
    Here,
    /// The same, after a warning of what it does not reach.
    HereOnly {
        warning: String,
    },
    Each(FanOut),
    /// On each target host that has the release to be left.
    RollBack,
    /// On the first target host that answers.
    OnOne,
    /// The logs of all, merged.
    Logs,
    Refuse {
        why: String,
        hint: String,
    },
}

/// Execution on each target host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FanOut {
    /// True for turns, until one host fails; false for all hosts at the same time.
    pub(super) is_in_turn: bool,
    pub(super) here: OwnTurn,
    /// The verb reads stdin, and each host gets all of it.
    pub(super) reads_stdin: bool,
    /// The verb changes nothing: a host that does not answer soon is left out.
    pub(super) is_query: bool,
}

/// The turn of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnTurn {
    None,
    /// Before the target hosts. If it fails, they are left as they are.
    First,
    /// After the target hosts, whatever has become of them.
    Last,
}

/// State of the app on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct OwnState {
    /// It has a live release, which it may have from before.
    pub(super) is_live: bool,
    /// It is destroyed, and kept for `restore`.
    pub(super) is_destroyed: bool,
}

/// A verb about an app of target hosts.
#[derive(Clone, Copy)]
struct AskedVerb<'a> {
    app: &'a AppName,
    to: &'a DeployTo,
    /// The first of the target hosts.
    first: &'a MachineAddress,
    state: OwnState,
    verb: &'a str,
    /// Without the app.
    args: &'a [String],
}

/// Returns the plan for a verb with these arguments, the app not among them.
pub(super) fn plan_verb(
    app: &AppName,
    to: &DeployTo,
    state: OwnState,
    verb: &str,
    args: &[String],
) -> RelayPlan {
    let (Some(first), None) = (to.machines.first(), &to.kubernetes) else { return RelayPlan::Here };
    let asked = AskedVerb { app, to, first, state, verb, args };
    decide(&asked).unwrap_or_else(|| RelayPlan::Refuse {
        why: format!("{app} runs on other machines, and this piku does not know what '{verb}' does there"),
        hint: format!("on one of them: {} {verb} {app} …", ssh_line(to, first)),
    })
}

/// Returns the plan for a verb; `None` for one that is not known.
fn decide(asked: &AskedVerb<'_>) -> Option<RelayPlan> {
    let AskedVerb { app, to, state, verb, args, .. } = *asked;
    if let Some((why, hint)) = refuse(asked) {
        return Some(RelayPlan::Refuse { why: format!("{app} runs on other machines, {why}"), hint });
    }
    let has = |name: &str| has_option(args, name);
    let here = if to.here { OwnTurn::First } else { OwnTurn::None };
    let at_once = FanOut { is_in_turn: false, here, reads_stdin: false, is_query: false };
    let query = FanOut { is_query: true, ..at_once };
    let in_turn = FanOut { is_in_turn: true, ..at_once };
    // Settings are stored here, too: builds and the front read them.
    let settings = FanOut { here: OwnTurn::First, ..in_turn };
    Some(match verb {
        "ps" if to.front.is_some() => RelayPlan::Each(FanOut { here: OwnTurn::First, ..query }),
        "ps" | "releases" | "releases:info" => RelayPlan::Each(query),
        "stop" if state.is_live => RelayPlan::Each(FanOut { here: OwnTurn::First, ..at_once }),
        "ps:scale" if !args.iter().any(|arg| arg.contains('=') && !arg.starts_with('-')) => {
            RelayPlan::Each(query)
        }
        "ps:scale" | "start" | "stop" => RelayPlan::Each(at_once),
        "rollback" => RelayPlan::RollBack,
        "restart" => RelayPlan::Each(in_turn),
        "config:set" => RelayPlan::Each(FanOut { reads_stdin: has("--stdin"), ..settings }),
        "config:unset" => RelayPlan::Each(settings),
        "import-heroku" | "import-dokku" if has("--dry-run") => RelayPlan::Here,
        "config:import" | "import-heroku" | "import-dokku" => {
            RelayPlan::Each(FanOut { reads_stdin: true, ..settings })
        }
        "domains:add" | "domains:remove" if to.front.is_none() => RelayPlan::Each(settings),
        "maintenance:on" | "maintenance:off" | "certs:renew" if to.front.is_none() => {
            RelayPlan::Each(at_once)
        }
        "run" | "cron:run" if !to.here => RelayPlan::OnOne,
        "destroy" => RelayPlan::Each(FanOut { here: OwnTurn::Last, ..at_once }),
        // There it comes back without a release, and gets one when this host deploys.
        "restore" if has("--kept") && !has("--replace") => {
            RelayPlan::Each(FanOut { here: OwnTurn::Last, ..at_once })
        }
        // The log of a deploy is that of the push.
        "logs" if has("--deploy") || names_nginx_log(args) => RelayPlan::Here,
        // More names may be those of apps.
        "logs" => RelayPlan::Logs,
        // What nginx has of the app is on the machines, as long as no front serves it here.
        "domains" | "domains:check" | "certs" if !is_served_here(to) && names_no_other(args) => {
            RelayPlan::Each(query)
        }
        "open" if !is_served_here(to) => RelayPlan::OnOne,
        "run" | "cron:run" | "open" | "domains" | "domains:add" | "domains:remove" | "domains:check"
        | "certs" | "certs:renew" | "maintenance:on" | "maintenance:off" | "data:export" | "data:import"
        | "data:remove" | "service:bind" | "service:console" | "service:dump" | "service:restore"
        | "restore" => RelayPlan::Here,
        "backup" | "clone" if !to.here && (verb == "backup" || has("--data")) => {
            let warning =
                format!("{app} runs on other machines: the files in /data there are not part of it");
            RelayPlan::HereOnly { warning }
        }
        // The repository, its builds, and what else is kept here.
        "create" | "deploy" | "rebuild" | "cancel" | "lock" | "unlock" | "config" | "config:get"
        | "backup" | "rename" | "clone" | "gc" | "audit" | "service:unbind" | "service:drop" => {
            RelayPlan::Here
        }
        _ => return None,
    })
}

/// Returns why a verb is executed nowhere, and a hint; `None` for all others.
fn refuse(asked: &AskedVerb<'_>) -> Option<(&'static str, String)> {
    let AskedVerb { app, to, first, state, verb, args } = *asked;
    let on_one = || format!("on one of them: {} {verb} {app} …", ssh_line(to, first));
    Some(match verb {
        "rollback" if !args.is_empty() => (
            "and each numbers its releases by itself",
            format!("without a number, each returns to its previous release; {}", on_one()),
        ),
        "config:edit" | "config:import" if verb == "config:edit" || has_option(args, "--before") => (
            "and config:edit does not reach them",
            format!("on all of them: piku config:set {app} NAME=VALUE, piku config:unset {app} NAME"),
        ),
        "restore" if state.is_destroyed && args.is_empty() => (
            "which have destroyed it, too",
            format!("to bring it back on all: piku restore {app} --kept"),
        ),
        "logs" if names_nginx_log(args) && !has_option(args, "--deploy") && !is_served_here(to) => {
            ("whose nginx keeps its logs there", on_one())
        }
        "data:export" | "data:import" | "data:remove" if !to.here => {
            ("and each has data of its own", on_one())
        }
        "service:bind" | "service:console" | "service:dump" | "service:restore" if !to.here => (
            "which reach no service of this one",
            "set the address of a database that all of them reach by config:set, or bind a service on each machine"
                .to_owned(),
        ),
        "rebuild" if !to.here => (
            "and no release of it is here to be built again",
            format!("to build and deploy it on all: piku deploy {app}"),
        ),
        _ => return None,
    })
}

fn has_option(args: &[String], name: &str) -> bool {
    args.iter().any(|arg| arg.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
}

/// Returns true if the arguments of `logs` ask for nginx's.
fn names_nginx_log(args: &[String]) -> bool {
    has_option(args, "--nginx") || has_option(args, "--access")
}

/// Returns true if this host's nginx serves the app.
fn is_served_here(to: &DeployTo) -> bool {
    to.here || to.front.is_some()
}

/// Returns true if no argument may be the name of another app.
fn names_no_other(args: &[String]) -> bool {
    match args {
        [] => true,
        [format] => format.starts_with("--format="),
        [format, _] => format == "--format",
        _ => false,
    }
}

/// Returns whether this host's lock of the app is held while the verb is executed: it must not come between the
/// machines of a push, nor be one of two changes that reach them in different orders.
pub(super) fn takes_lock(verb: &str) -> bool {
    ["restart", "start", "stop", "ps:scale", "destroy"].contains(&verb)
        || verb.starts_with("config:")
        || verb.starts_with("import-")
}

/// Returns whether the verb changes settings, which machines that are away get later.
pub(super) fn changes_settings(verb: &str) -> bool {
    verb.starts_with("config:") || verb.starts_with("import-") || verb.starts_with("domains:")
}

/// Returns the beginning of a command that leads to a machine.
pub(super) fn ssh_line(to: &DeployTo, machine: &MachineAddress) -> String {
    let port = machine.port.map(|port| format!(" -p {port}")).unwrap_or_default();
    let identity = to.identity.as_ref().map(|path| format!(" -i {}", path.display())).unwrap_or_default();
    let user = machine.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    format!("ssh{port}{identity} {user}{}", machine.host)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use piku_layout::settings::FrontSettings;

    fn to(here: bool, front: bool) -> DeployTo {
        DeployTo {
            machines: vec!["piku@pi-1:2222".parse().unwrap(), "piku@pi-2".parse().unwrap()],
            here,
            front: front.then(FrontSettings::default),
            ..DeployTo::default()
        }
    }

    fn plan(to: &DeployTo, line: &str) -> RelayPlan {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        plan_verb(
            &"blog".parse().unwrap(),
            to,
            OwnState { is_live: false, is_destroyed: true },
            &words[0],
            &words[1..],
        )
    }

    /// Every verb about an app, without arguments but those that decide, on machines alone, with `here`, with a front.
    #[test]
    fn each_verb_of_the_script_has_a_decision() {
        let script = include_str!("../../../scripts/piku");
        let table = script.split_once("\ntable() {\n").unwrap().1.split_once("\nEND\n").unwrap().0;
        let rows = table.lines().filter_map(|line| line.strip_prefix("@ ")?.split_once(' '));
        let about_app = rows.filter(|(_, rest)| {
            rest.starts_with("app:")
                || rest.starts_with("app ")
                || rest.starts_with("app? ")
                || rest.starts_with("app:typed?")
                || rest.starts_with("service ")
        });
        let mut text = String::new();
        for (verb, _) in about_app {
            let more: &[&str] = match verb {
                "ps:scale" => &["", " web=2"],
                "rollback" => &["", " 3"],
                "clone" => &["", " diary --data"],
                "restore" => &["", " --kept"],
                "logs" => &["", " --deploy", " --nginx"],
                "config:import" => &["", " --replace --before 3"],
                "import-heroku" => &["", " --dry-run"],
                _ => &[""],
            };
            for more in more {
                let line = format!("{verb}{more}");
                let plans = [(false, false), (true, false), (false, true)]
                    .map(|(here, front)| describe(&plan(&to(here, front), &line)));
                writeln!(text, "{line:36}{}", plans.join(" | ")).unwrap();
            }
        }
        piku_tests::snapshot::assert_snapshot(&text, piku_tests::snapshot::file!["plan/verbs.txt"]);
    }

    fn describe(plan: &RelayPlan) -> String {
        match plan {
            RelayPlan::Here => "here".to_owned(),
            RelayPlan::HereOnly { .. } => "here, with a warning".to_owned(),
            RelayPlan::Each(FanOut { is_query: true, here: OwnTurn::None, .. }) => "asks all".to_owned(),
            RelayPlan::Each(FanOut { is_query: true, .. }) => "asks here and all".to_owned(),
            RelayPlan::Each(how) => {
                let here = match how.here {
                    OwnTurn::None => "",
                    OwnTurn::First => "here, then ",
                    OwnTurn::Last => "before here, ",
                };
                format!("{here}{}", if how.is_in_turn { "in turn" } else { "all at once" })
            }
            RelayPlan::RollBack => "rolls back in turn".to_owned(),
            RelayPlan::OnOne => "on one".to_owned(),
            RelayPlan::Logs => "merged".to_owned(),
            RelayPlan::Refuse { why, .. } => {
                assert!(!why.contains("does not know"), "{why}: decide what the verb does");
                "refused".to_owned()
            }
        }
    }

    #[test]
    fn an_app_of_this_machine_alone_stays_here() {
        for verb in ["ps", "logs", "run", "destroy", "config:set"] {
            assert_eq!(plan(&DeployTo::default(), verb), RelayPlan::Here, "{verb}");
        }
    }

    #[test]
    fn verbs_reach_all_machines_or_one_or_are_refused() {
        let each = |here: bool, front: bool, line: &str| match plan(&to(here, front), line) {
            RelayPlan::Each(how) => (how.is_in_turn, how.here, how.reads_stdin),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(each(false, false, "restart"), (true, OwnTurn::None, false));
        assert_eq!(each(true, false, "restart"), (true, OwnTurn::First, false));
        assert_eq!(each(false, true, "ps"), (false, OwnTurn::First, false));
        assert_eq!(each(false, true, "config:set A=1"), (true, OwnTurn::First, false));
        assert_eq!(each(false, true, "config:set A --stdin"), (true, OwnTurn::First, true));
        assert_eq!(each(false, true, "config:import --replace"), (true, OwnTurn::First, true));
        assert_eq!(each(false, false, "maintenance:on"), (false, OwnTurn::None, false));
        assert_eq!(each(true, false, "domains:add a.test"), (true, OwnTurn::First, false));
        assert_eq!(each(true, false, "certs:renew"), (false, OwnTurn::First, false));
        assert_eq!(each(false, true, "destroy --confirm blog"), (false, OwnTurn::Last, false));
        assert_eq!(each(false, true, "restore --kept"), (false, OwnTurn::Last, false));
        for (line, is_query) in
            [("ps:scale", true), ("ps:scale --format=json", true), ("ps:scale web=2", false)]
        {
            let RelayPlan::Each(how) = plan(&to(false, false), line) else { panic!("{line}") };
            assert_eq!(how.is_query, is_query, "{line}");
        }
        for (here, front, line) in [
            (false, true, "maintenance:on"),
            (false, true, "domains:add a.test"),
            (true, false, "run id"),
            (true, false, "data:export"),
            (false, true, "logs --nginx"),
            (false, false, "logs --deploy"),
            (false, false, "config"),
            (false, false, "deploy"),
            (false, false, "restore --replace"),
            (false, false, "restore --as diary"),
        ] {
            assert_eq!(plan(&to(here, front), line), RelayPlan::Here, "{line}");
        }
        assert_eq!(plan(&to(false, false), "run id"), RelayPlan::OnOne);
        assert_eq!(plan(&to(true, false), "rollback"), RelayPlan::RollBack);
        assert_eq!(plan(&to(true, false), "logs -f"), RelayPlan::Logs);
        for line in [
            "rollback 3",
            "data:import",
            "service:bind pg blog",
            "config:import --replace --before 3",
            "config:edit",
            "restore",
            "logs --access",
        ] {
            assert!(matches!(plan(&to(false, false), line), RelayPlan::Refuse { .. }), "{line}");
        }
        let RelayPlan::Refuse { why, hint } = plan(&to(false, false), "data:export") else { panic!() };
        assert_eq!(why, "blog runs on other machines, and each has data of its own");
        assert_eq!(hint, "on one of them: ssh -p 2222 piku@pi-1 data:export blog …");
    }
}
