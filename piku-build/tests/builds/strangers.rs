//! Apps that mean no good, and names and texts that no program was written for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use piku_tests::snapshot::str;

use crate::support::{Ran, World, until};
use nix::sys::signal::kill;
use nix::unistd::Pid;

#[test]
fn without_a_jail_too_nothing_outlives_its_step() {
    let world = World::new(&[("Procfile", "web: ./run.sh\npreflight: sh ./away.sh\n")]).without_jail();
    world.executable("run.sh", "#!/bin/sh\n");
    world.write(
        "away.sh",
        "setsid sh -c 'echo pid $$; echo > here; exec sleep 1000' &\nwhile [ ! -e here ]; do :; done\nexit 3\n",
    );
    let ran = world.build("1");
    ran.fails(str![[r#"
piku-build: step 'preflight' failed with exit code 3

"#]]);
    let pid = ran.stderr.lines().find_map(|line| line.strip_prefix("       pid ")).expect("the pid");
    let pid = Pid::from_raw(pid.parse().unwrap());
    until("the process is gone", || kill(pid, None).is_err());
}

#[test]
fn nothing_of_the_apps_reaches_a_terminal_as_more_than_text() {
    let world = World::new(&[("\u{1b}]0;title\u{7}", ""), ("two\rlines", "")]);
    let ran = world.build("1");
    ran.fails(str![[r#"
piku-build: no runtime fits this app; looked for:
...
found at its top: �]0;title�, two�lines
hint: the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'

"#]]);
    assert!(ran.stderr.chars().all(|c| c == '\n' || !c.is_control()), "{ran}");
    let world = World::new(&[
        ("Procfile", "web: python app.py\n"),
        ("app.py", ""),
        ("ENV", "PYTHON_VERSION=\"3\u{202e}\\r\"\n"),
    ]);
    let ran = world.build("1");
    ran.fails(str![[r#"
 !     ENV:1:18: warning: an invisible character (U+202E) that changes the order of the line in many editors and terminals
piku-build: PYTHON_VERSION in ENV asks for Python '3�': '3�' is not a version
hint: examples: 3.12, 3.12.1, python-3.12.1, >=3.11,<3.14

"#]]);
    assert!(ran.stderr.chars().all(|c| c == '\n' || c != '\u{202e}' && !c.is_control()), "{ran}");
}

#[test]
fn a_message_that_is_no_utf_8_stops_no_build() {
    let world = World::new(&[("Procfile", "web: ./run.sh\n")]);
    world.executable("run.sh", "#!/bin/sh\n");
    let mut command = world.build_command("1", &[]);
    command.arg("--subject").arg(OsStr::from_bytes(b"caf\xe9")).arg("--by").arg(OsStr::from_bytes(b"\xff"));
    Ran::of(command.output().unwrap()).good(&[]);
    assert_eq!(world.release("1").subject, "caf\u{fffd}");
}
