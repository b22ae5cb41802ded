//! The reason in what ssh and a host print about a request that fails, and the remedy for it.

use std::io::{BufRead, BufReader, Read};

use piku_layout::settings::{DeployTo, MachineAddress, expand_home};
use piku_report::diagnostic::shorten_text;
use piku_report::terminal::plain_text;

use crate::client::shell_word;

/// Line of ssh about a host key that it does not accept.
const REFUSED_KEY: &str = "Host key verification failed.";
/// Part of the line before it if the host had another key.
const CHANGED_KEY: &str = "has changed and you have requested strict checking";
/// Part of ssh's error for a name without an address.
pub(super) const UNKNOWN_NAME: &str = "Could not resolve hostname";
/// Longest line of stderr, in bytes.
const LONGEST_LINE: u64 = 64 << 10;
/// Longest reason, in characters.
const LONGEST_REASON: usize = 1000;
/// Port of ssh.
const SSH_PORT: u16 = 22;

/// Reads errors up to their end, calls `each` with every line, and returns the last line that gives a reason.
pub(crate) fn read_reason(stderr: impl Read, mut each: impl FnMut(&str)) -> String {
    let mut last = String::new();
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    // A line without an end is read in pieces.
    while matches!((&mut stderr).take(LONGEST_LINE).read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        each(text.trim_end());
        match reason_in(&text) {
            // The line after it does not say that the key is another one than before.
            Some(REFUSED_KEY) if last.contains(CHANGED_KEY) => {}
            Some(reason) => reason.clone_into(&mut last),
            None => {}
        }
        line.clear();
    }
    shorten_text(&plain_text(last.as_bytes()), LONGEST_REASON).into_owned()
}

/// Returns the text of a line of errors without its mark; `None` for an empty line or a hint, which give no reason.
fn reason_in(line: &str) -> Option<&str> {
    let text = line.trim().trim_start_matches([' ', '!']);
    (!text.is_empty() && !text.starts_with("hint:")).then_some(text)
}

/// Returns the remedy for a connection that retries cannot repair: ssh names a wrong host key or key.
pub(super) fn connection_hint(last: &str, machine: &MachineAddress, to: &DeployTo) -> Option<String> {
    let hint = match last {
        _ if last.contains("Permission denied") => {
            "add the key there: sudo piku keys:add NAME --app APP < KEY.pub".to_owned()
        }
        _ if last.contains(CHANGED_KEY) => format!(
            "if it was installed anew, forget its old key, as the user that runs piku: {}, and check and accept the new \
             one: {}",
            forget_key_command(machine, to),
            accept_key_command(machine, to)
        ),
        _ if last.contains(REFUSED_KEY) => format!(
            "check and accept its host key once, as the user that runs piku: {}",
            accept_key_command(machine, to)
        ),
        _ if last.contains("no such identity") => {
            "the key of 'identity' in host.yaml is missing: ssh-keygen -t ed25519 creates one".to_owned()
        }
        _ if last.contains(UNKNOWN_NAME) => "check the spelling of its name in host.yaml".to_owned(),
        _ => return None,
    };
    Some(hint)
}

/// Returns the command that removes the known host keys of a machine.
fn forget_key_command(machine: &MachineAddress, to: &DeployTo) -> String {
    // As ssh stores it.
    let host = machine.host.to_ascii_lowercase();
    let entry = match other_port(machine) {
        Some(port) => format!("[{host}]:{port}"),
        None => host,
    };
    let known = known_hosts(to).map(|path| format!("-f {} ", shell_word(&path))).unwrap_or_default();
    format!("ssh-keygen {known}-R {}", shell_word(&entry))
}

/// Returns the command that shows the host key of a machine and asks whether to accept it.
fn accept_key_command(machine: &MachineAddress, to: &DeployTo) -> String {
    let port = other_port(machine).map(|port| format!("-p {port} ")).unwrap_or_default();
    let known = known_hosts(to).map(|path| {
        // ssh splits the value at spaces.
        let is_plain = shell_word(&path) == path;
        let value = if is_plain { path } else { shell_word(&format!("\"{path}\"")) };
        format!("-o UserKnownHostsFile={value} ")
    });
    let user = machine.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    format!("ssh {port}{}{user}{} help", known.unwrap_or_default(), machine.host)
}

fn other_port(machine: &MachineAddress) -> Option<u16> {
    machine.port.filter(|port| *port != SSH_PORT)
}

/// Returns the file of host keys in `known_hosts` of `deploy_to`.
fn known_hosts(to: &DeployTo) -> Option<String> {
    to.known_hosts.as_ref().map(|path| expand_home(path).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_line_that_is_no_hint() {
        let of = |said: &str| read_reason(said.as_bytes(), |_| {});
        let said =
            " !     this release needs python3.13\n !     hint: apt install python3.13\nhint: or not\n\n";
        assert_eq!(of(said), "this release needs python3.13");
        assert_eq!(of(" !     disk \u{1b}[31mfull\u{1b}[0m\u{1b}[2J\n"), "disk full");
        assert_eq!(of(&"x".repeat(100_000)).chars().count(), LONGEST_REASON + 1);
        let changed = format!("Host key for pi-2 {CHANGED_KEY}.");
        assert_eq!(of(&format!("{changed}\n{REFUSED_KEY}\n")), changed);
        assert_eq!(of(&format!("No key is known.\n{REFUSED_KEY}\n")), REFUSED_KEY);
    }

    #[test]
    fn commands_about_a_host_key_name_its_file_and_its_port() {
        let changed = format!("Host key for pi-2 {CHANGED_KEY}.");
        let hint = |machine: &str, known: Option<&str>| {
            let to = DeployTo { known_hosts: known.map(Into::into), ..DeployTo::default() };
            connection_hint(&changed, &machine.parse().unwrap(), &to).unwrap()
        };
        let commands = |machine: &str, known: Option<&str>| {
            let hint = hint(machine, known);
            let words = hint.split(": ").skip(1).map(|text| text.split(", and").next().unwrap().to_owned());
            words.collect::<Vec<_>>()
        };
        assert_eq!(commands("pi-2", None), ["ssh-keygen -R pi-2", "ssh pi-2 help"]);
        assert_eq!(commands("piku@Pi-2:22", None), ["ssh-keygen -R pi-2", "ssh piku@Pi-2 help"]);
        assert_eq!(
            commands("piku@pi-2:2222", Some("/k/hosts")),
            [
                "ssh-keygen -f /k/hosts -R '[pi-2]:2222'",
                "ssh -p 2222 -o UserKnownHostsFile=/k/hosts piku@pi-2 help"
            ]
        );
        assert_eq!(
            commands("[fd00::2]:2222", Some("/k/known hosts")),
            [
                "ssh-keygen -f '/k/known hosts' -R '[fd00::2]:2222'",
                "ssh -p 2222 -o UserKnownHostsFile='\"/k/known hosts\"' fd00::2 help"
            ]
        );
    }
}
