//! The asking side: finds an app's supervisor, or has the daemon start one, and passes on what it says.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_procfile::failure::Failure;
use piku_procfile::layout::Root;
use piku_procfile::name::AppName;
use piku_procfile::settings::Settings;

use crate::protocol::{Bad, Reply, Request, Wake};
use crate::socket::Asker;

/// How long a supervisor may take until it can be asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks an app's supervisor and shows what it says on stderr. Returns the data that it answered with, if any.
pub(crate) fn ask(
    root: &Root,
    app: &AppName,
    request: &Request,
) -> anyhow::Result<Option<serde_json::Value>> {
    // A supervisor that ends before it has heard the request is asked for again; one that has is not.
    for _ in 0..5 {
        let mut asker = reach(root, app)?;
        let heard = asker.ask(request).and_then(|()| asker.answer::<Reply>());
        match heard {
            Ok(Some(_)) => return listen(&mut asker, app),
            Ok(None) => {}
            Err(err) if is_hangup(&err) => {}
            Err(err) => return Err(err).with_context(|| format!("cannot ask the supervisor of {app}")),
        }
    }
    Err(Failure::new(format!("the supervisor of {app} does not answer")).hint("see the daemon's log").into())
}

fn is_hangup(err: &io::Error) -> bool {
    matches!(err.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected)
}

fn listen(asker: &mut Asker, app: &AppName) -> anyhow::Result<Option<serde_json::Value>> {
    let mut data = None;
    loop {
        let reply = match asker.answer::<Reply>() {
            Ok(Some(reply)) => reply,
            Ok(None) => break,
            Err(err) if is_hangup(&err) => break,
            Err(err) => return Err(err).with_context(|| format!("cannot hear the supervisor of {app}")),
        };
        match reply {
            Reply::Heard => {}
            Reply::Step { text } => step(&text),
            Reply::Detail { text } => detail(&text),
            Reply::Data { value } => data = Some(value),
            Reply::Done { error: None } => return Ok(data),
            Reply::Done { error: Some(bad) } => return Err(failure(bad).into()),
        }
    }
    let what = format!("the supervisor of {app} has ended before it was done");
    Err(Failure::new(what).hint("nothing half done stays; try again").into())
}

fn failure(bad: Bad) -> Failure {
    let mut message = bad.reason;
    if !bad.tail.is_empty() {
        message.push_str("\nthe last lines of its log:");
        for line in bad.tail {
            message.push_str("\n  ");
            message.push_str(&line);
        }
    }
    bad.hints.into_iter().fold(Failure::new(message).code(bad.code), Failure::hint)
}

/// A step of a deploy, as Heroku shows it.
pub(crate) fn step(text: &str) {
    talk(&format!("-----> {text}\n"));
}

/// A detail of the step before.
pub(crate) fn detail(text: &str) {
    talk(&format!("       {text}\n"));
}

fn talk(text: &str) {
    // Whoever does not listen any more does not stop the work.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether the app has a supervisor just now.
pub(crate) fn is_supervised(root: &Root, app: &AppName) -> bool {
    connect(&root.app(app).socket()).is_ok_and(|asker| asker.is_some())
}

/// A connection to the app's supervisor, started by the daemon where there is none.
fn reach(root: &Root, app: &AppName) -> anyhow::Result<Asker> {
    let socket = root.app(app).socket();
    if let Some(asker) = connect(&socket)? {
        return Ok(asker);
    }
    // A supervisor that cannot read them would not come up, and nobody would hear why.
    Settings::read(&root.settings())?;
    let since = Instant::now();
    let mut awake = None;
    loop {
        // Again from time to time: the one that was there may just have been leaving.
        if awake.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(1)) {
            wake(root, app)?;
            awake = Some(Instant::now());
        }
        if let Some(asker) = connect(&socket)? {
            return Ok(asker);
        }
        if since.elapsed() > PATIENCE {
            let what = format!("the supervisor of {app} does not come up");
            return Err(Failure::new(what).hint("see the daemon's log").into());
        }
        sleep(Duration::from_millis(3));
    }
}

/// Nothing when nobody listens there.
fn connect(socket: &Path) -> anyhow::Result<Option<Asker>> {
    match Asker::connect(socket) {
        Ok(asker) => Ok(Some(asker)),
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(err) => Err(err).with_context(|| format!("cannot connect to '{}'", socket.display())),
    }
}

fn wake(root: &Root, app: &AppName) -> anyhow::Result<()> {
    let socket = root.daemon_socket();
    let Some(mut asker) = connect(&socket)? else {
        let what = format!("the daemon is not running: nobody listens at '{}'", socket.display());
        return Err(Failure::new(what).hint("systemctl start piku, or: piku-run daemon").into());
    };
    let answer = asker
        .ask(&Wake { app: app.clone() })
        .and_then(|()| asker.answer::<Option<String>>())
        .context("cannot ask the daemon")?;
    match answer {
        Some(None) => Ok(()),
        Some(Some(error)) => Err(Failure::new(error).into()),
        None => Err(Failure::new("the daemon does not answer").hint("see its log").into()),
    }
}
