//! The hash of a Pipfile by which pipenv recognises a stale `Pipfile.lock`. pipenv has computed it in several
//! ways, so a new pipenv calls a good lock of an older one stale. A lock is taken if one of these ways gives
//! its hash.

use std::fmt::Write;

use piku_files::sha256;
use toml::{Table, Value};

use crate::runtime::python::dependency_files::requirements::normalize_name;

/// Sections of a Pipfile that are not groups of packages, and the two groups that have other names in the
/// hashed text.
const SECTIONS: [&str; 9] =
    ["source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv", "default", "develop"];
/// The index of a Pipfile without `[[source]]`, as versions of pipenv have filled it in.
const DEFAULT_SOURCES: [&str; 3] = [
    r#"[{"name":"pypi","url":"https://pypi.org/simple","verify_ssl":true}]"#,
    r#"[{"url":"https://pypi.python.org/simple","verify_ssl":true}]"#,
    r#"[{"name":"pypi","url":"https://pypi.python.org/simple","verify_ssl":true}]"#,
];

/// Returns whether some version of pipenv computes this hash, in hexadecimal digits, for the Pipfile.
pub(crate) fn matches(pipfile: &Table, hash: &str) -> bool {
    // Versions since 2026.4 normalise the names of packages; versions before 2022.10 know no other groups.
    let ways = [(true, true), (false, true), (false, false)];
    ways.iter().any(|(normalized, groups)| {
        DEFAULT_SOURCES.iter().any(|sources| {
            let text = hashed_text(pipfile, sources, *normalized, *groups);
            sha256::hash_reader(&mut text.as_bytes()).is_ok_and(|made| sha256::to_hex(&made) == hash)
        })
    })
}

/// Returns the JSON that pipenv hashes: without spaces, the keys sorted, all characters in ASCII.
fn hashed_text(pipfile: &Table, default_sources: &str, normalized: bool, groups: bool) -> String {
    let json = |name: &str, default: &str| {
        let mut text = String::new();
        match pipfile.get(name) {
            Some(value) => write_json(value, &mut text),
            None => text.push_str(default),
        }
        text
    };
    let packages = |name: &str| {
        let mut text = String::new();
        let table = pipfile.get(name).and_then(Value::as_table);
        let named = |(name, value): (&String, &Value)| {
            let name = if normalized { normalize_name(name) } else { name.clone() };
            (name, value.clone())
        };
        let table: Table = table.into_iter().flatten().map(named).collect();
        write_json(&Value::Table(table), &mut text);
        text
    };
    let meta =
        format!(r#"{{"requires":{},"sources":{}}}"#, json("requires", "{}"), json("source", default_sources));
    let mut parts = vec![
        ("_meta".to_owned(), meta),
        ("default".to_owned(), packages("packages")),
        ("develop".to_owned(), packages("dev-packages")),
    ];
    let others = pipfile.keys().filter(|name| groups && !SECTIONS.contains(&name.as_str()));
    parts.extend(others.map(|name| (name.clone(), packages(name))));
    parts.sort();
    let mut text = String::from("{");
    for (at, (name, value)) in parts.iter().enumerate() {
        text.push_str(if at > 0 { "," } else { "" });
        write_string(name, &mut text);
        let _ = write!(text, ":{value}");
    }
    text + "}"
}

/// Writes a value as Python's `json` does.
fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => write_string(text, out),
        Value::Array(all) => {
            out.push('[');
            for (at, one) in all.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_json(one, out);
            }
            out.push(']');
        }
        Value::Table(table) => {
            let mut all: Vec<_> = table.iter().collect();
            all.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (at, (name, one)) in all.into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_string(name, out);
                out.push(':');
                write_json(one, out);
            }
            out.push('}');
        }
        Value::Integer(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Float(number) => {
            let _ = write!(out, "{number:?}");
        }
        Value::Boolean(flag) => {
            let _ = write!(out, "{flag}");
        }
        Value::Datetime(time) => {
            let _ = write!(out, "{time}");
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(letter),
            _ => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of pipenv 2026.10.3 and of the way before it.
    #[test]
    fn hashes_of_several_pipenvs() {
        let pipfile: Table = PIPFILE.parse().unwrap();
        for hash in [
            "6563cad3f48323548e5301f5b789f89cfa4e111bca8c4e08931842c138700ee1",
            "b03d889a3272c044650b15a1b0cc59b5f95fa7a9611d72b6ca3350f605fc3b0a",
        ] {
            assert!(matches(&pipfile, hash), "{hash}");
        }
        let other: Table = PIPFILE.replace("2.1.0", "2.1.1").parse().unwrap();
        assert!(!matches(&other, "6563cad3f48323548e5301f5b789f89cfa4e111bca8c4e08931842c138700ee1"));
        let short: Table = "[packages]\nFlask = \"*\"\n".parse().unwrap();
        for hash in [
            "f226f2c246fa4694a5658fd6793e384e9b5ea4b2502a4da2f7d0a795e3efb63f",
            "617b6a0382d1724e90df94afb7628980bdab8a103b51295f8bce8054b5da540d",
        ] {
            assert!(matches(&short, hash), "{hash}");
        }
    }

    const PIPFILE: &str = r#"
[[source]]
url = "https://pypi.org/simple"
verify_ssl = true
name = "pypi"

[packages]
PyHamcrest = "==2.1.0"
typing_extensions = {version = "*", extras = ["é"]}

[dev-packages]

[docs]
Sphinx = "*"

[requires]
python_version = "3.11"
"#;
}
