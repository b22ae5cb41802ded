//! A line of `authorized_keys` that piku has written, by the rules of sshd(8).
//!
//! `restrict,pty,command="PIKU-RECEIVE --key NAME …" TYPE BASE64 added=TIME COMMENT`. `restrict` forbids everything;
//! `pty` gives back the terminal, for `run`.

use std::path::Path;

use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_report::user_error::UserError;

use super::public::PublicKey;
use super::{KeyName, NewKeyArgs};
use crate::client::quoted;

/// In front of the command.
const OPTIONS: &str = "restrict,pty,command=\"";
/// In front of the comment.
const ADDED: &str = "added=";

/// What a line of piku's says.
#[derive(Debug)]
pub(super) struct KeyLine {
    /// The key's name.
    pub(super) name: KeyName,
    /// The apps it reaches; all when empty.
    pub(super) apps: Vec<AppName>,
    /// When it was added, if the line still says so.
    pub(super) added: Option<Timestamp>,
    /// The key.
    pub(super) key: PublicKey,
}

/// Writes the line, without its newline. `program` is run for the key.
pub(super) fn render(
    program: &Path,
    added: &NewKeyArgs,
    at: Timestamp,
    key: &PublicKey,
) -> Result<String, UserError> {
    let mut words = vec![text(program)?, "--key", added.name.as_str()];
    for app in &added.apps {
        words.extend(["--app", app.as_str()]);
    }
    for (flag, path) in [("--root", &added.root), ("--scripts", &added.scripts)] {
        if let Some(path) = path {
            words.extend([flag, text(path)?]);
        }
    }
    // The user's shell splits the command; sshd takes `\"` for a quote and leaves every other backslash.
    let command = shell_words::join(words).replace('"', "\\\"");
    let mut line = format!("{OPTIONS}{command}\" {} {ADDED}{at}", key.words());
    if !key.comment().is_empty() {
        line.push(' ');
        line.push_str(key.comment());
    }
    Ok(line)
}

fn text(path: &Path) -> Result<&str, UserError> {
    path.to_str().filter(|text| !text.chars().any(char::is_control)).ok_or_else(|| {
        UserError::new(format!(
            "{} cannot stand in authorized_keys: it has to be plain text",
            quoted(&path.to_string_lossy())
        ))
    })
}

/// Reads a line of the file; `None` when it is not one of piku's.
pub(super) fn parse(line: &str) -> Option<KeyLine> {
    let (options, key) = options(line.trim_start())?;
    let command = option(options, "command")?;
    let words = shell_words::split(&command).ok()?;
    let (program, arguments) = words.split_first()?;
    if Path::new(program).file_name()? != "piku-receive" {
        return None;
    }
    let values = |flag: &str| -> Vec<&str> {
        let pairs = arguments.iter().zip(arguments.iter().skip(1));
        pairs.filter(|(word, _)| *word == flag).map(|(_, value)| value.as_str()).collect()
    };
    let key = PublicKey::line(key).ok()?;
    let name = values("--key").first()?.parse().ok()?;
    let apps = values("--app").into_iter().map(str::parse).collect::<Result<_, _>>().ok()?;
    let added =
        key.comment().split_whitespace().next().and_then(|word| word.strip_prefix(ADDED)?.parse().ok());
    Some(KeyLine { name, apps, added, key })
}

/// The key of any line, whoever wrote it.
pub(super) fn key_of(line: &str) -> Option<PublicKey> {
    let line = line.trim_start();
    PublicKey::line(line).ok().or_else(|| PublicKey::line(options(line)?.1).ok())
}

/// The options of a line and what follows them: they end at the first blank outside quotes.
fn options(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut before = '\0';
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != '\\' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some((&line[..at], line[at..].trim_start())),
            _ => {}
        }
        before = c;
    }
    None
}

/// The value of one option, its quotes taken off as sshd does.
fn option(options: &str, name: &str) -> Option<String> {
    let mut rest = options;
    loop {
        let value = rest.strip_prefix(name).and_then(|rest| rest.strip_prefix("=\""));
        if let Some(value) = value {
            let mut out = String::new();
            let mut chars = value.chars().peekable();
            while let Some(c) = chars.next() {
                match c {
                    '\\' if chars.peek() == Some(&'"') => out.extend(chars.next()),
                    '"' => return Some(out),
                    c => out.push(c),
                }
            }
            return None;
        }
        rest = after_comma(rest)?;
    }
}

fn after_comma(options: &str) -> Option<&str> {
    let mut quoted = false;
    let mut before = '\0';
    for (at, c) in options.char_indices() {
        match c {
            '"' if before != '\\' => quoted = !quoted,
            ',' if !quoted => return Some(&options[at + 1..]),
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoBSfbhZqMVgdOPVlrXH1CKrWdNuZQm2K9fFcqlgXIB";

    fn added(apps: &[&str], root: Option<&str>) -> NewKeyArgs {
        NewKeyArgs {
            name: "alice".parse().unwrap(),
            apps: apps.iter().map(|app| app.parse().unwrap()).collect(),
            root: root.map(PathBuf::from),
            scripts: None,
        }
    }

    fn rendered(program: &str, added: &NewKeyArgs) -> String {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        render(Path::new(program), added, at, &PublicKey::line(&format!("{KEY} me@home")).unwrap()).unwrap()
    }

    #[test]
    fn a_line_is_as_sshd_wants_it() {
        assert_eq!(
            rendered("/usr/local/bin/piku-receive", &added(&["blog", "shop"], None)),
            format!(
                "restrict,pty,command=\"/usr/local/bin/piku-receive --key alice --app blog --app shop\" {KEY} \
                 added=2026-01-02T03:04:05Z me@home"
            )
        );
    }

    #[test]
    fn reading_is_the_inverse_of_writing_whatever_the_path() {
        for root in ["/r", "/a b", "/it's", "/a\"b", "/a\\\"b", "/a\\", "/a,b", "/$HOME`x`", "/é #"] {
            let line = rendered(&format!("{root}/piku-receive"), &added(&["blog"], Some(root)));
            let read = parse(&line).expect(&line);
            assert_eq!(read.name.as_str(), "alice");
            assert_eq!(read.apps, ["blog".parse().unwrap()]);
            assert_eq!(read.added.unwrap().to_string(), "2026-01-02T03:04:05Z");
            assert!(key_of(&line).unwrap().is(&read.key));
        }
        let newline = render(
            Path::new("/a\nb"),
            &added(&[], None),
            Timestamp::UNIX_EPOCH,
            &PublicKey::line(KEY).unwrap(),
        );
        assert!(newline.is_err());
    }

    #[test]
    fn foreign_lines_are_not_piku_s() {
        for line in [
            KEY,
            "",
            "# piku-receive --key alice",
            &format!("command=\"/usr/bin/rrsync /srv\" {KEY}"),
            &format!("command=\"piku-receive\" {KEY}"),
            &format!("environment=\"X=command=\\\"piku-receive --key a\\\"\" {KEY}"),
            "restrict,command=\"piku-receive --key alice\" ssh-ed25519 damaged",
            "command=\"piku-receive --key alice",
        ] {
            assert!(parse(line).is_none(), "{line:?}");
        }
        assert!(key_of(&format!("no-pty,from=\"10.0.0.0/8, x\" {KEY} c")).is_some());
    }
}
