//! `piku-run drain APP`: sends an app's logs on to a receiver of syslog, in a process of its own beside the app's supervisor.
//!
//! It reads the files that the supervisor writes, so nothing that it waits for (a name, a receiver that stalls) can hold up a
//! worker, and what waits to be sent is bounded by what the logs keep. It writes down how far it has come: the next drain goes on
//! there. What is rotated away before it could be sent is counted and said, here and to the receiver.

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
use nix::unistd::gethostname;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;

use crate::core::CrashBackoff;
use crate::lock::FileLock;
use crate::log::{LogPositions, LogTail, LogWriter, RotationLimits};

pub(crate) use address::SyslogAddress;
use address::SyslogTransport;
use connection::ReceiverConnection;
use message::SyslogOrigin;

/// The subcommand's name.
pub(crate) const NAME: &str = "drain";
/// The variable that names the receiver.
pub(crate) const VARIABLE: &str = "LOG_DRAIN";
/// The log in which a drain says how it fares, an instance like others.
pub(crate) const OWN: &str = "log-drain.1";

/// How many lines are read ahead.
const LINES: usize = 256;
/// How long it rests between looks at the logs while the receiver is away.
const REST: Duration = Duration::from_millis(50);
/// How often it is written down how far it has come.
const SAVE: Duration = Duration::from_secs(1);

/// The file that says why nothing can be sent, as long as that is so.
pub(crate) fn away_file(dir: &AppDir) -> PathBuf {
    dir.run().join("drain.away")
}

/// Sends until its supervisor ends.
#[expect(clippy::disallowed_methods, reason = "the drain's own notes, which only piku writes")]
pub(crate) fn run(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    end_with_supervisor()?;
    let dir = root.app(app);
    let address: SyslogAddress = std::env::var(VARIABLE)
        .with_context(|| format!("no {VARIABLE}"))?
        .parse()
        .map_err(|err| anyhow::anyhow!("{VARIABLE}: {err}"))?;
    let path = dir.run().join("drain.lock");
    let lock = loop {
        // The drain of a supervisor that has just been killed is about to end.
        match FileLock::take(&path).with_context(|| format!("cannot lock '{}'", path.display()))? {
            Some(lock) => break lock,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let host = gethostname().ok().and_then(|name| name.into_string().ok());
    let host = host.filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()));
    let speaker = SyslogOrigin { host: host.unwrap_or_else(|| "-".to_owned()), app: app.to_string() };
    let save = dir.run().join("drain.json");
    // A place that cannot be read is none: it goes on with what comes.
    let places: Option<LogPositions> =
        fs::read(&save).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let limits = RotationLimits::from(HostSettings::read(&root.settings())?.logs);
    let tail = LogTail::open(&dir, limits, places.as_ref()).context("cannot read the logs")?;
    let mut drain = LogForwarder {
        dir,
        address,
        speaker,
        limits,
        tail,
        save,
        saved: Instant::now(),
        dropped: 0,
        _lock: lock,
    };
    drain.save();
    drain.tell_ps(None);
    drain.work().context("cannot read the logs")
}

/// A drain alone would be one that nobody ends.
fn end_with_supervisor() -> anyhow::Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("cannot bind itself to its supervisor")?;
    // It may have ended before: it holds the other end of stdin.
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).context("cannot look at stdin")?;
    let is_gone = fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
    anyhow::ensure!(!is_gone, "the supervisor has ended");
    Ok(())
}

#[derive(Debug)]
struct LogForwarder {
    dir: AppDir,
    address: SyslogAddress,
    speaker: SyslogOrigin,
    limits: RotationLimits,
    tail: LogTail,
    /// Where it is written down how far it has come.
    save: PathBuf,
    saved: Instant,
    /// Lines that were rotated away while the receiver was not there.
    dropped: u64,
    _lock: FileLock,
}

impl LogForwarder {
    fn work(&mut self) -> io::Result<()> {
        let mut backoff = CrashBackoff::default();
        let mut away: Option<Instant> = None;
        // What is read and not known to be sent.
        let mut waiting: Vec<Vec<u8>> = Vec::new();
        loop {
            let begun = Instant::now();
            let ended = match ReceiverConnection::open(&self.address) {
                Ok(mut link) => self.send_all(&mut link, &mut waiting, &mut away)?,
                Err(err) => err,
            };
            if away.is_none() {
                away = Some(Instant::now());
                let why = format!("cannot send to {}: {ended}", self.address);
                self.tell_ps(Some(&why));
                self.remark(&format!("{why}; it is tried again"));
            }
            let pause = backoff.crashed(begun.elapsed(), u64::from(std::process::id()));
            let until = Instant::now() + pause;
            while Instant::now() < until {
                self.dropped += self.tail.skip_doomed()?;
                self.tail.wait(None, Some(until.saturating_duration_since(Instant::now())))?;
                // A flood is no reason to be busy meanwhile.
                std::thread::sleep(REST.min(until.saturating_duration_since(Instant::now())));
            }
        }
    }

    /// Sends what is there and what comes; returns why that has ended.
    fn send_all(
        &mut self,
        link: &mut ReceiverConnection,
        waiting: &mut Vec<Vec<u8>>,
        away: &mut Option<Instant>,
    ) -> io::Result<io::Error> {
        loop {
            let mut sent = 0;
            let mut failed = None;
            for message in &*waiting {
                // After an outage the first datagram asks whether somebody listens: when nobody does, the answer takes a moment.
                let is_trial = sent == 0 && away.is_some() && self.address.transport == SyslogTransport::Udp;
                let told = link.send(message).and_then(|()| if is_trial { link.ask() } else { Ok(()) });
                if let Err(err) = told {
                    failed = Some(said_better(err));
                    break;
                }
                sent += 1;
            }
            waiting.drain(..sent);
            if let Some(err) = failed {
                return Ok(err);
            }
            self.dropped += self.tail.skip_doomed()?;
            if sent > 0 || self.dropped > 0 {
                self.is_back(away);
            }
            if self.saved.elapsed() >= SAVE {
                self.save();
            }
            let transport = self.address.transport;
            let lines = self.tail.take(LINES)?;
            waiting.extend(lines.iter().flat_map(|line| self.speaker.messages(line, transport)));
            if waiting.is_empty() {
                // Nothing is outstanding: this is as far as it will be for a while.
                self.save();
                if self.tail.wait(Some(link.as_fd()), None)? {
                    if let Err(err) = link.check() {
                        return Ok(err);
                    }
                }
            } else if let Err(err) = link.check() {
                return Ok(err);
            }
        }
    }

    fn is_back(&mut self, away: &mut Option<Instant>) {
        let lost = match std::mem::take(&mut self.dropped) {
            0 => String::new(),
            lines => format!("; {lines} lines were rotated away before they could be sent"),
        };
        match away.take() {
            Some(since) => {
                self.tell_ps(None);
                let seconds = since.elapsed().as_secs();
                self.remark(&format!("sends to {} again after {seconds} s{lost}", self.address));
            }
            None if !lost.is_empty() => self.remark(&format!("{} is too slow{lost}", self.address)),
            None => {}
        }
    }

    /// Why nothing can be sent, or that it can.
    #[expect(clippy::disallowed_methods, reason = "the drain's own notes, which only piku writes")]
    fn tell_ps(&self, why: Option<&str>) {
        let path = away_file(&self.dir);
        // What cannot be written stands in the log.
        let _ = match why {
            Some(why) => fs::write(&path, why),
            None => fs::remove_file(&path),
        };
    }

    fn remark(&self, text: &str) {
        // A full disk: the log would not say it either.
        if let Ok(mut log) = LogWriter::with_limits(self.dir.instance_log(OWN), self.limits) {
            log.line(text, Timestamp::now());
        }
    }

    /// Not synced: after a power cut some lines are sent twice.
    #[expect(clippy::disallowed_methods, reason = "the drain's own notes, which only piku writes")]
    fn save(&mut self) {
        self.saved = Instant::now();
        let aside = self.save.with_extension("part");
        let Ok(text) = serde_json::to_vec(&self.tail.places()) else { return };
        let _ = fs::write(&aside, text).and_then(|()| fs::rename(&aside, &self.save));
    }
}

fn said_better(err: io::Error) -> io::Error {
    match err.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, "the receiver takes nothing")
        }
        _ => err,
    }
}
