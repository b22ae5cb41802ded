//! The client at the other end of the ssh connection: text that it sent, and the command with which it
//! reaches this host.

use std::env;

/// Returns text from a client in single quotes, with control characters escaped, cut after 100 characters.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    // escape_debug escapes both quotes; within single quotes a double one needs none.
    shown = shown.replace("\\\"", "\"");
    if text.chars().count() > LONGEST {
        shown.push('…');
    }
    format!("'{shown}'")
}

/// Returns a word of a command line that users copy. Quotes more than [`shell_words::quote`], which leaves
/// `^` and `{}` to shells that expand them.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,-".contains(c);
    if text.chars().all(is_plain) && !text.is_empty() {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the ssh command that reaches this host, by `SSH_CONNECTION` and `USER`; `piku` outside of an ssh
/// session.
pub(crate) fn ssh_command() -> String {
    let connection = env::var("SSH_CONNECTION").unwrap_or_default();
    let mut words = connection.split(' ').skip(2);
    let user = env::var("USER").unwrap_or_default();
    match (words.next(), words.next()) {
        (Some(host), Some(port)) if !user.is_empty() => {
            let port = if port == "22" { String::new() } else { format!("-p {port} ") };
            format!("ssh {port}{user}@{host}")
        }
        _ => "piku".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_client_is_one_short_line() {
        assert_eq!(quoted("sh"), "'sh'");
        assert_eq!(quoted("a\nb\x1b[2J\"'"), r#"'a\nb\u{1b}[2J"\''"#);
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), 103);
    }

    #[test]
    fn a_word_to_be_copied_is_one_word_to_a_shell() {
        for (text, shown) in [
            ("a/b-1", "a/b-1"),
            ("v1^{}:main", "'v1^{}:main'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(shell_word(text), shown);
        }
    }
}
