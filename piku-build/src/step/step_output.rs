//! The output of a step, line by line: shown up to a bound, with its last lines kept to find the reason of a
//! failure in.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use piku_files::free_space::size;
use piku_report::terminal::plain_text;

use piku_report::progress;

use crate::step::silence::WatchedOutput;

/// The number of last lines that are kept.
const KEPT: usize = 400;
/// Maximum length of a line in bytes; longer lines are cut.
pub(crate) const LONGEST: usize = 4096;
/// The longest part of a line that is held at all, in bytes: a step may print gigabytes and never end the
/// line.
const HELD: u64 = 64 * 1024;
/// Maximum size of the output that is shown for one step, in bytes, with the prefix of each line. Of later
/// output only the last lines are kept.
const SHOWN: u64 = 2 << 20;
/// The length of the prefix of each line, in bytes.
const MARGIN: u64 = 7;
/// The length of the end of the unshown rest that is held, in bytes.
const TAIL: usize = 64 * 1024;
/// The largest number of lines of that end that are shown.
const TAIL_SHOWN: usize = 40;

/// Forwards the output in a thread that hands over the last lines when the output ends.
pub(crate) fn forward(output: WatchedOutput, quiet: bool) -> Receiver<VecDeque<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = LastLines { kept: VecDeque::new(), quiet };
        let mut reader = BufReader::with_capacity(TAIL, output);
        let mut line = Vec::new();
        let mut left = SHOWN;
        while let Ok(count @ 1..) = reader.by_ref().take(HELD).read_until(b'\n', &mut line) {
            left = left.saturating_sub(count as u64 + MARGIN);
            if left == 0 {
                lines.take_end(&line, &mut reader);
                break;
            }
            if !line.ends_with(b"\n") && reader.skip_until(b'\n').is_err() {
                break;
            }
            lines.add_line(&line);
            if !quiet {
                reader.get_mut().watch.hear(Instant::now());
            }
            line.clear();
        }
        // The receiver is gone: nobody waits for output of processes that outlived the command.
        let _ = sender.send(lines.kept);
    });
    receiver
}

struct LastLines {
    kept: VecDeque<String>,
    quiet: bool,
}

impl LastLines {
    fn add_line(&mut self, line: &[u8]) {
        let text = text_of(line);
        if !self.quiet {
            progress::detail(&text);
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(text);
    }

    /// Reads to the end of the output, of which `begin` is read already, and takes its last lines.
    fn take_end(&mut self, begin: &[u8], reader: &mut impl BufRead) {
        if !self.quiet {
            let bound = size(SHOWN);
            progress::warning(&format!(
                "this step has printed more than {bound}: only its last lines are shown"
            ));
        }
        let mut tail = begin.to_vec();
        let mut all = begin.len() as u64;
        while let Ok(block @ [_, ..]) = reader.fill_buf() {
            let count = block.len();
            all += count as u64;
            tail.extend_from_slice(block);
            reader.consume(count);
            if tail.len() > 2 * TAIL {
                tail.drain(..tail.len() - TAIL);
            }
        }
        // The first line may have lost its beginning.
        let whole = if all > tail.len() as u64 { tail.iter().position(|byte| *byte == b'\n') } else { None };
        let tail = whole.map_or(tail.as_slice(), |end| &tail[end + 1..]);
        let lines: Vec<&[u8]> = tail.split_inclusive(|byte| *byte == b'\n').collect();
        let quiet = self.quiet;
        for (at, line) in lines.iter().enumerate() {
            self.quiet = quiet || lines.len() - at > TAIL_SHOWN;
            self.add_line(line);
        }
        self.quiet = quiet;
    }
}

fn text_of(line: &[u8]) -> String {
    // A progress bar overwrites itself; show its last state, as a terminal does.
    let text = line.trim_ascii_end().rsplit(|byte| *byte == b'\r').next().unwrap_or_default();
    plain_text(text).chars().take(LONGEST).collect()
}
