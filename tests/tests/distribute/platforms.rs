//! Machines that are not Debian 13: older programs and kernels with less, played on this one. docs/platforms.md says what holds there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use piku_tests::nginx::Ports;
use piku_tests::world::World;

/// Runs a command without some system calls; the file says how.
const WITHOUT: &str = include_str!("../../src/kernel.py");

/// Plays nginx 1.18, which Ubuntu 22.04 has: it knows neither `-e` (1.19.5) nor `ssl_reject_handshake` (1.19.4).
const NGINX_1_18: &str = r#"#!/bin/sh
[ "$1" != -V ] || { echo "nginx version: nginx/1.18.0 (Ubuntu)" >&2; exit; }
file=
for word in "$@"; do
    case $word in
        -e) echo 'nginx: invalid option: "e"' >&2; exit 1 ;;
        *.conf) file=$word ;;
    esac
done
echo 'nginx: [alert] could not open error log file: open() "/var/log/nginx/error.log" failed (13: Permission denied)' >&2
if grep -q ssl_reject_handshake "$file"; then
    echo "nginx: [emerg] unknown directive \"ssl_reject_handshake\" in $file:9" >&2
    exit 1
fi
PATH=/usr/sbin:/usr/bin:/bin exec nginx "$@"
"#;

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Asks whether nginx takes what piku writes for it, by this `piku-run nginx --check`.
fn is_taken(check: &mut Command) {
    let out = check.args(["nginx", "--check"]).output().expect("piku-run runs");
    assert!(out.status.success(), "{}", said(&out));
}

#[test]
fn nginx_1_18_accepts_rendered_files() {
    let world = World::with_settings(&Ports::free().settings(""));
    let folder = world.path("old");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("nginx"), NGINX_1_18).expect("a script");
    fs::set_permissions(folder.join("nginx"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = format!("{}:/usr/bin:/bin:/usr/sbin", folder.display());
    is_taken(world.tool("piku-run").env("PATH", path));
    // Whoever asks for a host that no app has is shown a certificate that is for no host.
    assert!(world.root().join("acme/unknown-host/current/certificate.pem").is_file());

    let new = World::with_settings(&Ports::free().settings(""));
    is_taken(&mut new.tool("piku-run"));
    assert!(!new.root().join("acme/unknown-host").exists(), "a newer one needs none");
}

#[test]
fn nginx_uses_ipv4_without_ipv6_kernel() {
    let Ports { http, https } = Ports::free();
    let both = |port: u16| format!("['127.0.0.1:{port}', '[::1]:{port}']");
    let world = World::with_settings(&format!("nginx: {{http: {}, https: {}}}\n", both(http), both(https)));
    let kernel = world.path("kernel.py");
    fs::write(&kernel, WITHOUT).expect("a script");
    let mut check = world.command("/usr/bin/python3");
    check.arg(kernel).args(["socket:10=EAFNOSUPPORT", "--"]).arg(world.tool("piku-run").get_program());
    is_taken(&mut check);
}

/// Returns doctor's report on a machine that this script has changed, in a mount namespace; it must contain `wanted`, with the way
/// out below.
fn doctor_says(world: &World, machine: &str, chroot: Option<&str>, wanted: &str, fix: &str) {
    let mut doctor = world.command("unshare");
    let script = format!("set -e; {machine}; \"$1\" || :");
    doctor.args(["-Urmpf", "--mount-proc", "sh", "-c", &script, "sh"]).arg(world.path("lib/doctor"));
    if let Some(program) = chroot {
        doctor.env("PIKU_CHROOT", program);
    }
    let out = doctor.output().expect("unshare runs");
    let text = String::from_utf8(out.stdout.clone()).expect("text");
    let line = text.lines().skip_while(|line| !line.starts_with(wanted)).nth(1);
    let has_fix = line.is_some_and(|line| line.starts_with("      fix: ") && line.contains(fix));
    assert!(has_fix, "{machine}: no '{wanted}' with '{fix}' in:\n{text}{}", said(&out));
}

#[test]
fn doctor_explains_memory_cgroup() {
    let world = World::new();
    let off = "mount -t tmpfs t /sys/fs/cgroup; echo cpu pids >/sys/fs/cgroup/cgroup.controllers; mount -t tmpfs t /boot";
    let wanted = "warn  memory limits: the memory cgroup is off, each process is limited individually";
    // Raspberry Pi OS since Debian 12, and before.
    for (files, file) in [
        (
            "mkdir /boot/firmware; : >/boot/firmware/cmdline.txt; : >/boot/cmdline.txt",
            "/boot/firmware/cmdline.txt",
        ),
        (": >/boot/cmdline.txt", "/boot/cmdline.txt"),
    ] {
        let fix = format!("add cgroup_enable=memory at the end of the line in {file}, then reboot");
        doctor_says(&world, &format!("{off}; {files}"), None, wanted, &fix);
    }
    // Elsewhere by what this kernel says of it.
    let cgroups = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let is_v1 = cgroups.lines().any(|line| line.starts_with("memory\t") && !line.starts_with("memory\t0\t"));
    let fix = if is_v1 { "cgroup v1 has the memory controller" } else { "" };
    doctor_says(&world, off, None, wanted, fix);
    let old = "mount -t tmpfs t /sys/fs/cgroup; mkdir /sys/fs/cgroup/memory";
    doctor_says(
        &world,
        old,
        None,
        "warn  memory limits: no cgroup v2,",
        "systemd.unified_cgroup_hierarchy=0",
    );
}

#[test]
fn doctor_reports_unsuitable_disk() {
    let world = World::new();
    let root = world.root().display().to_string();
    let noexec = format!("mount --bind {root} {root}; mount -o remount,bind,noexec {root}");
    let wanted = format!("FAIL  disk: {root} is mounted noexec");
    doctor_says(&world, &noexec, None, &wanted, "/etc/fstab");
    let memory = format!("mount -t tmpfs t {root}");
    let wanted = format!("warn  disk: {root} is in memory");
    doctor_says(&world, &memory, None, &wanted, "put it on a disk");
}

#[test]
fn doctor_reports_apparmor_restriction() {
    let world = World::new();
    let program = world.path("refused");
    let report =
        r#"{"event":"ended","exit_code":125,"memory_peak_bytes":null,"oom_kills":0,"obstacle":"absent"}"#;
    let script =
        format!("#!/bin/sh\necho '{report}'\necho 'piku-chroot: AppArmor forbids it' >&2\nexit 125\n");
    fs::write(&program, script).expect("a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    let on = "mount -t tmpfs t /proc/sys/kernel; echo 1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns; \
              mount -t tmpfs t /etc/apparmor.d 2>/dev/null || :";
    let wanted = "FAIL  protection: namespaces: lost since it was recorded: ";
    doctor_says(&world, on, program.to_str(), wanted, "AppArmor allows them only to programs with a profile");
}

#[test]
fn doctor_reports_hidepid() {
    let world = World::new();
    let wanted = "FAIL  processes: hidepid hides the apps' processes from ";
    doctor_says(&world, "mount -o remount,hidepid=2 /proc", None, wanted, "in /etc/fstab, or remove hidepid");
}
