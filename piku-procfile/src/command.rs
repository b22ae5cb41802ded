//! How a command line of a Procfile is run: by a shell, with `exec` in front where the command is one simple command, so
//! that the worker itself and not a shell in front of it gets the signals.

use std::path::Path;

/// The arguments of the program that runs `command`: `[SHELL, "-c", TEXT]`. bash where the host has it, sh otherwise.
#[must_use]
pub fn argv(command: &str) -> [String; 3] {
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let text = if is_simple(command) { format!("exec {command}") } else { command.to_owned() };
    [shell.to_owned(), "-c".to_owned(), text]
}

/// Whether `command` is one simple command: no operator, no substitution, no newline, no leading `NAME=value`, and no
/// word in front that only a shell knows.
fn is_simple(command: &str) -> bool {
    const OPERATORS: [char; 8] = [';', '&', '|', '<', '>', '(', ')', '\n'];
    // `exec` cannot run these: they are the shell's own and no program of that name does the same.
    const SHELL_WORDS: &[&str] = &[
        "!", ".", ":", "[[", "{", "alias", "case", "cd", "eval", "exec", "exit", "export", "for", "function",
        "if", "read", "select", "set", "source", "time", "trap", "ulimit", "umask", "until", "while",
    ];
    if command.contains(OPERATORS) || command.contains('`') {
        return false;
    }
    let first = command.split_whitespace().next().unwrap_or_default();
    !SHELL_WORDS.contains(&first) && !is_assignment(first)
}

/// `NAME=value`, `NAME+=value`.
fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    let name = name.strip_suffix('+').unwrap_or(name);
    name.bytes()
        .enumerate()
        .all(|(at, b)| b == b'_' || b.is_ascii_alphabetic() || at > 0 && b.is_ascii_digit())
        && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn output(command: &str) -> String {
        let [shell, flag, text] = argv(command);
        let out = Command::new(shell).args([flag, text]).env("PORT", "5000").output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn golden_commands_do_what_a_shell_does() {
        assert_eq!(output(r#"printf "[%s]\n" "a  b" c"#), "[a  b]\n[c]\n");
        assert!(output("FOO=1 env").contains("FOO=1\n"));
        assert_eq!(output("echo a && echo b"), "a\nb\n");
        assert_eq!(output("cd /tmp && pwd"), "/tmp\n");
        assert_eq!(output("printf x | tr x y"), "y");
        assert_eq!(output("echo $PORT ${PORT}"), "5000 5000\n");
        assert_eq!(output("export A=1"), "");
    }

    #[test]
    fn exec_stands_in_front_of_simple_commands_only() {
        for simple in ["gunicorn app:app", "node server.js --port $PORT", "./bin/x 'a b'", "a ${B:-c}"] {
            assert!(is_simple(simple), "{simple}");
        }
        for not in [
            "a; b", "a & b", "a | b", "a > b", "$(a)", "`a`", "A=1 b", "cd x", "(a)", "{ a", "exec a", "a\nb",
        ] {
            assert!(!is_simple(not), "{not}");
        }
    }
}
