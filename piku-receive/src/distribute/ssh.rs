//! A request to another host over ssh, with input, response and timeouts.

#![expect(clippy::disallowed_methods, reason = "a packed part, which only piku has written")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use piku_layout::settings::{self, DeployTo};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::failure_reason::read_reason;
use super::print_remote_line;
use super::session_limit::kill_at_limit;
use super::session_pipe::SessionPipe;
use super::upload_progress::UploadProgress;
use crate::child_env;
use crate::deploy::cancel;

pub(crate) use super::session_limit::TimeLimit;

/// Exit code of ssh for a failed or lost connection.
pub(crate) const NO_CONNECTION: i32 = 255;
const LONGEST: u64 = 1 << 20;
/// Bytes of its errors that a host may have printed in one session.
const LARGEST_TALK: usize = 16 << 20;
/// Line in place of what is beyond them.
const TOO_MUCH_TALK: &str = " !     it has printed more than 16 MiB: the rest is omitted";

pub(crate) struct EndedSession {
    pub(crate) code: i32,
    pub(crate) answer: String,
    /// Bytes of the file that were sent.
    pub(crate) sent: u64,
    /// Last line of stderr, for the summary.
    pub(crate) last: String,
}

#[derive(Clone, Copy)]
pub(crate) enum SessionInput<'a> {
    Nothing,
    Text(&'a [u8]),
    /// A file, from the offset in the first line of the response.
    File(&'a Path),
}

pub(crate) fn run_on_host(
    name: &str,
    machine: &settings::MachineAddress,
    to: &DeployTo,
    words: &[&str],
    input: SessionInput<'_>,
    limit: TimeLimit,
) -> anyhow::Result<EndedSession> {
    run_session(ssh_command(machine, to, words, SessionTerminal::None)?, name, input, limit)
}

/// Runs the command until its end, or kills it at the limit.
fn run_session(
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
    // If this fails, the closed pipes end the child.
    let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch 'ssh'")?;
    let stdout = SessionPipe::new(stdout, process.try_clone()?);
    let stderr = SessionPipe::new(stderr, process);
    let host = name;
    let name = name.to_owned();
    let (activity, seen) = mpsc::channel();
    let watchdog = thread::spawn(move || kill_at_limit(pid, &seen, limit));
    let talking = activity.clone();
    let talker = thread::spawn(move || relay_stderr(&name, stderr, &talking));
    let mut sent = 0;
    let answer = exchange(host, stdin, stdout, input, &mut sent, &activity);
    let is_too_long = answer.as_ref().is_ok_and(|answer| answer.len() as u64 >= LONGEST);
    if is_too_long {
        // The host may go on for as long as it is let.
        cancel::kill_with_descendants(pid);
    }
    // The child is waited for after the watchdog has ended: until then its pid stays valid.
    let last = talker.join().unwrap_or_default();
    drop(activity);
    let overdue = watchdog.join().unwrap_or_default();
    let status = child.wait().context("cannot wait for 'ssh'")?;
    if let Some(overdue) = overdue {
        return Ok(EndedSession { code: NO_CONNECTION, answer: String::new(), sent, last: overdue });
    }
    let code = status.code().unwrap_or(NO_CONNECTION);
    match answer {
        Ok(_) if is_too_long => bail!("its response is longer than {LONGEST} bytes"),
        Ok(answer) => Ok(EndedSession { code, answer, sent, last }),
        // The exit code explains a broken session.
        Err(_) if code != 0 => Ok(EndedSession { code, answer: String::new(), sent, last }),
        Err(err) => Err(err).context("cannot exchange data with ssh"),
    }
}

/// Terminal of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionTerminal {
    /// None: its outputs and stdin are pipes.
    None,
    /// That of this process.
    Own,
}

/// Returns an ssh command that never prompts and detects a dead connection within seconds.
pub(crate) fn ssh_command(
    machine: &settings::MachineAddress,
    to: &DeployTo,
    words: &[&str],
    terminal: SessionTerminal,
) -> anyhow::Result<Command> {
    let mut ssh = child_env::clean_command("ssh")?;
    let has_terminal = terminal == SessionTerminal::Own;
    let args = to.ssh_arguments(machine).into_iter();
    ssh.args(args.map(|arg| if has_terminal && arg == "-T" { "-t".into() } else { arg }));
    ssh.arg(words.join(" "));
    Ok(ssh)
}

/// Sends the input to the host `name` and reads the response.
fn exchange(
    name: &str,
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
        // A host that refuses early reports it by its exit code.
        SessionInput::Text(text) => _ = stdin.write_all(text),
        SessionInput::File(path) => {
            stdout.read_line(&mut answer)?;
            let from = answer.trim().parse().map_err(|_| io::Error::other("it did not report its offset"))?;
            let mut file = File::open(path)?;
            let mut progress = UploadProgress::new(file.metadata()?.len(), Instant::now());
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
                if let Some(line) = progress.take_line(from + *sent, Instant::now()) {
                    print_remote_line(name, &format!("       {line}"));
                }
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

/// Prints the stderr of a host, up to a limit, and returns its last line that gives a reason.
fn relay_stderr(name: &str, stderr: impl Read, activity: &Sender<()>) -> String {
    let mut left = LARGEST_TALK;
    read_reason(stderr, |line| {
        let _ = activity.send(());
        if let Some(line) = take_line(&mut left, line) {
            print_remote_line(name, line);
        }
    })
}

/// Returns the line if so many bytes are `left`; the first time that they are not, a notice about it.
fn take_line<'a>(left: &mut usize, line: &'a str) -> Option<&'a str> {
    // An empty line is one, too.
    match left.checked_sub(line.len() + 1) {
        Some(less) => {
            *left = less;
            Some(line)
        }
        None => (std::mem::take(left) > 0).then_some(TOO_MUCH_TALK),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::super::IS_QUIET;
    use super::*;

    fn shell(script: &str, limit: TimeLimit) -> anyhow::Result<EndedSession> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        run_session(shell, "pi", SessionInput::Nothing, limit)
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
        assert_eq!((ended.code, ended.last.as_str()), (NO_CONNECTION, "no response within 1 s"));
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
    fn a_trickle_of_bytes_ends_at_the_limit_of_the_request() {
        let limit = TimeLimit::Silence { silence: Duration::from_secs(60), whole: Duration::from_secs(1) };
        let trickle = "i=0; while [ $i -lt 100 ]; do i=$((i + 1)); echo x >&2; sleep 0.1; done";
        let ended = shell(trickle, limit).unwrap();
        assert_eq!((ended.code, ended.last.as_str()), (NO_CONNECTION, "no end within 1 s"));
    }

    #[test]
    fn a_silent_host_ends_at_its_limit() {
        let short = Duration::from_secs(1);
        let ended = shell("exec sleep 600", TimeLimit::Whole(short)).unwrap();
        assert_eq!((ended.code, ended.last.as_str()), (NO_CONNECTION, "no response within 1 s"));
        // A few bytes now and then are not an answer either.
        let trickle =
            "trap '' PIPE; i=0; while [ $i -lt 6000 ]; do i=$((i + 1)); echo x >&2; sleep 0.1; done";
        assert_eq!(shell(trickle, TimeLimit::Whole(short)).unwrap().code, NO_CONNECTION);
        let ended = shell("exec sleep 600", silence(1)).unwrap();
        assert_eq!(ended.last, "no data for 1 s");
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
    fn a_host_that_talks_without_end_fills_no_terminal() {
        let mut left = 10;
        let taken: Vec<_> =
            ["12345", "", "long enough", "x", ""].map(|line| take_line(&mut left, line)).into();
        assert_eq!(taken, [Some("12345"), Some(""), Some(TOO_MUCH_TALK), None, None]);
        // What it has printed last is still the reason.
        let (activity, _seen) = mpsc::channel();
        let endless = "x".repeat(1 << 10) + "\n";
        let errors = endless.repeat(1 << 15) + " !     disk full\n";
        IS_QUIET.store(true, Ordering::Relaxed);
        assert_eq!(relay_stderr("pi", errors.as_bytes(), &activity), "disk full");
        IS_QUIET.store(false, Ordering::Relaxed);
    }

    #[test]
    fn an_answer_without_end_ends_the_session() {
        // It survives the closed pipe, as a host does.
        let script = "trap '' PIPE; exec 2>/dev/null; i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); \
                      echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done; exec sleep 600";
        let err = shell(script, TimeLimit::Whole(Duration::from_secs(60))).err().unwrap();
        assert!(err.to_string().contains("longer than"), "{err:#}");
    }

    #[test]
    fn ssh_never_prompts_and_a_host_is_not_an_option() {
        let to = DeployTo {
            identity: Some("/k/blog".into()),
            known_hosts: Some("/k/known hosts".into()),
            ..DeployTo::default()
        };
        let machine = "piku@pi-2:2222".parse().unwrap();
        let ssh = ssh_command(&machine, &to, &["release:undo", "blog", "7"], SessionTerminal::None).unwrap();
        let words: Vec<_> = ssh.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let line = words.join(" ");
        assert!(line.contains("BatchMode=yes"), "{line}");
        assert!(line.ends_with(
            "-o IdentitiesOnly=yes -i /k/blog -o UserKnownHostsFile=\"/k/known hosts\" -p 2222 -l piku -- pi-2 \
             release:undo blog 7"
        ));
        let ssh = ssh_command(&machine, &to, &["run", "blog"], SessionTerminal::Own).unwrap();
        assert!(ssh.get_args().any(|word| word == "-t") && ssh.get_args().all(|word| word != "-T"));
    }
}
