//! `measure-small` with a host that a script plays: what it is told of the host's memory becomes rows.

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
    let instances = "[\n  {\n    \"app\": \"measure-small-flask\",\n    \"instance\": \"web.1\",\n    \"type\": \"web\",\n    \
        \"pid\": 12,\n    \"port\": 20000,\n    \"release\": 2\n  }\n]\n";
    fs::write(place.join("instances"), instances).expect("instances");
    let script = format!(
        "#!/bin/sh\nfor command do :; done\ncd '{}'\ncase $command in\n\
        *git-receive-pack*) app=${{command#*\\'}}; app=${{app%\\'}}; git init -q --bare \"$app\"; exec git receive-pack \"$app\" ;;\n\
        'sh /run/'*) cat samples ;;\n'piku ps'*) cat instances ;;\n*'requests to the app that serves'*) echo \"asked ${{command##*kill}}\" ;;\nesac\n",
        place.display()
    );
    fs::write(place.join("ssh"), script).expect("ssh");
    fs::set_permissions(place.join("ssh"), fs::Permissions::from_mode(0o755)).expect("its mode");
}

#[test]
fn measure_small_prints_memory_row() {
    let place = tempfile::tempdir().expect("a folder");
    play_host(place.path());
    let output = Command::new("sh")
        .arg(repository().join("scripts/measure-small"))
        .args(["host.invalid", "flask", "eat"])
        .env("MEASURE_SSH", place.path().join("ssh"))
        .output()
        .expect("measure-small runs");
    let (said, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{talk}");
    for what in ["flask, first push", "flask, redeploy", "a build that eats all memory"] {
        let row = said.lines().find(|line| line.starts_with(&format!("| {what} | ")));
        let row = row.unwrap_or_else(|| panic!("no row of the {what}: {said}{talk}"));
        assert!(row.ends_with(" | 97 | 88 | 0 | python3 88, git 9 |"), "{row}");
    }
    assert!(
        said.contains("asked  -0 12 "),
        "the process of the app that serves is looked at afterwards: {said}{talk}"
    );
}
