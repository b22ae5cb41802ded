//! The programs that a command of a Procfile starts, as far as its text tells: behind assignments, `exec`,
//! `env` and `cd`, in each part of a list or a pipeline, and inside `sh -c "…"`.

use std::ops::Range;
use std::path::PathBuf;

use crate::app::app_source::normalize_path;

/// The longest text that `sh -c` takes, in bytes: that of one argument of a program under Linux.
const LONGEST: usize = 128 * 1024;
/// The depth of `sh -c "sh -c …"` up to which commands are read.
const DEEPEST: usize = 4;
/// Reserved words and programs that start the command after them.
const IN_FRONT: [&str; 14] = [
    "!", "{", "command", "do", "elif", "else", "exec", "if", "nohup", "setsid", "then", "time", "until",
    "while",
];
const SHELLS: [&str; 4] = ["ash", "bash", "dash", "sh"];
/// Characters of expansions: the shell decides what such a word is.
const EXPANDED: [char; 6] = ['$', '`', '*', '?', '[', '~'];

/// A program that a command starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartedProgram {
    /// Its name or path, and its arguments; without quotes, with expansions as they are written.
    pub(crate) words: Vec<String>,
    /// Position of each word in the command, in bytes; empty if it is inside quotes that change the text.
    pub(crate) spans: Vec<Range<usize>>,
    /// Folder in which it starts, relative to the app's; `None` after a `cd` to a place that is not known.
    pub(crate) folder: Option<PathBuf>,
}

impl StartedProgram {
    /// Returns the last part of its name: `go` for `/usr/local/go/bin/go`.
    pub(crate) fn name(&self) -> &str {
        self.words[0].rsplit('/').next().unwrap_or_default()
    }

    /// Returns its path in the app; `None` for a bare name, and for a path that only the shell knows.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let word = &self.words[0];
        let is_path = word.contains('/') && !word.contains(EXPANDED);
        is_path.then_some(())?;
        Some(normalize_path(&self.folder.as_ref()?.join(word)))
    }
}

/// Returns the programs that a command starts, in order. A word that the shell expands is not taken for a
/// program. A text that no shell would take starts nothing.
pub(crate) fn find_started(command: &str) -> Vec<StartedProgram> {
    let mut found = Vec::new();
    if command.len() > LONGEST {
        return found;
    }
    read_commands(command, Some(0), Some(PathBuf::new()), DEEPEST, &mut found);
    found
}

/// A word of a command with its position in the text.
struct ShellWord {
    text: String,
    span: Range<usize>,
}

/// Adds the programs of a text that begins at `offset` of the whole command.
fn read_commands(
    text: &str,
    offset: Option<usize>,
    mut folder: Option<PathBuf>,
    deeper: usize,
    found: &mut Vec<StartedProgram>,
) {
    for words in split_commands(text) {
        let words = skip_prefixes(&words);
        let Some(first) = words.first() else { continue };
        let name = first.text.rsplit('/').next().unwrap_or_default();
        if first.text == "cd" {
            let target = words.iter().skip(1).find(|word| word.text != "--").map(|word| word.text.as_str());
            folder = match target {
                Some(target) if target != "-" && !target.contains(EXPANDED) => {
                    folder.map(|folder| normalize_path(&folder.join(target)))
                }
                _ => None,
            };
        } else if let Some(inner) = SHELLS.contains(&name).then(|| find_script_text(words)).flatten() {
            if let Some(deeper) = deeper.checked_sub(1) {
                // Within quotes that only enclose the text, positions are those of the whole.
                let raw = text.get(inner.span.start + 1..inner.span.end.saturating_sub(1));
                let inside = offset.filter(|_| raw == Some(inner.text.as_str()));
                let offset = inside.map(|offset| offset + inner.span.start + 1);
                read_commands(&inner.text, offset, folder.clone(), deeper, found);
            }
        } else if !first.text.is_empty() {
            let spans = offset.map(|offset| {
                words.iter().map(|word| offset + word.span.start..offset + word.span.end).collect()
            });
            found.push(StartedProgram {
                words: words.iter().map(|word| word.text.clone()).collect(),
                spans: spans.unwrap_or_default(),
                folder: folder.clone(),
            });
        }
    }
}

/// Returns the text of `sh -c TEXT`.
fn find_script_text(words: &[ShellWord]) -> Option<&ShellWord> {
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        let letters = word.text.strip_prefix('-')?;
        // `-o` and the last of `-euo` have a value.
        if letters.ends_with('o') && !letters.starts_with('-') {
            rest.next();
        } else if !letters.starts_with('-') && letters.contains('c') {
            return rest.find(|word| !word.text.starts_with('-'));
        }
    }
    None
}

/// Removes assignments, reserved words and programs that start the command after them.
fn skip_prefixes(mut words: &[ShellWord]) -> &[ShellWord] {
    while let Some((first, rest)) = words.split_first() {
        let text = first.text.as_str();
        // Their options with a value, and how many other words precede the command.
        let (with_value, operands): (&[&str], usize) = match text.rsplit('/').next().unwrap_or_default() {
            "env" => (&["-u", "-C"], 0),
            "nice" => (&["-n"], 0),
            "timeout" => (&["-k", "-s"], 1),
            "stdbuf" => (&["-i", "-o", "-e"], 0),
            _ if is_assignment(text) || IN_FRONT.contains(&text) => (&["-a"], 0),
            _ => return words,
        };
        words = skip_options(rest, with_value).get(operands..).unwrap_or_default();
    }
    words
}

fn skip_options<'a>(mut words: &'a [ShellWord], with_value: &[&str]) -> &'a [ShellWord] {
    while let Some((first, rest)) = words.split_first() {
        if !first.text.starts_with('-') {
            break;
        }
        let values = usize::from(with_value.contains(&first.text.as_str()));
        words = rest.get(values..).unwrap_or_default();
    }
    words
}

/// Returns whether a word is an assignment in front of a command, `NAME=value`.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| piku_procfile::env::is_name(name))
}

/// Splits a text at the operators of the shell into the words of its commands. Redirections are left out. The
/// rest after an unclosed quote is one word.
fn split_commands(text: &str) -> Vec<Vec<ShellWord>> {
    let mut commands = vec![Vec::new()];
    let mut chars = text.char_indices().peekable();
    let mut skips_word = false;
    while let Some(&(start, c)) = chars.peek() {
        match c {
            ' ' | '\t' => {
                chars.next();
            }
            '#' => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            '\n' | ';' | '&' | '|' | '(' | ')' => {
                chars.next();
                // `>&2` and `&>file` are redirections.
                if c == '&' && (skips_word || chars.peek().is_some_and(|(_, next)| *next == '>')) {
                    continue;
                }
                skips_word = false;
                commands.push(Vec::new());
            }
            '<' | '>' => {
                chars.next();
                skips_word = true;
            }
            _ => {
                let word = read_word(text, &mut chars);
                let is_descriptor = word.text.bytes().all(|byte| byte.is_ascii_digit())
                    && chars.peek().is_some_and(|(at, next)| matches!(next, '<' | '>') && *at > start);
                if !std::mem::take(&mut skips_word) && !is_descriptor {
                    if let Some(words) = commands.last_mut() {
                        words.push(word);
                    }
                }
            }
        }
    }
    commands.retain(|words| !words.is_empty());
    commands
}

/// Reads a word up to a blank or an operator.
fn read_word(text: &str, chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) -> ShellWord {
    let start = chars.peek().map_or(text.len(), |(at, _)| *at);
    let mut word = String::new();
    // The open quotes and parentheses, the innermost last.
    let mut open: Vec<char> = Vec::new();
    while let Some(&(_, c)) = chars.peek() {
        let inner = open.last().copied();
        if inner.is_none() && matches!(c, ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>') {
            break;
        }
        chars.next();
        match (inner, c) {
            (Some('\''), '\'') | (Some('"'), '"') if open.len() == 1 => {
                open.pop();
            }
            (None, '\'' | '"') => open.push(c),
            (Some(close), _) if close == c => {
                open.pop();
                word.push(c);
            }
            (Some('\''), _) => word.push(c),
            (_, '\\') => word.extend(chars.next().map(|(_, escaped)| escaped)),
            (_, '$') => {
                word.push(c);
                if chars.next_if(|(_, next)| *next == '(').is_some() {
                    open.push(')');
                    word.push('(');
                }
            }
            (Some(')'), '(') => {
                open.push(')');
                word.push(c);
            }
            (Some(')'), '\'' | '"') | (None | Some('"' | ')'), '`') => {
                open.push(c);
                word.push(c);
            }
            _ => word.push(c),
        }
    }
    let end = chars.peek().map_or(text.len(), |(at, _)| *at);
    ShellWord { text: word, span: start..end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(command: &str) -> Vec<(String, String)> {
        let show = |one: StartedProgram| {
            let folder = one.folder.map_or("?".to_owned(), |folder| folder.display().to_string());
            (folder, one.words.join(" "))
        };
        find_started(command).into_iter().map(show).collect()
    }

    #[test]
    fn what_each_command_starts() {
        for (command, expected) in [
            ("./web --port $PORT", &[("", "./web --port $PORT")][..]),
            ("A=1 B='x y' target/release/web", &[("", "target/release/web")]),
            ("env -u X A=1 ./web", &[("", "./web")]),
            ("exec nice -n 5 timeout -k 3 10 ./web x", &[("", "./web x")]),
            ("cd target/release && ./web", &[("target/release", "./web")]),
            ("cd a; cd ../b; exec ./web", &[("b", "./web")]),
            ("cd $X && ./web", &[("?", "./web")]),
            (
                "./migrate && exec ./web | tee log 2>&1 >out",
                &[("", "./migrate"), ("", "./web"), ("", "tee log")],
            ),
            ("sh -c \"cd x && exec ./web \\$PORT\"", &[("x", "./web $PORT")]),
            ("bash -euo pipefail -lc './web; ./b'", &[("", "./web"), ("", "./b")]),
            ("sh run.sh", &[("", "sh run.sh")]),
            ("if true; then ./a; fi", &[("", "true"), ("", "./a"), ("", "fi")]),
            ("(./a & ./b) # ./c", &[("", "./a"), ("", "./b")]),
            ("./a \"$(./b; echo ')')\" `./c | d`", &[("", "./a $(./b; echo ')') `./c | d`")]),
            ("'my program'/web 'x", &[("", "my program/web x")]),
            ("A=1", &[]),
            ("", &[]),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|(folder, words)| ((*folder).to_owned(), (*words).to_owned())).collect();
            assert_eq!(started(command), expected, "{command}");
        }
    }

    #[test]
    fn positions_are_those_of_the_whole_command() {
        for (command, word) in [
            ("A=1 cargo run", "cargo"),
            ("cd é && 'cargo' run", "'cargo'"),
            ("sh -c 'cd x && cargo run'", "cargo"),
            ("bash -c \"sh -c 'cargo run'\"", "cargo"),
        ] {
            let found = find_started(command).pop().unwrap();
            assert_eq!(&command[found.spans[0].clone()], word, "{command}");
        }
        assert!(find_started("sh -c \"cargo run \\$X\"")[0].spans.is_empty());
    }

    #[test]
    fn paths_are_those_in_the_app() {
        let path = |command: &str| find_started(command).pop().unwrap().path();
        assert_eq!(path("cd x/y && ../web"), Some("x/web".into()));
        assert_eq!(path("cd x && /app/bin/web"), Some("/app/bin/web".into()));
        assert_eq!((path("web"), path("$BIN/web"), path("cd $X && ./web")), (None, None, None));
    }

    #[test]
    fn no_text_is_too_odd() {
        for command in
            ["'", "\"$(", "`", "\\", "sh -c", "sh -c ''", ">", "2>", "cd", "exec", "$((1+2))", "((("]
        {
            let _ = find_started(command);
        }
        let deep = "$(".repeat(10_000);
        assert_eq!(find_started(&deep).len(), 1);
    }
}
