//! The reason why acme.sh or certbot got no certificate: the line of its output that says most.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use piku_report::diagnostic::{readable, shorten_text};

/// Longest part of a line that is read at once, in bytes.
const MAX_LINE: u64 = 4096;
/// Longest reason, in characters.
const MAX_REASON: usize = 300;
/// Prefix of the line of certbot that repeats what the authority says.
const DETAIL: &str = "Detail:";
/// Parts of lines that stand below the reason and say nothing about it.
const WITHOUT_REASON: [&str; 9] = [
    "Saving debug log to",
    "Some challenges have failed",
    "Ask for help or search for solutions",
    "See the logfile",
    "Please add '--debug'",
    "Please check log file",
    "How-to-debug-acme.sh",
    "The retryafter=",
    "Hint:",
];

/// The most telling line of an output so far.
#[derive(Debug, Default)]
struct ClientReason {
    text: Option<String>,
    is_detail: bool,
}

impl ClientReason {
    fn add(&mut self, line: &str) {
        let line = without_time(line.trim());
        let has_words = line.chars().any(char::is_alphanumeric);
        if !has_words || WITHOUT_REASON.iter().any(|part| line.contains(part)) {
            return;
        }
        let (line, is_detail) = line.strip_prefix(DETAIL).map_or((line, false), |rest| (rest.trim(), true));
        if is_detail || !self.is_detail {
            self.text = Some(readable(&shorten_text(line, MAX_REASON)));
            self.is_detail = is_detail;
        }
    }
}

/// Returns a line of acme.sh without the time in front: `[Mon Nov 30 12:00:00 UTC 2026] text`.
fn without_time(line: &str) -> &str {
    let rest = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    rest.filter(|(time, _)| time.contains(':')).map_or(line, |(_, rest)| rest.trim())
}

/// Copies the output to stderr until its end. The receiver then gets the reason, if a line says one.
pub(super) fn forward_output(output: File) -> Receiver<Option<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reason = ClientReason::default();
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            // The client must not wait for a reader of our stderr that has gone.
            let _ = std::io::stderr().write_all(&line);
            reason.add(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let _ = sender.send(reason.text);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_of(output: &str) -> Option<String> {
        let mut reason = ClientReason::default();
        output.lines().for_each(|line| reason.add(line));
        reason.text
    }

    #[test]
    fn the_last_line_that_says_something() {
        let acme_sh = "[Mon Nov 30 12:00:00 UTC 2026] Verifying: blog.example.org\n\
            [Mon Nov 30 12:00:02 UTC 2026] blog.example.org: Invalid status. Verification error details: no A record\n\
            [Mon Nov 30 12:00:02 UTC 2026] Please add '--debug' or '--log' to see more information.\n\
            [Mon Nov 30 12:00:02 UTC 2026] See: https://github.com/acmesh-official/acme.sh/wiki/How-to-debug-acme.sh\n";
        assert_eq!(
            reason_of(acme_sh).unwrap(),
            "blog.example.org: Invalid status. Verification error details: no A record"
        );
        let certbot = "Saving debug log to /var/log/letsencrypt.log\n\
            Certbot failed to authenticate some domains (authenticator: webroot).\n\
            \x20 Domain: blog.example.org\n  Type:   dns\n  Detail: DNS problem: NXDOMAIN\n\n\
            Hint: The Certificate Authority failed to download the files.\n\n\
            Some challenges have failed.\nAsk for help or search for solutions at https://community\n\
            1 renew failure(s), 0 parse failure(s)\n- - - -\n";
        assert_eq!(reason_of(certbot).unwrap(), "DNS problem: NXDOMAIN");
        assert_eq!(reason_of("- - -\n\n"), None);
    }

    #[test]
    fn a_reason_is_bounded_and_printable() {
        let reason = reason_of(&format!("bad \x1b[31m\u{202e} {}", "x".repeat(5000))).unwrap();
        assert!(reason.chars().count() <= MAX_REASON + 1, "{reason}");
        assert!(
            reason.starts_with("bad ") && !reason.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{reason}"
        );
    }
}
