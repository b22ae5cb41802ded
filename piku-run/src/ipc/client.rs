//! The asking side: finds an app's supervisor, or has the daemon start one, and passes on what it says.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use crate::ipc::protocol::{FailedReply, SupervisorReply, SupervisorRequest, WakeRequest};
use crate::ipc::socket::ClientSocket;
use crate::lock;
use crate::releases::current;

/// The time that a supervisor may take. A supervisor that is silent for longer is reported, and not waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskPatience {
    /// Until it is there and has heard the request.
    heard: Duration,
    /// Between two answers: it says every few seconds that it is still at work.
    silence: Duration,
}

impl AskPatience {
    /// For whoever changes something.
    const CHANGE: Self = Self { heard: Duration::from_secs(30), silence: Duration::from_secs(120) };
    /// For whoever asks several supervisors, of which none is to keep the others from being heard.
    pub(crate) const LOOK: Self = Self { heard: Duration::from_secs(5), silence: Duration::from_secs(5) };
    /// For whoever has several supervisors do something.
    pub(crate) const EACH: Self = Self { heard: Duration::from_secs(5), silence: Duration::from_secs(60) };
}

/// The error of a supervisor that does not answer in time.
#[derive(Debug)]
pub(crate) struct SilentSupervisor(AppName);

impl fmt::Display for SilentSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the supervisor of {} does not answer", self.0)
    }
}

fn silent(root: &PikuRoot, app: &AppName, patience: Duration) -> anyhow::Error {
    let what = format!("it has said nothing for {} s", patience.as_secs());
    let hint = match lock::holder(&current::supervisor_lock(&root.app(app))) {
        Some(pid) => {
            format!("have it replaced: kill -KILL {pid}; the instances go on, and another one takes them up")
        }
        None => "see the daemon's log".to_owned(),
    };
    anyhow::Error::from(UserError::new(what).hint(hint).code(BUSY)).context(SilentSupervisor(app.clone()))
}

/// Asks an app's supervisor and shows what it says on stderr. Returns the data that it answered with, if any.
pub(crate) fn ask(
    root: &PikuRoot,
    app: &AppName,
    request: &SupervisorRequest,
) -> anyhow::Result<Option<serde_json::Value>> {
    ask_within(root, app, request, AskPatience::CHANGE)
}

/// The same with another patience.
///
/// # Errors
/// [`SilentSupervisor`] when that is at its end.
pub(crate) fn ask_within(
    root: &PikuRoot,
    app: &AppName,
    request: &SupervisorRequest,
    patience: AskPatience,
) -> anyhow::Result<Option<serde_json::Value>> {
    // A supervisor that ends before it has heard the request is asked for again; one that has is not.
    for _ in 0..5 {
        let mut asker = reach(root, app, patience.heard)?;
        let heard = asker.ask(request).and_then(|()| asker.answer::<SupervisorReply>());
        match heard {
            Ok(Some(_)) => {
                asker.set_patience(patience.silence).context("cannot set a timeout")?;
                return match listen(&mut asker, app) {
                    Ok(data) => data,
                    Err(err) if is_timeout(&err) => Err(silent(root, app, patience.silence)),
                    Err(err) => Err(err).with_context(|| format!("cannot hear the supervisor of {app}")),
                };
            }
            Ok(None) => {}
            Err(err) if is_hangup(&err) => {}
            Err(err) if is_timeout(&err) => return Err(silent(root, app, patience.heard)),
            Err(err) => return Err(err).with_context(|| format!("cannot ask the supervisor of {app}")),
        }
    }
    Err(UserError::new(format!("the supervisor of {app} does not answer"))
        .hint("see the daemon's log")
        .into())
}

fn is_hangup(err: &io::Error) -> bool {
    matches!(err.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected)
}

fn is_timeout(err: &io::Error) -> bool {
    matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The outer error is one of the connection, the inner one what the supervisor has answered.
fn listen(asker: &mut ClientSocket, app: &AppName) -> io::Result<anyhow::Result<Option<serde_json::Value>>> {
    let mut data = None;
    loop {
        let reply = match asker.answer::<SupervisorReply>() {
            Ok(Some(reply)) => reply,
            Ok(None) => break,
            Err(err) if is_hangup(&err) => break,
            Err(err) => return Err(err),
        };
        match reply {
            SupervisorReply::Heard => {}
            SupervisorReply::Step { text } => progress::step(&text),
            SupervisorReply::Detail { text } => progress::program_output(&text),
            SupervisorReply::Data { value } => data = Some(value),
            SupervisorReply::Done { error: None } => return Ok(Ok(data)),
            SupervisorReply::Done { error: Some(bad) } => return Ok(Err(failure(bad).into())),
        }
    }
    let what = format!("the supervisor of {app} has ended before it was done");
    Ok(Err(UserError::new(what).hint("nothing half done stays; try again").into()))
}

fn failure(bad: FailedReply) -> UserError {
    let mut message = bad.reason;
    if !bad.tail.is_empty() {
        message.push_str("\nthe last lines of its log:");
        for line in bad.tail {
            message.push_str("\n  ");
            message.push_str(&line);
        }
    }
    bad.hints.into_iter().fold(UserError::new(message).code(bad.code), UserError::hint)
}

/// Whether the app has a supervisor just now.
pub(crate) fn is_supervised(root: &PikuRoot, app: &AppName) -> bool {
    match connect(&root.app(app).socket(), AskPatience::LOOK.heard) {
        Ok(asker) => asker.is_some(),
        // One that is there and does not accept.
        Err(err) => is_timeout(&err),
    }
}

/// Has the app's supervisor write what it has gathered of the logs. With `follow` it writes each line as it comes for as long as the
/// connection is held that is returned.
pub(crate) fn have_logs_written(root: &PikuRoot, app: &AppName, follow: bool) -> Option<ClientSocket> {
    let mut asker = connect(&root.app(app).socket(), AskPatience::LOOK.heard).ok()??;
    asker.ask(&SupervisorRequest::Logs { follow }).ok()?;
    // The second answer is that they are written.
    for _ in 0..2 {
        asker.answer::<SupervisorReply>().ok()??;
    }
    follow.then_some(asker)
}

/// A connection to the app's supervisor, started by the daemon where there is none.
fn reach(root: &PikuRoot, app: &AppName, patience: Duration) -> anyhow::Result<ClientSocket> {
    let socket = root.app(app).socket();
    let connected = || match connect(&socket, patience) {
        Err(err) if is_timeout(&err) => Err(silent(root, app, patience)),
        other => other.with_context(|| format!("cannot connect to '{}'", socket.display())),
    };
    if let Some(asker) = connected()? {
        return Ok(asker);
    }
    // A supervisor that cannot read them would not come up, and nobody would hear why.
    HostSettings::read(&root.settings())?;
    let since = Instant::now();
    let mut awake = None;
    loop {
        // Again from time to time: the one that was there may just have been leaving.
        if awake.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(1)) {
            wake(root, app, patience)?;
            awake = Some(Instant::now());
        }
        if let Some(asker) = connected()? {
            return Ok(asker);
        }
        if since.elapsed() > patience {
            let what = format!("the supervisor of {app} does not come up");
            return Err(UserError::new(what).hint("see the daemon's log").into());
        }
        sleep(Duration::from_millis(3));
    }
}

/// Nothing when nobody listens there.
fn connect(socket: &Path, patience: Duration) -> io::Result<Option<ClientSocket>> {
    match ClientSocket::connect(socket, patience) {
        Ok(asker) => Ok(Some(asker)),
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(err) => Err(err),
    }
}

fn wake(root: &PikuRoot, app: &AppName, patience: Duration) -> anyhow::Result<()> {
    let socket = root.daemon_socket();
    let silent = || UserError::new("the daemon does not answer").hint("systemctl restart piku").code(BUSY);
    let mut asker = match connect(&socket, patience) {
        Ok(Some(asker)) => asker,
        Ok(None) => {
            let what = format!("the daemon is not running: nobody listens at '{}'", socket.display());
            return Err(UserError::new(what).hint("systemctl start piku, or: piku-run daemon").into());
        }
        Err(err) if is_timeout(&err) => return Err(silent().into()),
        Err(err) => return Err(err).with_context(|| format!("cannot connect to '{}'", socket.display())),
    };
    match asker.ask(&WakeRequest { app: app.clone() }).and_then(|()| asker.answer::<Option<String>>()) {
        Ok(Some(None)) => Ok(()),
        Ok(Some(Some(error))) => Err(UserError::new(error).into()),
        Ok(None) => Err(UserError::new("the daemon does not answer").hint("see its log").into()),
        Err(err) if is_timeout(&err) => Err(silent().into()),
        Err(err) => Err(err).context("cannot ask the daemon"),
    }
}
