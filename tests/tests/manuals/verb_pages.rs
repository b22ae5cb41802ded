//! The manuals of `piku` and its verbs, made from `piku help` and `piku help VERB`.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use piku_tests::tools::{built, repository};

/// Returns piku.1, which lists the verbs, and a page for each of them.
pub(crate) fn verb_pages() -> Vec<(PathBuf, Vec<u8>)> {
    let help = help_of(&["help"]);
    let mut files = vec![(PathBuf::from("man/piku.1"), overview(&help).into_bytes())];
    for verb in verbs(&help) {
        let name = page_name(verb);
        let page = verb_page(&name, &help_of(&["help", verb]));
        files.push((PathBuf::from(format!("man/{name}.1")), page.into_bytes()));
    }
    files
}

fn help_of(words: &[&str]) -> String {
    let out = Command::new("sh")
        .arg(repository().join("scripts/piku"))
        .args(words)
        .env("PATH", format!("{}:/usr/bin:/bin", built().display()))
        .env_remove("PIKU_ROOT")
        .output()
        .expect("scripts/piku");
    assert!(out.status.success(), "{words:?}: {out:?}");
    String::from_utf8(out.stdout).expect("text")
}

fn verbs(help: &str) -> impl Iterator<Item = &str> {
    let lines = help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    lines.filter_map(|line| line.split(' ').next())
}

/// Returns the name of a verb's page. The page of the tool piku-run has the name that `run` would have.
fn page_name(verb: &str) -> String {
    if verb == "run" { "piku-verb-run".to_owned() } else { format!("piku-{}", verb.replace(':', "-")) }
}

/// Splits a line of the usage into the synopsis and the description, which may be on the next line.
fn split_usage(line: &str) -> (&str, &str) {
    line.split_once("   ").map_or((line, ""), |(synopsis, text)| (synopsis.trim(), text.trim()))
}

fn heading(page: &mut String, name: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH {name} 1  \"\" \"piku {}\" piku",
        env!("CARGO_PKG_VERSION")
    );
}

fn overview(help: &str) -> String {
    let mut page = String::new();
    heading(&mut page, "piku");
    page += ".SH NAME\npiku \\- deploy and operate apps by git push\n.SH SYNOPSIS\n.B piku\n";
    page += "[\\-\\-remote NAME] [\\-\\-app APP] VERB [APP] [ARGUMENTS]\n.SH DESCRIPTION\n";
    page += "The verbs work on the server, through ssh (ssh piku@HOST VERB), and in a work tree with a git remote\n";
    page += "named piku, where APP may be left out. Each has a page of its own, piku\\-VERB(1), with a dash for the\n";
    page += "colon; that of run is piku\\-verb\\-run(1).\n.SH VERBS\n";
    for line in help.lines().skip(2) {
        if let Some(line) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) {
            let (synopsis, text) = split_usage(line);
            let _ = writeln!(page, ".TP\n\\fBpiku {}\\fR", escape(synopsis));
            if !text.is_empty() {
                let _ = writeln!(page, "{}", escape(text));
            }
        } else if line.starts_with(' ') {
            let _ = writeln!(page, "{}", escape(line.trim()));
        } else if !line.is_empty() {
            let _ = writeln!(page, ".SS {}", escape(line.trim_end_matches(':')));
        }
    }
    page + EXIT_STATUS
}

const EXIT_STATUS: &str = "\
.SH EXIT STATUS
.TP
0
done
.TP
1
failed, refused, or \"no\" to a question
.TP
2
the command line is wrong
.TP
75
busy: try again
.TP
125, 126, 127
piku run: the jail cannot be made; the command cannot be run; there is no such program
.TP
255
ssh could not reach the server
";

fn verb_page(name: &str, help: &str) -> String {
    let mut lines = help.lines().peekable();
    let (synopsis, text) = split_usage(lines.next().unwrap_or_default().trim_start_matches("usage: "));
    let mut text = text.to_owned();
    while let Some(more) = lines.next_if(|line| !line.is_empty()) {
        text = format!("{text} {}", more.trim());
    }
    let mut page = String::new();
    heading(&mut page, name);
    let (dashed, about) = (escape(name), escape(text.trim()));
    let _ = writeln!(page, ".SH NAME\n{dashed} \\- {about}\n.SH SYNOPSIS\n{}", escape(synopsis));
    let mut section = "DESCRIPTION";
    let mut is_open = false;
    for line in lines {
        match line {
            "Arguments:" => (section, is_open) = ("ARGUMENTS", false),
            "Options:" => (section, is_open) = ("OPTIONS", false),
            "Exit status:" => (section, is_open) = ("EXIT STATUS", false),
            "" if is_open && section == "DESCRIPTION" => page += ".PP\n",
            "" => {}
            line => {
                if !is_open {
                    let _ = writeln!(page, ".SH {section}");
                    is_open = true;
                }
                append_line(&mut page, section, line);
            }
        }
    }
    while page.ends_with(".PP\n") {
        page.truncate(page.len() - ".PP\n".len());
    }
    page = page.replace(".PP\n.SH", ".SH");
    let _ = writeln!(page, ".SH SEE ALSO\n.BR piku (1)");
    page
}

/// Appends a line of a section of the help.
fn append_line(page: &mut String, section: &str, line: &str) {
    let indented = line.len() - line.trim_start().len();
    let line = line.trim();
    let _ = match section {
        "EXIT STATUS" if indented == 2 => {
            let (code, text) = line.split_once(' ').unwrap_or((line, ""));
            writeln!(page, ".TP\n{code}\n{}", escape(text.trim()))
        }
        "ARGUMENTS" | "OPTIONS" if indented < 10 => writeln!(page, ".TP\n\\fB{}\\fR", escape(line)),
        "ARGUMENTS" | "OPTIONS" if line.starts_with("- ") || line.starts_with("[default") => {
            writeln!(page, ".br\n{}", escape(line))
        }
        _ => writeln!(page, "{}", escape(line)),
    };
}

/// Returns text without meaning for troff.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\*(Aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
