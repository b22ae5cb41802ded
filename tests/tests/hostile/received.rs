//! Releases that somebody has made by hand and sends with a key for one app.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use piku_tests::world::World;

/// A server with the live app `blog`, a copy of its release that can be changed, and a key for nothing else.
struct Sender {
    world: World,
    release: PathBuf,
    manifest: String,
}

impl Sender {
    /// Nothing where a release is built without a jail: then there is nothing to break out of.
    fn new() -> Option<Self> {
        let world = World::new();
        world.add_key("guest", &["blog"]);
        let repo = world.repo_with_key("blog", "guest");
        repo.serves("good\n")
            .file("Procfile", "web: ./serve\nworker: cat SECRET; sleep 1000\n")
            .commit("One");
        repo.push().succeeds();
        let release = world.path("home/release");
        let copied =
            world.command("cp").arg("-r").arg(world.app("blog").join("releases/1")).arg(&release).status();
        assert!(copied.expect("cp").success());
        let manifest = fs::read_to_string(release.join("release.yaml")).expect("release.yaml");
        if !manifest.contains("jailed: true") {
            piku_tests::skip("received releases: there is no jail here");
            return None;
        }
        Some(Self { world, release, manifest })
    }

    fn packed(&self, part: &[&str]) -> Vec<u8> {
        let mut pack = self.world.tool("piku-build");
        let layers = self.world.app("blog").join("layers");
        let out = pack.arg("pack").arg(&self.release).arg("--layers").arg(layers).args(part).output();
        let out = out.expect("piku-build");
        assert!(out.status.success(), "{out:?}");
        out.stdout
    }

    fn ask(&self, words: &str, input: &[u8]) -> (bool, String) {
        let mut child = self.world.start_ssh("guest", words);
        let _ = child.stdin.take().expect("stdin").write_all(input);
        let out = child.wait_with_output().expect("ssh");
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    }

    /// Sends the release with this manifest and has it deployed; whether it was, and what was said.
    fn send(&self, manifest: &str) -> (bool, String) {
        fs::write(self.release.join("release.yaml"), manifest).expect("release.yaml");
        let packed = self.packed(&[]);
        let mut sum = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sha256sum");
        sum.stdin.take().expect("stdin").write_all(&packed).expect("the stream");
        let sum = String::from_utf8(sum.wait_with_output().expect("sha256sum").stdout).expect("text");
        let sum = &sum[..64];
        let (taken, said) = self.ask(&format!("release:take blog {sum} {}", packed.len()), &packed);
        assert!(taken, "{said}");
        self.ask(&format!("release:deploy blog {sum}"), b"")
    }

    /// Puts one field in the place of another and sends that.
    fn send_with(&self, was: &str, is: &str) -> (bool, String) {
        let manifest = self.manifest.replacen(was, is, 1);
        assert_ne!(manifest, self.manifest, "{was}");
        self.send(&manifest)
    }
}

#[test]
fn received_release_gains_no_privilege() {
    let Some(sender) = Sender::new() else { return };
    let world = &sender.world;
    let root = world.root();
    let live = || fs::read_link(world.app("blog").join("current")).expect("a live release");
    for (was, is, word) in [
        ("host: []", format!("host: ['{}']", root.display()), "no interpreter of this machine is there"),
        ("host: []", "host: [/]".to_owned(), "no interpreter of this machine is there"),
        ("jailed: true", "jailed: false".to_owned(), "without the jail"),
        ("./serve", "\"./serve\\nevil: id\"".to_owned(), "none that a Procfile can have"),
        ("  LANG: C.UTF-8", "  PORT: '1'".to_owned(), "piku's own"),
        ("  LANG: C.UTF-8", "  'A=B': '1'".to_owned(), "no variable"),
        ("runtime: ", "runtime: ../".to_owned(), "plain word"),
    ] {
        let (deployed, said) = sender.send_with(was, &is);
        assert!(!deployed && said.contains(word), "{is}: {said}");
        assert_eq!(live(), Path::new("releases/1"), "{is}");
        assert_eq!(world.page("blog"), "good\n");
    }

    // What is this machine's to say is dropped, and the rest goes live.
    let tail =
        format!("{}tree_of: 99\nprofile: true\nkept: [{}]\nmore: [x]\n", sender.manifest, "a".repeat(64));
    let manifest = tail.replace("origin: deploy", "origin: rollback").replace("number: 1", "number: 77");
    let (deployed, said) = sender.send(&manifest);
    assert!(deployed, "{said}");
    let now = fs::read_to_string(world.app("blog").join("current/release.yaml")).expect("release.yaml");
    assert!(now.contains("origin: deploy") && !now.contains("number: 77") && !now.contains("more"), "{now}");
    assert!(!now.contains("tree_of") && !now.contains("profile") && !now.contains("kept"), "{now}");
    assert!(now.contains(" via guest"), "{now}");
}

#[test]
fn received_release_task_output_is_bounded() {
    let Some(sender) = Sender::new() else { return };
    let task = "release: printf '\\033[2Jhere\\n'; yes | head -c 4000000; printf '\\033[2Jend\\n'; false";
    let host = sender.world.root().join("host.yaml");
    let settings = fs::read_to_string(&host).expect("host.yaml");
    fs::write(&host, format!("{settings}deploy_log: 1\n")).expect("host.yaml");
    let (deployed, said) = sender.send_with("worker: cat SECRET; sleep 1000", task);
    assert!(!deployed && said.contains("here") && said.contains("end"), "{said}");
    assert!(!said.contains("\x1b[2J") && said.len() < 1_500_000, "{}", said.len());
    let log = fs::metadata(sender.world.app("blog").join("log/deploy-2.log")).expect("the log").len();
    assert!(log < 1_200_000, "{log}");
}

#[test]
fn offered_release_reveals_no_host_files() {
    let Some(sender) = Sender::new() else { return };
    let world = &sender.world;
    let head = String::from_utf8(sender.packed(&["--part", "head"])).expect("text");
    let link = world.path("home/link");
    std::os::unix::fs::symlink(world.root().join("apps/blog"), &link).expect("link");
    let secrets = [link.clone(), world.path("home/none"), "/proc/self/exe".into(), "/etc/localtime".into()];
    for secret in secrets {
        let asked = format!("\"programs\":{{\"{}\":\"/x\"}}", secret.display());
        let head = head.replace("\"programs\":{}", &asked);
        assert!(head.contains(&asked), "{head}");
        let (fits, said) = sender.ask("release:offer blog", head.as_bytes());
        // The same of what is there and of what is not.
        let expected = format!("'{}' is not an interpreter that a release may need", secret.display());
        assert!(!fits && said.contains(&expected), "{said}");
        assert!(!said.contains("apps/blog") && !said.contains("zoneinfo"), "{said}");
    }
    let (fits, said) = sender.ask("release:offer blog", head.as_bytes());
    assert!(fits, "{said}");
}
