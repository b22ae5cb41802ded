//! YAML by which a few kilobytes ask for gigabytes. Each is parsed in a process with little memory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Command;

use piku_files::untrusted_yaml::{self, LONGEST};
use serde_yaml::Value;

/// File with the text, in the process that parses it.
const TEXT: &str = "PIKU_YAML";
/// The memory of that process, in KB: less than any of the bombs asks for.
const MEMORY: u32 = 300_000;
/// Bytes of a text, few enough for the unoptimized parser.
const LENGTH: usize = 100_000;

type TextMap = BTreeMap<String, String>;

/// Parses the text of the process that the others of these tests start.
#[test]
#[ignore = "no test of its own: the process that the tests below start with little memory"]
fn parse_text() {
    let text = fs::read(std::env::var(TEXT).expect("a file")).expect("its text");
    let as_map = untrusted_yaml::parse::<BTreeMap<String, Value>>(&text).map(|map| map.len());
    let as_value = untrusted_yaml::parse::<Value>(&text).map(drop);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "parsed: {as_map:?} {as_value:?}").expect("a line");
}

fn parse_with_little_memory(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("its text");
    let out = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY}; exec timeout 60 \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("this program"))
        .args(["parse_text", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(TEXT, file.path())
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .expect("a process");
    assert!(out.status.success(), "{out:?}");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    said.lines().find_map(|line| Some(line.split_once("parsed: ")?.1.to_owned())).expect("a result")
}

/// Lists of nine aliases of the list before.
fn billion_laughs() -> String {
    (1..20).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        format!("{text}a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", "))
    })
}

/// Text of one long part and thousands of aliases of it.
fn long_text_repeated() -> String {
    let lines: Vec<_> = (0..5000).map(|n| format!("b{n}: *a\n")).collect();
    format!("a: &a '{}'\n{}", "x".repeat(LENGTH), lines.concat())
}

#[test]
fn aliases_that_grow_are_refused() {
    let in_keys = format!("? &a '{}'\n: 1\n{}", "x".repeat(LENGTH), "? [*a, *a, *a]\n: *a\n".repeat(900));
    let tagged = long_text_repeated().replacen(": *a", ": !t [*a]", 500);
    for bomb in [billion_laughs(), long_text_repeated(), in_keys, tagged] {
        let said = parse_with_little_memory(&bomb);
        assert_eq!(said.matches("its aliases (*NAME) make it").count(), 2, "{said}");
    }
    let said = parse_with_little_memory("a: &a [*a]\n");
    assert!(!said.contains("Ok"), "{said}");
}

#[test]
fn many_small_parts_fit_into_memory() {
    let said = parse_with_little_memory(&"- ".repeat(LENGTH / 2));
    assert!(said.contains("recursion limit exceeded"), "{said}");
    for brackets in ["[", "{a: ", "[],"] {
        let said = parse_with_little_memory(&brackets.repeat(LONGEST / brackets.len()));
        assert_eq!(said.matches("more than 1000 brackets").count(), 2, "{said}");
    }
    let list = format!("a: [{}]", "x,".repeat(LENGTH));
    let said = parse_with_little_memory(&list);
    assert_eq!(said, "Ok(1) Ok(())");
    let said = parse_with_little_memory(&" ".repeat(LONGEST + 1));
    assert_eq!(said.matches("it is longer than").count(), 2, "{said}");
}

#[test]
fn other_documents_are_read_as_before() {
    let parse = |text: &str| untrusted_yaml::parse::<TextMap>(text.as_bytes()).map_err(|err| err.to_string());
    let map = |pairs: &[(&str, &str)]| {
        Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<TextMap>())
    };
    assert_eq!(parse("web: a && b *c &d\nx: '3.10'\n"), map(&[("web", "a && b *c &d"), ("x", "3.10")]));
    // A few aliases do no harm.
    assert_eq!(parse("a: &a run this\nb: *a\n"), map(&[("a", "run this"), ("b", "run this")]));
    assert_eq!(parse("a: \"\\x41\\L\\P\"\n"), map(&[("a", "A\u{2028}\u{2029}")]));
    assert_eq!(parse("{a: 1234567890123456789012345678901234567890}").unwrap()["a"].len(), 40);
    assert!(parse("a: [1]\n").unwrap_err().contains("line 1 column 4"));
    assert_eq!(untrusted_yaml::parse::<Option<TextMap>>(b"").unwrap(), None);
    assert_eq!(untrusted_yaml::parse::<Option<TextMap>>(b"---\n").unwrap(), None);
    let tagged: Value = untrusted_yaml::parse(b"{a: !t 1, b: !u {c: ~, d: 1e3}, ? [1] : -5}").unwrap();
    assert_eq!(tagged, serde_yaml::from_str::<Value>("{a: !t 1, b: !u {c: ~, d: 1e3}, ? [1] : -5}").unwrap());
}
