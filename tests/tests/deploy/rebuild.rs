//! Rebuilds of what is deployed: only what is another than before is deployed, and only that is told of. One is done by a
//! real cron daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use piku_tests::account::Account;
use piku_tests::index::Index;
use piku_tests::repo::Repo;
use piku_tests::world::{World, wait_for, wait_long};

/// A server with an index of its own, in which the package `moon` has its first version.
fn world() -> (World, Index) {
    let place = tempfile::tempdir().expect("a folder").keep();
    let index = Index::start(&place);
    index.publish("moon", "1.0");
    let world = World::with_settings(&format!("build_env: {{PIP_INDEX_URL: \"{}\"}}", index.url()));
    (world, index)
}

/// An app that serves the version of `moon`, which it asks for in these words.
fn app(world: &World, name: &str, requirement: &str) -> Repo {
    let repo = world.repo(name);
    repo.file("requirements.txt", requirement)
        .file("Procfile", "web: python app.py\n")
        .file("app.py", APP)
        .commit("One")
        .push()
        .succeeds();
    repo
}

const APP: &str = r#"
import http.server, os, moon

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"moon {moon.VERSION}\n".encode())

http.server.ThreadingHTTPServer((os.environ["BIND_ADDRESS"], int(os.environ["PORT"])), Page).serve_forever()
"#;

fn rebuild(world: &World, words: &[&str]) -> (Option<i32>, String) {
    let out = world.tool("piku-build").arg("rebuild").args(words).output().expect("piku-build runs");
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
    )
}

#[test]
fn rebuild_deploys_outside_changes_only() {
    let (world, index) = world();
    let moves = app(&world, "moves", "moon\n");
    app(&world, "stays", "moon==1.0\n");
    let layers = || fs::read_dir(world.app("stays").join("layers")).expect("layers").count();
    let before = layers();
    index.publish("moon", "1.1");
    let said = (Some(0), "moves: built anew and live as release 2\n  moon 1.0 → 1.1\n".to_owned());
    assert_eq!(rebuild(&world, &["--all"]), said);
    assert_eq!(world.page("moves"), "moon 1.1\n");
    assert_eq!(world.page("stays"), "moon 1.0\n");
    assert_eq!(layers(), before, "what was built for nothing is gone");

    // The next push takes what the rebuild has made.
    let said = moves.file("more", "").commit("More").push().succeeds();
    assert!(said.contains("Dependencies are unchanged"), "{said}");
    assert_eq!(world.page("moves"), "moon 1.1\n");

    // What cannot be built runs on as it was, and the reason is told.
    index.publish("moon", "1.2");
    let broken = "build_env: {PIP_INDEX_URL: \"http://127.0.0.1:1/simple\", PIP_RETRIES: \"0\"}\n";
    let settings = world.root().join("host.yaml");
    let good = fs::read_to_string(&settings).expect("host.yaml");
    fs::write(&settings, good.lines().skip(1).fold(broken.to_owned(), |text, line| text + line + "\n"))
        .expect("host.yaml");
    let (code, said) = rebuild(&world, &["moves"]);
    assert!(
        code == Some(1) && said.starts_with("moves: not rebuilt, release 3 runs on\n"),
        "{code:?} {said}"
    );
    assert_eq!(world.page("moves"), "moon 1.1\n");
    fs::write(&settings, good).expect("host.yaml");

    // Somebody pushes all the time.
    let lock = world.app("moves").join("lock");
    world.while_locked(&lock, || {
        let (code, said) = rebuild(&world, &["moves", "--wait", "1", "--format", "json"]);
        assert!(code == Some(75) && said.contains("\"result\": \"busy\""), "{code:?} {said}");
    });

    // One that is stopped stays so.
    assert!(world.tool("piku-run").args(["stop", "moves"]).status().expect("piku-run runs").success());
    assert_eq!(rebuild(&world, &["--all"]), (Some(0), String::new()));
    assert_eq!(world.ps("moves")[0]["state"], "stopped");
}

#[test]
fn locked_builds_are_reproducible() {
    let (world, _index) = world();
    app(&world, "moves", "moon==1.0\n");
    assert_eq!(rebuild(&world, &["moves", "--verify"]), (Some(0), String::new()));
    let out = world.ssh("laptop", "rebuild moves");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(said, "-----> moves: nothing has changed, release 1 runs on\n");
    let (code, said) = rebuild(&world, &["move"]);
    assert!(
        code == Some(1) && said.contains("there is no app 'move'\nhint: did you mean 'moves'?"),
        "{said}"
    );
    let random = "preflight: head -c 16 /dev/urandom > noise\nweb: python app.py\n";
    world
        .repo("noisy")
        .file("requirements.txt", "")
        .file("Procfile", random)
        .file("app.py", APP.replace(", moon", "").replace("moon.VERSION", "1"))
        .commit("One")
        .push()
        .succeeds();
    let (code, said) = rebuild(&world, &["noisy", "--verify"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "noisy: two builds of the same are not the same\n  /app/noise\n")
    );
    assert_eq!(world.releases("noisy"), ["1"]);
}

/// A cron daemon that sees one crontab and one `sendmail`, both of the test's; ended when dropped.
struct Cron(Child);

impl Cron {
    /// In a mount namespace, since cron's places are fixed. Mail is appended to `mail`.
    fn start(dir: &Path, account: &Account, crontab: &str, mail: &Path) -> Self {
        let at = |name: &str| dir.join(name);
        fs::create_dir_all(at("sbin")).expect("a folder");
        fs::write(at("crontab"), crontab).expect("the crontab");
        fs::write(at("empty"), "").expect("an empty file");
        let sendmail = format!("#!/bin/sh\nexec cat >>'{}'\n", mail.display());
        fs::write(at("sbin/sendmail"), sendmail).expect("sendmail");
        let script = r#"set -e
            chmod 755 "$1/sbin/sendmail"
            mount -t tmpfs -o mode=755 tmpfs /run
            mount -t tmpfs -o mode=1730 tmpfs /var/spool/cron/crontabs
            mount -t tmpfs tmpfs /etc/cron.d
            mount --bind "$1/empty" /etc/crontab
            mount -t overlay -o "lowerdir=$1/sbin:/usr/sbin" overlay /usr/sbin
            install -m 600 -o "$2" -g crontab "$1/crontab" "/var/spool/cron/crontabs/$2"
            exec cron -f"#;
        let cron = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(dir)
            .arg(&account.name)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .spawn();
        Self(cron.expect("unshare runs"))
    }
}

impl Drop for Cron {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn cron_mails_rebuild_changes_only() {
    if !nix::unistd::geteuid().is_root() {
        return piku_tests::skip("cron's folders are root's");
    }
    let (world, index) = world();
    app(&world, "moves", "moon\n");
    app(&world, "stays", "moon==1.0\n");
    index.publish("moon", "1.1");

    let dir = world.path("cron");
    fs::create_dir(&dir).expect("a folder");
    let (mail, done) = (world.path("home/mail"), world.path("home/done"));
    let build = world.tool("piku-build");
    let build: PathBuf = build.get_program().into();
    let build = build.display();
    let place = world.path("lib");
    let crontab = format!(
        "PIKU_ROOT={root}\nPIKU_SCRIPTS={lib}\n\
         * * * * * mkdir {done}-1 2>&- && {{ {build} rebuild stays; touch {done}-1/ended; }}\n\
         * * * * * mkdir {done}-2 2>&- && {{ {build} rebuild --jitter 1 --all; touch {done}-2/ended; }}\n",
        root = world.root().display(),
        lib = place.display(),
        done = done.display(),
    );
    let cron = Cron::start(&dir, &Account::for_tests(), &crontab, &mail);
    // Each begins once, at a full minute, and takes as long as the machine needs.
    for job in ["1", "2"] {
        let job = PathBuf::from(format!("{}-{job}", done.display()));
        wait_for("the start of a job", || job.exists());
        wait_long("the end of a job", || job.join("ended").exists());
    }
    wait_for("cron's mail", || fs::read_to_string(&mail).is_ok_and(|mail| mail.ends_with("1.1\n")));
    drop(cron);
    let mail = fs::read_to_string(&mail).expect("a mail");
    assert_eq!(mail.matches("Subject:").count(), 1, "the job that changed nothing is silent:\n{mail}");
    assert!(mail.contains("\nmoves: built anew and live as release 2\n  moon 1.0 "), "{mail}");
    assert_eq!(world.page("moves"), "moon 1.1\n");
    assert_eq!(world.releases("stays"), ["1"]);
}
