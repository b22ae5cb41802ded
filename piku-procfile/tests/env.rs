//! Every row of the ENV table in docs/procfile-and-env.md, under its number, and what the text around the table says.

use indexmap::IndexMap;
use piku_procfile::env::EnvFile;
use piku_procfile::procfile::ParseOptions;

const COMPAT: ParseOptions = ParseOptions { strict: false, piku_compat: true };

fn platform() -> IndexMap<String, String> {
    IndexMap::from([("PORT".to_owned(), "5000".to_owned()), ("DATA_DIR".to_owned(), "/data".to_owned())])
}

fn parse(text: impl AsRef<[u8]>, options: ParseOptions) -> Result<EnvFile, Vec<String>> {
    EnvFile::parse(text.as_ref(), &platform(), options).map_err(|errors| lines(&errors.0))
}

fn lines(diagnostics: &[piku_report::diagnostic::Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(|found| found.to_string().lines().next().unwrap_or_default().to_owned()).collect()
}

/// Takes the text, with these warnings, as these variables.
#[track_caller]
fn warned(text: impl AsRef<[u8]>, options: ParseOptions, expected: &[(&str, &str)], warnings: &[&str]) {
    let env = parse(text, options).expect("is taken");
    let vars: Vec<(&str, &str)> = env.vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        (vars.as_slice(), lines(&env.warnings)),
        (expected, warnings.iter().map(|&line| line.to_owned()).collect())
    );
}

/// Takes the text without a word.
#[track_caller]
fn good(text: impl AsRef<[u8]>, expected: &[(&str, &str)]) {
    warned(text, ParseOptions::default(), expected, &[]);
}

/// Refuses the text with errors that begin with these lines.
#[track_caller]
fn bad(text: impl AsRef<[u8]>, expected: &[&str]) {
    assert_eq!(parse(text, ParseOptions::default()).expect_err("is refused"), expected);
}

/// The name of a case, the file's text, and the variables with their values.
type NamedCase = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

#[test]
fn values_as_they_are_written() {
    let cases: [NamedCase; 19] = [
        ("E1 double quotes", "A=\"a b\"", &[("A", "a b")]),
        ("E2 single quotes", "A='a b'", &[("A", "a b")]),
        ("E3 blanks without quotes", "A=a b", &[("A", "a b")]),
        (
            "E4 export",
            "export A=1\n  export\tB='2'\nexport=3\nexported=4",
            &[("A", "1"), ("B", "2"), ("export", "3"), ("exported", "4")],
        ),
        (
            "E5 a comment behind a blank",
            "A=x # c\nB=x\t#c\nC= # c\nD= #",
            &[("A", "x"), ("B", "x"), ("C", ""), ("D", "")],
        ),
        ("E6 a hash without a blank", "B=x#y\nC=x#y #z", &[("B", "x#y"), ("C", "x#y")]),
        ("E7 a hash between quotes", "A=\"x # y\" # c\nB='x # y'\t# \"", &[("A", "x # y"), ("B", "x # y")]),
        ("E9 empty values", "A=\nB=\"\"\nC=''\nD=  ", &[("A", ""), ("B", ""), ("C", ""), ("D", "")]),
        ("E11 an escaped newline in double quotes", r#"A="a\nb\tc\\n\"\x""#, &[("A", "a\nb\tc\\n\"\\x")]),
        ("E12 a backslash in single quotes", r"A='a\nb\'", &[("A", r"a\nb\")]),
        (
            "E16 a dollar in single quotes",
            "A=1\nC='$A ${A:?no} $(x)'",
            &[("A", "1"), ("C", "$A ${A:?no} $(x)")],
        ),
        ("E17 an escaped dollar", "A=1\nC=\"\\$A\"\nD=\\$A", &[("A", "1"), ("C", "$A"), ("D", "$A")]),
        (
            "E21 dollars that are dollars",
            "A=p@$$w0rd$\nB=\"p@$$w0rd$\"\nC=$1 $? $$$PORT $",
            &[("A", "p@$$w0rd$"), ("B", "p@$$w0rd$"), ("C", "$1 $? $$5000 $")],
        ),
        ("E23 json", "A={\"k\":\"v\"}", &[("A", "{\"k\":\"v\"}")]),
        ("E24 an apostrophe", "A=it's", &[("A", "it's")]),
        ("E25 trailing blanks", "A=x \t \nB=\"x \" \nC='y  '", &[("A", "x"), ("B", "x "), ("C", "y  ")]),
        ("E26 a byte order mark", "\u{feff}A=1", &[("A", "1")]),
        ("E29 a hash right behind the equals sign", "A=#x", &[("A", "#x")]),
        (
            "E31 shell characters",
            "A=a;b\nu=http://h/?a=1&b=2#f",
            &[("A", "a;b"), ("u", "http://h/?a=1&b=2#f")],
        ),
    ];
    for (case, text, expected) in cases {
        let env = parse(text, ParseOptions::default()).unwrap_or_else(|errors| panic!("{case}: {errors:?}"));
        let vars: Vec<(&str, &str)> = env.vars.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!((vars.as_slice(), env.warnings.len()), (expected, 0), "{case}");
    }
}

#[test]
fn e8_blanks_around_the_equals_sign() {
    bad(
        "A = 1\nB =1\nC= 1\nD= 'x'",
        &[
            "ENV:1:2: a blank before the '='",
            "ENV:2:2: a blank before the '='",
            "ENV:3:3: a blank after the '='",
            "ENV:4:3: a blank after the '='",
        ],
    );
    let errors =
        EnvFile::parse(b"A = hunter2", &platform(), ParseOptions::default()).expect_err("is refused");
    assert_eq!(
        errors.to_string(),
        "ENV:1:2: a blank before the '='\n    A =…\n     ^\nhint: remove the blanks around '=': NAME=value"
    );
}

#[test]
fn e10_a_name_alone() {
    bad(
        "A\nexport B",
        &["ENV:1: this is not NAME=value: it has no '='", "ENV:2: this is not NAME=value: it has no '='"],
    );
}

#[test]
fn e13_backslashes_without_quotes() {
    good(r"A=C:\temp\new", &[("A", r"C:\temp\new")]);
    good("A=a\\\nB=1", &[("A", "a\\"), ("B", "1")]);
}

#[test]
fn e14_a_value_of_two_lines() {
    good("A=\"a\nb\"\nB='c\n\n# d'\nC=1", &[("A", "a\nb"), ("B", "c\n\n# d"), ("C", "1")]);
    good("A=\"a\\\nb\"", &[("A", "ab")]);
    // Lines are counted through it.
    bad("A=\"a\nb\"\n\nB", &["ENV:4: this is not NAME=value: it has no '='"]);
}

#[test]
fn e15_earlier_names_then_the_platforms() {
    good("A=1\nB=$A\nC=${A}x", &[("A", "1"), ("B", "1"), ("C", "1x")]);
    good("A=\"$PORT:$DATA_DIR\"\nPORT=1\nB=$PORT", &[("A", "5000:/data"), ("PORT", "1"), ("B", "1")]);
    warned(
        "A=$B.\nB=1",
        ParseOptions::default(),
        &[("A", "."), ("B", "1")],
        &["ENV:1:3: warning: 'B' is not set: it is empty here"],
    );
}

#[test]
fn e18_defaults_and_messages() {
    good(
        "A=${N:-d}\nB=${N-d}\nC=\"${N:-a b}\"\nD=${N:-}",
        &[("A", "d"), ("B", "d"), ("C", "a b"), ("D", "")],
    );
    good(
        "N=\nA=${N:-d}\nB=${N-d}\nC=${N:+d}\nD=${N+d}",
        &[("N", ""), ("A", "d"), ("B", ""), ("C", ""), ("D", "d")],
    );
    good(
        "N=1\nA=${N:-d}\nB=${N:?m}x\nC=${N+d}\nD=${N:-${X:?not asked}}",
        &[("N", "1"), ("A", "1"), ("B", "1x"), ("C", "d"), ("D", "1")],
    );
    good("A=${N:-${M:-$PORT}}/x", &[("A", "5000/x")]);
    bad(
        "A=${N:?set it with config}\nB=${M?}\nC=${O:?}",
        &[
            "ENV:1:3: 'N' is not set: set it with config",
            "ENV:2:3: 'M' is not set",
            "ENV:3:3: 'O' is not set",
        ],
    );
    bad(
        "A=${N\nB=${}\nC=x${N:-y\nD=${N%.x}\nE=\"${1}\"",
        &[
            "ENV:1:3: '${N' has no '}'",
            "ENV:2:3: no name after '${'",
            "ENV:3:4: '${N' has no '}'",
            "ENV:4:3: '${N' has an unknown operator",
            "ENV:5:4: no name after '${'",
        ],
    );
}

#[test]
fn e19_a_command_is_text() {
    warned(
        "A=$(echo hi) $PORT\nB=\"`id $PORT`\"\nC=$((1+(2))) $(echo $PORT\nD='$(x)'",
        ParseOptions::default(),
        &[("A", "$(echo hi) 5000"), ("B", "`id $PORT`"), ("C", "$((1+(2))) $(echo $PORT"), ("D", "$(x)")],
        &[
            "ENV:1:3: warning: '$(…)' is kept as text and not executed",
            "ENV:2:4: warning: '`…`' is kept as text and not executed",
            "ENV:3:3: warning: '$(…)' is kept as text and not executed",
            "ENV:3:14: warning: '$(…)' is kept as text and not executed",
        ],
    );
}

#[test]
fn a_backtick_alone_is_a_character() {
    good("A=p`w$PORT\nB=\"\\`x\\`\"", &[("A", "p`w5000"), ("B", "`x`")]);
}

#[test]
fn e20_crlf_line_ends() {
    good(
        "A=1\r\nB=\"x\"\r\n\r\n# c\r\nC='y' # d\r\nD=z\r",
        &[("A", "1"), ("B", "x"), ("C", "y"), ("D", "z")],
    );
    // Inside quotes the line ends are those of the line that closes them.
    good("A=\"a\r\nb\"\r\nB='c\r\nd'\r\nC=\"e\r\nf\"", &[("A", "a\nb"), ("B", "c\nd"), ("C", "e\nf")]);
    good("A=\"a\r\nb\"\nB='c\r\nd'\n", &[("A", "a\r\nb"), ("B", "c\r\nd")]);
    bad("A=1\rB=2\n", &["ENV:1:4: a carriage return in the value"]);
}

#[test]
fn e22_an_unterminated_quote() {
    bad("A=\"abc", &["ENV:1:3: the quote \" is not closed"]);
    bad(
        "X=1\nA='abc\nB=1\nC\n",
        &["ENV:2:3: the quote ' is not closed", "ENV:4: this is not NAME=value: it has no '='"],
    );
    // Closed by the next value's quote: the error stands where the mistake is.
    bad(
        "A=\"abc\nB=\"x\"\nC=\"y\"\n",
        &["ENV:1:3: the quote \" that opens here closes on line 2, where text follows"],
    );
}

#[test]
fn e27_bad_names() {
    bad(
        "a.b=1\nc-d=2\n1X=3\n=4\nwéb=5\na b=6",
        &[
            "ENV:1:2: bad name 'a.b'",
            "ENV:2:2: bad name 'c-d'",
            "ENV:3:1: bad name '1X'",
            "ENV:4:1: there is no name before the '='",
            "ENV:5:2: bad name 'wéb'",
            "ENV:6: the text before the '=' is not a name",
        ],
    );
}

#[test]
fn e28_a_colon() {
    bad("A: 1\n", &["ENV:1: this is not NAME=value: it has no '='"]);
    let errors = EnvFile::parse(b"A: hunter2", &platform(), ParseOptions::default())
        .expect_err("is refused")
        .to_string();
    assert!(errors.ends_with("\nhint: use '=' instead of ':' after 'A'"), "{errors}");
}

#[test]
fn e30_text_behind_the_closing_quote() {
    bad(
        "A=\"a\"b\nB='a''b'\nC=\"a\"#c",
        &[
            "ENV:1:6: text after the closing quote",
            "ENV:2:6: text after the closing quote",
            "ENV:3:6: text after the closing quote",
        ],
    );
}

#[test]
fn e32_the_same_name_twice() {
    warned(
        "A=1\nB=$A\nA=2",
        ParseOptions::default(),
        &[("A", "2"), ("B", "1")],
        &["ENV:3: warning: 'A' is already set on line 1; this line takes precedence"],
    );
}

#[test]
fn piku_compat_keeps_quotes_with_one_warning() {
    warned(
        "A=\"a b\"\nB='c\\nd'\nC=e\nD=\"$PORT\\n\"",
        COMPAT,
        &[("A", "\"a b\""), ("B", "'c\\nd'"), ("C", "e"), ("D", "\"5000\\n\"")],
        &["ENV:1: warning: --piku-compat keeps the quotes as part of the value"],
    );
}

#[test]
fn an_empty_file_is_empty() {
    good("", &[]);
    good("# c\n\n  \n", &[]);
}

#[test]
fn all_bad_lines_are_named_and_no_value_is_shown() {
    let text = b"-----BEGIN KEY-----\nhunter2+/=hunter2\nA=\"hunter2\"hunter2\nB= hunter2\nhunter2\xff\nC=${X:hunter2}\n";
    let errors = EnvFile::parse(text, &platform(), ParseOptions::default()).expect_err("is refused");
    let numbers: Vec<usize> = errors.0.iter().map(|error| error.line).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 5, 6]);
    assert!(!errors.to_string().contains("hunter2"), "{errors}");
}

#[test]
fn what_the_file_says_cannot_move_a_cursor_nor_fill_the_screen() {
    bad("A=\"${B:?a\u{1b}[2J\nb}\"", &["ENV:1:4: 'B' is not set: a\u{fffd}[2J b"]);
    let long = "B".repeat(100_000);
    for text in [
        format!("A=${{{long}"),
        format!("A=${{{long}:?{long}}}"),
        format!("A=${{{long}%}}"),
        long.clone(),
        format!("-{long}="),
    ] {
        let errors = EnvFile::parse(text.as_bytes(), &platform(), ParseOptions::default())
            .expect_err("is refused")
            .to_string();
        assert!(errors.len() < 500, "{}", errors.len());
    }
    let warnings =
        parse(format!("A=${long}\n{long}=1\n{long}=2"), ParseOptions::default()).expect("is taken").warnings;
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|warning| warning.to_string().len() < 500));
}

#[test]
fn control_characters() {
    bad(
        "A=a\0b\nB=\"a\n\0b\"\nC=a\u{1b}b",
        &[
            "ENV:1:4: a NUL byte in the value",
            "ENV:3: a NUL byte in the value",
            "ENV:4:4: a control character (U+001B) in the value",
        ],
    );
    good("C=\"a\u{1b}b\"", &[("C", "a\u{1b}b")]);
}

#[test]
fn values_stay_as_small_as_linux_takes_them() {
    // A billion laughs.
    let laughs: Vec<String> = (1..40).map(|n| format!("A{n}=$A{p}$A{p}$A{p}$A{p}\n", p = n - 1)).collect();
    let text = format!("A0=0123456789\n{}", laughs.concat());
    let errors = parse(&text, ParseOptions::default()).expect_err("is refused");
    assert!(errors[0].ends_with("longer than Linux's limit of 128 KiB per variable"), "{errors:?}");
    let big = "x".repeat(100_000);
    let many: Vec<String> = (0..100).map(|n| format!("A{n}={big}\n")).collect();
    let errors = parse(many.concat(), ParseOptions::default()).expect_err("is refused");
    assert_eq!(errors, ["ENV:63: all variables together exceed Linux's limit of 6 MiB"]);
}

#[test]
fn braces_in_braces_have_an_end() {
    let text = format!("A={}x{}", "${A:-".repeat(100_000), "}".repeat(100_000));
    let errors = parse(text, ParseOptions::default()).expect_err("is refused");
    assert_eq!(errors, ["ENV:1:163: '${' is nested too deeply"]);
}
