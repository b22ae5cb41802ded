//! The built tool on real files: whole outputs and exit codes.

mod support;

use std::process::{Command, Stdio};

use piku_tests::snapshot::{assert_snapshot, str};
use support::Tool;

const PROCFILE: &str =
    "# an app\nweb: gunicorn app:app --bind 0.0.0.0:$PORT\ncron: 0  5 * * *  ./backup\nworker: a # b\n";

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
 !     piku-procfile: there is no file 'nix'
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

#[test]
fn env_prints_values_for_a_shell() {
    let text = "A=1\nB='a b'\nC=\"it's $A\"\nD=\nE=\"a\\nb\"\nU=http://h/?a=1&b=2\n";
    Tool::new(&["env"]).file("ENV", text).prints(str![[r#"
A=1
B='a b'
C="it's 1"
D=
E='a
b'
U='http://h/?a=1&b=2'

"#]]);
    Tool::new(&["env", "-", "--format", "json"]).stdin(text).prints(str![[r#"
{
  "A": "1",
  "B": "a b",
  "C": "it's 1",
  "D": "",
  "E": "a\nb",
  "U": "http://h/?a=1&b=2"
}

"#]]);
    Tool::new(&["env", "--format", "yaml"])
        .file("ENV", "A=1\nB=yes\nC=null\nD=a: b\nE=\nF=0x1\nG=1e3\nH=~\n")
        .prints(str![[r#"
A: '1'
B: yes
C: 'null'
D: 'a: b'
E: ''
F: '0x1'
G: '1e3'
H: '~'

"#]]);
}

#[test]
fn env_takes_the_platforms_names_and_no_others_from_its_own_environment() {
    let text = "A=$PORT\nB=${SECRET:-none}\n";
    Tool::new(&["env"]).file("ENV", text).env("PORT", "5000").env("SECRET", "x").prints(str![[r#"
A=5000
B=none

"#]]);
    let (stdout, stderr, code) = Tool::new(&["env"]).file("ENV", text).run();
    assert_eq!((stdout.as_str(), code), ("A=\nB=none\n", 0));
    assert_snapshot(
        &stderr,
        str![[r#"
ENV:1:3: warning: 'PORT' is set only when the app runs: it is empty here
    A=…
hint: set it in the environment to see its value

"#]],
    );
}

#[test]
fn env_check_prints_nothing_when_all_is_well() {
    Tool::new(&["env", "--check"]).file("ENV", "A=$PORT\nB=${DATA_DIR:?}\n").prints("");
    Tool::new(&["env", "--check", "-"]).stdin("A = 1\nB\n").says(
        1,
        str![[r#"
ENV:1:2: a blank before the '='
    A =…
     ^
hint: remove the blanks around '=': NAME=value
ENV:2: this is not NAME=value: it has no '='
hint: put a value of several lines between quotes

"#]],
    );
}

#[test]
fn env_piku_compat() {
    let (stdout, stderr, code) = Tool::new(&["env", "--piku-compat"]).file("ENV", "A='x'\n").run();
    assert_eq!((stdout.as_str(), code), ("A=\"'x'\"\n", 0));
    assert_snapshot(
        &stderr,
        str![[r#"
ENV:1: warning: --piku-compat keeps the quotes as part of the value

"#]],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_clear_line() {
    Tool::new(&["check"]).says(
        1,
        str![[r#"
piku-procfile: there is no file 'Procfile'
hint: a Procfile has a line per process type, such as 'web: gunicorn app:app'

"#]],
    );
    Tool::new(&["env"]).says(
        1,
        str![[r#"
piku-procfile: there is no file 'ENV'
hint: an ENV file has NAME=value lines; an app needs none

"#]],
    );
    Tool::new(&["check", "."]).says(
        1,
        str![[r#"
piku-procfile: cannot read '.': it is a directory
hint: name the file in it

"#]],
    );
    Tool::new(&["env", "."]).says(
        1,
        str![[r#"
piku-procfile: cannot read '.': it is a directory
hint: name the file in it

"#]],
    );
    Tool::new(&["check", "/dev/zero"]).says(
        1,
        str![[r#"
piku-procfile: cannot read '/dev/zero': longer than 64 MiB

"#]],
    );
}

#[test]
fn a_file_without_permission_is_one_clear_line() {
    use std::os::unix::fs::PermissionsExt;
    let tool = Tool::new(&["check"]).file("Procfile", PROCFILE);
    let path = tool.path().join("Procfile");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("its owner may");
    if std::fs::File::open(&path).is_ok() {
        // Root reads everything.
        return tool.prints("");
    }
    tool.says(1, str![]);
}

#[test]
fn a_link_out_of_the_folder_shows_nothing_of_where_it_leads() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "hunter2 hunter2").expect("a file");
    for (verb, name) in [("check", "Procfile"), ("env", "ENV")] {
        let tool = Tool::new(&[verb]);
        std::os::unix::fs::symlink(secret.path(), tool.path().join(name)).expect("a link");
        tool.says(
            1,
            format!(
                "piku-procfile: cannot read '{name}': it is a symlink that leads out of its directory\nhint: replace the symlink by the file\n"
            ),
        );
    }
    let tool = Tool::new(&["check"]).file("other", PROCFILE);
    std::os::unix::fs::symlink("other", tool.path().join("Procfile")).expect("a link");
    tool.prints("");
}

#[test]
fn a_fifo_is_not_waited_for() {
    let tool = Tool::new(&["check"]);
    let made = Command::new("mkfifo").arg(tool.path().join("Procfile")).status().expect("mkfifo runs");
    assert!(made.success());
    tool.says(
        1,
        str![[r#"
piku-procfile: cannot read 'Procfile': it is not a regular file

"#]],
    );
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let wrong = [&["chekc"][..], &["show"], &["list", "--format", "xml"], &["check", "a", "b"], &[]];
    assert_snapshot(
        &wrong.map(|args| Tool::new(args).transcript()).concat(),
        str![[r#"
$ piku-procfile chekc
exit status: 2
--- stderr
error: unrecognized subcommand 'chekc'

Usage: piku-procfile <COMMAND>

For more information, try '--help'.

$ piku-procfile show
exit status: 2
--- stderr
error: the following required arguments were not provided:
  <NAME>

Usage: piku-procfile show <NAME> [FILE]

For more information, try '--help'.

$ piku-procfile list --format xml
exit status: 2
--- stderr
error: invalid value 'xml' for '--format <FORMAT>'
  [possible values: text, json, yaml]

For more information, try '--help'.

$ piku-procfile check a b
exit status: 2
--- stderr
error: unexpected argument 'b' found

Usage: piku-procfile check [OPTIONS] [FILE]

For more information, try '--help'.

$ piku-procfile 
exit status: 2
--- stderr
Check, print and convert the Procfile and the ENV file of an app

Usage: piku-procfile <COMMAND>

Commands:
  check   Check a Procfile; a good one prints nothing
  list    List the process types of a Procfile
  show    Print the command of a process type
  env     Print the variables of an ENV file
  render  Convert a Procfile and an ENV file to the configuration of nginx, systemd or cron
  help    Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help (see more with '--help')
  -V, --version  Print version


"#]],
    );
    for args in [&["--help"][..], &["--version"], &["env", "--help"]] {
        let (stdout, stderr, code) = Tool::new(args).run();
        assert_eq!((stderr.as_str(), code), ("", 0), "{args:?}");
        assert!(!stdout.is_empty());
    }
}

#[test]
fn fifty_megabytes_of_garbage_are_a_page_of_text() {
    let one_line = vec![b'x'; 50 << 20];
    let lines = b"no entry at all\n".repeat((50 << 20) / 16);
    let bytes: Vec<u8> = (0..5 << 20).map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for (verb, name) in [("check", "Procfile"), ("env", "ENV")] {
        for garbage in [&one_line, &lines, &bytes] {
            let (stdout, stderr, code) = Tool::new(&[verb]).file(name, garbage).run();
            assert_eq!((stdout.as_str(), code), ("", 1));
            assert!(stderr.starts_with(&format!("{name}:1:")), "{}", stderr.len());
            assert!(stderr.len() < 10_000, "{}", stderr.len());
        }
    }
}

#[test]
fn a_command_of_a_mebibyte_is_listed_whole() {
    let procfile = format!("web: {}\n", "x".repeat(1 << 20));
    Tool::new(&["list"]).file("Procfile", &procfile).prints(&procfile);
}

#[test]
fn a_reader_that_leaves_is_no_crash_and_a_full_disk_is_told() {
    let procfile = format!("web: {}\n", "x".repeat(1 << 20));
    let tool = Tool::new(&[]).file("Procfile", procfile);
    let run = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piku-procfile"));
        command.arg("list").current_dir(tool.path()).env_clear().stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the tool starts");
        // More is to come than a pipe holds, and nobody reads it.
        drop(child.stdout.take());
        let out = child.wait_with_output().expect("the tool ends");
        (String::from_utf8(out.stderr).expect("UTF-8"), out.status.code())
    };
    assert_eq!(run(Stdio::piped()), (String::new(), Some(0)));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    assert_eq!(
        run(full.into()),
        (
            "piku-procfile: cannot write to stdout: No space left on device (os error 28)\n".to_owned(),
            Some(1)
        )
    );
}
