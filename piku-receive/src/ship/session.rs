//! One ssh session with a machine: what is asked, what goes in, what comes back.

#![expect(clippy::disallowed_methods, reason = "a packed part, which only piku has written")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::Context;
use piku_procfile::settings::{self, DeployTo};

use super::say;
use crate::surroundings;

/// What ssh ends with when there is no connection, or no more.
pub(super) const NO_CONNECTION: i32 = 255;
/// The longest line of what a machine says, in bytes.
const LONGEST_LINE: u64 = 64 << 10;
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// A session that has ended.
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) answer: String,
    /// How many bytes of a file went in.
    pub(super) sent: u64,
    /// The last thing that was said, for who sums up.
    pub(super) last: String,
}

/// What goes into a session.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    Nothing,
    Text(&'a [u8]),
    /// A file, from where the other end's first line says.
    File(&'a Path),
}

/// Runs `words` on the machine.
pub(super) fn run(
    name: &str,
    machine: &settings::Machine,
    to: &DeployTo,
    words: &[&str],
    input: Input<'_>,
) -> anyhow::Result<Ended> {
    let mut ssh = ssh(machine, to, words)?;
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().context("cannot run 'ssh'")?;
    let stderr = child.stderr.take().context("no stderr")?;
    let name = name.to_owned();
    let talker = thread::spawn(move || talk(&name, stderr));
    let mut sent = 0;
    let answer = feed(&mut child, input, &mut sent);
    let status = child.wait().context("cannot wait for 'ssh'")?;
    let last = talker.join().unwrap_or_default();
    let code = status.code().unwrap_or(NO_CONNECTION);
    match answer {
        Ok(answer) => Ok(Ended { code, answer, sent, last }),
        // A session that broke explains itself by its end.
        Err(_) if code != 0 => Ok(Ended { code, answer: String::new(), sent, last }),
        Err(err) => Err(err).context("cannot talk to it"),
    }
}

/// ssh asks nobody anything, and notices within seconds when the line is dead.
fn ssh(machine: &settings::Machine, to: &DeployTo, words: &[&str]) -> anyhow::Result<Command> {
    let mut ssh = surroundings::clean("ssh")?;
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

/// Gives the session what it is to have, and reads its answer.
fn feed(child: &mut Child, input: Input<'_>, sent: &mut u64) -> io::Result<String> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("no pipes"));
    };
    let mut stdout = BufReader::new(stdout.take(LONGEST));
    let mut answer = String::new();
    match input {
        Input::Nothing => {}
        // One that refuses before it has read all says so by its end.
        Input::Text(text) => _ = stdin.write_all(text),
        Input::File(path) => {
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
                *sent += read as u64;
            }
        }
    }
    drop(stdin);
    stdout.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Shows what a machine says; returns the last line of it that says something.
fn talk(name: &str, stderr: impl Read) -> String {
    let mut last = String::new();
    let mut stderr = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        // A line without an end is shown in pieces.
        let read = (&mut stderr).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.unwrap_or(0) == 0 {
            break;
        }
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
