//! `piku-run drain APP`: forwards an app's log lines to a syslog receiver, in a separate process beside the
//! supervisor.
//!
//! It reads the log files, so a slow name server or receiver cannot block an instance, and the backlog is
//! bounded by the size of the logs. It saves its positions, and the next process resumes there. Lines that
//! are rotated away before they are sent are counted and reported, in the app's logs and to the receiver.

mod address;
mod connection;
mod message;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_nss::host_name;

use crate::core::CrashBackoff;
use crate::lock;
use crate::log::{LogPositions, LogTail, LogWriter, RotationLimits};

pub(crate) use address::SyslogAddress;
use address::SyslogTransport;
use connection::ReceiverConnection;
use message::SyslogOrigin;

/// Name of the subcommand.
pub(crate) const NAME: &str = "drain";
/// Variable with the address of the receiver.
pub(crate) const VARIABLE: &str = "LOG_DRAIN";
/// Instance name under which forwarding writes its own log and appears in `ps`.
pub(crate) const INSTANCE: &str = "log-drain.1";

/// Lines of each log that are read ahead.
const READ_AHEAD: usize = 256;
/// Pause between checks of the logs while the receiver is unreachable.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Interval at which the positions are saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the file that holds the reason while nothing can be sent.
pub(crate) fn failure_file(dir: &AppDir) -> PathBuf {
    dir.run().join("drain.away")
}

/// Forwards log lines until the supervisor ends.
#[expect(clippy::disallowed_methods, reason = "its own state files, which only piku writes")]
pub(crate) fn run(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    end_with_supervisor()?;
    let dir = root.app(app);
    let address: SyslogAddress = std::env::var(VARIABLE)
        .with_context(|| format!("no {VARIABLE}"))?
        .parse()
        .map_err(|err| anyhow::anyhow!("{VARIABLE}: {err}"))?;
    let path = dir.run().join("drain.lock");
    let lock = loop {
        // The process of a supervisor that was just killed is about to end.
        match lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))? {
            Some(lock) => break lock,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let host = host_name().filter(|name| name.bytes().all(|b| b.is_ascii_graphic()));
    let origin = SyslogOrigin { host: host.unwrap_or_else(|| "-".to_owned()), app: app.to_string() };
    let save_file = dir.run().join("drain.json");
    // Without readable positions forwarding starts with new lines.
    let positions: Option<LogPositions> =
        fs::read(&save_file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let limits = RotationLimits::from(HostSettings::read(&root.settings())?.logs);
    let tail = LogTail::open(&dir, limits, positions.as_ref()).context("cannot read the logs")?;
    let mut forwarder = LogForwarder {
        dir,
        address,
        origin,
        limits,
        tail,
        save_file,
        saved: Instant::now(),
        expired: 0,
        _lock: lock,
    };
    forwarder.save_positions();
    forwarder.record_failure(None);
    forwarder.run_loop().context("cannot read the logs")
}

/// Makes this process end with its supervisor; otherwise nothing would end it.
fn end_with_supervisor() -> anyhow::Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("cannot set the parent death signal")?;
    // The supervisor may have ended before that; it holds the other end of stdin.
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).context("cannot poll stdin")?;
    let is_gone = fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
    anyhow::ensure!(!is_gone, "the supervisor has ended");
    Ok(())
}

#[derive(Debug)]
struct LogForwarder {
    dir: AppDir,
    address: SyslogAddress,
    origin: SyslogOrigin,
    limits: RotationLimits,
    tail: LogTail,
    /// File with the saved positions.
    save_file: PathBuf,
    saved: Instant,
    /// Lines that were rotated away before they could be sent.
    expired: u64,
    _lock: FileLock,
}

impl LogForwarder {
    fn run_loop(&mut self) -> io::Result<()> {
        let mut backoff = CrashBackoff::default();
        let mut failed_since: Option<Instant> = None;
        // Messages that were read and may not have been sent.
        let mut waiting: Vec<Vec<u8>> = Vec::new();
        loop {
            let begun = Instant::now();
            let error = match ReceiverConnection::open(&self.address) {
                Ok(mut connection) => self.send_lines(&mut connection, &mut waiting, &mut failed_since)?,
                Err(err) => err,
            };
            if failed_since.is_none() {
                failed_since = Some(Instant::now());
                let reason = format!("cannot send to {}: {error}", self.address);
                self.record_failure(Some(&reason));
                self.write_remark(&format!("{reason}; it is tried again"));
            }
            let pause = backoff.record_crash(begun.elapsed(), u64::from(std::process::id()));
            let until = Instant::now() + pause;
            while Instant::now() < until {
                self.expired += self.tail.skip_expiring()?;
                self.tail.wait_for_change(None, Some(until.saturating_duration_since(Instant::now())))?;
                // Limits the work while an instance writes many lines.
                std::thread::sleep(CHECK_INTERVAL.min(until.saturating_duration_since(Instant::now())));
            }
        }
    }

    /// Sends existing and new lines until the connection fails; returns the connection's error.
    fn send_lines(
        &mut self,
        connection: &mut ReceiverConnection,
        waiting: &mut Vec<Vec<u8>>,
        failed_since: &mut Option<Instant>,
    ) -> io::Result<io::Error> {
        loop {
            let mut sent = 0;
            let mut failed = None;
            for message in &*waiting {
                // After a failure the first datagram is a probe: the error for a closed port takes a moment
                // to arrive.
                let is_probe =
                    sent == 0 && failed_since.is_some() && self.address.transport == SyslogTransport::Udp;
                let result = connection
                    .send(message)
                    .and_then(|()| if is_probe { connection.wait_for_error() } else { Ok(()) });
                if let Err(err) = result {
                    failed = Some(describe_timeout(err));
                    break;
                }
                sent += 1;
            }
            waiting.drain(..sent);
            if let Some(err) = failed {
                return Ok(err);
            }
            self.expired += self.tail.skip_expiring()?;
            if sent > 0 || self.expired > 0 {
                self.report_recovery(failed_since);
            }
            if self.saved.elapsed() >= SAVE_INTERVAL {
                self.save_positions();
            }
            let transport = self.address.transport;
            let lines = self.tail.read_lines(READ_AHEAD)?;
            waiting.extend(lines.iter().flat_map(|line| self.origin.format_messages(line, transport)));
            if waiting.is_empty() {
                // Everything is sent, and the next line may take a while.
                self.save_positions();
                if self.tail.wait_for_change(Some(connection.as_fd()), None)? {
                    if let Err(err) = connection.check() {
                        return Ok(err);
                    }
                }
            } else if let Err(err) = connection.check() {
                return Ok(err);
            }
        }
    }

    /// Writes a remark if sending works again or lines have expired.
    fn report_recovery(&mut self, failed_since: &mut Option<Instant>) {
        let lost = match std::mem::take(&mut self.expired) {
            0 => String::new(),
            lines => format!("; {lines} lines were rotated away before they could be sent"),
        };
        match failed_since.take() {
            Some(since) => {
                self.record_failure(None);
                let seconds = since.elapsed().as_secs();
                self.write_remark(&format!("sends to {} again after {seconds} s{lost}", self.address));
            }
            None if !lost.is_empty() => self.write_remark(&format!("{} is too slow{lost}", self.address)),
            None => {}
        }
    }

    /// Records for `ps` why nothing can be sent; `None` means that sending works.
    #[expect(clippy::disallowed_methods, reason = "its own state files, which only piku writes")]
    fn record_failure(&self, reason: Option<&str>) {
        let path = failure_file(&self.dir);
        // If this fails, the reason is still in the log.
        let _ = match reason {
            Some(reason) => fs::write(&path, reason),
            None => fs::remove_file(&path),
        };
    }

    fn write_remark(&self, text: &str) {
        // The log cannot be opened on a full disk; the remark is lost then.
        if let Ok(mut log) = LogWriter::open(self.dir.instance_log(INSTANCE), self.limits) {
            log.write_remark(text, Timestamp::now());
        }
    }

    /// Saves the positions without a sync: after a power cut some lines are sent twice.
    #[expect(clippy::disallowed_methods, reason = "its own state files, which only piku writes")]
    fn save_positions(&mut self) {
        self.saved = Instant::now();
        let aside = self.save_file.with_extension("part");
        let Ok(text) = serde_json::to_vec(&self.tail.positions()) else { return };
        let _ = fs::write(&aside, text).and_then(|()| fs::rename(&aside, &self.save_file));
    }
}

/// Replaces the message of a timed out write, which would be "Resource temporarily unavailable".
fn describe_timeout(err: io::Error) -> io::Error {
    match err.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, "the receiver accepts no more data")
        }
        _ => err,
    }
}
