//! A server of piku-receive alone: a real sshd, real keys, and a hook that does what a test tells it to.

#![allow(dead_code, reason = "each suite uses its part")]
#![allow(missing_docs, reason = "the names say it")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use piku_tests::repo::Repo;
use piku_tests::sshd::{Sshd, key_pair};
use tempfile::TempDir;

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_piku-receive");

/// A bound, not a promise.
const PATIENCE: Duration = Duration::from_secs(60);

/// The hook: the pipeline of the real one with nothing but piku-receive in it. `CONTROL` is the folder
/// through which a test tells it what to do and sees what it did.
const HOOK: &str = r#"#!/bin/sh
set -eu
trap '' PIPE
say() { printf '%s\n' "$1" || :; }
[ ! -e CONTROL/fail-early ] || exit 9
selection=$(piku-receive begin-deploy)
[ -n "$selection" ] || exit 0
{ read -r commit number options; read -r subject; read -r work; } <<END
$selection
END
trap 'rm -rf "$work"' EXIT
printenv >CONTROL/env
for name in $(git rev-parse --local-env-vars); do unset "$name"; done
case " $options " in *' dry-run '*)
    say "-----> fake plan $number"
    [ ! -e CONTROL/fail ] || exit 3
    piku-receive finish-deploy --app "$PIKU_APP" "$commit" --dry-run
    exit
esac
say "-----> fake deploy $number of $PIKU_APP $options"
echo "$commit $number $PIKU_KEY" >>CONTROL/deploys
mkdir -p "$PIKU_ROOT/apps/$PIKU_APP/log"
: >"$PIKU_ROOT/apps/$PIKU_APP/log/deploy-$number.log"
echo $$ >CONTROL/waiting
while [ -e CONTROL/wait ]; do sleep 0.02; done
[ ! -e CONTROL/fail ] || { say ' !     the fake stage failed'; exit 3; }
rm -rf CONTROL/tree
app=$PIKU_ROOT/apps/$PIKU_APP
piku-receive export "$app/repo.git" "$commit" CONTROL/tree
mkdir -p "$app/releases/$number"
printf 'commit: %s\n' "$commit" >"$app/releases/$number/release.yaml"
ln -sfn "releases/$number" "$app/current"
[ ! -e CONTROL/fail-late ] || { say ' !     the fake stage failed late'; exit 3; }
piku-receive finish-deploy --app "$PIKU_APP" "$commit"
"#;

/// `scripts/piku`: shows what it was given, and ends as it is told.
const VERBS: &str = r#"#!/bin/sh
case $*:$# in
    "run blog tty":3) [ -t 0 ] && [ -t 1 ] && exit 4; exit 5 ;;
    "run blog cat":3) exec cat ;;
    "run blog kill":3) kill -9 $$ ;;
    "run blog "*:3) exit "$3" ;;
    "deploy "*) shift; exec piku-receive deploy "$@" ;;
esac
for word in "$@"; do printf '[%s]\n' "$word"; done
printf 'key=%s apps=%s git=%s\n' "$PIKU_KEY" "${PIKU_KEY_APPS-unset}" "${GIT_DIR-unset}"
"#;

/// The real one.
const PRE_RECEIVE: &str = include_str!("../../../scripts/pre-receive");

pub(crate) struct Server {
    pub(crate) sshd: Sshd,
    pub(crate) dir: TempDir,
}

impl Server {
    /// A server with the key `alice`, which reaches all apps.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("piku receive ").tempdir().unwrap();
        let at = dir.path();
        for folder in ["control", "scripts", "laptop", "keys"] {
            fs::create_dir(at.join(folder)).unwrap();
        }
        let control = format!("'{}'", at.join("control").display());
        program(&at.join("scripts/post-receive"), &HOOK.replace("CONTROL", &control));
        program(&at.join("scripts/pre-receive"), PRE_RECEIVE);
        program(&at.join("scripts/piku"), VERBS);
        let sshd = Sshd::start(&at.join("sshd"), &at.join("authorized_keys"));
        let server = Self { sshd, dir };
        server.add_key("alice", &[]);
        server
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn app(&self, app: &str) -> PathBuf {
        self.path("root/apps").join(app)
    }

    /// piku-receive by hand, on the server.
    pub(crate) fn tool(&self) -> Command {
        let mut tool = Command::new(TOOL);
        tool.env("PIKU_ROOT", self.path("root"))
            .env("PIKU_SCRIPTS", self.path("scripts"))
            .stdin(Stdio::null());
        tool
    }

    pub(crate) fn add_key(&self, name: &str, apps: &[&str]) {
        let public = key_pair(&self.path("keys"), name).with_extension("pub");
        let mut add = self.tool();
        add.args(["key", "add", name, "--authorized-keys"]).arg(self.path("authorized_keys"));
        for app in apps {
            add.args(["--app", app]);
        }
        let out = add.stdin(fs::File::open(public).unwrap()).output().unwrap();
        assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
        let said = String::from_utf8(out.stderr).unwrap();
        let (first, hints) = said.split_once('\n').unwrap();
        let scope = if apps.is_empty() { "all apps".to_owned() } else { apps.join(", ") };
        assert_eq!(first, format!("-----> key '{name}' is added for {scope}"));
        let exists = |app: &&&str| self.path("root/apps").join(app).join("repo.git").exists();
        let unknown = apps.iter().filter(|app| !exists(app)).map(|app| {
            format!("       hint: {app} does not exist yet; the first push of this key creates it\n")
        });
        assert_eq!(hints, unknown.collect::<String>());
    }

    /// A work tree on alice's laptop whose remote `piku` is `app`.
    pub(crate) fn laptop(&self, app: &str) -> Repo {
        self.laptop_of("alice", app, app)
    }

    pub(crate) fn laptop_of(&self, key: &str, folder: &str, app: &str) -> Repo {
        let ssh = self.sshd.git_ssh_command(&self.path("keys").join(key));
        Repo::new(&self.path("laptop").join(format!("{key}-{folder}")), &self.sshd.url(app), &ssh)
    }

    /// `ssh piku@host LINE`.
    pub(crate) fn ssh(&self, key: &str, line: &str) -> Output {
        self.ssh_command(key).arg(line).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn ssh_command(&self, key: &str) -> Command {
        self.sshd.ssh(&self.path("keys").join(key))
    }

    /// Makes the tree of release `old` live under a new number, as a rollback or changed settings do; returns
    /// the number.
    pub(crate) fn succeed_release(&self, app: &str, old: u64) -> u64 {
        let releases = self.app(app).join("releases");
        let numbers = fs::read_dir(&releases).unwrap().map(|entry| entry.unwrap().file_name());
        let new = 1 + numbers.map(|name| name.to_str().unwrap().parse::<u64>().unwrap()).max().unwrap();
        fs::create_dir(releases.join(new.to_string())).unwrap();
        let file = |number: u64| releases.join(number.to_string()).join("release.yaml");
        fs::copy(file(old), file(new)).unwrap();
        let current = self.app(app).join("current");
        fs::remove_file(&current).unwrap();
        std::os::unix::fs::symlink(format!("releases/{new}"), current).unwrap();
        new
    }

    /// Tells the hook something: `fail`, `wait`, `fail-early`, `fail-late`.
    pub(crate) fn tell(&self, what: &str) {
        fs::write(self.path("control").join(what), "").unwrap();
    }

    pub(crate) fn no_longer(&self, what: &str) {
        fs::remove_file(self.path("control").join(what)).unwrap();
    }

    /// `COMMIT NUMBER KEY` of each deploy that the hook has begun.
    pub(crate) fn deploys(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("control/deploys")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the hook stands still because of `wait`, and returns its pid.
    pub(crate) fn hook_waits(&self) -> i32 {
        let file = self.path("control/waiting");
        wait_for("the hook", || fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n')));
        let pid = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        fs::remove_file(file).unwrap();
        pid
    }

    pub(crate) fn verdict(&self, app: &str) -> serde_json::Value {
        let text = fs::read(self.app(app).join("verdict.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Waits until nobody holds the app's lock.
    pub(crate) fn settled(&self, app: &str) {
        let lock = self.app(app).join("lock");
        let free = || Command::new("flock").arg("-n").arg(&lock).arg("true").status().unwrap().success();
        wait_for("the lock", free);
    }

    pub(crate) fn audit(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("root/audit.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The last line of the audit log without its time; the session writes it after the client has gone.
    pub(crate) fn audited(&self, line: &str) {
        wait_for(&format!("'{line}' in the audit log"), || {
            self.audit().iter().any(|there| there.split_once(' ').is_some_and(|(_, rest)| rest == line))
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A hook that waits ends, also when the test has failed.
        let _ = fs::remove_file(self.path("control/wait"));
        if std::thread::panicking() {
            let story =
                format!("--- audit.log\n{}\n--- sshd.log\n{}\n", self.audit().join("\n"), self.sshd.log());
            let _ = std::io::stderr().lock().write_all(story.as_bytes());
        }
    }
}

/// A process that is ended with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < PATIENCE, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

pub(crate) fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}
