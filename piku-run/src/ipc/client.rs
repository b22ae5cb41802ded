//! Client of an app's supervisor: connects, or has the daemon start a supervisor first, sends a request and
//! prints the progress. `app_request` asks it, or the cluster in which the app runs.

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
use piku_report::user_error::{BUSY, FAILED, UserError};

use crate::ipc::protocol::{ChangeConflict, DaemonRequest, FailedReply, SupervisorReply, SupervisorRequest};
use crate::ipc::socket::ClientSocket;
use crate::lock;
use crate::releases::current;

/// Time limits for the responses of a supervisor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskPatience {
    /// Until the supervisor runs and has acknowledged the request.
    heard: Duration,
    /// Between two responses; a working supervisor responds every few seconds.
    silence: Duration,
}

impl AskPatience {
    /// For changes.
    const CHANGE: Self = Self { heard: Duration::from_secs(30), silence: Duration::from_secs(120) };
    /// For queries of several supervisors, of which none may delay the others.
    pub(crate) const LOOK: Self = Self { heard: Duration::from_secs(5), silence: Duration::from_secs(5) };
    /// For changes by several supervisors.
    pub(crate) const EACH: Self = Self { heard: Duration::from_secs(5), silence: Duration::from_secs(60) };
}

/// Error: the supervisor of this app did not respond in time.
#[derive(Debug)]
pub(crate) struct SilentSupervisor(AppName);

impl fmt::Display for SilentSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the supervisor of {} does not answer", self.0)
    }
}

fn is_silent(root: &PikuRoot, app: &AppName, patience: Duration) -> anyhow::Error {
    let what = format!("it has said nothing for {} s", patience.as_secs());
    let hint = match lock::holder(&current::supervisor_lock(&root.app(app))) {
        Some(pid) => {
            format!("have it replaced: kill -KILL {pid}; the instances go on, and another one takes them up")
        }
        None => "see the daemon's log".to_owned(),
    };
    anyhow::Error::from(UserError::new(what).hint(hint).code(BUSY)).context(SilentSupervisor(app.clone()))
}

/// Asks until no other change is in progress.
pub(crate) fn ask_in_turn(
    root: &PikuRoot,
    app: &AppName,
    request: &SupervisorRequest,
) -> anyhow::Result<AskOutcome> {
    lock::wait_for(root, &format!("the change of {app} that is in progress"), || {
        let asked = ask_once(root, app, request, AskPatience::CHANGE)?;
        let conflict = asked.as_ref().err().and_then(|refused| refused.conflict);
        Ok((conflict != Some(ChangeConflict::InProgress)).then_some(asked))
    })
}

/// The data of a response, or the supervisor's error.
pub(crate) type AskOutcome = Result<Option<serde_json::Value>, FailedReply>;

/// Sends a request and prints the progress on stderr.
pub(crate) fn ask_once(
    root: &PikuRoot,
    app: &AppName,
    request: &SupervisorRequest,
    patience: AskPatience,
) -> anyhow::Result<AskOutcome> {
    // A request that a supervisor has not acknowledged before it ended is sent again.
    for _ in 0..5 {
        let mut asker = reach_supervisor(root, app, patience.heard)?;
        let heard = asker.ask(request).and_then(|()| asker.answer::<SupervisorReply>());
        match heard {
            Ok(Some(_)) => {
                asker.set_patience(patience.silence).context("cannot set a timeout")?;
                return match read_replies(&mut asker, app) {
                    Ok(outcome) => Ok(outcome),
                    Err(err) if is_timeout(&err) => Err(is_silent(root, app, patience.silence)),
                    Err(err) => Err(err).with_context(|| format!("cannot hear the supervisor of {app}")),
                };
            }
            Ok(None) => {}
            Err(err) if is_hangup(&err) => {}
            Err(err) if is_timeout(&err) => return Err(is_silent(root, app, patience.heard)),
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

/// Reads responses until the last. The outer error is one of the connection, the inner one the
/// supervisor's.
fn read_replies(asker: &mut ClientSocket, app: &AppName) -> io::Result<AskOutcome> {
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
            // A warning has a hint on a line of its own.
            SupervisorReply::Detail { text } => text.lines().for_each(progress::program_output),
            SupervisorReply::Data { value } => data = Some(value),
            SupervisorReply::Done { error: None } => return Ok(Ok(data)),
            SupervisorReply::Done { error: Some(bad) } => return Ok(Err(bad)),
        }
    }
    let reason = format!("the supervisor of {app} has ended before it was done");
    let hints = vec!["nothing half done stays; try again".to_owned()];
    Ok(Err(FailedReply { reason, code: FAILED, hints, tail: Vec::new(), conflict: None }))
}

pub(crate) fn to_error(bad: FailedReply) -> UserError {
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

/// Ends the instances and the supervisor of an app that runs elsewhere from here on.
pub(crate) fn stop_supervisor(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    for request in [SupervisorRequest::Stop { stay: false }, SupervisorRequest::Leave] {
        ask_in_turn(root, app, &request)?.map_err(to_error)?;
    }
    // The mark is about instances on this machine.
    current::remove_dir(&root.app(app).paused())
}

/// Returns whether a supervisor of the app runs.
pub(crate) fn is_supervised(root: &PikuRoot, app: &AppName) -> bool {
    match connect_supervisor(&root.app(app).socket(), AskPatience::LOOK.heard) {
        Ok(asker) => asker.is_some(),
        // It runs and does not accept.
        Err(err) => is_timeout(&err),
    }
}

/// Asks the supervisor to write the log lines that it has gathered. With `follow` it writes each line at
/// once while the returned connection is open.
pub(crate) fn have_logs_written(root: &PikuRoot, app: &AppName, follow: bool) -> Option<ClientSocket> {
    let mut asker = connect_supervisor(&root.app(app).socket(), AskPatience::LOOK.heard).ok()??;
    asker.ask(&SupervisorRequest::Logs { follow }).ok()?;
    // The second response confirms the write.
    for _ in 0..2 {
        asker.answer::<SupervisorReply>().ok()??;
    }
    follow.then_some(asker)
}

/// Connects to the app's supervisor, which the daemon starts if none runs.
fn reach_supervisor(root: &PikuRoot, app: &AppName, patience: Duration) -> anyhow::Result<ClientSocket> {
    let socket = root.app(app).socket();
    let connected = || match connect_supervisor(&socket, patience) {
        Err(err) if is_timeout(&err) => Err(is_silent(root, app, patience)),
        other => other.with_context(|| format!("cannot connect to '{}'", socket.display())),
    };
    if let Some(asker) = connected()? {
        return Ok(asker);
    }
    // A supervisor that cannot read the settings would not start, and the reason would be lost.
    HostSettings::read(&root.settings())?;
    let since = Instant::now();
    let mut awake = None;
    loop {
        // Repeat: the supervisor that ran may just have been ending.
        if awake.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(1)) {
            ask_daemon(root, &DaemonRequest::Wake { app: app.clone() }, patience)?;
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

/// Connects to a supervisor; `None` if nothing listens.
fn connect_supervisor(socket: &Path, patience: Duration) -> io::Result<Option<ClientSocket>> {
    match ClientSocket::connect(socket, patience) {
        Ok(asker) => Ok(Some(asker)),
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Has the daemon remove the withdrawn directories of an app, without waiting for it.
///
/// # Errors
/// Fails if no daemon runs, or an older one that cannot do that.
pub(crate) fn ask_removal(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    ask_daemon(root, &DaemonRequest::Remove { withdrawn_of: app.clone() }, AskPatience::LOOK.heard)
}

fn ask_daemon(root: &PikuRoot, request: &DaemonRequest, patience: Duration) -> anyhow::Result<()> {
    let socket = root.daemon_socket();
    let silent = || UserError::new("the daemon does not answer").hint("systemctl restart piku").code(BUSY);
    let mut asker = match connect_supervisor(&socket, patience) {
        Ok(Some(asker)) => asker,
        Ok(None) => {
            let what = format!("the daemon is not running: nothing listens at '{}'", socket.display());
            return Err(UserError::new(what).hint("systemctl start piku, or: piku-run daemon").into());
        }
        Err(err) if is_timeout(&err) => return Err(silent().into()),
        Err(err) => return Err(err).with_context(|| format!("cannot connect to '{}'", socket.display())),
    };
    match asker.ask(request).and_then(|()| asker.answer::<Option<String>>()) {
        Ok(Some(None)) => Ok(()),
        Ok(Some(Some(error))) => Err(UserError::new(error).into()),
        Ok(None) => Err(UserError::new("the daemon does not answer").hint("see its log").into()),
        Err(err) if is_timeout(&err) => Err(silent().into()),
        Err(err) => Err(err).context("cannot ask the daemon"),
    }
}
