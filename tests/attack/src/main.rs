//! Attacks that hostile code may try from inside of a jail. Each is a sub-command that prints one line,
//! `held: …` or `BROKEN: …`, and exits with 0 or 1; if it cannot be tried, it prints `untried: …` and exits
//! with 2.
//!
//! The program is static and needs no library, so that it runs in any jail of any maker. Some attacks need
//! facts about the outside (`KEY=VALUE`, see [`facts`]); `outside` prepares all of that and runs them.

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

/// Printed for a wrong command line.
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
        // Started by the set-uid and file-capability rows: prints which user it has become.
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

/// Prints a line; returns the exit code of a failure if no process reads it.
fn say(line: &str) -> Option<ExitCode> {
    writeln!(io::stdout().lock(), "{line}").is_err().then_some(ExitCode::from(verdict::USAGE))
}

fn list() -> ExitCode {
    for row in rows::all() {
        if let Some(code) = say(&format!("{} | {} | {}", row.name, row.attempt, row.expected)) {
            return code;
        }
    }
    ExitCode::SUCCESS
}

/// Runs each attack in its own process, and prints at the end how many held.
fn all(facts: &[String]) -> ExitCode {
    // One attack sends it to every process that it can reach.
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
