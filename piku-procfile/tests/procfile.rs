//! Every row of the Procfile table in docs/procfile-and-env.md, under its number, and what the text around the table says.

use piku_procfile::procfile::{ParseOptions, ProcessKind, Procfile};

const STRICT: ParseOptions = ParseOptions { strict: true, piku_compat: false };
const COMPAT: ParseOptions = ParseOptions { strict: false, piku_compat: true };

/// The names and commands of a text that is taken, and the first lines of its warnings.
#[track_caller]
fn taken(text: impl AsRef<[u8]>, options: ParseOptions) -> (Vec<(String, String)>, Vec<String>) {
    let procfile = Procfile::parse(text.as_ref(), options).expect("is taken");
    let entries =
        procfile.entries.iter().map(|entry| (entry.name.to_string(), entry.command.clone())).collect();
    (entries, procfile.warnings.iter().map(|warning| first_line(&warning.to_string())).collect())
}

/// Takes the text without a word, as these process types.
#[track_caller]
fn good(text: impl AsRef<[u8]>, expected: &[(&str, &str)]) {
    let (entries, warnings) = taken(text, ParseOptions::default());
    let entries: Vec<(&str, &str)> = entries.iter().map(|(name, command)| (&**name, &**command)).collect();
    assert_eq!((entries.as_slice(), warnings), (expected, vec![]));
}

/// Takes the text with these warnings.
#[track_caller]
fn warned(text: &str, options: ParseOptions, expected: &[(&str, &str)], warnings: &[&str]) {
    let (entries, said) = taken(text, options);
    let entries: Vec<(&str, &str)> = entries.iter().map(|(name, command)| (&**name, &**command)).collect();
    assert_eq!(
        (entries.as_slice(), said),
        (expected, warnings.iter().map(|&line| line.to_owned()).collect())
    );
}

/// Refuses the text with errors that begin with these lines.
#[track_caller]
fn bad_with(text: impl AsRef<[u8]>, options: ParseOptions, expected: &[&str]) -> String {
    let errors = Procfile::parse(text.as_ref(), options).expect_err("is refused");
    let first: Vec<String> = errors.0.iter().map(|error| first_line(&error.to_string())).collect();
    assert_eq!(first, expected);
    errors.to_string()
}

#[track_caller]
fn bad(text: impl AsRef<[u8]>, expected: &[&str]) -> String {
    bad_with(text, ParseOptions::default(), expected)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The name of a case, the file's text, and the process types with their commands.
type NamedCase = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

#[test]
fn commands_as_they_are_written() {
    let cases: [NamedCase; 8] = [
        ("P2 no blank after the colon", "web:cmd", &[("web", "cmd")]),
        ("P7 a hash in a command", "web: cmd # hi", &[("web", "cmd # hi")]),
        ("P8 a quoted hash in a command", "web: echo \"a # b\" c", &[("web", "echo \"a # b\" c")]),
        ("P11 an indented comment", "  # foo: bar\nweb: a", &[("web", "a")]),
        ("P19 colons in a command", "web: a:b:c", &[("web", "a:b:c")]),
        ("P20 a tab after the colon", "web:\ta\tb", &[("web", "a\tb")]),
        ("P21 trailing blanks", "web: a  \t ", &[("web", "a")]),
        ("P22 a byte order mark", "\u{feff}web: a", &[("web", "a")]),
    ];
    for (case, text, expected) in cases {
        let (entries, warnings) = taken(text, ParseOptions::default());
        let entries: Vec<(&str, &str)> =
            entries.iter().map(|(name, command)| (&**name, &**command)).collect();
        assert_eq!((entries.as_slice(), warnings), (expected, vec![]), "{case}");
    }
}

#[test]
fn p1_blanks_before_the_colon() {
    warned(
        "web : cmd",
        ParseOptions::default(),
        &[("web", "cmd")],
        &["Procfile:1:4: warning: blanks before the colon"],
    );
}

#[test]
fn p3_blanks_before_the_name() {
    warned(
        "  web: cmd",
        ParseOptions::default(),
        &[("web", "cmd")],
        &["Procfile:1:1: warning: blanks before the name"],
    );
}

#[test]
fn p4_crlf_line_ends() {
    good("web: a\r\n\r\n# c\r\nworker: b\r\n", &[("web", "a"), ("worker", "b")]);
    good("web: a\r\nworker: b\r", &[("web", "a"), ("worker", "b")]);
}

#[test]
fn p5_a_lone_cr_inside_a_line() {
    bad("web: a\rworker: b\n", &["Procfile:1:7: a carriage return inside the line"]);
    bad("web: a\r\r\n", &["Procfile:1:7: a carriage return inside the line"]);
}

#[test]
fn p6_the_same_name_twice() {
    bad(
        "web: a\n\nweb: b\nweb: c\n",
        &["Procfile:3: 'web' is already on line 1", "Procfile:4: 'web' is already on line 1"],
    );
}

#[test]
fn p9_a_comment_with_slashes() {
    let text = bad(
        "// comment\n// see http://x\nweb: a\n",
        &["Procfile:1: this is not 'name: command'", "Procfile:2: this is not 'name: command'"],
    );
    assert!(text.contains("hint: a comment begins with '#'"), "{text}");
}

#[test]
fn p12_nothing_after_the_colon() {
    bad("web:", &["Procfile:1:5: 'web' has no command after the colon"]);
}

#[test]
fn p13_only_blanks_after_the_colon() {
    bad("web: \t ", &["Procfile:1:5: 'web' has no command after the colon"]);
}

#[test]
fn p14_merge_conflict_markers() {
    bad(
        "<<<<<<< HEAD\nweb: a\n||||||| base\n=======\nworker: b\n>>>>>>> x: y\n",
        &[
            "Procfile:1: unresolved merge conflict",
            "Procfile:3: unresolved merge conflict",
            "Procfile:4: unresolved merge conflict",
            "Procfile:6: unresolved merge conflict",
        ],
    );
}

#[test]
fn p15_capitals_and_underscores() {
    good("Web_1: a", &[("Web_1", "a")]);
    bad_with("Web_1: a\nweb-1: b", STRICT, &["Procfile:1: 'Web_1' is not a DNS label"]);
}

#[test]
fn p16_a_dash() {
    good("my-worker: a", &[("my-worker", "a")]);
    assert!(Procfile::parse(b"my-worker: a", STRICT).is_ok());
}

#[test]
fn p17_the_name_of_an_instance() {
    bad("web.1: a", &["Procfile:1:4: bad name 'web.1': it looks like the name of an instance"]);
    bad("web.x: a", &["Procfile:1:4: bad name 'web.x'"]);
}

#[test]
fn p18_a_backslash_at_the_end() {
    let said = "Procfile:1:8: a command cannot continue on the next line";
    bad("web: a \\\n  --bind 0.0.0.0:$PORT\\\n  b\nworker: b\n", &[said]);
    bad("web: a \\\n", &[said]);
    bad("web: a \\  \nno entry\n", &[said]);
    // What follows is looked at again where it is a line of its own.
    bad("web: a \\\nworker:\n", &[said, "Procfile:2:8: 'worker' has no command after the colon"]);
    // An escaped backslash is a backslash.
    good("web: a \\\\", &[("web", "a \\\\")]);
}

#[test]
fn p23_an_empty_file() {
    bad("", &["Procfile:1: no process types"]);
    bad("\u{feff}\r\n \n", &["Procfile:1: no process types"]);
}

#[test]
fn p24_only_comments() {
    bad("# a\n  # b: c\n", &["Procfile:1: no process types"]);
}

#[test]
fn p25_a_name_that_is_not_ascii() {
    let text = bad("wéb: a", &["Procfile:1:2: bad name 'wéb'"]);
    assert!(text.contains("\n    wéb: a\n     ^\n"), "{text}");
}

#[test]
fn p26_a_name_that_ends_in_a_dash() {
    bad(
        "1-: a\n-1: a\n_: b\n: c",
        &[
            "Procfile:1:2: bad name '1-'",
            "Procfile:2:1: bad name '-1'",
            "Procfile:3:1: bad name '_'",
            "Procfile:4:1: no name before the colon",
        ],
    );
}

#[test]
fn p27_a_name_of_64_characters() {
    good(format!("{}: a", "a".repeat(63)), &[(&"a".repeat(63), "a")]);
    bad(format!("{}: a", "a".repeat(64)), &[&format!("Procfile:1:64: bad name '{}…'", "a".repeat(40))]);
}

#[test]
fn p28_a_garbage_line() {
    let text = bad("garbage line", &["Procfile:1: this is not 'name: command'"]);
    assert!(!text.contains("missing"), "{text}");
}

#[test]
fn p29_control_characters() {
    bad(
        "web: a\0b\nworker: a\u{1b}[2Jb\nx\u{7}: a\ny: a\u{85}b\n",
        &[
            "Procfile:1:7: a NUL byte inside the line",
            "Procfile:2:10: a control character (U+001B) inside the line",
            "Procfile:3:2: a control character (U+0007) inside the line",
            "Procfile:4:5: a control character (U+0085) inside the line",
        ],
    );
}

#[test]
fn invisible_marks_are_warned_of() {
    let procfile =
        Procfile::parse("web: a\u{202e}b\nworker: c\u{2028}d\n".as_bytes(), ParseOptions::default());
    let warnings: Vec<String> =
        procfile.expect("is taken").warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings[0].starts_with("Procfile:1:7: warning: an invisible character (U+202E)"),
        "{warnings:?}"
    );
    assert!(warnings[0].contains("\n    web: a\u{fffd}b\n"), "{warnings:?}");
    assert!(
        warnings[1].starts_with("Procfile:2:10: warning: an invisible character (U+2028)"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 2);
}

#[test]
fn directories_of_static() {
    bad("static: ../x\n", &["Procfile:1: static: '../x': '..' is not allowed"]);
    bad("static: /a:/etc/../..\n", &["Procfile:1: static: 'etc/../..': '..' is not allowed"]);
    bad("static: /a?b:public\n", &["Procfile:1: static: '/a?b': '?' is not allowed in a URL path"]);
    let warnings = |text: &str| {
        let procfile = Procfile::parse(text.as_bytes(), ParseOptions::default()).expect(text);
        procfile.warnings.iter().map(|one| first_line(&one.to_string())).collect::<Vec<_>>()
    };
    for text in ["public", "/", "/a:public", "/app/public", "/data/media", "/a:/data/media", "."] {
        assert_eq!(warnings(&format!("static: {text}\n")), [""; 0], "{text}");
    }
    assert_eq!(
        warnings("static: /etc\n"),
        ["Procfile:1:9: warning: static: this is the directory 'etc' of the app"]
    );
}

#[test]
fn p30_a_missing_colon() {
    let text = bad("web cmd", &["Procfile:1: this is not 'name: command'"]);
    assert!(text.ends_with("hint: the colon is missing: write 'web: …'"), "{text}");
    let text = bad("web curl http://x", &["Procfile:1:4: bad name 'web curl http'"]);
    assert!(text.ends_with("hint: the colon is missing: write 'web: …'"), "{text}");
}

#[test]
fn p31_a_command_of_a_mebibyte() {
    let command = "x".repeat(1 << 20);
    good(format!("web: {command}\nworker: y"), &[("web", &command), ("worker", "y")]);
}

#[test]
fn piku_compat_warns_where_the_python_piku_takes_the_file() {
    warned(
        "web: a\ngarbage\nweb.1: b\nworker: c\nweb: d\n",
        COMPAT,
        &[("worker", "c"), ("web", "d")],
        &[
            "Procfile:2: warning: this is not 'name: command'",
            "Procfile:3:4: warning: bad name 'web.1': it looks like the name of an instance",
            "Procfile:5: warning: 'web' is already on line 1",
        ],
    );
    // The rest stays an error.
    bad_with(
        "web:\nweb: a\0\n=======\nx: a\\\n",
        COMPAT,
        &[
            "Procfile:1:5: 'web' has no command after the colon",
            "Procfile:2:7: a NUL byte inside the line",
            "Procfile:3: unresolved merge conflict",
            "Procfile:4:5: a command cannot continue on the next line",
        ],
    );
    bad_with("garbage\n", COMPAT, &["Procfile:1: no process types"]);
}

#[test]
fn kinds() {
    use ProcessKind::{Cron, Preflight, Release, Static, Web, Worker, Wsgi};
    let text = "web: a\nwsgi: m:app\nrelease: b\npreflight: c\nstatic: public\nclock: d\n\
                cron: 0  5 * * *   ./backup 'x  y'\ncron-n: @daily x\ncron_2: node x\nWeb: e\n";
    let procfile = Procfile::parse(text.as_bytes(), ParseOptions::default()).expect("is taken");
    let kinds: Vec<ProcessKind> = procfile.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Web, Wsgi, Release, Preflight, Static, Worker, Cron, Cron, Worker, Worker]);
    let cron = procfile.get("cron").expect("is there");
    assert_eq!((cron.schedule.as_deref(), cron.command.as_str()), (Some("0 5 * * *"), "./backup 'x  y'"));
    assert_eq!(cron.to_string(), "cron: 0 5 * * * ./backup 'x  y'");
    let warnings: Vec<String> =
        procfile.warnings.iter().map(|warning| first_line(&warning.to_string())).collect();
    assert_eq!(warnings, ["Procfile:9:9: warning: 'cron_2' has no schedule: it runs as a plain worker"]);
    assert!(Web.has_port() && Wsgi.has_port() && !Worker.has_port());
    assert!(
        Web.is_long_running()
            && Wsgi.is_long_running()
            && Worker.is_long_running()
            && !Release.is_long_running()
            && !Cron.is_long_running()
            && !Static.is_long_running()
    );
}

#[test]
fn bad_schedules() {
    let text = bad(
        "cron: 0 25 * * * x\ncron1:  @reboot x\ncron2: 0 5 * * *\ncron3: * * x\n",
        &[
            "Procfile:1:9: '25' is not a valid hour: the numbers go from 0 to 23",
            "Procfile:2:9: '@reboot' is not a schedule: use one of @hourly, @daily, @weekly, @monthly, @yearly",
            "Procfile:3:17: 'cron2' has no command after its schedule",
            "Procfile:4:12: 'x' is not a valid day of the month: use '*', a number, a range N-M, or a list of these with commas, from 1 to 31",
        ],
    );
    assert!(text.contains("\n    cron: 0 25 * * * x\n            ^\n"), "{text}");
}

#[test]
fn what_is_not_utf8() {
    let text = bad(
        b"web: caf\xe9\n# \xff\nworker: a\n",
        &["Procfile:1:9: this is not UTF-8", "Procfile:2:3: this is not UTF-8"],
    );
    assert!(text.contains("\n    web: caf\u{fffd}\n            ^\n"), "{text}");
}

#[test]
fn a_long_line_is_shown_around_the_place() {
    let text = bad(
        format!("web: {}\u{1}{}", "a".repeat(5000), "b".repeat(5000)),
        &["Procfile:1:5006: a control character (U+0001) inside the line"],
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].chars().count() < 90, "{text}");
    let caret = lines[2].chars().count() - 1;
    assert_eq!(lines[1].chars().nth(caret), Some('\u{fffd}'), "{text}");
}

#[test]
fn more_errors_than_anybody_reads_are_counted() {
    let text = bad_with_count(&"x\n".repeat(1000));
    assert_eq!(text.0, 21);
    assert!(text.1.ends_with("\nProcfile:21: and 980 more errors from here on"), "{}", text.1);
    // As many as are shown need no such line.
    assert_eq!(bad_with_count(&"x\n".repeat(20)).0, 20);
    let one_more = bad_with_count(&"x\n".repeat(21));
    assert_eq!(one_more.0, 21);
}

#[test]
fn a_thousand_process_types_are_enough() {
    let lines =
        |count: usize| -> String { (0..count).flat_map(|n| [format!("w{n}"), ": x\n".to_owned()]).collect() };
    assert_eq!(taken(lines(1000), ParseOptions::default()).0.len(), 1000);
    bad(lines(1001), &["Procfile:1001: more than 1000 process types"]);
}

fn bad_with_count(text: &str) -> (usize, String) {
    let errors = Procfile::parse(text.as_bytes(), ParseOptions::default()).expect_err("is refused");
    (errors.0.len(), errors.to_string())
}
