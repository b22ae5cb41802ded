//! Properties of every file, not only of those in the tables.

use std::io::Write;
use std::process::{Command, Stdio};

use indexmap::IndexMap;
use piku_procfile::command;
use piku_procfile::env::EnvFile;
use piku_procfile::procfile::{ParseOptions, Procfile};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// A command, or a schedule and a command: no control characters, no blanks at its ends, no backslash at its end.
fn commands() -> impl Strategy<Value = String> {
    let command = "[^\\pC \\\\]([^\\pC]{0,30}[^\\pC \\\\])?";
    let schedule = "(@daily|[0-5][0-9]? \\* 1,2 \\*/3 mon-fri) ";
    prop_oneof![3 => command.prop_map(|command| command), 1 => (schedule, command).prop_map(|(a, b)| a + &b)]
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-z0-9]([A-Za-z0-9_-]{0,20}[A-Za-z0-9])?",
        1 => "web|wsgi|release|static|cron|cron-[a-z]|cron[0-9]",
    ]
}

/// Values with all that means something to a shell or to the parser.
fn values() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[ -~]{0,5}",
        "[^\0]{0,3}",
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\r".to_owned()),
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("$A".to_owned()),
        Just("${A:-b}".to_owned()),
        Just("$(echo x)".to_owned()),
        Just("`echo x`".to_owned()),
        Just(" # x".to_owned()),
        Just("$$".to_owned()),
        Just("~".to_owned()),
        Just("!".to_owned()),
    ];
    vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}

/// Names that no shell gives a meaning of its own.
fn vars() -> impl Strategy<Value = IndexMap<String, String>> {
    btree_map("[A-Za-z_][A-Za-z0-9_]{0,5}".prop_map(|name| format!("X_{name}")), values(), 0..6)
        .prop_map(|vars| vars.into_iter().collect())
}

/// Returns the values that sh gets from the text, by their names.
fn through_sh(text: &str, names: &[String]) -> IndexMap<String, String> {
    let mut script = text.to_owned();
    for name in names {
        script.extend(["printf '%s\\0' \"$", name, "\"\n"]);
    }
    let mut sh = Command::new("/bin/sh");
    let mut sh = sh.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
    sh.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("sh reads");
    let out = sh.wait_with_output().expect("sh ends");
    let values = String::from_utf8(out.stdout).expect("UTF-8");
    names.iter().cloned().zip(values.split_terminator('\0').map(str::to_owned)).collect()
}

proptest! {
    #[test]
    fn a_rendered_procfile_parses_to_the_same(
        lines in btree_map(names(), commands(), 1..8),
    ) {
        let text: String = lines.iter().flat_map(|(name, command)| [name, ": ", command, "\n"]).collect();
        // A name like a cron's with a command that looks like a schedule and is none.
        if let Ok(procfile) = Procfile::parse(text.as_bytes(), ParseOptions::default()) {
            prop_assert_eq!(procfile.entries.len(), lines.len());
            let again = Procfile::parse(procfile.to_string().as_bytes(), ParseOptions::default()).unwrap();
            prop_assert_eq!(&again.entries, &procfile.entries);
            prop_assert_eq!(again.to_string(), procfile.to_string());
        } else {
            // A directory of 'static' that nginx would refuse has any characters.
            prop_assert!(lines.iter().any(|(name, command)| name == "static"
                || name.starts_with("cron")
                    && command.starts_with(|c: char| c.is_ascii_digit() || c == '*' || c == '@')));
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(text in vec(any::<u8>(), 0..200), strict: bool, piku_compat: bool) {
        let options = ParseOptions { strict, piku_compat };
        match Procfile::parse(&text, options) {
            Ok(procfile) => {
                let again = Procfile::parse(procfile.to_string().as_bytes(), options).unwrap();
                let lines = |p: &Procfile| p.entries.iter().map(ToString::to_string).collect::<Vec<_>>();
                prop_assert_eq!(lines(&again), lines(&procfile));
            }
            Err(errors) => prop_assert!(errors.to_string().starts_with("Procfile:")),
        }
        if let Err(errors) = EnvFile::parse(&text, &IndexMap::new(), options) {
            prop_assert!(errors.to_string().starts_with("ENV:"));
        }
    }

    #[test]
    fn any_lines_are_taken_or_refused(text in "([A-C]=?[ \"'$(){}\\\\:?`#\r\na-c-]{0,8}\r?\n?){0,8}") {
        if let Ok(env) = EnvFile::parse(text.as_bytes(), &IndexMap::new(), ParseOptions::default()) {
            let again = EnvFile::parse(env.to_text().as_bytes(), &IndexMap::new(), ParseOptions::default()).unwrap();
            prop_assert_eq!(again.vars, env.vars);
            prop_assert!(again.warnings.is_empty());
        }
    }

    #[test]
    fn env_text_is_the_same_to_the_parser(vars in vars()) {
        let text = EnvFile { vars: vars.clone(), ..EnvFile::default() }.to_text();
        let again = EnvFile::parse(text.as_bytes(), &IndexMap::new(), ParseOptions::default()).unwrap();
        prop_assert_eq!(again.vars, vars);
        prop_assert!(again.warnings.iter().all(|warning| warning.message.contains("an invisible character")));
    }
}

proptest! {
    // Each case is a process or two.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn env_text_is_the_same_to_a_shell(vars in vars()) {
        let names: Vec<String> = vars.keys().cloned().collect();
        let text = EnvFile { vars: vars.clone(), ..EnvFile::default() }.to_text();
        prop_assert_eq!(through_sh(&text, &names), vars);
    }

    /// `exec` in front changes nothing that a command prints.
    #[test]
    fn a_command_prints_what_it_prints_without_exec(words in vec("[q \"'$\\\\;|#=]{0,6}", 0..4)) {
        // A process id is another one each time.
        prop_assume!(!words.concat().contains("$$"));
        let command = format!("/bin/echo {}", words.join(" "));
        let [_, flag, text] = command::argv(&command);
        let run = |text: &str| {
            let out = Command::new("/bin/sh").args([flag.as_str(), text]).env_clear().output().unwrap();
            (out.stdout, out.status.success())
        };
        prop_assert_eq!(run(&text), run(&command));
    }
}
