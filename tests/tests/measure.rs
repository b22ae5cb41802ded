//! `measure-small` with a host that a script plays: what it was told of the host's memory becomes rows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use piku_tests::tools::repository;

/// Takes the pushes of git, and answers the sampler with two samples.
fn play_host(place: &Path) {
    let samples = "MemAvailable:  100000 kB\nSwapFree:  0 kB\n/proc/1/comm:init\n/proc/1/smaps_rollup:Pss:  2000 kB\nend\n\
        MemAvailable:  90000 kB\nSwapFree:  0 kB\n/proc/1/comm:init\n/proc/2/comm:git\n/proc/3/comm:python3\n\
        /proc/1/smaps_rollup:Pss:  2000 kB\n/proc/2/smaps_rollup:Pss:  9000 kB\n/proc/3/smaps_rollup:Pss:  90000 kB\nend\n";
    fs::write(place.join("samples"), samples).expect("samples");
    let script = format!(
        "#!/bin/sh\nfor command do :; done\ncd '{}'\ncase $command in\n\
        *git-receive-pack*) app=${{command#*\\'}}; app=${{app%\\'}}; git init -q --bare \"$app\"; exec git receive-pack \"$app\" ;;\n\
        'sh /run/'*) cat samples ;;\nesac\n",
        place.display()
    );
    fs::write(place.join("ssh"), script).expect("ssh");
    fs::set_permissions(place.join("ssh"), fs::Permissions::from_mode(0o755)).expect("its mode");
}

#[test]
fn memory_of_a_push_is_a_row() {
    let place = tempfile::tempdir().expect("a folder");
    play_host(place.path());
    let output = Command::new("sh")
        .arg(repository().join("scripts/measure-small"))
        .args(["host.invalid", "flask"])
        .env("MEASURE_SSH", place.path().join("ssh"))
        .output()
        .expect("measure-small runs");
    let (said, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{talk}");
    for what in ["first push", "redeploy"] {
        let row = said.lines().find(|line| line.starts_with(&format!("| flask, {what} | ")));
        let row = row.unwrap_or_else(|| panic!("no row of the {what}: {said}{talk}"));
        assert!(row.ends_with(" | 97 | 88 | 0 | python3 88, git 9 |"), "{row}");
    }
}
