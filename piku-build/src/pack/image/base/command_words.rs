//! Programs that a command of a Procfile starts. A shell evaluates the command later: words that it would replace are
//! left out, and scripts are not read.

use piku_procfile::command::{is_assignment, is_shell_word};

/// Characters after which a shell expects a command.
const OPERATORS: [char; 7] = [';', '&', '|', '(', ')', '\n', '`'];
/// Characters that a shell replaces by something else.
const EXPANDED: [char; 6] = ['$', '*', '?', '[', '~', '{'];
/// Programs and words that are followed by a command, after options, numbers and assignments.
const PREFIXES: [&str; 19] = [
    "!", "command", "do", "elif", "else", "env", "exec", "if", "nice", "nohup", "setsid", "stdbuf", "then",
    "time", "timeout", "tini", "until", "while", "{",
];

/// Part of a command.
#[derive(Debug, PartialEq, Eq)]
enum CommandPart {
    /// A word without its quotes.
    Word(String),
    /// A word that the shell replaces.
    Unknown,
    /// The end of a command.
    End,
    /// The next word is a file.
    Redirection,
}

/// Returns the programs, in the order of the text.
pub(super) fn list_programs(text: &str) -> Vec<String> {
    let mut programs = Vec::new();
    let (mut is_start, mut has_prefix, mut is_file) = (true, false, false);
    for part in split(text) {
        match part {
            CommandPart::End => (is_start, has_prefix, is_file) = (true, false, false),
            CommandPart::Redirection => is_file = true,
            _ if is_file => is_file = false,
            CommandPart::Unknown => is_start = false,
            CommandPart::Word(word) if is_start => {
                let is_argument = has_prefix && word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
                if is_argument || is_assignment(&word) {
                    continue;
                }
                has_prefix = PREFIXES.contains(&word.as_str());
                is_start = has_prefix;
                if !is_shell_word(&word) && !word.is_empty() {
                    programs.push(word);
                }
            }
            CommandPart::Word(_) => {}
        }
    }
    programs
}

fn split(text: &str) -> Vec<CommandPart> {
    let mut parts = Vec::new();
    let (mut word, mut in_word, mut is_known) = (String::new(), false, true);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let is_end = OPERATORS.contains(&c);
        if is_end || matches!(c, ' ' | '\t' | '<' | '>') || c == '#' && !in_word {
            if in_word {
                let whole = std::mem::take(&mut word);
                // In front of a redirection, a number is a descriptor.
                let is_descriptor = matches!(c, '<' | '>') && whole.bytes().all(|byte| byte.is_ascii_digit());
                if !is_descriptor {
                    parts.push(if is_known { CommandPart::Word(whole) } else { CommandPart::Unknown });
                }
            }
            (in_word, is_known) = (false, true);
            // The ampersand of `2>&1` ends no command.
            let is_redirected = c == '&' && parts.last() == Some(&CommandPart::Redirection);
            match c {
                '<' | '>' => parts.push(CommandPart::Redirection),
                '#' => drop(chars.by_ref().find(|c| *c == '\n')),
                _ if is_end && !is_redirected => parts.push(CommandPart::End),
                _ => {}
            }
            continue;
        }
        in_word = true;
        match c {
            '\\' => word.extend(chars.next()),
            '\'' => word.extend(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => {
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    is_known &= !matches!(c, '$' | '`');
                    word.extend(if c == '\\' { chars.next() } else { Some(c) });
                }
            }
            c => {
                is_known &= !EXPANDED.contains(&c);
                word.push(c);
            }
        }
    }
    if in_word {
        parts.push(if is_known { CommandPart::Word(word) } else { CommandPart::Unknown });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_commands() {
        for (text, programs) in [
            ("gunicorn --bind $HOST:$PORT app:app", &["gunicorn"][..]),
            ("cd src && ./run.sh; ffmpeg -i a b|tee log", &["./run.sh", "ffmpeg", "tee"]),
            ("exec node server.js", &["node"]),
            ("A=1 B='x y' env -i C=2 node x", &["env", "node"]),
            ("nice -n 5 timeout 10s convert a b", &["nice", "timeout", "convert"]),
            ("if test -f x; then 'my server' x; else false; fi", &["my server"]),
            ("$BIN/x && bin/*", &[]),
            ("\"$BIN\" x; \"a b\"", &["a b"]),
            ("sleep 1 2>&1 >/dev/null && ruby x < a 2> b # perl", &["sleep", "ruby"]),
            ("sh -c 'perl x'", &["sh"]),
            ("echo $(date) `whoami`", &["date", "whoami"]),
            ("printf 'a; perl' \\; x", &[]),
            ("for x in a b; do curl $x; done", &["curl"]),
            ("", &[]),
        ] {
            assert_eq!(list_programs(text), programs, "{text}");
        }
    }
}
