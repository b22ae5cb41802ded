//! Stderr of the programs that a scheduled backup passes: shown at once, and its last line is the reason if one fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use piku_report::diagnostic::{readable, shorten_text};

/// Longest line that is read in one piece, and longest reason, in bytes.
const LONGEST_LINE: u64 = 4096;
const LONGEST_REASON: usize = 200;
/// Time for the rest of the output after the end of the program: a process that it has left may keep it open.
const PATIENCE: Duration = Duration::from_secs(1);

/// Relays the stderr of a program in a thread.
#[derive(Debug)]
pub(super) struct ErrorRelay {
    last: Arc<Mutex<String>>,
    /// Is closed at the end of the output.
    end: Receiver<()>,
}

impl ErrorRelay {
    /// Begins to read.
    pub(super) fn start(stderr: impl Read + Send + 'static) -> Self {
        let last = Arc::new(Mutex::new(String::new()));
        let (reads, end) = channel();
        let kept = Arc::clone(&last);
        thread::spawn(move || {
            let _reads = reads;
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            while stderr.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|count| count > 0)
            {
                let _ = std::io::stderr().lock().write_all(&line);
                let text = String::from_utf8_lossy(&line);
                if !text.trim().is_empty() {
                    text.trim().clone_into(&mut kept.lock().unwrap_or_else(PoisonError::into_inner));
                }
                line.clear();
            }
        });
        Self { last, end }
    }

    /// Returns `: LINE` with the last line of a program that has ended, or nothing if it has said nothing.
    pub(super) fn reason(&self) -> String {
        // Nothing is sent: this ends with the output, or in time.
        let _: Result<(), RecvTimeoutError> = self.end.recv_timeout(PATIENCE);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_str() {
            "" => String::new(),
            line => format!(": {}", readable(&shorten_text(line, LONGEST_REASON))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn last_line_is_the_reason() {
        let reason = |text: &str| ErrorRelay::start(Cursor::new(text.as_bytes().to_vec())).reason();
        assert_eq!(reason(""), "");
        assert_eq!(reason("warning\nHost key verification failed.\r\n\n"), ": Host key verification failed.");
        assert!(!reason("\x1b[2Jx").contains('\x1b'));
        assert!(reason(&"x".repeat(100_000)).len() < LONGEST_REASON + 20);
    }
}
