//! `logs [APP] [TYPE|APP]…`: prints the logs of the instances of one app, of several or of all; of a deploy, or of
//! nginx.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::{is_reached, unknown_app};
use piku_report::terminal::is_colour_refused;
use piku_report::user_error::{USAGE, UserError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli;
use crate::ipc::client;
use crate::ipc::fan_out::ask_all;
use crate::known_apps;
use crate::kubernetes::{PodLogQuery, check_not_in_cluster, print_pod_logs};
use crate::log::{DeployLogChoice, LogQuery, LogSource, has_log_of, show_logs};

pub(super) fn run(root: &PikuRoot, typed: cli::LogsArgs) -> anyhow::Result<()> {
    let stdout = io::stdout();
    let (apps, only) = find_apps(root, &typed)?;
    let query = LogQuery {
        follow: typed.follow,
        lines: typed.lines,
        deploy: typed.deploy.map(|number| number.map_or(DeployLogChoice::Last, DeployLogChoice::Number)),
        nginx: (typed.nginx || typed.access).then(|| root.nginx_logs()),
        access_only: typed.access,
        only: typed.ps.or(only),
        since: typed.since,
        raw: typed.raw,
        colours: (typed.terminal || stdout.is_terminal()) && !is_colour_refused() && !typed.raw,
    };
    if let ([app], None, None) = (apps.as_slice(), &query.deploy, &query.nginx) {
        let in_pods = PodLogQuery {
            follow: query.follow,
            lines: query.lines,
            only: query.only.clone(),
            since: query.since,
            raw: query.raw,
        };
        if print_pod_logs(root, app, &in_pods, &mut stdout.lock(), Some(stdout.as_fd()))? {
            return Ok(());
        }
    }
    if let (true, [app]) = (query.nginx.is_some(), apps.as_slice()) {
        let hint = format!("the ingress there logs them; those of its pods: piku logs {app}");
        check_not_in_cluster(root, app, "its requests do not pass the nginx of this machine", &hint)?;
    }
    let sources: Vec<LogSource> =
        apps.into_iter().map(|app| LogSource { root: root.clone(), dir: root.app(&app), app }).collect();
    // Each instance of each app has an open file, and each supervisor a connection.
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    let follow = query.follow;
    // A supervisor that has ended or does not respond has no lines to wait for, and delays no other.
    let ask = |source: &LogSource| client::have_logs_written(root, &source.app, follow);
    let _following: Vec<_> = ask_all(&sources, ask).into_iter().flatten().collect();
    show_logs(&sources, &query, &mut stdout.lock(), Some(stdout.as_fd()))?;
    let renamed =
        sources.iter().filter(|_| follow).find_map(|source| Some((source, source.find_new_name()?)));
    let Some((LogSource { app, .. }, new)) = renamed else { return Ok(()) };
    // A key that may not use the new name does not learn it.
    let what = if is_reached(&new) {
        format!("{app} is called {new} now")
    } else {
        format!("{app} has another name now")
    };
    let error = UserError::new(what);
    Err(if is_reached(&new) { error.hint(format!("piku logs {new} -f")) } else { error }.into())
}

/// Returns the apps that were named, or all that the key may use, and the process type or instance that was
/// named behind a single app.
fn find_apps(root: &PikuRoot, typed: &cli::LogsArgs) -> anyhow::Result<(Vec<AppName>, Option<String>)> {
    let Some(app) = &typed.app else {
        let mut apps = known_apps::list_apps(root, &[])?;
        apps.retain(is_reached);
        if apps.is_empty() {
            return Err(UserError::new("there is no app yet").into());
        }
        check_single(typed, &apps)?;
        return Ok((apps, None));
    };
    // The caller has checked it only if no option precedes it.
    check_app(root, app)?;
    let mut apps = vec![app.clone()];
    if let [only] = typed.more.as_slice() {
        if has_log_of(&root.app(app), only) || find_app(root, only).is_err() {
            let clashes = typed.ps.is_some() || typed.deploy.is_some() || typed.nginx || typed.access;
            if clashes {
                let what = format!("'{only}' cannot be used with --ps, --deploy, --nginx or --access");
                return Err(UserError::new(what).code(USAGE).into());
            }
            return Ok((apps, Some(only.clone())));
        }
    }
    for word in &typed.more {
        let more = find_app(root, word)?;
        if !apps.contains(&more) {
            apps.push(more);
        }
    }
    check_single(typed, &apps)?;
    Ok((apps, None))
}

/// Returns the app of this name, if the key may use it.
fn find_app(root: &PikuRoot, word: &str) -> anyhow::Result<AppName> {
    let app: AppName =
        word.parse().map_err(|_| UserError::new(format!("'{word}' is not the name of an app")))?;
    check_app(root, &app).map(|()| app)
}

/// Fails unless the app exists and the key may use it.
fn check_app(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    if !is_reached(app) {
        return Err(unknown_app(root, app).into());
    }
    known_apps::must_be_there(root, app)
}

/// Checks that the log of a deploy is not asked for several apps.
fn check_single(typed: &cli::LogsArgs, apps: &[AppName]) -> anyhow::Result<()> {
    if typed.deploy.is_some() && apps.len() > 1 {
        return Err(UserError::new("--deploy shows the deploy of one app: name it").code(USAGE).into());
    }
    Ok(())
}
