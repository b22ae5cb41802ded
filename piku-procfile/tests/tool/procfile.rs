//! `check`, `list` and `show` on a Procfile.

use piku_tests::snapshot::{assert_snapshot, str};

use crate::PROCFILE;
use crate::support::Tool;

#[test]
fn check_prints_nothing_when_all_is_well() {
    Tool::new(&["check"]).file("Procfile", PROCFILE).prints("");
    Tool::new(&["check", "other"]).file("other", PROCFILE).prints("");
    Tool::new(&["check", "-"]).stdin(PROCFILE).prints("");
    Tool::new(&["check", "/dev/stdin"]).stdin(PROCFILE).prints("");
}

#[test]
fn check_prints_warnings_and_is_content() {
    Tool::new(&["check"]).file("Procfile", "web : a\n").says(
        0,
        str![[r#"
Procfile:1:4: warning: blanks before the colon
    web : a
       ^

"#]],
    );
}

#[test]
fn check_names_all_bad_lines_at_once() {
    Tool::new(&["check"]).file("Procfile", "web: a\nweb cmd\nweb.1: b\nweb: c\n").says(
        1,
        str![[r#"
Procfile:2: this is not 'name: command'
    web cmd
hint: the colon is missing: write 'web: …'
Procfile:3:4: bad name 'web.1': it looks like the name of an instance
    web.1: b
       ^
hint: a name has 1 to 63 of A-Z, a-z, 0-9, '-' and '_', and begins and ends with a letter or digit
Procfile:4: 'web' is already on line 1
    web: c

"#]],
    );
}

#[test]
fn the_file_is_named_without_its_folder() {
    let tool = Tool::new(&["check"]).file("Procfile", "web");
    let path = tool.path().join("Procfile");
    let (_, stderr, code) = tool.arg(path).run();
    assert_eq!((stderr.lines().next(), code), (Some("Procfile:1: this is not 'name: command'"), 1));
    Tool::new(&["check", "-"]).stdin("web:").says(
        1,
        str![[r#"
Procfile:1:5: 'web' has no command after the colon
    web:
        ^

"#]],
    );
}

#[test]
fn in_a_deploy_each_line_has_the_pushs_margin() {
    Tool::new(&["check"]).file("Procfile", "web:").env("PIKU_TALK", "deploy").says(
        1,
        str![[r#"
 !     Procfile:1:5: 'web' has no command after the colon
 !         web:
 !             ^

"#]],
    );
    Tool::new(&["check", "nix"]).env("PIKU_TALK", "deploy").says(
        1,
        str![[r#"
 !     there is no file 'nix'
 !     hint: a Procfile has a line per process type, such as 'web: gunicorn app:app'

"#]],
    );
}

#[test]
fn strict_and_piku_compat() {
    Tool::new(&["check", "--strict"]).file("Procfile", "web_1: a").says(
        1,
        str![[r#"
Procfile:1: 'web_1' is not a DNS label
    web_1: a
hint: --strict allows only a-z, 0-9 and '-'

"#]],
    );
    let (stdout, stderr, code) =
        Tool::new(&["list", "--piku-compat"]).file("Procfile", "web: a\nwhat\nweb: b\n").run();
    assert_eq!((stdout.as_str(), code), ("web: b\n", 0));
    assert_snapshot(
        &stderr,
        str![[r#"
Procfile:2: warning: this is not 'name: command'
    what
hint: a line is a name, a colon and a command; a comment begins with '#'
Procfile:3: warning: 'web' is already on line 1
    web: b

"#]],
    );
}

#[test]
fn list_prints_a_procfile_again() {
    let listed = "web: gunicorn app:app --bind 0.0.0.0:$PORT\ncron: 0 5 * * * ./backup\nworker: a # b\n";
    Tool::new(&["list"]).file("Procfile", PROCFILE).prints(listed);
    Tool::new(&["list", "-"]).stdin(listed).prints(listed);
}

#[test]
fn list_for_programs() {
    Tool::new(&["list", "--format", "json"]).file("Procfile", PROCFILE).prints(str![[r#"
[
  {
    "name": "web",
    "command": "gunicorn app:app --bind 0.0.0.0:$PORT",
    "line": 2,
    "kind": "web"
  },
  {
    "name": "cron",
    "command": "./backup",
    "schedule": "0 5 * * *",
    "line": 3,
    "kind": "cron"
  },
  {
    "name": "worker",
    "command": "a # b",
    "line": 4,
    "kind": "worker"
  }
]

"#]]);
    Tool::new(&["list", "--format", "yaml"]).file("Procfile", PROCFILE).prints(str![[r#"
- name: web
  command: gunicorn app:app --bind 0.0.0.0:$PORT
  line: 2
  kind: web
- name: cron
  command: ./backup
  schedule: 0 5 * * *
  line: 3
  kind: cron
- name: worker
  command: 'a # b'
  line: 4
  kind: worker

"#]]);
}

#[test]
fn show_prints_the_command_alone() {
    Tool::new(&["show", "worker"]).file("Procfile", PROCFILE).prints(str![[r#"
a # b

"#]]);
    Tool::new(&["show", "cron", "-"]).stdin(PROCFILE).prints(str![[r#"
./backup

"#]]);
    Tool::new(&["show", "clock"]).file("Procfile", PROCFILE).says(
        1,
        str![[r#"
piku-procfile: there is no process type 'clock'
hint: the Procfile has web, cron, worker

"#]],
    );
}
