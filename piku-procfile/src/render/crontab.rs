//! The crons of a Procfile as a crontab, for cron(8) of Debian and its relatives. What cannot be written so that each of
//! them reads the same is refused.

use std::fmt::Write;
use std::path::Path;

use piku_report::diagnostic::{Diagnostic, DiagnosticCollector, Diagnostics};
use piku_report::user_error::UserError;

use crate::command;
use crate::procfile::{self, ProcessKind, Procfile};
use crate::render::values::AppValues;

/// The longest line of a variable and the longest command that cron takes (`MAX_ENVSTR`, `MAX_COMMAND`), with its end.
const MAX_VARIABLE: usize = 1000;
const MAX_COMMAND: usize = 998;

/// What cron reads for itself, or sets itself: an app's own value would not reach the app.
const CRONS: [&str; 5] = ["SHELL", "LOGNAME", "USER", "MAILTO", "MAILFROM"];

/// The crontab, and what its author should look at. `dir` is the folder in which the commands run.
///
/// # Errors
/// When there are no crons; else a [`Diagnostics`] with everything that cron cannot have.
pub fn render(
    dir: &Path,
    procfile: &Procfile,
    values: &AppValues,
) -> anyhow::Result<(String, Vec<Diagnostic>)> {
    let crons: Vec<_> = procfile.entries.iter().filter(|entry| entry.kind == ProcessKind::Cron).collect();
    if crons.is_empty() {
        return Err(UserError::new("the Procfile has no crons")
            .hint("a cron is five fields and a command: 'cron: 0 5 * * * ./backup'")
            .into());
    }
    let (mut errors, mut warnings) = (DiagnosticCollector::default(), DiagnosticCollector::default());
    let [shell, ..] = command::argv("");
    let mut text = format!("# made by piku-procfile render crontab\nSHELL={shell}\n");
    for (name, value) in values.iter() {
        if CRONS.contains(&name) {
            warnings.push(|| value.error(name, "is left out: cron has one of its own").warning());
            continue;
        }
        match variable(name, &value.text) {
            Ok(line) => {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{line}");
            }
            Err(message) => errors.push(|| value.error(name, message)),
        }
    }
    let dir = dir.to_str().filter(|dir| !dir.contains(char::is_control));
    let dir = dir.ok_or_else(|| UserError::new("--dir: cron cannot have this path: it is not plain text"))?;
    for entry in crons {
        let [_, _, run] = command::argv(&entry.command);
        // With a ';' the command is one of its own, whatever operators it has.
        let line = escaped(&format!("cd {} || exit; {run}", quoted(dir)));
        match line {
            Ok(line) => {
                let schedule = entry.schedule.as_deref().unwrap_or_default();
                let _ = writeln!(text, "{schedule} {line}");
            }
            Err(message) => errors.push(|| {
                Diagnostic::error(procfile::FILE, entry.line, format!("'{}': {message}", entry.name))
                    .hint("put the command into a script and start that")
            }),
        }
    }
    if errors.is_empty() { Ok((text, warnings.finish())) } else { Err(Diagnostics(errors.finish()).into()) }
}

/// `NAME=value`, the value between quotes where it needs them. Nothing inside quotes is special to cron.
fn variable(name: &str, value: &str) -> Result<String, &'static str> {
    if value.contains(char::is_control) {
        return Err("cron takes no newline or other control character in a value");
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b);
    let line = if !value.is_empty() && value.bytes().all(plain) {
        format!("{name}={value}")
    } else if !value.contains('"') {
        format!("{name}=\"{value}\"")
    } else if !value.contains('\'') {
        format!("{name}='{value}'")
    } else {
        return Err("cron takes no value with both kinds of quotes");
    };
    if line.len() >= MAX_VARIABLE { Err("cron takes no variable longer than 1000 bytes") } else { Ok(line) }
}

/// The command, each `%` with a backslash, without which it is a newline.
fn escaped(command: &str) -> Result<String, &'static str> {
    // Debian's cron makes one backslash of two, others keep both.
    if command.contains(r"\\") || command.contains(r"\%") {
        return Err("cron reads a backslash before '%' or another backslash in several ways");
    }
    let line = command.replace('%', r"\%");
    if line.len() > MAX_COMMAND { Err("cron takes no command longer than 998 bytes") } else { Ok(line) }
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=:,./-".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("'");
    for c in text.chars() {
        // Not with a backslash, which cron has its own ways with.
        if c == '\'' { quoted.push_str("'\"'\"'") } else { quoted.push(c) }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::EnvFile;
    use crate::procfile::ParseOptions;

    fn rendered(procfile: &str, env: &str) -> anyhow::Result<(String, Vec<Diagnostic>)> {
        let procfile = Procfile::parse(procfile.as_bytes(), ParseOptions::default())?;
        let env = EnvFile::parse(env.as_bytes(), &indexmap::IndexMap::new(), ParseOptions::default())?;
        render(Path::new("/srv/it's 5%"), &procfile, &AppValues::of(&env, "ENV"))
    }

    #[test]
    fn lines_and_variables() {
        let shell = &command::argv("")[0];
        let (text, warnings) = rendered(
            "web: a\ncron: */5 8-18 * * mon-fri ./report --at \"$(date +%F)\"\ncron-2: @daily a; b\n",
            "A=1\nB='it is'\nC=\"say \\\"x\\\"\"\nD=\nE=50%\nSHELL=/bin/zsh\n",
        )
        .unwrap();
        assert_eq!(
            text,
            format!(
                "# made by piku-procfile render crontab\nSHELL={shell}\nA=1\nB=\"it is\"\nC='say \"x\"'\nD=\"\"\nE=50%\n\
                 */5 8-18 * * mon-fri cd '/srv/it'\"'\"'s 5\\%' || exit; ./report --at \"$(date +\\%F)\"\n\
                 @daily cd '/srv/it'\"'\"'s 5\\%' || exit; a; b\n"
            )
        );
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].to_string(), "ENV:6: warning: SHELL: is left out: cron has one of its own");
    }

    #[test]
    fn what_cron_cannot_have_is_refused_with_its_place() {
        for (procfile, env, told) in [
            ("web: a", "", "the Procfile has no crons"),
            ("cron: @daily a", "\nA=\"x\ny\"", "ENV:2: A: cron takes no newline"),
            ("cron: @daily a", "A=\"x'\\\"y\"", "ENV:1: A: cron takes no value with both"),
            ("cron: @daily a", &format!("A={}", "x".repeat(1000)), "ENV:1: A: cron takes no variable longer"),
            ("web: a\ncron: @daily date +\\%F", "", "Procfile:2: 'cron': cron reads a backslash"),
            ("cron: @daily a '\\\\' b", "", "Procfile:1: 'cron': cron reads a backslash"),
            (&format!("cron: @daily {}", "%".repeat(500)), "", "Procfile:1: 'cron': cron takes no command"),
        ] {
            let err = rendered(procfile, env).unwrap_err().to_string();
            assert!(err.starts_with(told), "{err}");
        }
    }
}
