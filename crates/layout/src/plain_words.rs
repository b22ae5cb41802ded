//! Messages of the parser in the words of `host.yaml`: no names of types, and no values of the file.

/// Terms of the parser, and those of the file for the same things.
const WORDS: [(&str, &str); 20] = [
    ("unknown variant ", "unknown value "),
    ("unknown field ", "unknown setting "),
    ("missing field ", "missing setting "),
    ("expected a YAML tag starting with '!'", "expected one word"),
    ("expected a sequence", "expected a list"),
    ("expected a map", "expected a group of settings"),
    ("expected path string", "expected a path"),
    ("expected a boolean", "expected true or false"),
    ("expected u8", "expected a number from 0 to 255"),
    ("expected u16", "expected a number from 0 to 65535"),
    ("expected u32", "expected a number from 0 to 4294967295"),
    ("expected f64", "expected a number"),
    ("expected u64", "expected a whole number"),
    ("expected usize", "expected a whole number"),
    (": sequence", ": a list"),
    (": map", ": a group of settings"),
    (": integer ", ": the number "),
    (": floating point ", ": the number "),
    (": boolean ", ": "),
    (": unit value", ": nothing"),
];

/// Names of kinds of types, each followed by the name of a type of ours.
const KINDS: [(&str, &str); 4] = [
    ("expected struct ", "a group of settings"),
    ("expected newtype struct ", "another value"),
    ("expected tuple struct ", "another value"),
    ("expected enum ", "one word"),
];

/// Returns the message of a parser in plain words.
pub(crate) fn plain_message(message: &str) -> String {
    let message = without_value(message);
    // Names and values of the file stand in backticks.
    let parts = message.split('`').enumerate();
    let parts: Vec<String> =
        parts.map(|(at, part)| if at % 2 == 0 { plain_part(part) } else { part.to_owned() }).collect();
    parts.join("`")
}

fn plain_part(part: &str) -> String {
    let mut plain = part.to_owned();
    for (kind, word) in KINDS {
        if let Some((before, after)) = plain.split_once(kind) {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
            plain = format!("{before}expected {word}{rest}");
        }
    }
    for (from, to) in WORDS {
        plain = plain.replace(from, to);
    }
    plain
}

/// Removes the value from a message: users who push must not see the password of a proxy.
fn without_value(message: &str) -> String {
    match (message.find("string \""), message.rfind('"')) {
        (Some(from), Some(to)) => format!("{}a string{}", &message[..from], &message[to + 1..]),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_repeated() {
        let text = "build_env: PROXY=http://u:s3cret@h\n";
        let err = serde_yaml::from_str::<crate::settings::HostSettings>(text).unwrap_err();
        assert_eq!(
            plain_message(&err.to_string()),
            "build_env: invalid type: a string, expected a group of settings at line 1 column 12"
        );
        assert_eq!(plain_message("unknown field `x: map`"), "unknown setting `x: map`");
    }
}
