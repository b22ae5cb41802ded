//! `piku doctor` says which protections hold, which were lost, and how to mend that.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use piku_tests::world::World;

/// The lines of doctor that are about protections, each followed by how to mend it.
fn protections(world: &World, words: &[&str], chroot: Option<&str>) -> Vec<String> {
    let mut doctor = world.command(world.path("lib/doctor"));
    doctor.args(words).env("PIKU_ROOT", world.root());
    if let Some(program) = chroot {
        doctor.env("PIKU_CHROOT", program);
    }
    let out = doctor.output().expect("doctor runs");
    let said = String::from_utf8(out.stdout).expect("text");
    let mut lines = Vec::new();
    let mut ours = false;
    for line in said.lines() {
        ours = line.contains("  protection") || ours && line.starts_with("      fix:");
        if ours {
            lines.push(line.to_owned());
        }
    }
    assert!(!lines.is_empty(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    lines
}

/// A piku-chroot that ends as one does that can make no jail.
fn broken(world: &World, obstacle: &str) -> String {
    let program = world.path("broken-chroot");
    let report = format!(
        r#"{{"event":"ended","exit_code":125,"memory_peak_bytes":null,"oom_kills":0,"obstacle":"{obstacle}"}}"#
    );
    let script = format!(
        "#!/bin/sh\necho '{report}'\necho 'piku-chroot: it is off\nhint: switch it on' >&2\nexit 125\n"
    );
    fs::write(&program, script).expect("a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    program.to_str().expect("UTF-8").to_owned()
}

fn recorded(world: &World) -> String {
    let text = fs::read_to_string(world.root().join("host.yaml")).expect("host.yaml");
    text.lines().find(|line| line.starts_with("protections:")).expect("a record").to_owned()
}

#[test]
fn doctor_reports_lost_protections() {
    let world = World::new();
    let holds = protections(&world, &[], None);
    assert!(holds.iter().any(|line| line == "ok    protection: namespaces"), "{holds:#?}");
    let before = recorded(&world);
    assert!(before.contains("namespaces"), "{before}");

    let absent = broken(&world, "absent");
    let lost = protections(&world, &["--quiet"], Some(&absent));
    assert!(lost[0].starts_with("FAIL  protection: namespaces: lost since it was recorded: "), "{lost:#?}");
    assert!(lost[1].ends_with("if that is intended: sudo piku doctor --record"), "{lost:#?}");

    let shortage = protections(&world, &["--record"], Some(&broken(&world, "temporary")));
    assert!(shortage[0].contains("no jail can be made now: it is off"), "{shortage:#?}");
    assert_eq!(recorded(&world), before, "a shortage is not recorded");

    let absent = broken(&world, "absent");
    let without = protections(&world, &["--record"], Some(&absent));
    assert!(without[0].starts_with("warn  protection: namespaces: "), "{without:#?}");
    assert!(without[0].ends_with("; apps run without a jail"), "{without:#?}");
    assert_eq!(recorded(&world), "protections: []");

    // A machine that has more than is recorded is proposed to record it again.
    let more = protections(&world, &[], None);
    assert!(more[0].starts_with("warn  protection: namespaces: works, but is not recorded"), "{more:#?}");
    assert!(more[1].ends_with("sudo piku doctor --record"), "{more:#?}");
    protections(&world, &["--record"], None);
    assert_eq!(recorded(&world), before);
}

/// Makes the account of the world that of the installation, for its scripts.
fn install_for(world: &World) {
    let path = world.path("lib/installation");
    let text = fs::read_to_string(&path).expect("a script");
    fs::write(&path, format!("{text}\naccount() {{ echo {}; }}\n", world.user())).expect("a script");
}

#[test]
fn doctor_reports_bad_settings_once() {
    let world = World::new();
    let settings = world.root().join("host.yaml");
    let before = fs::read_to_string(&settings).expect("host.yaml");
    fs::write(&settings, format!("{before}no_such: 1\n")).expect("host.yaml");
    let mut doctor = world.command(world.path("lib/doctor"));
    let out = doctor.arg("--quiet").env("PIKU_ROOT", world.root()).output().expect("doctor runs");
    let said = String::from_utf8(out.stdout).expect("text");
    assert!(said.contains("FAIL  settings: bad settings in '"), "{said}");
    assert!(
        said.contains("\n      fix: correct it there, then: sudo systemctl restart piku piku-nginx\n"),
        "{said}"
    );
    assert_eq!(said.matches("bad settings in").count(), 1, "{said}");
}

#[test]
fn doctor_changes_no_owner_through_a_link() {
    let world = World::new();
    if fs::metadata("/proc/self").expect("a process").uid() != 0 {
        piku_tests::skip("only root changes owners");
        return;
    }
    let kept = world.path("kept");
    fs::create_dir(&kept).expect("a folder");
    fs::write(kept.join("authorized_keys"), "").expect("a file");
    install_for(&world);
    let script = fs::read_to_string(world.path("lib/doctor")).expect("doctor");
    let part = |from: &str, to: &str| {
        let begin = script.find(from).expect(from);
        let end = begin + script[begin..].find(to).expect(to);
        script[begin..end].to_owned()
    };
    let own = part("own_files() {", "# close_path");
    let home = world.path("owned");
    fs::create_dir(&home).expect("a folder");
    std::os::unix::fs::symlink(&kept, home.join(".ssh")).expect("a link");
    fs::write(home.join("plain"), "").expect("a file");
    let run = |path: &Path| {
        let line = format!("repair() {{ \"$@\"; }}; user=$1 home=$2\n{own}\nown_path \"$3\"");
        let status =
            Command::new("sh").args(["-euc", &line, "sh", world.user()]).arg(&home).arg(path).status();
        assert!(status.expect("sh").success());
    };
    run(&home.join(".ssh/authorized_keys"));
    run(&home.join(".ssh"));
    assert_eq!(access(&kept.join("authorized_keys")).1, 0);
    assert_eq!(access(&kept).1, 0);
    if fs::read_to_string("/proc/sys/fs/protected_hardlinks").is_ok_and(|on| on.trim() == "1") {
        run(&home.join("plain"));
        assert_eq!(access(&home.join("plain")).1, access(&world.root()).1);
    }
}

/// Returns the mode and the owner of a path.
fn access(path: &Path) -> (u32, u32) {
    let meta = fs::metadata(path).expect("a path");
    (meta.mode() & 0o777, meta.uid())
}

#[test]
fn doctor_repairs_what_is_piku_s() {
    let world = World::new();
    let root = world.root();
    let owner = access(&root).1;
    let doctor = |words: &[&str]| {
        let mut doctor = Command::new(world.path("lib/doctor"));
        doctor.args(words).env_clear().env("PIKU_ROOT", &root).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        let out = doctor.output().expect("doctor runs");
        assert!(out.stderr.is_empty(), "{out:?}");
        String::from_utf8(out.stdout).expect("text")
    };
    // Its user is not that of an installation.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("a mode");
    for words in [&["--fix"][..], &["--fix", "--dry-run"]] {
        let mut other = Command::new(world.path("lib/doctor"));
        let out = other.args(words).env("PIKU_ROOT", &root).output().expect("doctor runs");
        assert_eq!(out.status.code(), Some(1), "{out:?}");
        assert!(out.stdout.is_empty(), "{out:?}");
        assert!(String::from_utf8_lossy(&out.stderr).starts_with("doctor: --fix repairs only "), "{out:?}");
    }
    assert_eq!(access(&root), (0o755, owner), "another account's directory is left alone");
    install_for(&world);
    let app = root.join("apps/blog");
    assert!(world.command("mkdir").arg("-p").arg(&app).status().expect("mkdir").success());
    // As commands of root leave them, if these tests run as root.
    let (left, linked, other) = (app.join("config.json"), app.join("formation.json"), world.path("other"));
    fs::write(&left, "{}").expect("a file");
    fs::write(&linked, "{}").expect("a file");
    fs::hard_link(&linked, &other).expect("a link");
    let own = access(&left).1;

    let said = doctor(&["--fix", "--dry-run"]);
    let shown = format!("      would run: as {}: chmod 700 -- {}\n", world.user(), root.display());
    assert!(said.contains(&shown) && !said.contains(" runs: "), "{said}");
    assert_eq!((access(&root), access(&left).1), ((0o755, owner), own), "a dry run changes nothing");

    let said = doctor(&["--fix"]);
    assert!(said.contains(&shown.replace("would run", "runs")), "{said}");
    let after = said.split_once("----> After the repairs\n").expect("another check").1;
    assert!(!after.contains("mode 755"), "{said}");
    assert_eq!(access(&root), (0o700, owner));
    let is_protected =
        fs::read_to_string("/proc/sys/fs/protected_hardlinks").is_ok_and(|on| on.trim() == "1");
    assert_eq!(access(&left).1, if is_protected { owner } else { own }, "{said}");
    assert_eq!(access(&other).1, own, "a file with another name is left alone");

    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("a mode");
    let mut piku = Command::new(world.path("lib/piku"));
    piku.args(["doctor", "--fix", "--format", "json"]).env_clear().env("PIKU_ROOT", &root);
    let out = piku.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").output().expect("doctor runs");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&out.stdout).expect("JSON");
    let states = |check: &str| -> Vec<&str> {
        let is = |row: &&serde_json::Value| row["check"].as_str().is_some_and(|text| text.ends_with(check));
        rows.iter().filter(is).filter_map(|row| row["state"].as_str()).collect()
    };
    let place = format!("root: {}", root.display());
    assert_eq!(
        (states(&place), states("/pre-receive")),
        (vec!["ok"], vec!["ok"]),
        "after the repairs: {rows:#?}"
    );
    assert!(states("mode 755").is_empty(), "{rows:#?}");

    let mut alone = Command::new(world.path("lib/doctor"));
    let out = alone.arg("--dry-run").output().expect("doctor runs");
    assert_eq!(out.status.code(), Some(2), "{out:?}");
}

#[test]
fn doctor_of_a_user_without_apps_names_the_account_that_has_them() {
    let world = World::new();
    let path = world.path("lib/installation");
    let text = fs::read_to_string(&path).expect("a script");
    let home = world.path("home-without-piku");
    fs::write(
        &path,
        format!("{text}\naccount() {{ echo another; }}\nhome_of() {{ echo '{}'; }}\n", home.display()),
    )
    .expect("a script");
    let mut doctor = world.command(world.path("lib/doctor"));
    let out = doctor.env_remove("PIKU_ROOT").output().expect("doctor runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(out.stdout.is_empty() && !home.exists(), "{out:?}");
    assert!(said.starts_with("doctor: piku runs as the user 'another' on this machine, and '"), "{said}");
    assert!(said.ends_with("hint: sudo piku doctor\n"), "{said}");
}

/// Returns doctor's report on a machine with this memory in megabytes, as its kernel would report it.
fn memory(world: &World, [total, available, swap]: [u64; 3], swaps: &str, words: &[&str]) -> Vec<String> {
    let proc = world.path("proc");
    fs::create_dir_all(&proc).expect("a folder");
    let meminfo = format!(
        "MemTotal: {} kB\nMemFree: 1 kB\nMemAvailable: {} kB\nSwapTotal: {swap} kB\nSwapFree: {swap} kB\n",
        total * 1024,
        available * 1024,
        swap = swap * 1024
    );
    fs::write(proc.join("meminfo"), meminfo).expect("a file");
    fs::write(proc.join("swaps"), format!("Filename Type Size Used Priority\n{swaps}")).expect("a file");
    let mut doctor = world.command(world.path("lib/doctor"));
    let out = doctor.args(words).env("PIKU_ROOT", world.root()).env("PIKU_PROC", proc).output();
    let said = String::from_utf8(out.expect("doctor runs").stdout).expect("text");
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let at = lines.iter().position(|line| line.contains("  memory: "));
    at.map_or_else(Vec::new, |at| lines[at..].iter().take(2).cloned().collect())
}

#[test]
fn doctor_reports_builds_that_lack_memory() {
    let world = World::new();
    let said = memory(&world, [225, 172, 0], "", &["--quiet"]);
    let expected =
        "warn  memory: 225 MB and no swap, 172 MB for builds; builds of some languages need more: Node 200, ";
    assert!(said[0].starts_with(expected), "{said:#?}");
    assert!(said[1].starts_with("      fix: sudo apt-get install systemd-zram-generator"), "{said:#?}");
    assert!(said[1].contains("deploy_to"), "{said:#?}");

    let said = memory(&world, [225, 172, 112], "/dev/zram0 partition 114684 0 100\n", &[]);
    assert!(said[0].contains("and 112 MB of swap, in zram, 284 MB for builds; "), "{said:#?}");
    assert!(!said[0].contains("Node") && said[0].contains("Rust"), "{said:#?}");
    assert!(said[1].contains("add a swap file") && !said[1].contains("zram"), "{said:#?}");

    let said = memory(&world, [100, 60, 2000], "/var/swap file 2048000 0 -2\n", &[]);
    assert_eq!(said[0], "ok    memory: 100 MB and 2000 MB of swap, 2060 MB for builds");
    let said = memory(&world, [3800, 3000, 0], "", &[]);
    assert_eq!(said[0], "ok    memory: 3800 MB and no swap, 3000 MB for builds");
    assert!(memory(&world, [3800, 3000, 0], "", &["--quiet"]).is_empty());
}
