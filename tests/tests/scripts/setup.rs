//! `piku setup` chooses keys, and `prepare` sees when apt was killed: the scripts with the programs that they call faked on PATH.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use piku_tests::snapshot::text;
use piku_tests::tools::repository;
use tempfile::TempDir;

/// A machine whose programs are partly faked.
struct FakeMachine {
    dir: TempDir,
}

impl FakeMachine {
    /// Root calls; there are `alice` and `root` with homes of their own, and no user that piku runs as.
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().expect("a folder") };
        fs::create_dir_all(machine.path("bin")).expect("bin");
        for user in ["alice", "root"] {
            fs::create_dir_all(machine.path(user).join(".ssh")).expect(user);
        }
        machine.fake("id", r#"case "$1" in -u) echo 0 ;; *) echo 1000 ;; esac"#);
        let homes = machine.dir.path().display();
        machine.fake(
            "getent",
            &format!(
                "case \"$1 $2\" in 'passwd alice' | 'passwd root') echo \"$2:x:1000:1000::{homes}/$2:/bin/sh\" ;; *) exit 2 ;; esac"
            ),
        );
        machine.fake(
            "setpriv",
            "while :; do case $1 in --re*) shift 2 ;; --*) shift ;; *) break ;; esac; done\nexec \"$@\"",
        );
        machine
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// A program that is found first on PATH.
    fn fake(&self, name: &str, text: &str) {
        let file = self.path("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect(name);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect(name);
    }

    /// A public key on the machine with this comment; its line.
    fn key(&self, comment: &str) -> String {
        let file = self.path(&format!("key-{}", comment.replace('/', "-")));
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
            .arg(&file)
            .status()
            .expect("ssh-keygen runs");
        assert!(made.success());
        fs::read_to_string(file.with_extension("pub")).expect("the public key").trim().to_owned()
    }

    /// `piku setup --dry-run` as it would be installed.
    fn setup(&self, words: &[&str], caller: Option<&str>) -> Output {
        let place = self.path("lib/piku");
        fs::create_dir_all(&place).expect("lib/piku");
        let copied = Command::new("cp").arg("-r").arg(repository().join("scripts/.")).arg(&place).status();
        assert!(copied.expect("cp runs").success());
        let mut setup = Command::new("sh");
        setup.arg(place.join("setup")).arg("--dry-run").args(words).env_remove("SSH_CONNECTION");
        setup.env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.path("bin").display()));
        match caller {
            Some(name) => setup.env("SUDO_USER", name),
            None => setup.env_remove("SUDO_USER"),
        };
        setup.output().expect("setup runs")
    }
}

/// The names of the keys that would be let in.
fn names(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", text(output));
    let said = text(output);
    let lines = said.lines().filter_map(|line| line.split_once("piku-receive key add "));
    lines.map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn setup_adds_callers_keys_without_options() {
    let machine = FakeMachine::new();
    let lines = [
        "# a comment".to_owned(),
        machine.key("alice@laptop"),
        format!("from=\"192.0.2.0/24\" {}", machine.key("restricted")),
        format!("command=\"backup\",no-pty {}", machine.key("robot")),
        String::new(),
        machine.key("not/a/name"),
        "ssh-ed25519 rubbish broken".to_owned(),
    ];
    fs::write(machine.path("alice/.ssh/authorized_keys"), lines.join("\n")).expect("keys");

    let output = machine.setup(&[], Some("alice"));
    assert_eq!(names(&output), ["alice@laptop", "alice"], "{}", text(&output));
    for left_out in ["restricted", "robot"] {
        let line = format!("skipped, has options (from=, command= or others): {left_out}");
        assert!(text(&output).contains(&line), "{}", text(&output));
    }
    assert!(
        text(&output).contains("skipped, not an ssh public key: ssh-ed25519 rubbish"),
        "{}",
        text(&output)
    );

    assert_eq!(names(&machine.setup(&["--no-key"], Some("alice"))), [""; 0]);
    assert_eq!(names(&machine.setup(&["--configure"], Some("alice"))), [""; 0], "a package lets nobody in");
    assert_eq!(names(&machine.setup(&[], None)), [""; 0], "nobody is known to call");
}

#[test]
fn setup_adds_roots_keys_under_sudo() {
    let machine = FakeMachine::new();
    fs::write(machine.path("root/.ssh/authorized_keys"), machine.key("me@laptop")).expect("keys");
    fs::write(machine.path("alice/.ssh/authorized_keys"), machine.key("alice@laptop")).expect("keys");
    let output = machine.setup(&[], Some("root"));
    assert_eq!(names(&output), ["me@laptop"], "{}", text(&output));
    assert_eq!(names(&machine.setup(&["--configure"], Some("root"))), [""; 0], "a package lets nobody in");
}

#[test]
fn setup_names_each_key() {
    let machine = FakeMachine::new();
    fs::write(machine.path("alice/.ssh/authorized_keys"), machine.key("alice@laptop")).expect("keys");
    let (one, two) = (machine.path("one.pub"), machine.path("two.pub"));
    fs::write(&one, machine.key("first@desk")).expect("a key");
    fs::write(&two, format!("{}\n{}\n", machine.key("second@desk"), machine.key("third@desk")))
        .expect("keys");
    let (one, two) = (one.to_str().expect("UTF-8"), two.to_str().expect("UTF-8"));

    let output = machine.setup(&["--key", one, "--key-name", "desk", "--key", two], Some("alice"));
    assert_eq!(names(&output), ["desk", "second@desk", "third@desk"], "{}", text(&output));

    for (words, expected) in [
        (vec!["--key-name", "desk"], "--key-name must follow its --key"),
        (vec!["--key", one, "--no-key"], "--key and --no-key exclude each other"),
        (vec!["--key", one, "--key-name", "../x"], "bad key name '../x'"),
        (vec!["--key", "/nonexistent"], "cannot read '/nonexistent'"),
    ] {
        let output = machine.setup(&words, Some("alice"));
        assert!(!output.status.success() && text(&output).contains(expected), "{words:?}: {}", text(&output));
    }

    let private = machine.path("key-first@desk");
    let output = machine.setup(&["--key", private.to_str().expect("UTF-8")], None);
    let refused = text(&output);
    let (error, hint) = (refused.find("is a private key"), refused.find("hint: give the public half"));
    assert!(!output.status.success() && error.is_some() && error < hint, "{refused}");
    let foreign = machine.path("foreign");
    fs::write(&foreign, format!("from=\"192.0.2.1\" {}\n", machine.key("far"))).expect("a key");
    let output = machine.setup(&["--key", foreign.to_str().expect("UTF-8")], None);
    assert!(
        !output.status.success() && text(&output).contains("contains no public key"),
        "{}",
        text(&output)
    );
}

/// Links to the programs that `prepare` calls itself; git and the like are missing then.
fn basic_programs(bin: &Path) {
    for name in [
        "sh", "cat", "rm", "grep", "sed", "awk", "tr", "sort", "cut", "tail", "head", "env", "mktemp", "ls",
        "stat", "dirname", "test", "mkdir",
    ] {
        let from = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
        let from = from.iter().find(|path| path.exists()).expect(name);
        symlink(from, bin.join(name)).expect(name);
    }
}

#[test]
fn interrupted_apt_run_is_repaired() {
    let machine = FakeMachine::new();
    let bin = machine.path("bin");
    basic_programs(&bin);
    let log = machine.path("log");
    machine.fake(
        "dpkg",
        &format!(
            "echo dpkg \"$@\" >>'{}'; [ \"$1\" != --audit ] || cat '{}'",
            log.display(),
            machine.path("audit").display()
        ),
    );
    let apt = |end: &str| {
        format!("echo apt-get \"$@\" >>'{}'\ncase \"$*\" in *install*) {end} ;; esac", log.display())
    };
    let prepare = || {
        let mut prepare = Command::new("/bin/sh");
        prepare.arg(repository().join("scripts/prepare")).arg("run").env_clear().env("PATH", &bin);
        // In which apt and libc would report the same in German.
        prepare.env("LANG", "de_DE.UTF-8").env("LC_ALL", "de_DE.UTF-8");
        prepare.output().expect("prepare runs")
    };
    fs::write(machine.path("audit"), "").expect("audit");

    for end in [
        "kill -KILL $$",
        "echo 'Sub-process /usr/bin/dpkg received signal 9'; exit 100",
        "echo 'fork: Cannot allocate memory' >&2; exit 100",
        "[ \"$LC_ALL\" = de_DE.UTF-8 ] || echo 'fork: Cannot allocate memory' >&2; exit 100",
    ] {
        machine.fake("apt-get", &apt(end));
        let output = prepare();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("ran out of memory: apt-get -q "), "{end}: {}", text(&output));
        assert!(text(&output).contains("hint: add swap: "), "{}", text(&output));
    }
    machine.fake("apt-get", &apt("echo 'E: no such package'; exit 100"));
    let output = prepare();
    assert!(text(&output).contains("failed with exit code 100"), "{}", text(&output));
    assert!(!fs::read_to_string(&log).expect("log").contains("--configure"));

    fs::write(machine.path("audit"), "git is half configured\n").expect("audit");
    fs::write(&log, "").expect("log");
    machine.fake("apt-get", &apt("exit 0"));
    let output = prepare();
    assert!(output.status.success(), "{}", text(&output));
    let calls = fs::read_to_string(&log).expect("log");
    let mended = calls.find("dpkg --configure -a").expect("dpkg is mended");
    assert!(mended < calls.find("install -y").expect("packages are installed"), "{calls}");
}
