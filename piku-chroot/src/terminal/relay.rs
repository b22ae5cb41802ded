//! The monitor's loop while the command has a terminal: carries input to it and output from it, and forwards
//! signals even while one of them is stuck. It sleeps when there is nothing to do.

use std::io::{self, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::{Errno, read, write};
use rustix::termios::{SpecialCodeIndex, isatty, tcgetattr, tcsetwinsize};

use crate::signal_wait::poll_exit_code;
use crate::terminal::host_tty::{self, RawTerminal};
use crate::terminal::output_tail::OutputTail;

/// Bytes carried at once.
const BUFFER_SIZE: usize = 16 * 1024;
/// Bytes that a pipe takes without blocking when poll reports it as writable.
const PIPE_CHUNK: usize = 4096;

/// Carries data until the jail has ended and all of its output is written; returns its exit code. `tail` gets
/// the output.
pub(crate) fn run(jail: Pid, signals: &SigSet, master: OwnedFd, tail: &mut OutputTail) -> Result<u8> {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(signals, flags).context("cannot wait for signals")?;
    let mut relay = TerminalRelay {
        jail,
        signals,
        inner: Some(InnerTerminal::new(master).context("--tty: cannot use the terminal")?),
        raw: RawTerminal::enter().context("--tty: cannot set the caller's terminal")?,
        input: RelayInput::default(),
        output: RelayOutput::new(),
        code: None,
    };
    relay.run(tail)
}

struct TerminalRelay {
    jail: Pid,
    signals: SignalFd,
    /// `None` once no process reads the output.
    inner: Option<InnerTerminal>,
    raw: Option<RawTerminal>,
    input: RelayInput,
    output: RelayOutput,
    /// Exit code, once the jail has ended.
    code: Option<u8>,
}

impl TerminalRelay {
    fn run(&mut self, tail: &mut OutputTail) -> Result<u8> {
        loop {
            if let Some(inner) = &mut self.inner {
                if self.output.pending.is_empty() {
                    inner.read(&mut self.output.pending).context("--tty: cannot read the terminal")?;
                    tail.push(&self.output.pending);
                }
                inner.write(&mut self.input).context("--tty: cannot write to the terminal")?;
            }
            let over =
                self.output.pending.is_empty() && self.inner.as_ref().is_none_or(|inner| !inner.readable);
            if let (Some(code), true) = (self.code, over) {
                return Ok(code);
            }
            self.wait()?;
        }
    }

    /// Sleeps until there is something to do, and does everything but reading and writing the terminal.
    fn wait(&mut self) -> Result<()> {
        let (stdin, stdout) = (stdin(), stdout());
        let reads = self.code.is_none() && self.inner.is_some() && self.input.wants_more();
        let writes = !self.output.pending.is_empty();
        let out = self.output.own.as_ref().map_or(stdout.as_fd(), AsFd::as_fd);
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let mut place = |wanted: bool, fd| {
            wanted.then(|| {
                fds.push(fd);
                fds.len() - 1
            })
        };
        let edges =
            self.inner.as_ref().and_then(|inner| place(true, PollFd::new(&inner.edges, PollFlags::IN)));
        let incoming = place(reads, PollFd::new(&stdin, PollFlags::IN));
        let outgoing = place(writes, PollFd::from_borrowed_fd(out, PollFlags::OUT));
        let more = self.inner.as_ref().is_some_and(|inner| inner.has_work(&self.input, &self.output));
        match poll(&mut fds, more.then_some(&Timespec::default())) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(err) => return Err(io::Error::from(err)).context("cannot wait"),
        }
        let happened = |place: Option<usize>| place.is_some_and(|place| !fds[place].revents().is_empty());
        let (signalled, edges, incoming, outgoing) =
            (happened(Some(0)), happened(edges), happened(incoming), happened(outgoing));
        drop(fds);
        if signalled {
            self.take_signals()?;
        }
        if let Some(inner) = self.inner.as_mut().filter(|_| edges) {
            inner.take_edges().context("cannot wait for the terminal")?;
        }
        if incoming {
            let inner = self.inner.as_ref().map(|inner| inner.master.as_fd());
            self.input.read(inner);
        }
        if outgoing {
            self.write_output()?;
        }
        Ok(())
    }

    /// Writes pending output. If no process reads it any more, the terminal hangs up.
    fn write_output(&mut self) -> Result<()> {
        match self.output.write() {
            Ok(()) => Ok(()),
            Err(err) => {
                self.inner = None;
                self.output.pending.clear();
                if err.kind() == io::ErrorKind::BrokenPipe {
                    Ok(())
                } else {
                    Err(err).context("cannot write to stdout")
                }
            }
        }
    }

    fn take_signals(&mut self) -> Result<()> {
        while let Some(info) = self.signals.read_signal().context("cannot wait for signals")? {
            let number = i32::try_from(info.ssi_signo).unwrap_or_default();
            let Ok(signal) = Signal::try_from(number) else { continue };
            self.handle_signal(signal)?;
        }
        Ok(())
    }

    fn handle_signal(&mut self, signal: Signal) -> Result<()> {
        match signal {
            Signal::SIGCHLD => {
                if self.code.is_none() {
                    self.code = poll_exit_code(self.jail)?;
                    // Its last output is still on its way.
                    self.inner
                        .iter_mut()
                        .filter(|_| self.code.is_some())
                        .for_each(|inner| inner.readable = true);
                }
                return Ok(());
            }
            // A caller that ends us while the last output is stuck does not want it.
            Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT if self.code.is_some() => {
                self.inner = None;
                self.output.pending.clear();
            }
            Signal::SIGWINCH | Signal::SIGCONT => {
                if let (Some(inner), Some(size)) = (&self.inner, host_tty::own_size()) {
                    // The kernel notifies the processes of the terminal.
                    let _ = tcsetwinsize(&inner.master, size);
                    if signal == Signal::SIGWINCH {
                        return Ok(());
                    }
                }
                // The caller's terminal may be gone.
                let _ = self.raw.as_ref().map(RawTerminal::set_raw);
            }
            _ => {}
        }
        // The jail may have ended already; then its SIGCHLD is next.
        let _ = kill(self.jail, signal);
        Ok(())
    }
}

/// The monitor's side of the command's terminal.
///
/// While no process of the jail has the other side open, every read returns the end of the file, until a
/// process opens it again. So the loop waits for changes, which `edges` reports once.
struct InnerTerminal {
    master: OwnedFd,
    edges: OwnedFd,
    readable: bool,
    writable: bool,
}

impl InnerTerminal {
    fn new(master: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let edges = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&edges, &master, epoll::EventData::new_u64(0), flags)?;
        Ok(Self { master, edges, readable: true, writable: true })
    }

    fn take_edges(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(1);
        epoll::wait(&self.edges, rustix::buffer::spare_capacity(&mut events), Some(&Timespec::default()))?;
        (self.readable, self.writable) = (true, true);
        Ok(())
    }

    /// Returns whether data can be carried at once.
    fn has_work(&self, input: &RelayInput, output: &RelayOutput) -> bool {
        (self.readable && output.pending.is_empty()) || (self.writable && !input.pending.is_empty())
    }

    fn read(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        if !self.readable {
            return Ok(());
        }
        let mut buffer = [0; BUFFER_SIZE];
        match read(&self.master, &mut buffer) {
            Ok(count @ 1..) => to.extend_from_slice(&buffer[..count]),
            // No process has it open now.
            Ok(_) | Err(Errno::AGAIN | Errno::IO) => self.readable = false,
            Err(Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
        Ok(())
    }

    fn write(&mut self, input: &mut RelayInput) -> io::Result<()> {
        if !self.writable || input.pending.is_empty() {
            return Ok(());
        }
        match write(&self.master, &input.pending) {
            Ok(count) => drop(input.pending.drain(..count)),
            Err(Errno::AGAIN | Errno::IO) => self.writable = false,
            Err(Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
        Ok(())
    }
}

/// Data from the caller for the command.
#[derive(Default)]
struct RelayInput {
    pending: Vec<u8>,
    ended: bool,
    /// The last byte was not the end of a line.
    unfinished: bool,
}

impl RelayInput {
    fn wants_more(&self) -> bool {
        !self.ended && self.pending.is_empty()
    }

    /// Reads available data. The end of the input becomes the byte that means the end of the file to the
    /// command's terminal.
    fn read(&mut self, terminal: Option<BorrowedFd<'_>>) {
        let mut buffer = [0; BUFFER_SIZE];
        match read(stdin(), &mut buffer) {
            Ok(count @ 1..) => {
                self.pending.extend_from_slice(&buffer[..count]);
                self.unfinished = buffer[count - 1] != b'\n';
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => {
                self.ended = true;
                let modes = terminal.and_then(|terminal| tcgetattr(terminal).ok());
                let end = modes.map_or(0x04, |modes| modes.special_codes[SpecialCodeIndex::VEOF]);
                // In the middle of a line the first one only sends that part of the line.
                self.pending.extend(std::iter::repeat_n(end, 1 + usize::from(self.unfinished)));
            }
        }
    }
}

/// Data from the command for the caller.
struct RelayOutput {
    pending: Vec<u8>,
    /// The file of stdout, opened again so that it can be made non-blocking: other processes share stdout.
    own: Option<OwnedFd>,
}

impl RelayOutput {
    fn new() -> Self {
        let kind = fstat(stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let blocks = matches!(kind, Ok(FileType::Fifo)) || isatty(stdout());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()).ok();
        Self { pending: Vec::new(), own: if blocks { open() } else { None } }
    }

    fn write(&mut self) -> io::Result<()> {
        let written = match &self.own {
            Some(own) => write(own, &self.pending),
            None => write(stdout(), &self.pending[..self.pending.len().min(PIPE_CHUNK)]),
        };
        match written {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
        Ok(())
    }
}
