//! `piku grant`: devices and sockets of the machine for one app.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::unistd::Uid;
use piku_tests::repo::SERVE;
use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::operator::operate::says;
use crate::own_users;

/// A socket in a directory of its own below /run, and a device; removed when dropped.
struct Machine {
    folder: PathBuf,
    device: PathBuf,
    _server: UnixListener,
}

impl Machine {
    /// `None`, said aloud, for who may not make them.
    fn new(name: &str) -> Option<Self> {
        if !Uid::current().is_root() {
            piku_tests::skip("only root can make a device and a directory in /run");
            return None;
        }
        let name = format!("piku-test-{name}-{}", std::process::id());
        let (folder, device) = (PathBuf::from("/run").join(&name), PathBuf::from("/dev").join(&name));
        fs::create_dir(&folder).expect("a directory");
        let server = UnixListener::bind(folder.join("server.sock")).expect("a socket");
        fs::set_permissions(folder.join("server.sock"), Permissions::from_mode(0o666)).expect("a mode");
        let machine = Self { folder, device, _server: server };
        // As /dev/zero.
        machine.mknod("666", &["c", "1", "5"]);
        Some(machine)
    }

    fn mknod(&self, permissions: &str, words: &[&str]) {
        let made = Command::new("mknod").args(["-m", permissions]).arg(&self.device).args(words).status();
        assert!(made.expect("mknod runs").success());
    }

    fn socket_folder(&self) -> &str {
        self.folder.to_str().expect("UTF-8")
    }

    fn device(&self) -> &str {
        self.device.to_str().expect("UTF-8")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(&self.device);
    }
}

/// Runs a verb as the operator does on the server; returns what was printed, stdout and stderr.
fn operator(world: &World, words: &[&str], code: i32) -> String {
    let out: Output = world.command(world.path("lib/piku")).args(words).output().expect("piku runs");
    let said = text(&out);
    assert_eq!(out.status.code(), Some(code), "{words:?}: {said}");
    said
}

fn settings(world: &World) -> String {
    fs::read_to_string(world.root().join("host.yaml")).expect("host.yaml")
}

#[test]
fn granted_socket_and_device_work() {
    let Some(machine) = Machine::new("use") else { return };
    let (socket, device) = (machine.socket_folder(), machine.device());
    let world = World::new();
    let connect = format!(
        "import socket\nsocket.socket(socket.AF_UNIX).connect(\"{socket}/server.sock\")\nprint(len(open(\"device\").read()) and \"connected\", flush=True)\nclass Page"
    );
    let repo = world.repo("blog");
    repo.serves("one\n").program("serve", SERVE.replace("class Page", &connect)).file("device", device);
    let hint =
        format!("blog may not use {socket}/server.sock; the operator can grant it: piku grant blog {socket}");
    repo.file("Procfile", "release: head -c 1 $(cat device) | grep .\nweb: ./serve\n").commit("One");
    let missing = format!("blog may not use {device}; the operator can grant it: piku grant blog {device}");
    repo.push().fails_with(&["Running the release task", &missing]);

    // Never by the app itself, nor by a key.
    repo.file("ENV", format!("GRANTS={socket}\ngrants={socket}\n")).file("Procfile", "web: ./serve\n");
    repo.commit("Two").push().fails_with(&["FileNotFoundError", &hint]);
    let said = says(&world, &format!("grant blog {socket}"), 2);
    assert!(said.contains("grant does not work over ssh; on the server: sudo piku grant"), "{said}");
    let before = settings(&world);
    let key = world
        .command(world.path("lib/piku"))
        .env("PIKU_KEY", "laptop")
        .args(["grant", "blog", socket])
        .output();
    assert_eq!(key.expect("piku runs").status.code(), Some(1));
    assert_eq!(settings(&world), before);

    let said = operator(&world, &["grant", "blog", socket], 0);
    assert!(said.contains(&format!("-----> blog may use {socket}\n")), "{said}");
    assert!(said.contains("it holds from the next start of each process"), "{said}");
    repo.push().succeeds();
    assert_eq!(world.page("blog"), "one\n");
    let pid = world.ps("blog")[0]["pid"].clone();
    let read = ["run", "blog", "sh", "-c", "head -c 3 $(cat device) | wc -c"];
    let said = operator(&world, &read, 0);
    assert!(said.contains("No such file"), "no device yet: {said}");

    let said = operator(&world, &["grant", "blog", device, socket], 0);
    assert!(!said.contains("it holds from"), "{said}");
    assert_ne!(world.ps("blog")[0]["pid"], pid, "the app was restarted");
    assert_eq!(operator(&world, &read, 0), "3\n");
    assert_eq!(operator(&world, &["grant", "blog"], 0), format!("{socket}\n{device}\n"));
    let ps = operator(&world, &["ps", "blog"], 0);
    assert!(ps.contains(&format!("Grants: {socket}, {device}\n")), "{ps}");
    // Another app sees neither.
    let other = world.repo("other");
    other.serves("other\n").commit("One").push().succeeds();
    let listed = operator(&world, &["run", "other", "ls", "/dev", "/run"], 0);
    assert!(!listed.contains("piku-test"), "{listed}");

    // The device is unplugged.
    fs::remove_file(&machine.device).expect("a device");
    operator(&world, &["restart", "blog"], 0);
    assert_eq!(world.page("blog"), "one\n");
    let remark = format!("{device} is granted, but does not exist on this machine; starting without it");
    wait_for("a line in the log", || operator(&world, &["logs", "blog"], 0).contains(&remark));
    let doctor =
        world.command(world.path("lib/doctor")).env("PIKU_ROOT", world.root()).output().expect("doctor");
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.contains(&format!("ok    grant: blog: {socket}\n")), "{doctor}");
    let warning =
        format!("warn  grant: blog: {device}: does not exist on this machine\n      fix: plug it in, ");
    assert!(doctor.contains(&warning), "{doctor}");

    let said = operator(&world, &["revoke", "blog", "/dev/other"], 1);
    assert!(
        said.contains(&format!("/dev/other is not granted to blog\nhint: it has: {socket}, {device}")),
        "{said}"
    );
    operator(&world, &["revoke", "blog", device], 0);
    let text = settings(&world);
    assert!(text.contains(&format!("grants:\n  blog: [{socket}]\n")), "{text}");
    // The next app of that name gets nothing.
    operator(&world, &["destroy", "blog", "--confirm", "blog"], 0);
    assert!(!settings(&world).contains("grants"), "{}", settings(&world));
}

#[test]
fn what_breaks_the_jail_is_refused() {
    let Some(machine) = Machine::new("refuse") else { return };
    let world = World::new();
    operator(&world, &["create", "blog"], 0);
    let before = settings(&world);
    let link = machine.folder.join("link");
    fs::set_permissions(&machine.folder, Permissions::from_mode(0o777)).expect("a mode");
    symlink("/etc/hostname", &link).expect("a link");
    let home = world.path("root/apps").display().to_string();
    // As /dev/mem, under another name.
    fs::remove_file(&machine.device).expect("a device");
    machine.mknod("600", &["c", "1", "1"]);
    let read_only = "/dev/null:ro";
    for (path, why) in [
        ("/", "is more than one app may have"),
        ("/dev", "is more than one app may have"),
        ("/sys", "is more than one app may have"),
        ("/proc/1", "shows and changes processes"),
        ("/etc/shadow:ro", "holds the passwords of the machine"),
        ("/etc/ssh/sshd_config", "holds the keys of the machine: '/etc/ssh'"),
        ("/var/run/docker.sock", "/run/docker.sock makes the app root on this machine"),
        ("/run/systemd/private", "controls the services of the machine"),
        ("/tmp/x", "cannot be granted: each app has temporary files of its own"),
        ("/usr/share", "need not be granted"),
        (read_only, "cannot be granted: each app has it already"),
        (machine.device(), "is the memory of the machine"),
        (link.to_str().expect("UTF-8"), "which others than root can change"),
        (&home, "cannot be granted: each app has temporary files"),
        ("/run/piku-test-none", "does not exist on this machine"),
        ("relative", "expected an absolute path without '..'"),
        ("/dev/../etc/shadow", "expected an absolute path without '..'"),
    ] {
        let out =
            world.command(world.path("lib/piku")).args(["grant", "blog", path]).output().expect("piku runs");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(why), "{path}: {said}");
    }
    assert_eq!(settings(&world), before);
    let said = operator(&world, &["grant", "blogs", machine.socket_folder()], 1);
    assert!(said.contains("there is no app 'blogs'\nhint: did you mean 'blog'?"), "{said}");

    // Who edits host.yaml by hand is not let through either: the app starts without it.
    let forbidden = format!("{before}grants: {{blog: [{}, /etc/shadow]}}\n", machine.device());
    fs::write(world.root().join("host.yaml"), forbidden).expect("host.yaml");
    world.repo("blog").serves("one\n").commit("One").push().succeeds();
    let listed = operator(&world, &["run", "blog", "ls", "/dev", "/etc"], 0);
    assert!(listed.contains("is granted, but is the memory of the machine; starting without it"), "{listed}");
    assert!(!listed.contains("\nshadow\n") && !listed.contains("\npiku-test"), "{listed}");
}

#[test]
fn access_is_tried_before_it_is_granted() {
    let Some(machine) = Machine::new("access") else { return };
    let world = World::new();
    operator(&world, &["create", "blog"], 0);
    let before = settings(&world);
    fs::set_permissions(&machine.device, Permissions::from_mode(0o600)).expect("a mode");
    let said = operator(&world, &["grant", "blog", machine.socket_folder(), machine.device()], 1);
    let why = format!("blog could not use {}: its owner and mode do not let piku's user\n", machine.device());
    assert!(
        said.contains(&why) && said.contains("hint: a udev rule opens it: echo 'KERNEL==\"piku-test"),
        "{said}"
    );
    assert_eq!(settings(&world), before, "all or none");

    // The group of serial ports on every Debian.
    let chgrp = Command::new("chgrp").arg("dialout").arg(&machine.device).status();
    assert!(chgrp.expect("chgrp runs").success());
    fs::set_permissions(&machine.device, Permissions::from_mode(0o660)).expect("a mode");
    let said = operator(&world, &["grant", "blog", machine.device()], 1);
    let how = format!("hint: sudo usermod -aG dialout {}; sudo systemctl restart piku", world.user());
    assert!(said.contains(&how), "{said}");

    fs::set_permissions(&machine.device, Permissions::from_mode(0o664)).expect("a mode");
    let said = operator(&world, &["grant", "blog", machine.device()], 0);
    assert!(
        said.contains(&format!("blog can only read {}; to let it write: sudo usermod", machine.device())),
        "{said}"
    );
    let said = operator(&world, &["grant"], 0);
    assert!(
        said.contains(&format!(
            "blog: {}\n    why:  lacks the rights of its group dialout\n",
            machine.device()
        )),
        "{said}"
    );
}

#[test]
fn own_user_needs_the_group_of_a_device() {
    let Some(machine) = Machine::new("own") else { return };
    let Some(world) = own_users::world() else { return };
    let device = machine.device();
    world.repo("blog").serves("one\n").commit("One").push().succeeds();
    operator(&world, &["grant", "blog", device, machine.socket_folder()], 0);
    let read = ["run", "blog", "sh", "-c", &format!("id -u; head -c 3 {device} | wc -c")];
    let said = operator(&world, &read, 0);
    assert!(said.ends_with("\n3\n"), "{said}");

    let chgrp = Command::new("chgrp").arg("dialout").arg(device).status();
    assert!(chgrp.expect("chgrp runs").success());
    fs::set_permissions(device, Permissions::from_mode(0o660)).expect("a mode");
    let said = operator(&world, &["grant", "blog", device], 1);
    assert!(
        said.contains("do not let the app's own user (app_users: own)\nhint: sudo usermod --add-subgids "),
        "{said}"
    );
    let said = operator(&world, &read, 0);
    assert!(
        said.contains(&format!("{device} is granted, but not the rights of its group dialout: sudo")),
        "{said}"
    );
    assert!(said.contains("\n0\n"), "{said}");
}
