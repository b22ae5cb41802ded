//! What hostile code tries from inside of a jail. Each attack is a sub-command that prints one line, `held: …` or
//! `BROKEN: …`, and ends with 0 or 1; with 2 and `untried: …` when it cannot be tried.
//!
//! It is a program of its own, static and without a library, so that it runs in any jail of any maker. Some attacks want
//! to be told what lies outside (`KEY=VALUE`, see [`facts`]); `outside` prepares all that for real, and runs them.

mod facts;
mod outside;
mod row;
mod rows;
mod sys;
mod verdict;

use std::env;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};

use facts::Facts;
use verdict::Verdict;

/// The command line, for who types it wrong.
const USAGE: &str = "\
usage: piku-attack list                                        all attacks: name | what is tried | what is expected
       piku-attack NAME [KEY=VALUE]…                           one of them, from inside
       piku-attack all [KEY=VALUE]…                            each of them, from inside, a line each
       piku-attack outside [KEY=VALUE]… NAME… -- JAIL… PROGRAM these, each in a jail of its own, the outer side prepared
       piku-attack prepare                                     the outer side alone: prints its facts, a line each, then an
                                                               empty one; when its input ends, what has changed
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let Some((name, rest)) = words.split_first() else { return usage() };
    match name.as_str() {
        "list" => list(),
        "all" => all(rest),
        "outside" => outside::run(rest).unwrap_or_else(usage),
        "prepare" => outside::prepare(),
        // What the set-uid and file-capability rows start: it tells who it has become.
        "whoami" => say(&sys::who_am_i()).unwrap_or(ExitCode::SUCCESS),
        _ => match rows::find(name) {
            Some(row) => {
                let verdict = row.attack(&Facts::parse(rest));
                say(&verdict.line()).unwrap_or(verdict.code())
            }
            None => usage(),
        },
    }
}

fn usage() -> ExitCode {
    let _ = io::stderr().write_all(USAGE.as_bytes());
    ExitCode::from(verdict::USAGE)
}

/// Prints a line; the exit code of a failure when nobody reads it.
fn say(line: &str) -> Option<ExitCode> {
    writeln!(io::stdout().lock(), "{line}").is_err().then_some(ExitCode::from(verdict::USAGE))
}

/// The table of all attacks.
fn list() -> ExitCode {
    for row in rows::all() {
        if let Some(code) = say(&format!("{} | {} | {}", row.name, row.attempt, row.expected)) {
            return code;
        }
    }
    ExitCode::SUCCESS
}

/// Runs each attack in a process of its own, and says at the end how many held.
fn all(facts: &[String]) -> ExitCode {
    // One of them sends it to every process that can be reached.
    sys::ignore(libc::SIGTERM);
    let mut counts = [0_usize; 3];
    for row in rows::all() {
        let verdict = by_itself(row.name, facts);
        counts[usize::from(verdict.number())] += 1;
        if let Some(code) = say(&format!("{} | {}", row.name, verdict.line())) {
            return code;
        }
    }
    let [held, broken, untried] = counts;
    if let Some(code) = say(&format!("attacked: {held} held, {broken} broken, {untried} untried")) {
        return code;
    }
    if broken > 0 { Verdict::Broken(String::new()).code() } else { ExitCode::SUCCESS }
}

fn by_itself(name: &str, facts: &[String]) -> Verdict {
    let mut command = Command::new("/proc/self/exe");
    command.arg(name).args(facts).stdin(Stdio::inherit()).stderr(Stdio::inherit());
    match command.output() {
        Ok(output) => Verdict::parse(&String::from_utf8_lossy(&output.stdout), output.status),
        Err(err) => Verdict::Untried(format!("cannot start it: {err}")),
    }
}
