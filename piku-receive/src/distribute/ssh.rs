//! One ssh session with a machine: what is asked, what goes in, what comes back.

#![expect(clippy::disallowed_methods, reason = "a packed part, which only piku has written")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use piku_layout::settings::{self, DeployTo};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::say;
use crate::child_env;
use crate::deploy::cancel;

/// What ssh ends with when there is no connection, or no more.
pub(super) const NO_CONNECTION: i32 = 255;
/// The longest line of what a machine says, in bytes.
const LONGEST_LINE: u64 = 64 << 10;
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// The time in which what ssh has started, and still runs, may say something after its end.
const AFTER_END: Duration = Duration::from_secs(1);

/// A session that has ended.
pub(super) struct EndedSession {
    pub(super) code: i32,
    pub(super) answer: String,
    /// How many bytes of a file went in.
    pub(super) sent: u64,
    /// The last thing that was said, for who sums up.
    pub(super) last: String,
}

/// The time a session may take. The push, and with it the app's lock, wait for it.
#[derive(Debug, Clone, Copy)]
pub(super) enum TimeLimit {
    /// From its begin to its end.
    Whole(Duration),
    /// Without a byte in either direction; and from its begin to its end, however much it says.
    Silence { silence: Duration, whole: Duration },
}

/// What goes into a session.
#[derive(Clone, Copy)]
pub(super) enum SessionInput<'a> {
    Nothing,
    Text(&'a [u8]),
    /// A file, from where the other end's first line says.
    File(&'a Path),
}

/// Runs `words` on the machine.
pub(super) fn run(
    name: &str,
    machine: &settings::MachineAddress,
    to: &DeployTo,
    words: &[&str],
    input: SessionInput<'_>,
    limit: TimeLimit,
) -> anyhow::Result<EndedSession> {
    converse(ssh(machine, to, words)?, name, input, limit)
}

/// Runs the command and talks to it until its end, or until the limit, when it is killed.
fn converse(
    mut ssh: Command,
    name: &str,
    input: SessionInput<'_>,
    limit: TimeLimit,
) -> anyhow::Result<EndedSession> {
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().context("cannot run 'ssh'")?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        bail!("no pipes");
    };
    let pid = Pid::from_child(&child);
    // Without it the child ends with its pipes.
    let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch 'ssh'")?;
    let stdout = SessionPipe::new(stdout, process.try_clone()?);
    let stderr = SessionPipe::new(stderr, process);
    let name = name.to_owned();
    let (activity, seen) = mpsc::channel();
    let watchdog = thread::spawn(move || watch(pid, &seen, limit));
    let talking = activity.clone();
    let talker = thread::spawn(move || talk(&name, stderr, &talking));
    let mut sent = 0;
    let answer = feed(stdin, stdout, input, &mut sent, &activity);
    // Not waited for before the watchdog is gone: until then its id is nobody else's.
    let last = talker.join().unwrap_or_default();
    drop(activity);
    let overdue = watchdog.join().unwrap_or_default();
    let status = child.wait().context("cannot wait for 'ssh'")?;
    if let Some(overdue) = overdue {
        return Ok(EndedSession { code: NO_CONNECTION, answer: String::new(), sent, last: overdue });
    }
    let code = status.code().unwrap_or(NO_CONNECTION);
    match answer {
        Ok(answer) if answer.len() as u64 >= LONGEST => bail!("its answer is longer than {LONGEST} bytes"),
        Ok(answer) => Ok(EndedSession { code, answer, sent, last }),
        // A session that broke explains itself by its end.
        Err(_) if code != 0 => Ok(EndedSession { code, answer: String::new(), sent, last }),
        Err(err) => Err(err).context("cannot talk to it"),
    }
}

/// ssh asks nobody anything, and notices within seconds when the line is dead.
fn ssh(machine: &settings::MachineAddress, to: &DeployTo, words: &[&str]) -> anyhow::Result<Command> {
    let mut ssh = child_env::clean("ssh")?;
    ssh.arg("-T");
    for option in ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3"] {
        ssh.args(["-o", option]);
    }
    if let Some(identity) = &to.identity {
        ssh.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(from_home(identity));
    }
    if let Some(known) = &to.known_hosts {
        let known = from_home(known);
        ssh.arg("-o").arg(format!("UserKnownHostsFile=\"{}\"", known.display()));
    }
    if let Some(port) = machine.port {
        ssh.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &machine.user {
        ssh.args(["-l", user]);
    }
    ssh.args(["--", &machine.host, &words.join(" ")]);
    Ok(ssh)
}

/// `~/` is the home of who runs piku, as everywhere.
fn from_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(below), Some(home)) => Path::new(&home).join(below),
        _ => path.to_owned(),
    }
}

/// Kills the process with all that it has started at the limit and says why; nothing when the session has ended by itself before.
fn watch(pid: Pid, seen: &Receiver<()>, limit: TimeLimit) -> Option<String> {
    let (silence, whole, what) = match limit {
        TimeLimit::Whole(whole) => (whole, whole, "no answer"),
        TimeLimit::Silence { silence, whole } => (silence, whole, "no end"),
    };
    let begin = Instant::now();
    loop {
        let left = whole.saturating_sub(begin.elapsed());
        match seen.recv_timeout(left.min(silence)) {
            Ok(()) if !left.is_zero() => {}
            Err(RecvTimeoutError::Disconnected) => return None,
            Ok(()) | Err(RecvTimeoutError::Timeout) => {
                cancel::kill_with_descendants(pid);
                return Some(if begin.elapsed() >= whole {
                    format!("{what} within {} s", whole.as_secs())
                } else {
                    format!("nothing came for {} s", silence.as_secs())
                });
            }
        }
    }
}

/// The reading end of a pipe that ends with the process, and not with the last of those that have inherited the other end: a
/// `ProxyCommand`, or the connection that `ControlPersist` keeps.
struct SessionPipe<R> {
    pipe: R,
    process: OwnedFd,
    /// Since when the process has ended.
    ended: Option<Instant>,
    /// How many bytes may come after that; no pipe holds more.
    left: u64,
}

impl<R: Read + AsFd> SessionPipe<R> {
    fn new(pipe: R, process: OwnedFd) -> Self {
        Self { pipe, process, ended: None, left: LONGEST }
    }
}

impl<R: Read + AsFd> Read for SessionPipe<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended.is_none() {
            let [_, has_ended] = wait([self.pipe.as_fd(), self.process.as_fd()], None)?;
            self.ended = has_ended.then(Instant::now);
        }
        let Some(ended) = self.ended else { return self.pipe.read(buffer) };
        let [is_ready] = wait([self.pipe.as_fd()], Some(AFTER_END.saturating_sub(ended.elapsed())))?;
        if !is_ready || self.left == 0 {
            return Ok(0);
        }
        let read = self.pipe.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// Waits until one of these can be read or has ended, for so long at most, and returns which.
fn wait<const N: usize>(fds: [BorrowedFd<'_>; N], time: Option<Duration>) -> io::Result<[bool; N]> {
    let mut watched = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let time = time.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
    loop {
        match poll(&mut watched, time) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(watched.map(|one| one.any().unwrap_or(true))),
        }
    }
}

/// Gives the session what it is to have, and reads its answer.
fn feed(
    mut stdin: ChildStdin,
    stdout: impl Read,
    input: SessionInput<'_>,
    sent: &mut u64,
    activity: &Sender<()>,
) -> io::Result<String> {
    let mut stdout = BufReader::new(stdout.take(LONGEST));
    let mut answer = String::new();
    match input {
        SessionInput::Nothing => {}
        // One that refuses before it has read all says so by its end.
        SessionInput::Text(text) => _ = stdin.write_all(text),
        SessionInput::File(path) => {
            stdout.read_line(&mut answer)?;
            let from =
                answer.trim().parse().map_err(|_| io::Error::other("it did not say how much it has"))?;
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(from))?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                stdin.write_all(&buffer[..read])?;
                let _ = activity.send(());
                *sent += read as u64;
            }
        }
    }
    drop(stdin);
    let mut rest = Vec::new();
    loop {
        let bytes = stdout.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        let read = bytes.len();
        rest.extend_from_slice(bytes);
        stdout.consume(read);
        let _ = activity.send(());
    }
    answer.push_str(&String::from_utf8_lossy(&rest));
    Ok(answer)
}

/// Shows what a machine says; returns the last line of it that says something.
fn talk(name: &str, stderr: impl Read, activity: &Sender<()>) -> String {
    let mut last = String::new();
    let mut stderr = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        // A line without an end is shown in pieces.
        let read = (&mut stderr).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.unwrap_or(0) == 0 {
            break;
        }
        let _ = activity.send(());
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        say(name, line);
        if !line.trim().is_empty() && !line.starts_with("hint:") {
            line.trim_start_matches([' ', '!']).clone_into(&mut last);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: TimeLimit) -> anyhow::Result<EndedSession> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        converse(shell, "pi", SessionInput::Nothing, limit)
    }

    fn silence(seconds: u64) -> TimeLimit {
        TimeLimit::Silence { silence: Duration::from_secs(seconds), whole: Duration::from_secs(600) }
    }

    #[test]
    fn what_ssh_has_started_holds_up_no_push() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        // As a `ProxyCommand` it has the same stderr, for minutes, or until the folder is gone.
        let proxy = format!(
            "(i=0; while [ -e {path} ] && [ $i -lt 1000 ]; do i=$((i + 1)); sleep 0.1; done; : > {path}/late) &"
        );
        // One whose ssh is killed is killed with it.
        let killed = format!("{proxy} echo $! > {path}/pid; exec sleep 600");
        let ended = shell(&killed, TimeLimit::Whole(Duration::from_secs(1))).unwrap();
        assert_eq!((ended.code, ended.last.as_str()), (NO_CONNECTION, "no answer within 1 s"));
        let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
        let is_there = || piku_procfs::is_running(pid.trim().parse().unwrap());
        assert!((0..50).any(|_| {
            thread::sleep(Duration::from_millis(100));
            !is_there()
        }));
        // One whose ssh has ended by itself, as that of ControlPersist, is not waited for.
        let ended = shell(&format!("{proxy} echo done; echo said >&2"), silence(60)).unwrap();
        assert_eq!((ended.code, ended.answer.as_str(), ended.last.as_str()), (0, "done\n", "said"));
        assert!(!dir.path().join("late").exists());
    }

    #[test]
    fn a_byte_now_and_then_holds_up_a_push_no_longer_than_a_whole() {
        let limit = TimeLimit::Silence { silence: Duration::from_secs(60), whole: Duration::from_secs(1) };
        let trickle = "i=0; while [ $i -lt 100 ]; do i=$((i + 1)); echo x >&2; sleep 0.1; done";
        let ended = shell(trickle, limit).unwrap();
        assert_eq!((ended.code, ended.last.as_str()), (NO_CONNECTION, "no end within 1 s"));
    }

    #[test]
    fn who_does_not_answer_holds_up_a_push_for_so_long_and_no_longer() {
        let short = Duration::from_secs(1);
        let ended = shell("exec sleep 600", TimeLimit::Whole(short)).unwrap();
        assert_eq!((ended.code, ended.last.as_str()), (NO_CONNECTION, "no answer within 1 s"));
        // A little now and then is no answer either.
        let trickle =
            "trap '' PIPE; i=0; while [ $i -lt 6000 ]; do i=$((i + 1)); echo x >&2; sleep 0.1; done";
        assert_eq!(shell(trickle, TimeLimit::Whole(short)).unwrap().code, NO_CONNECTION);
        let ended = shell("exec sleep 600", silence(1)).unwrap();
        assert_eq!(ended.last, "nothing came for 1 s");
        // Who says something goes on, for longer than it may be silent.
        let slow = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do sleep 1; echo $i >&2; done; echo done";
        let ended = shell(slow, silence(11)).unwrap();
        assert_eq!((ended.code, ended.answer.as_str()), (0, "done\n"));
    }

    #[test]
    fn an_answer_of_any_bytes_is_read_and_one_without_end_is_not() {
        let limit = silence(60);
        assert_eq!(shell("printf 'a\\377b'; exit 3", limit).unwrap().answer, "a\u{fffd}b");
        let err = shell("head -c 3000000 /dev/zero", limit).err().unwrap();
        assert!(err.to_string().contains("longer than"), "{err:#}");
    }

    #[test]
    fn ssh_asks_nobody_and_takes_the_host_for_no_option() {
        let to = DeployTo {
            identity: Some("/k/blog".into()),
            known_hosts: Some("/k/known hosts".into()),
            ..DeployTo::default()
        };
        let machine = "piku@pi-2:2222".parse().unwrap();
        let ssh = ssh(&machine, &to, &["release:undo", "blog", "7"]).unwrap();
        let words: Vec<_> = ssh.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let line = words.join(" ");
        assert!(line.contains("BatchMode=yes"), "{line}");
        assert!(line.ends_with(
            "-o IdentitiesOnly=yes -i /k/blog -o UserKnownHostsFile=\"/k/known hosts\" -p 2222 -l piku -- pi-2 \
             release:undo blog 7"
        ));
    }
}
