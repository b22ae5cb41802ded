//! Files that cannot be read, huge files, and readers that leave.

use std::process::{Command, Stdio};

use piku_tests::snapshot::str;

use crate::PROCFILE;
use crate::support::Tool;

#[test]
fn a_file_that_cannot_be_read_is_one_clear_line() {
    Tool::new(&["check"]).says(
        1,
        str![[r#"
piku-procfile: there is no file 'Procfile'
hint: a Procfile has a line per process type, such as 'web: gunicorn app:app'

"#]],
    );
    Tool::new(&["check"]).file("procfile", "web: x\n").says(
        1,
        str![[r#"
piku-procfile: there is no file 'Procfile'
hint: 'procfile' is not read: rename it to 'Procfile'
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
            "piku-procfile: cannot write to stdout: No space left on device (os error 28)\nhint: free some space: \
             'df -h' and 'df -i' show which disk is full, 'piku gc' removes what no app needs\n"
                .to_owned(),
            Some(1)
        )
    );
}
