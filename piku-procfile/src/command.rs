//! Runs a command of a Procfile in a shell. A simple command gets `exec` in front, so that the process
//! itself, not the shell, receives signals.

#![expect(clippy::disallowed_methods, reason = "looks for the host's shells")]

use std::path::Path;

use crate::env::is_name;

/// Returns the argument vector that runs `command`: `[SHELL, "-c", TEXT]`. The shell is bash if the host
/// has it, else sh.
#[must_use]
pub fn argv(command: &str) -> [String; 3] {
    [find_shell().to_owned(), "-c".to_owned(), shell_text(command)]
}

/// Returns the argument vector of a shell that sources `.profile.d/*.sh` in its working directory, as on
/// Heroku, then runs `argv`.
#[must_use]
pub fn argv_with_profile(argv: &[String]) -> Vec<String> {
    const TEXT: &str = r#"for piku_file in ./.profile.d/*.sh; do [ ! -f "$piku_file" ] || . "$piku_file"; done; unset piku_file; exec "$@""#;
    [find_shell(), "-c", TEXT, "profile"].map(str::to_owned).into_iter().chain(argv.iter().cloned()).collect()
}

fn find_shell() -> &'static str {
    if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" }
}

/// Returns the text after `-c`.
fn shell_text(command: &str) -> String {
    if is_simple(command) {
        format!("exec {command}")
    } else if command.starts_with(['-', '+']) {
        // bash would read it as an option.
        format!(" {command}")
    } else {
        command.to_owned()
    }
}

/// Returns true if `command` is one simple command whose program is not a shell builtin.
///
/// `false` is always safe: the shell then stays as the parent of the process. A doubtful command is not
/// simple.
fn is_simple(command: &str) -> bool {
    let Some(first) = simple_first_word(command) else { return false };
    !first.is_empty() && !first.starts_with(['-', '+']) && !is_shell_word(&first)
}

/// Returns true if a shell takes the word in place of a program's name for its own: `cd`, `if`.
#[must_use]
pub fn is_shell_word(word: &str) -> bool {
    SHELL_WORDS.contains(&word)
}

/// Words that `exec` does not find as a program, or finds as a different one.
#[rustfmt::skip]
const SHELL_WORDS: &[&str] = &[
    // Reserved words.
    "!", "[[", "]]", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in",
    "select", "then", "time", "until", "while", "{", "}",
    // Builtins of bash and dash.
    ".", ":", "[", "alias", "bg", "bind", "break", "builtin", "caller", "cd", "chdir", "command", "compgen", "complete",
    "compopt", "continue", "declare", "dirs", "disown", "echo", "enable", "eval", "exec", "exit", "export", "false",
    "fc", "fg", "getopts", "hash", "help", "history", "jobs", "kill", "let", "local", "logout", "mapfile", "popd",
    "printf", "pushd", "pwd", "read", "readarray", "readonly", "return", "set", "shift", "shopt", "source", "suspend",
    "test", "times", "trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset", "wait",
];

/// Returns the first word of a simple command without quotes. `None` if the command has an operator, a
/// substitution, a newline, an unclosed quote or an assignment in front.
///
/// Text in quotes does not count: `node -e "a; b"` is a simple command. A comment may follow.
fn simple_first_word(command: &str) -> Option<String> {
    if is_assignment(command.split_whitespace().next()?) {
        return None;
    }
    let mut first = None;
    let mut word = String::new();
    let mut in_word = false;
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => {
                if in_word {
                    first.get_or_insert_with(|| std::mem::take(&mut word));
                }
                in_word = false;
                continue;
            }
            '#' if !in_word => break,
            ';' | '&' | '|' | '<' | '>' | '(' | ')' | '`' | '\n' => return None,
            // $'…' and $"…" have other rules.
            '$' if matches!(chars.peek(), Some('\'' | '"')) => return None,
            '\\' => word.push(chars.next()?),
            '\'' => loop {
                match chars.next()? {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '"' => loop {
                match chars.next()? {
                    '"' => break,
                    '`' => return None,
                    '$' if chars.peek() == Some(&'(') => return None,
                    '\\' => word.push(chars.next()?),
                    c => word.push(c),
                }
            },
            c => word.push(c),
        }
        in_word = true;
    }
    first.or_else(|| in_word.then_some(word))
}

/// Returns true for `NAME=value`, `NAME+=value` and `NAME[0]=value`.
#[must_use]
pub fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    let name = name.strip_suffix('+').unwrap_or(name);
    is_name(name.split_once('[').map_or(name, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs the command in the shell that [`argv`] chooses, and in sh.
    fn outputs(command: &str) -> [String; 2] {
        let [shell, flag, text] = argv(command);
        [shell.as_str(), "/bin/sh"].map(|shell| {
            let out = Command::new(shell).args([&flag, &text]).env("PORT", "5000").output().unwrap();
            String::from_utf8(out.stdout).unwrap()
        })
    }

    #[test]
    fn golden_commands_do_what_a_shell_does() {
        for (command, output) in [
            (r#"printf "[%s]\n" "a  b" c"#, "[a  b]\n[c]\n"),
            ("/usr/bin/printf '[%s]\\n' \"a  b\" c", "[a  b]\n[c]\n"),
            ("FOO=1 env | grep ^FOO=", "FOO=1\n"),
            ("FOO=1 sh -c 'echo $FOO'", "1\n"),
            ("echo a && echo b", "a\nb\n"),
            ("cd /tmp && pwd", "/tmp\n"),
            ("cd /tmp; pwd", "/tmp\n"),
            ("printf x | tr x y", "y"),
            ("echo $PORT ${PORT}", "5000 5000\n"),
            ("/bin/echo $PORT ${PORT}", "5000 5000\n"),
            ("/bin/echo ${NONE:-a b} '$PORT' \"$PORT\" \\$PORT", "a b $PORT 5000 $PORT\n"),
            ("export A=1", ""),
            ("export A=1; sh -c 'echo $A'", "1\n"),
            ("! false && echo yes", "yes\n"),
            ("if true; then echo yes; fi", "yes\n"),
            ("{ echo a; echo b; }", "a\nb\n"),
            ("f() { echo \"$1\"; }; f 'a b'", "a b\n"),
            ("/bin/echo a # it's a comment; echo b", "a\n"),
            ("# only a comment", ""),
            ("/bin/echo 'a;b' \"c&d\" e\\|f", "a;b c&d e|f\n"),
            ("command echo a", "a\n"),
            ("exec /bin/echo a", "a\n"),
            ("eval 'echo a'", "a\n"),
            ("'cd' /tmp", ""),
            ("exit 3", ""),
        ] {
            assert_eq!(outputs(command), [output, output], "{command}");
        }
    }

    #[test]
    fn a_profile_is_read_before_the_command() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".profile.d")).unwrap();
        std::fs::write(dir.path().join(".profile.d/a.sh"), "export A='one two'\n").unwrap();
        std::fs::write(dir.path().join(".profile.d/b.txt"), "export A=three\n").unwrap();
        let words = argv_with_profile(&argv("printf '[%s]' \"$A\" 'x  y' $piku_file"));
        let out = Command::new(&words[0]).args(&words[1..]).current_dir(dir.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "[one two][x  y]");
    }

    #[test]
    fn a_simple_command_is_the_process_itself() {
        for command in ["sleep 60", "/bin/sleep 60 # a minute", "sleep \"60\"", "env X='a;b' sleep 60"] {
            let [shell, flag, text] = argv(command);
            let mut child = Command::new("/bin/sh").args([flag, text]).spawn().unwrap();
            assert_ne!(shell, "");
            let mut name = String::new();
            // The shell takes a moment to exec the command.
            for _ in 0..1000 {
                name = std::fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap();
                if name == "sleep\n" {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(name, "sleep\n", "{command}");
        }
    }

    #[test]
    fn exec_stands_in_front_of_simple_commands_only() {
        for simple in [
            "gunicorn app:app",
            "node server.js --port $PORT",
            "./bin/x 'a b'",
            "a ${B:-c}",
            "a 'b; c' \"d | e\"",
            "a b=c",
            "env A=1 b",
            "a\tb",
            "a # b; it's",
            "a#b",
            "$VENV/bin/a",
            "\"$X\" a",
            "'a b'",
            "cdx",
            "a \\; b",
        ] {
            assert_eq!(shell_text(simple), format!("exec {simple}"));
        }
        for not in [
            "a; b",
            "a & b",
            "a | b",
            "a > b",
            "a <b",
            "$(a)",
            "a $(b)",
            "a \"$(b)\"",
            "`a`",
            "\"`a`\"",
            "A=1 b",
            "A+=1 b",
            "A[0]=1 b",
            "A='b c' d",
            "cd x",
            "'cd' x",
            "\\cd x",
            "(a)",
            "{ a",
            "exec a",
            "a\nb",
            "! a",
            "time a",
            "[ a",
            "",
            " ",
            "# a",
            "'a",
            "\"a",
            "a \\",
            "$'a' b",
            "a $'\\'' b",
            "''",
            "if a",
            "[[ a ]]",
            ". ./env",
            "test -e a",
        ] {
            assert_eq!(shell_text(not), not);
        }
        assert_eq!(shell_text("-c x"), " -c x");
    }

    #[test]
    fn assignments_are_recognized() {
        for yes in ["A=1", "_a1=", "A+=1", "A[0]=1", "A[$i+1]=x", "A=b=c"] {
            assert!(is_assignment(yes), "{yes}");
        }
        for no in ["a", "=a", "1A=2", "./a=b", "--a=b", "\"A\"=1", "a.b=c"] {
            assert!(!is_assignment(no), "{no}");
        }
    }
}
