//! `--tty`: the command has a terminal of its own, and the caller's stays the caller's.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::scene::{Running, Scene, User, until, users};

/// A jail on a terminal: the test's side of it is where somebody types and looks.
struct Session {
    running: Running,
    here: OwnedFd,
    there: OwnedFd,
    before: Termios,
    seen: String,
}

impl Session {
    /// The script, with `--tty`, in a session of its own whose terminal this is.
    fn start(scene: &Scene, options: &[&str], argv: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let here = openpt(flags).unwrap();
        unlockpt(&here).unwrap();
        let there = ioctl_tiocgptpeer(&here, flags).unwrap();
        resize(&here, 33, 111);
        let before = tcgetattr(&there).unwrap();
        let mut command = scene.command("setsid");
        command.arg("--ctty").arg(scene.program()).args(["--root-from-host", "--tty"]).args(options);
        command.arg("--").args(argv);
        let side = || Stdio::from(there.try_clone().unwrap());
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        Self { running: Running { child }, here, there, before, seen: String::new() }
    }

    fn sh(scene: &Scene, script: &str) -> Self {
        Self::start(scene, &[], &["sh", "-c", script])
    }

    fn type_in(&self, keys: &str) {
        let mut rest = keys.as_bytes();
        while !rest.is_empty() {
            let count = rustix::io::write(&self.here, rest).unwrap();
            rest = &rest[count..];
        }
    }

    /// Takes in what is shown, for a moment at most.
    fn look(&mut self) {
        let mut buffer = [0; 16384];
        let mut fds = [PollFd::new(&self.here, PollFlags::IN)];
        let moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        while poll(&mut fds, Some(&moment)).unwrap() > 0 {
            let count = rustix::io::read(&self.here, &mut buffer).unwrap();
            self.seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    fn until_seen(&mut self, text: &str) {
        until(text, || {
            self.look();
            self.seen.contains(text)
        });
    }

    /// Its exit code and all that was shown; the terminal is as it was.
    fn end(mut self) -> (Option<i32>, String) {
        let mut status: Option<ExitStatus> = None;
        until("the end of the jail", || {
            self.look();
            status = self.running.child.try_wait().unwrap();
            status.is_some()
        });
        self.look();
        let after = tcgetattr(&self.there).unwrap();
        assert_eq!(format!("{after:?}"), format!("{:?}", self.before), "{}", self.seen);
        (status.unwrap().code(), self.seen)
    }
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

/// `--tty` with whatever stdin and stdout are.
fn piped(scene: &Scene, script: &str) -> Command {
    let mut command = scene.jail(&["--root-from-host", "--tty", "--", "sh", "-c", script]);
    command.stdin(Stdio::null());
    command
}

#[test]
fn the_command_has_a_terminal_of_its_own() {
    for user in users() {
        let scene = Scene::new(user);
        let script = "tty; stty size; tty </dev/tty; read x; echo got $x; ls /proc/self/fd; exit 5";
        let mut session = Session::sh(&scene, script);
        session.until_seen("/dev/tty");
        session.type_in("hello\r");
        let (code, seen) = session.end();
        assert_eq!(code, Some(5), "{seen}");
        // The terminal shows what is typed, once.
        let expected = "/dev/pts/0\r\n33 111\r\n/dev/tty\r\nhello\r\ngot hello\r\n0  1  2  3\r\n";
        assert_eq!(seen, expected);
    }
}

#[test]
fn what_cannot_be_started_says_so_and_restores_the_terminal() {
    for user in users() {
        let scene = Scene::new(user);
        let (code, seen) = Session::start(&scene, &[], &["no-such-command"]).end();
        assert_eq!(
            (code, seen.as_str()),
            (Some(127), "piku-chroot: 'no-such-command': no such command in the jail\r\n")
        );
        let (code, seen) = Session::start(&scene, &["--chdir=/nowhere"], &["true"]).end();
        assert!(code == Some(125) && seen.contains("--chdir"), "{code:?} {seen}");
        let (code, seen) = Session::start(&scene, &["--bind=/nowhere:/x"], &["true"]).end();
        assert!(code == Some(125) && seen.contains("--bind"), "{code:?} {seen}");
    }
}

#[test]
fn the_size_follows() {
    for user in users() {
        let scene = Scene::new(user);
        let mut session =
            Session::sh(&scene, "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.1; done");
        session.until_seen("ready");
        resize(&session.here, 10, 20);
        let (code, seen) = session.end();
        assert!(code == Some(0) && seen.contains("10 20"), "{code:?} {seen}");
    }
}

#[test]
fn keys_are_signals_of_the_inner_terminal() {
    for user in users() {
        let scene = Scene::new(user);
        let mut session =
            Session::sh(&scene, "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done");
        session.until_seen("ready");
        assert!(
            !tcgetattr(&session.there).unwrap().local_modes.contains(LocalModes::ISIG),
            "the outer one passes it on"
        );
        session.type_in("\x03");
        let (code, seen) = session.end();
        assert!(code == Some(9) && seen.contains("caught"), "{code:?} {seen}");

        let mut session = Session::sh(&scene, "echo ready; exec sleep 60");
        session.until_seen("ready");
        session.type_in("\x1c");
        assert_eq!(session.end().0, Some(131));

        let mut session = Session::start(&scene, &["--env=PS1=prompt "], &["sh", "-i"]);
        session.until_seen("prompt ");
        session.type_in("sh -c 'echo star''ted; exec sleep 60'\r");
        session.until_seen("started");
        session.type_in("\x1a");
        session.until_seen("Stopped");
        // The shell warns once of a job that is stopped.
        session.type_in("exit 3\rexit 3\r");
        assert_eq!(session.end().0, Some(3));
    }
}

#[test]
fn signals_reach_the_command_and_the_terminal_is_restored() {
    for user in users() {
        let scene = Scene::new(user);
        let mut session = Session::sh(&scene, "echo ready; exec sleep 60");
        session.until_seen("ready");
        session.running.signal(Signal::SIGTERM);
        assert_eq!(session.end().0, Some(143));

        let script = "trap 'echo trapped; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
        let mut session = Session::sh(&scene, script);
        session.until_seen("ready");
        session.running.signal(Signal::SIGTERM);
        let (code, seen) = session.end();
        assert!(code == Some(5) && seen.contains("trapped"), "{code:?} {seen}");
    }
}

#[test]
fn nothing_is_cut_off() {
    for user in users() {
        let scene = Scene::new(user);
        let mut command = piped(&scene, "stty -opost; yes abcdefg | head -c 10000000; echo end");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(out.len(), 10_000_004);
        assert!(out.ends_with("abcdefg\nend\n"));
        assert!(out[..10_000_000].split_terminator('\n').all(|line| line == "abcdefg"));

        // A terminal that is slow to show it.
        let mut session = Session::sh(&scene, "seq 1 30000");
        thread::sleep(Duration::from_millis(300));
        assert!(session.running.child.try_wait().unwrap().is_none());
        session.until_seen("\n30000\r\n");
        assert_eq!(session.end().0, Some(0));
    }
}

#[test]
fn a_pipe_comes_in_and_its_end_is_an_end() {
    for user in users() {
        let scene = Scene::new(user);
        let through = |given: &'static str| {
            let mut command = piped(&scene, "stty -echo; echo ready; cat; echo end; exit 4");
            let mut running = Running::start(command.stdin(Stdio::piped()));
            let mut stdin = running.child.stdin.take().unwrap();
            running.until_line("ready");
            stdin.write_all(given.as_bytes()).unwrap();
            drop(stdin);
            let mut out = String::new();
            running.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
            assert_eq!(running.wait().code(), Some(4));
            out
        };
        assert_eq!(through("a\nb\n"), "a\r\nb\r\nend\r\n");
        assert_eq!(through("a\nb"), "a\r\nbend\r\n");
        assert_eq!(through(""), "end\r\n");
    }
}

#[test]
fn a_reader_that_goes_away_is_a_terminal_that_hangs_up() {
    for user in users() {
        let scene = Scene::new(user);
        let mut running = Running::start(&mut piped(&scene, "exec yes"));
        running.until_line("y");
        drop(running.child.stdout.take());
        assert_eq!(running.wait().code(), Some(129), "128 and SIGHUP");
    }
}

/// Nothing that is stuck, on either side, keeps a signal from arriving.
#[test]
fn stuck_command_can_be_ended() {
    for user in users() {
        let scene = Scene::new(user);
        // It reads nothing, and there is much to read.
        let mut running =
            Running::start(piped(&scene, "stty raw; echo ready; exec sleep 60").stdin(Stdio::piped()));
        running.until_line("ready");
        let mut stdin = running.child.stdin.take().unwrap();
        let filler = thread::spawn(move || stdin.write_all("x".repeat(1_000_000).as_bytes()));
        thread::sleep(Duration::from_millis(200));
        running.signal(Signal::SIGTERM);
        assert_eq!(running.wait().code(), Some(143));
        drop(running);
        assert!(filler.join().unwrap().is_err());

        // Nobody reads what it shows: in a pipe, and on a terminal.
        let mut running = Running::start(&mut piped(&scene, "echo ready; exec yes"));
        running.until_line("ready");
        thread::sleep(Duration::from_millis(200));
        // The first signal ends the command; what it has shown before still waits for a reader, until the next one.
        // Signals that come too soon after each other are one.
        let mut status = None;
        until("the end after a second signal", || {
            running.signal(Signal::SIGTERM);
            thread::sleep(Duration::from_millis(100));
            status = running.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(143));
    }
}

/// The command has closed its terminal and goes on; that costs nothing, and it may come back to it.
#[test]
fn a_terminal_that_nobody_has_open() {
    for user in users() {
        let scene = Scene::new(user);
        let script = "echo ready; exec </dev/null >/dev/null 2>&1; sleep 1; echo late >/dev/tty";
        let mut running = Running::start(&mut piped(&scene, script));
        running.until_line("ready");
        thread::sleep(Duration::from_millis(100));
        let used = ticks(&running.child);
        thread::sleep(Duration::from_millis(500));
        assert!(ticks(&running.child) < used + 25, "it does not sleep");
        running.until_line("late");
        assert_eq!(running.wait().code(), Some(0));
    }
}

/// Returns the processor time of the process in hundredths of a second.
fn ticks(child: &Child) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let after_name: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    after_name[11].parse::<u64>().unwrap() + after_name[12].parse::<u64>().unwrap()
}

#[test]
fn nothing_reaches_the_outer_terminals_input() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        eprintln!("skipped: there is no /usr/bin/python3 to ask the kernel for TIOCSTI");
        return;
    }
    for user in users() {
        let scene = Scene::new(user);
        let script = "import fcntl, glob, os, sys\nfor name in ['/dev/tty', *glob.glob('/dev/pts/*'), *glob.glob('/proc/*/fd/[012]')]:\n  for number in (0x5412, 0x541c, 0x5412 | 1 << 32):\n    try:\n      fd = os.open(name, os.O_RDWR | os.O_NOCTTY)\n      fcntl.ioctl(fd, number & 0xffffffff, b'X')\n    except OSError: pass\nprint('do' + 'ne')";
        let mut session = Session::start(&scene, &[], &["/usr/bin/python3", "-c", script]);
        session.until_seen("done");
        // Without this side, that one would have hung up.
        let (_here, there) = (session.here.try_clone().unwrap(), session.there.try_clone().unwrap());
        assert_eq!(session.end().0, Some(0));
        let mut fds = [PollFd::from_borrowed_fd(there.as_fd(), PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&Timespec::default())).unwrap(), 0, "something was typed");
        let mut modes = tcgetattr(&there).unwrap();
        modes.local_modes.remove(LocalModes::ICANON);
        rustix::termios::tcsetattr(&there, rustix::termios::OptionalActions::Now, &modes).unwrap();
        assert_eq!(poll(&mut fds, Some(&Timespec::default())).unwrap(), 0, "something was typed");
    }
}

#[test]
fn what_stays_in_the_background_ends() {
    let scene = Scene::new(User::Own);
    let (code, seen) = Session::sh(&scene, "sleep 1000 & trap '' HUP; sleep 1000 & echo over").end();
    assert_eq!((code, seen.as_str()), (Some(0), "over\r\n"));
}
