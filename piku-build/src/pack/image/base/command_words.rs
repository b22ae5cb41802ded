//! Programs that a command of a Procfile starts. A shell evaluates the command later: words that it would replace are
//! left out, and scripts are not read.

use std::path::PathBuf;

use piku_procfile::command::{is_assignment, is_shell_word};

/// Characters after which a shell expects a command.
const OPERATORS: [char; 7] = [';', '&', '|', '(', ')', '\n', '`'];
/// Characters that a shell replaces by something else.
const EXPANDED: [char; 6] = ['$', '*', '?', '[', '~', '{'];
/// Programs and words that are followed by a command, after options and assignments.
const PREFIXES: [&str; 19] = [
    "!", "command", "do", "elif", "else", "env", "exec", "if", "nice", "nohup", "setsid", "stdbuf", "then",
    "time", "timeout", "tini", "until", "while", "{",
];
/// Options of those programs whose value is the next word.
const OPTIONS: [(&str, &str, &[&str]); 6] = [
    ("env", "uC", &["--unset", "--chdir"]),
    ("exec", "a", &[]),
    ("nice", "n", &["--adjustment"]),
    ("stdbuf", "ioe", &["--input", "--output", "--error"]),
    ("timeout", "sk", &["--signal", "--kill-after"]),
    ("tini", "pe", &[]),
];

/// Programs that a command starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CommandPrograms {
    /// Names and paths, in the order of the text.
    pub(super) words: Vec<String>,
    /// True if a variable or another command names one more.
    pub(super) has_unknown: bool,
}

/// Part of a command.
#[derive(Debug, PartialEq, Eq)]
enum CommandPart {
    /// A word without its quotes.
    Word(String),
    /// A word that the shell replaces from the byte `known` on.
    Unknown { text: String, known: usize },
    /// The end of a command.
    End,
    /// The next word is a file.
    Redirection,
}

/// Word that is being read.
#[derive(Default)]
struct WordReader {
    text: String,
    /// True if there is a word, which may be empty.
    is_begun: bool,
    /// Length of the text in front of what the shell replaces.
    known: Option<usize>,
}

/// State of the reader of a command, at its start or after a prefix of it.
struct CommandStart {
    is_start: bool,
    /// The program or word in front.
    prefix: Option<String>,
    /// True if the next word is the value of an option.
    is_value: bool,
    /// True if a time stands in front of the command.
    is_timed: bool,
}

impl CommandStart {
    const NEW: Self = Self { is_start: true, prefix: None, is_value: false, is_timed: false };

    /// Takes a word in front of the program; returns false if it is none. `is_whole` is false for what is known of a
    /// word that the shell replaces.
    fn take(&mut self, word: &str, is_whole: bool) -> bool {
        if std::mem::take(&mut self.is_value) {
            return true;
        }
        if let Some(prefix) = self.prefix.as_deref().filter(|_| word.starts_with('-')) {
            // The other words of `command -v` are looked for, and not started.
            self.is_start = prefix != "command" || !word.contains(['v', 'V']);
            let options = OPTIONS.iter().find(|(name, ..)| *name == prefix);
            self.is_value = options.is_some_and(|(_, short, long)| {
                let is_last = |at: usize| !word.starts_with("--") && at + 1 == word.len();
                is_whole && (word.find(|c| short.contains(c)).is_some_and(is_last) || long.contains(&word))
            });
            return true;
        }
        is_assignment(word) || std::mem::take(&mut self.is_timed)
    }

    /// Takes a program; the command goes on after some.
    fn take_program(&mut self, word: &str) {
        self.is_start = PREFIXES.contains(&word);
        self.is_timed = word == "timeout";
        self.prefix = Some(word.to_owned());
    }
}

/// Returns the programs.
pub(super) fn list_programs(text: &str) -> CommandPrograms {
    let mut programs = CommandPrograms::default();
    let (mut start, mut is_file) = (CommandStart::NEW, false);
    let mut folder: Option<PathBuf> = None;
    for part in split(text) {
        match part {
            CommandPart::End => (start, is_file) = (CommandStart::NEW, false),
            CommandPart::Redirection => is_file = true,
            _ if is_file => is_file = false,
            CommandPart::Word(word) if start.is_start => {
                if start.take(&word, true) {
                    continue;
                }
                start.take_program(&word);
                if !is_shell_word(&word) && !word.is_empty() {
                    let there =
                        folder.as_ref().filter(|_| word.contains('/')).map(|folder| folder.join(&word));
                    let there = there.map(|path| path.to_string_lossy().into_owned());
                    let there = there.filter(|there| *there != word);
                    programs.words.push(word);
                    programs.words.extend(there);
                }
            }
            CommandPart::Unknown { text, known } if start.is_start => {
                if start.take(&text[..known], false) {
                    continue;
                }
                start.is_start = false;
                // The others are patterns of `case`, and tests.
                programs.has_unknown |= text.contains(['$', '`']);
            }
            // It may be left again, such as at the end of a subshell: programs are looked for in both.
            CommandPart::Word(word) if start.prefix.as_deref() == Some("cd") && !word.starts_with('-') => {
                folder = Some(folder.unwrap_or_default().join(word));
            }
            CommandPart::Word(_) | CommandPart::Unknown { .. } => {}
        }
    }
    programs
}

impl WordReader {
    fn push(&mut self, c: char, is_expanded: bool) {
        if is_expanded {
            self.known.get_or_insert(self.text.len());
        }
        self.text.push(c);
    }

    /// Ends the word, if there is one.
    fn take(&mut self) -> Option<CommandPart> {
        let Self { text, is_begun, known } = std::mem::take(self);
        is_begun.then(|| match known {
            Some(known) if text != "{" => CommandPart::Unknown { text, known },
            _ => CommandPart::Word(text),
        })
    }
}

fn split(text: &str) -> Vec<CommandPart> {
    let mut parts = Vec::new();
    let mut word = WordReader::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_end = OPERATORS.contains(&c);
        if is_end || matches!(c, ' ' | '\t' | '<' | '>') || c == '#' && !word.is_begun {
            // In front of a redirection, a number is a descriptor.
            let is_descriptor = |part: &CommandPart| {
                let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                matches!(c, '<' | '>') && matches!(part, CommandPart::Word(text) if is_number(text))
            };
            parts.extend(word.take().filter(|part| !is_descriptor(part)));
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
        word.is_begun = true;
        match c {
            '\\' => word.text.extend(chars.next()),
            '\'' => word.text.extend(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => {
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    match c {
                        '\\' => word.text.extend(chars.next()),
                        c => word.push(c, matches!(c, '$' | '`')),
                    }
                }
            }
            // Its default may have spaces.
            '$' if chars.peek() == Some(&'{') => {
                word.push(c, true);
                word.text.extend(chars.by_ref().take_while(|c| *c != '}'));
            }
            c => word.push(c, EXPANDED.contains(&c)),
        }
    }
    parts.extend(word.take());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_commands() {
        for (text, programs) in [
            ("gunicorn --bind $HOST:$PORT app:app", &["gunicorn"][..]),
            ("cd src && ./run.sh; ffmpeg -i a b|tee log", &["./run.sh", "src/./run.sh", "ffmpeg", "tee"]),
            ("cd a && cd -P b && /bin/x && ./y", &["/bin/x", "./y", "a/b/./y"]),
            ("cd \"$X\" && bin/x", &["bin/x"]),
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
            ("A=$HOME ruby x", &["ruby"]),
            ("A=${A:-1 2} exec ruby x", &["ruby"]),
            ("LD_PRELOAD=\"$X\" PATH=/usr/local/bin:$PATH ruby x", &["ruby"]),
            ("A=$(date) ruby x", &["date", "ruby"]),
            ("{ ruby x; }", &["ruby"]),
            ("env -iu FOO --chdir x -C\"$Y\" A=$B ruby x", &["env", "ruby"]),
            ("timeout -s KILL -k $K \"$T\" ruby x", &["timeout", "ruby"]),
            ("nice -n -5 ruby x; exec -a name tini -s -- ruby x", &["nice", "ruby", "tini", "ruby"]),
            ("command -v convert >/dev/null || echo; command -p ruby x", &["ruby"]),
            ("case $x in a) ruby x;; *) [ -n \"$Y\" ];; esac", &["ruby"]),
            ("", &[]),
        ] {
            assert_eq!(list_programs(text).words, programs, "{text}");
        }
    }

    #[test]
    fn programs_that_a_variable_names_are_unknown() {
        for (text, is) in [
            ("$BIN/x", true),
            ("exec \"${CMD:-ruby}\" x", true),
            ("a && $(which ruby) x", true),
            ("A=$B ruby $C", false),
            ("case $x in *) [ -n \"$Y\" ];; esac", false),
            ("for x in $LIST; do ruby $x; done", false),
        ] {
            assert_eq!(list_programs(text).has_unknown, is, "{text}");
        }
    }
}
