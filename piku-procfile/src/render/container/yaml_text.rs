//! Writes values as YAML that readers of versions 1.1 and 1.2 understand alike. Kubernetes and Compose read
//! `no`, `1:30` and `2001-01-01` as they were in version 1.1, so a text is plain only if it is one in both.

use std::fmt::Write;

use serde_json::Value;

/// Words that version 1.1 reads as a truth value or as nothing, in lower case.
const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];

/// Returns the value as a block.
pub(crate) fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, 0);
    text
}

/// Writes a value that begins on a line of its own, with its newline.
fn write_value(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (at, (name, field)) in fields.iter().enumerate() {
                // The first field of an item follows its dash.
                if at > 0 || !text.ends_with("- ") {
                    text.extend(std::iter::repeat_n(' ', indent));
                }
                write_scalar(text, name);
                text.push(':');
                write_field(text, field, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 || !text.ends_with("- ") {
                    text.extend(std::iter::repeat_n(' ', indent));
                }
                text.push_str("- ");
                write_value(text, item, indent + 2);
            }
        }
        Value::Object(_) => text.push_str("{}\n"),
        Value::Array(_) => text.push_str("[]\n"),
        Value::String(string) => {
            write_string(text, string, indent);
            text.push('\n');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{value}");
        }
    }
}

/// Writes the value of a field, after its colon.
fn write_field(text: &mut String, field: &Value, indent: usize) {
    match field {
        Value::Object(fields) if !fields.is_empty() => text.push('\n'),
        Value::Array(items) if !items.is_empty() => text.push('\n'),
        _ => text.push(' '),
    }
    write_value(text, field, indent + 2);
}

/// Writes a text: lines as a literal block, which is indented by `indent`, anything else as a word.
fn write_string(text: &mut String, string: &str, indent: usize) {
    let body = string.strip_suffix('\n').unwrap_or(string);
    let is_literal = body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n'])
        && body.chars().all(|c| c == '\n' || is_printable(c));
    if !is_literal {
        write_scalar(text, string);
        return;
    }
    text.push_str(if body.len() == string.len() { "|-" } else { "|" });
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            text.extend(std::iter::repeat_n(' ', indent));
            text.push_str(line);
        }
    }
}

/// Writes a text of one line, in double quotes unless it is plain.
fn write_scalar(text: &mut String, string: &str) {
    if is_plain(string) {
        text.push_str(string);
        return;
    }
    text.push('"');
    for c in string.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if is_printable(c) => text.push(c),
            c if u32::from(c) <= 0xffff => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => {
                let _ = write!(text, "\\U{:08x}", u32::from(c));
            }
        }
    }
    text.push('"');
}

/// Returns true if the text means itself without quotes.
fn is_plain(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "_-./:@=+,$%() ".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && text.chars().all(is_inner)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Returns true if every reader accepts the character in quotes as it is, on one line.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        && u32::from(c) <= 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_by_hand() {
        let value = json!({
            "kind": "Deployment",
            "image": "registry.example.org/blog:12",
            "replicas": 2,
            "immutable": true,
            "emptyDir": {},
            "hosts": [],
            "args": ["/bin/sh", "-c", "exec gunicorn app:app --bind $BIND_ADDRESS:$PORT"],
            "list": [{ "name": "a", "more": [{ "b": "c" }] }, [1, 2]],
            "pem": "-----BEGIN-----\nAA==\n\nend\n",
            "no": "no",
        });
        let text = r#"kind: Deployment
image: registry.example.org/blog:12
replicas: 2
immutable: true
emptyDir: {}
hosts: []
args:
  - /bin/sh
  - "-c"
  - exec gunicorn app:app --bind $BIND_ADDRESS:$PORT
list:
  - name: a
    more:
      - b: c
  - - 1
    - 2
pem: |
  -----BEGIN-----
  AA==

  end
"no": "no"
"#;
        assert_eq!(to_yaml(&value), text);
    }

    #[test]
    fn what_version_1_1_reads_as_something_else_is_quoted() {
        for word in [
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "N",
            "~",
            "null",
            "1:30",
            "1_000",
            "012",
            "0x1F",
            "1e3",
            ".inf",
            "=",
            "2001-01-01",
            "+1",
            "-",
            "",
            " a",
            "a ",
            "a: b",
            "a:",
            "a #b",
            "!tag",
            "&a",
            "*a",
            "@a",
            "%a",
            "`a",
            "[a]",
        ] {
            assert_eq!(to_yaml(&json!(word)), format!("\"{word}\"\n"), "{word:?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text in any::<String>(), lines in "[ -~\n]{0,40}") {
            for text in [text, lines] {
                let value = json!({ "a": [{ "b": text.clone() }, text.clone()], "c": text });
                let yaml = to_yaml(&value);
                let back: Value = serde_yaml::from_str(&yaml).map_err(|err| TestCaseError::fail(format!("{err}: {yaml}")))?;
                prop_assert_eq!(back, value, "{}", yaml);
            }
        }
    }
}
