//! The lines that piku writes to `authorized_keys`, see sshd(8).
//!
//! `restrict,pty,command="PIKU-RECEIVE --key NAME …" TYPE BASE64 added=TIME COMMENT`. `restrict` forbids
//! everything; `pty` allows a terminal again, for `run`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use piku_layout::name::AppName;
use piku_report::user_error::UserError;

use super::public::PublicKey;
use super::{KeyName, NewKeyArgs};
use crate::client::quoted;

const OPTIONS: &str = "restrict,pty,command=\"";
/// Prefix of the time, in front of the comment.
const ADDED: &str = "added=";

#[derive(Debug)]
pub(super) struct KeyLine {
    pub(super) name: KeyName,
    /// Apps in the scope of the key; empty for all apps.
    pub(super) apps: Vec<AppName>,
    /// Root, if it is not the default.
    pub(super) root: Option<PathBuf>,
    /// Time at which it was added, if the line contains it.
    pub(super) added: Option<Timestamp>,
    pub(super) key: PublicKey,
}

/// Returns the line without its newline; the key runs `program`.
pub(super) fn render_line(
    program: &Path,
    added: &NewKeyArgs,
    at: Timestamp,
    key: &PublicKey,
) -> Result<String, UserError> {
    let mut words = vec![path_text(program)?, "--key", added.name.as_str()];
    for app in &added.apps {
        words.extend(["--app", app.as_str()]);
    }
    for (flag, path) in [("--root", &added.root), ("--scripts", &added.scripts)] {
        if let Some(path) = path {
            words.extend([flag, path_text(path)?]);
        }
    }
    // The user's shell splits the command; sshd unescapes `\"` and keeps every other backslash.
    let command = shell_words::join(words).replace('"', "\\\"");
    let mut line = format!("{OPTIONS}{command}\" {} {ADDED}{at}", key.type_and_base64());
    if !key.comment().is_empty() {
        line.push(' ');
        line.push_str(key.comment());
    }
    Ok(line)
}

/// Returns the line with one app in place of another in the key's scope; `None` if the scope lacks it.
pub(super) fn rename_app(line: &str, from: &AppName, to: &AppName) -> Option<String> {
    let apps = parse(line)?.apps;
    if !apps.contains(from) {
        return None;
    }
    let (options, rest) = split_options(line)?;
    // Names of apps need no quotes, so a word ends at a blank or at the end of the command.
    let option = |app: &AppName| format!(" --app {app}");
    let new = if apps.contains(to) { String::new() } else { option(to) };
    let changed = [" ", "\""].iter().fold(options.to_owned(), |text, end| {
        text.replace(&format!("{}{end}", option(from)), &format!("{new}{end}"))
    });
    Some(format!("{changed} {rest}"))
}

fn path_text(path: &Path) -> Result<&str, UserError> {
    path.to_str().filter(|text| !text.chars().any(char::is_control)).ok_or_else(|| {
        UserError::new(format!(
            "{} cannot be written to authorized_keys: it must be UTF-8 without control characters",
            quoted(&path.to_string_lossy())
        ))
    })
}

/// Parses a line of the file; returns `None` if piku did not write it.
pub(super) fn parse(line: &str) -> Option<KeyLine> {
    let (options, key) = split_options(line.trim_start())?;
    let command = option_value(options, "command")?;
    let words = shell_words::split(&command).ok()?;
    let (program, arguments) = words.split_first()?;
    if Path::new(program).file_name()? != "piku-receive" {
        return None;
    }
    let values = |flag: &str| -> Vec<&str> {
        let pairs = arguments.iter().zip(arguments.iter().skip(1));
        pairs.filter(|(word, _)| *word == flag).map(|(_, value)| value.as_str()).collect()
    };
    let key = PublicKey::parse_line(key).ok()?;
    let name = values("--key").first()?.parse().ok()?;
    let apps = values("--app").into_iter().map(str::parse).collect::<Result<_, _>>().ok()?;
    let root = values("--root").first().map(PathBuf::from);
    let added =
        key.comment().split_whitespace().next().and_then(|word| word.strip_prefix(ADDED)?.parse().ok());
    Some(KeyLine { name, apps, root, added, key })
}

/// Returns the key of any line.
pub(super) fn key_of(line: &str) -> Option<PublicKey> {
    let line = line.trim_start();
    PublicKey::parse_line(line).ok().or_else(|| PublicKey::parse_line(split_options(line)?.1).ok())
}

/// Splits a line into its options and the rest, at the first blank outside of quotes.
fn split_options(line: &str) -> Option<(&str, &str)> {
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

/// Returns the value of an option, unquoted as sshd does it.
fn option_value(options: &str, name: &str) -> Option<String> {
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
        render_line(Path::new(program), added, at, &PublicKey::parse_line(&format!("{KEY} me@home")).unwrap())
            .unwrap()
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
            assert_eq!(read.root.unwrap(), Path::new(root));
            assert_eq!(read.added.unwrap().to_string(), "2026-01-02T03:04:05Z");
            assert!(key_of(&line).unwrap().is_same_key(&read.key));
        }
        let newline = render_line(
            Path::new("/a\nb"),
            &added(&[], None),
            Timestamp::UNIX_EPOCH,
            &PublicKey::parse_line(KEY).unwrap(),
        );
        assert!(newline.is_err());
    }

    #[test]
    fn app_of_scope_is_renamed() {
        let name = |text: &str| -> AppName { text.parse().unwrap() };
        let apps_after = |apps: &[&str]| {
            let line = rendered("/opt/piku-receive", &added(apps, Some("/srv/--app blog ")));
            rename_app(&line, &name("blog"), &name("shop")).map(|line| parse(&line).unwrap().apps)
        };
        assert_eq!(apps_after(&[]), None);
        assert_eq!(apps_after(&["blogs", "a-blog"]), None);
        assert_eq!(apps_after(&["blog"]), Some(vec![name("shop")]));
        assert_eq!(apps_after(&["a", "blog", "blog-2"]), Some(vec![name("a"), name("shop"), name("blog-2")]));
        assert_eq!(apps_after(&["shop", "blog"]), Some(vec![name("shop")]));
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
