//! The quoting rules of the programs that configuration is rendered for.

use std::fmt::Write;

/// Returns true if the text is not empty and has only ASCII letters, digits and these `marks`: no format
/// quotes such a word.
pub(crate) fn is_plain(text: &str, marks: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || marks.contains(&b))
}

/// Returns the text between double quotes, with a backslash before each of the `special` characters.
pub(crate) fn quote_double(text: &str, special: &[char]) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push('"');
    for c in text.chars() {
        if special.contains(&c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Quotes a word for nginx. A `$` begins a variable with or without quotes; callers that write an app's
/// text reject it.
pub(crate) fn quote_nginx(word: &str) -> String {
    if is_plain(word, b"_-./:*=@$+,~^!%&?|<>[]") { word.to_owned() } else { quote_double(word, &['"', '\\']) }
}

/// Quotes a word for a shell in single quotes. A `'` is written without a backslash, which cron interprets
/// in several ways.
pub(crate) fn quote_shell(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

/// Quotes a word for systemd (systemd.syntax(7)); `%` begins no specifier.
pub(crate) fn quote_systemd(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '%' => quoted.push_str("%%"),
            c if c.is_ascii_control() => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_expands_nothing_in_a_quoted_word() {
        assert_eq!(quote_systemd("A=50% \"x\" \\n\n$HOME\u{1}é"), "\"A=50%% \\\"x\\\" \\\\n\\n$HOME\\x01é\"");
    }
}
