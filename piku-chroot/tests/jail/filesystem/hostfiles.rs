//! Files of the host's /etc that change while a jail lives, on a machine of one's own: a mount namespace in
//! which /etc and /run are throw-away copies.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::unistd::geteuid;

use crate::scene::{NOBODY, Scene, User, until, users};

/// Makes the machine; then each line that is read is done. `$1` is the folder of the test.
const MACHINE: &str = "set -e
mkdir -p $1/etc
mount --make-rprivate /
mount -t tmpfs -o mode=755 etc $1/etc
cp -a /etc/. $1/etc/ 2>&- || :
rm -f $1/etc/resolv.conf
mount --move $1/etc /etc
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/systemd/resolve
echo ready
while read -r line; do eval \"$line\" || echo failed; echo done; done";

/// Answers each line, the name of a file, with what that holds, on one line.
const READER: &str = r#"echo up; while read -r name; do
if [ -L "$name" ]; then printf 'link to %s' "$(readlink "$name")"
elif [ -f "$name" ]; then tr '\n' '|' < "$name"
else printf 'not there'; fi; echo; done"#;

pub(crate) struct Machine<'a> {
    scene: &'a Scene,
    shell: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(scene: &'a Scene) -> Self {
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.arg(if geteuid().is_root() { "-m" } else { "-Urm" });
        command.args(["sh", "-c", MACHINE, "sh"]).arg(scene.path("")).current_dir(scene.path(""));
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, said) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let mut machine = Self { scene, shell, orders, said };
        assert_eq!(machine.line(), "ready");
        machine
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.said.read_line(&mut line).unwrap() > 0, "the machine has ended");
        line.trim_end().to_owned()
    }

    /// Does this as the machine's root.
    pub(crate) fn does(&mut self, script: &str) {
        assert!(!script.contains('\n'));
        writeln!(self.orders, "{script}").unwrap();
        assert_eq!(self.line(), "done", "{script}");
    }

    /// Returns a command, to be completed, that runs in the machine as the user.
    pub(crate) fn enter(&self) -> Command {
        let mut command = self.scene.command("nsenter");
        command.args(["-m", "-t", &self.shell.id().to_string()]);
        if !geteuid().is_root() {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.arg("--");
        if self.scene.user() == User::Nobody {
            let id = NOBODY.to_string();
            command.uid(0).gid(0).args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
        }
        command
    }

    /// Starts a jail of the user's.
    fn jail(&mut self, options: &str) -> Reader {
        let fifo = |name: &str| self.scene.path(name).display().to_string();
        let (ask, answers, err) = (fifo("ask"), fifo("answers"), fifo("err"));
        let user = match self.scene.user() {
            User::Own => String::new(),
            User::Nobody => format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups "),
        };
        std::fs::write(self.scene.path("reader"), READER).unwrap();
        let program = self.scene.program().display().to_string();
        self.does(&format!("rm -f {ask} {answers}; mkfifo -m 666 {ask} {answers}"));
        self.does(&format!(
            "{user}{program} --root-from-host {options} -- sh -c \"$(cat reader)\" <{ask} >{answers} 2>{err} &"
        ));
        let mut reader = Reader {
            ask: OpenOptions::new().write(true).open(ask).unwrap(),
            answers: BufReader::new(File::open(answers).unwrap()),
            err,
        };
        assert_eq!(reader.line(), "up");
        reader
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

struct Reader {
    ask: File,
    answers: BufReader<File>,
    err: String,
}

impl Reader {
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.answers.read_line(&mut line).unwrap() > 0, "{}", self.err());
        line.trim_end().to_owned()
    }

    /// Returns what this file holds inside now.
    fn has(&mut self, name: &str) -> String {
        writeln!(self.ask, "/etc/{name}").unwrap();
        self.line()
    }

    fn comes_to(&mut self, name: &str, wanted: &str) {
        until(&format!("{name}: {wanted}"), || self.has(name) == wanted);
    }

    fn err(&self) -> String {
        std::fs::read_to_string(Path::new(&self.err)).unwrap()
    }
}

#[test]
fn a_resolver_behind_any_link() {
    for user in users() {
        let scene = Scene::new(user);
        let mut machine = Machine::new(&scene);
        machine
            .does("echo nameserver 192.0.2.1 > /run/systemd/resolve/stub-resolv.conf; echo x > /run/secret");
        machine.does(
            "mkdir /etc/net; ln -s /run/systemd/resolve /etc/net/by-folder; ln -s resolv.real /etc/chain",
        );
        machine.does("ln -s net/by-folder/stub-resolv.conf /etc/resolv.real");
        machine.does("mkdir -m 1777 /run/sticky; cp -r /run/systemd/resolve /run/sticky; mv /run/sticky/resolve/stub-resolv.conf /run/sticky/resolve/f; cp -r /run/sticky/resolve /run/through; chmod 711 /run/through");
        for target in [
            "../run/systemd/resolve/stub-resolv.conf",
            "/run/systemd/resolve/stub-resolv.conf",
            "../etc/../run/./systemd//resolve/stub-resolv.conf",
            "../../../run/systemd/resolve/stub-resolv.conf",
            "resolv.real",
            "chain",
            // As a tmpfs is when nobody says another mode: nobody but its owner can replace what is in it.
            "../run/sticky/resolve/f",
            "../run/through/f",
        ] {
            machine.does(&format!("ln -sfn {target} /etc/resolv.conf"));
            let mut jail = machine.jail("");
            assert_eq!(jail.has("resolv.conf"), "nameserver 192.0.2.1|", "{user:?} {target}");
            // Nothing else is seen through it.
            for name in ["../run/systemd", "../run/secret", "net", "resolv.real", "chain", ".piku-chroot-new"]
            {
                assert_eq!(jail.has(name), "not there", "{target}");
            }
            assert_eq!(jail.err(), "");
        }
    }
}

#[test]
fn a_network_of_its_own_reaches_a_resolver_on_the_hosts_loopback() {
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_ok();
    if !tun || piku_chroot::find_pasta().is_none() {
        let _ =
            writeln!(std::io::stderr(), "skipped: pasta (package passt) or /dev/net/tun is not to be had");
        return;
    }
    let scene = Scene::new(User::Own);
    let mut machine = Machine::new(&scene);
    machine.does("echo nameserver 127.0.0.53 > /etc/resolv.conf; echo options edns0 >> /etc/resolv.conf");
    let mut jail = machine.jail("--net own");
    assert_eq!(jail.has("resolv.conf"), "nameserver 169.254.1.1|options edns0|");
    machine.does("echo nameserver 127.0.0.1 > /etc/new; mv /etc/new /etc/resolv.conf");
    jail.comes_to("resolv.conf", "nameserver 169.254.1.1|");
    machine.does("echo nameserver 192.0.2.1 > /etc/resolv.conf");
    jail.comes_to("resolv.conf", "nameserver 192.0.2.1|");
}

#[test]
fn a_network_that_comes_late_and_changes() {
    for user in users() {
        let scene = Scene::new(user);
        let mut machine = Machine::new(&scene);
        let mut jail = machine.jail("");
        assert_eq!(jail.has("resolv.conf"), "not there");
        for (change, wanted) in [
            ("echo '# no lease' > /etc/resolv.conf", "# no lease|"),
            ("echo nameserver 192.0.2.1 >> /etc/resolv.conf", "# no lease|nameserver 192.0.2.1|"),
            ("echo nameserver 192.0.2.2 > /etc/new; mv /etc/new /etc/resolv.conf", "nameserver 192.0.2.2|"),
            // The link is there before its folder is.
            ("ln -s ../run/NetworkManager/resolv.conf /etc/link; mv /etc/link /etc/resolv.conf", "not there"),
            ("mkdir /run/NetworkManager", "not there"),
            ("echo nameserver 192.0.2.3 > /run/NetworkManager/resolv.conf", "nameserver 192.0.2.3|"),
            (
                "cd /run/NetworkManager; echo nameserver 192.0.2.4 > new; mv new resolv.conf; cd /",
                "nameserver 192.0.2.4|",
            ),
            (
                "echo nameserver 192.0.2.5 > /run/systemd/resolve/stub-resolv.conf; ln -sfn /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf",
                "nameserver 192.0.2.5|",
            ),
            // The whole folder is replaced by another.
            (
                "cp -a /run/systemd /run/systemd.new; echo nameserver 192.0.2.6 > /run/systemd.new/resolve/stub-resolv.conf; mv /run/systemd /run/systemd.old; mv /run/systemd.new /run/systemd",
                "nameserver 192.0.2.6|",
            ),
            ("echo nameserver 192.0.2.7 > /run/systemd/resolve/stub-resolv.conf", "nameserver 192.0.2.7|"),
            ("rm /etc/resolv.conf", "not there"),
        ] {
            machine.does(change);
            jail.comes_to("resolv.conf", wanted);
        }
        assert_eq!(jail.err(), "");
    }
}

#[test]
fn hosts_names_and_time_zones_change_too() {
    for user in users() {
        let scene = Scene::new(user);
        let mut machine = Machine::new(&scene);
        machine.does("echo 127.0.0.1 localhost > /etc/hosts; echo hosts: files > /etc/nsswitch.conf; echo UTC > /etc/timezone");
        machine.does("ln -sfn /usr/share/zoneinfo/UTC /etc/localtime");
        let mut jail = machine.jail("--hostname inside");
        let hosts = |line: &str| format!("127.0.0.1 localhost|{line}|127.0.1.1 inside|");
        assert_eq!(jail.has("hosts"), hosts(""));
        machine
            .does("echo 192.0.2.9 db >> /etc/hosts; echo hosts: dns > /etc/n; mv /etc/n /etc/nsswitch.conf");
        jail.comes_to("hosts", &hosts("192.0.2.9 db|"));
        jail.comes_to("nsswitch.conf", "hosts: dns|");
        machine
            .does("echo Asia/Tokyo > /etc/timezone; ln -sfn ../usr/share/zoneinfo/Asia/Tokyo /etc/localtime");
        jail.comes_to("timezone", "Asia/Tokyo|");
        jail.comes_to("localtime", "link to ../usr/share/zoneinfo/Asia/Tokyo");
        machine.does("rm /etc/hosts /etc/timezone");
        jail.comes_to("timezone", "not there");
        jail.comes_to("hosts", "127.0.0.1 localhost|::1 localhost||127.0.1.1 inside|");
        // The jail cannot: neither there nor in what the monitor writes through.
        assert_eq!(jail.has("x"), "not there");

        // What the caller puts there stays.
        machine.does("echo mine > mine; chmod 644 mine");
        let mut jail = machine.jail("--ro mine:/etc/resolv.conf --ro mine:/etc/hosts");
        machine.does("echo nameserver 192.0.2.1 > /etc/resolv.conf; echo UTC > /etc/timezone");
        jail.comes_to("timezone", "UTC|");
        assert_eq!((jail.has("resolv.conf"), jail.has("hosts")), ("mine|".to_owned(), "mine|".to_owned()));
    }
}

#[test]
fn what_an_app_could_have_written_is_not_taken_for_the_hosts() {
    for user in users() {
        let scene = Scene::new(user);
        let mut machine = Machine::new(&scene);
        machine.does("mkdir -m 777 /run/open; mkdir -m 755 /run/theirs; mkdir /run/ours; echo nameserver 192.0.2.66 | tee /run/open/f /run/theirs/f > /run/ours/f");
        machine.does("ln -s ../open/f /run/ours/link; echo x > /run/ours/all; chmod 666 /run/ours/all; mkfifo /run/ours/fifo; ln -s loop /run/ours/loop");
        // As root the test's own files are root's, which an app of root's cannot reach.
        let theirs = user == User::Nobody;
        machine.does(if theirs {
            "chown -R 65534:65534 /run/theirs"
        } else {
            "chown -R 100000:100000 /run/theirs || chmod 777 /run/theirs"
        });
        for target in ["open/f", "theirs/f", "ours/link", "ours/all"] {
            machine.does(&format!("ln -sfn ../run/{target} /etc/resolv.conf"));
            let mut jail = machine.jail("");
            assert_eq!(jail.has("resolv.conf"), "not there", "{user:?} {target}");
            let said = jail.err();
            assert!(
                said.starts_with("piku-chroot: warning: '/etc/resolv.conf' leads through '/run/"),
                "{said}"
            );
        }
        for target in ["ours/fifo", "ours/loop", "ours", "nowhere", "../dev/zero"] {
            machine.does(&format!("ln -sfn ../run/{target} /etc/resolv.conf"));
            let mut jail = machine.jail("");
            assert_eq!(
                (jail.has("resolv.conf"), jail.err()),
                ("not there".to_owned(), String::new()),
                "{target}"
            );
        }
        // A link that is turned there later is not followed either, and what was there before goes.
        machine.does("ln -sfn ../run/ours/f /etc/resolv.conf");
        let mut jail = machine.jail("");
        assert_eq!(jail.has("resolv.conf"), "nameserver 192.0.2.66|");
        machine.does("ln -sfn ../run/open/f /etc/resolv.conf");
        jail.comes_to("resolv.conf", "not there");
    }
}
