//! The client at the other end of the ssh connection: text that it sent, and the command with which it
//! reaches this host.

use std::env;

use piku_layout::name::AppName;

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

/// Returns the address of an app's repository for git, `USER@HOST:APP`, or an `ssh://` URL for another port
/// than 22. Outside of an ssh session HOST is the machine's name.
pub(crate) fn push_address(app: &AppName) -> String {
    let connection = env::var("SSH_CONNECTION").unwrap_or_default();
    let user = env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "piku".to_owned());
    let machine = piku_nss::host_name();
    format_address(&connection, &user, machine.as_deref().unwrap_or("HOST"), app.as_str())
}

fn format_address(connection: &str, user: &str, machine: &str, app: &str) -> String {
    let mut words = connection.split(' ').skip(2);
    let (host, port) = (words.next().unwrap_or(machine), words.next().unwrap_or("22"));
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == "22" { format!("{user}@{host}:{app}") } else { format!("ssh://{user}@{host}:{port}/{app}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_push() {
        let of = |connection| format_address(connection, "piku", "pi", "blog");
        assert_eq!(of(""), "piku@pi:blog");
        assert_eq!(of("192.0.2.9 50000 192.0.2.1 22"), "piku@192.0.2.1:blog");
        assert_eq!(of("::1 50000 ::1 22"), "piku@[::1]:blog");
        assert_eq!(of("192.0.2.9 50000 192.0.2.1 2222"), "ssh://piku@192.0.2.1:2222/blog");
    }

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
