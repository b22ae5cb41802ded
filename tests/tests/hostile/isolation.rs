//! Attacks by an app from inside its jail on the other apps of the same account, from a build step and from a worker.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use piku_tests::processes;
use piku_tests::tools;
use piku_tests::world::{World, wait_for};

/// Tries each thing that no app may do; a line `LEAK …` for each that it could.
const ATTACK: &str = r#"
import os, signal, socket
ROOT, HOME, SECRET = "@ROOT@", "@HOME@", b"hunter2"
def leak(what): print("LEAK", what, flush=True)
def reads(path):
    try: return open(path, "rb").read(1 << 20)
    except OSError: return None
victim = ROOT + "/apps/victim"
for path in [HOME + "/.ssh/authorized_keys", ROOT + "/host.yaml", ROOT + "/audit.log", victim + "/config.json",
             victim + "/current/app/page", victim + "/data/diary", victim + "/repo.git/HEAD", victim + "/lock"]:
    for way in [path, "/app/../.." + path, "/proc/1/root" + path, "/proc/self/cwd/../../../.." + path]:
        if reads(way) is not None: leak(way)
for folder in [ROOT, HOME, victim, ROOT + "/run"]:
    if os.path.exists(folder): leak(folder)
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ["environ", "cmdline"]:
        if SECRET in (reads(f"/proc/{pid}/{name}") or b""): leak(f"/proc/{pid}/{name}")
    if b"supervise" in (reads(f"/proc/{pid}/cmdline") or b""): leak("a supervisor can be seen")
for name in [ROOT + "/run/daemon.sock", ROOT + "/run/victim/supervisor.sock"]:
    try: socket.socket(socket.AF_UNIX).connect(name); leak(name)
    except OSError: pass
targets = [HOME + "/.ssh/authorized_keys", victim + "/repo.git/config", "/usr/x", "/etc/x", "/proc/sys/kernel/core_pattern"]
if "PIKU_RELEASE" in os.environ:
    # In an overlay, whose changes never reach the release.
    for name in ["page", "new", "serve"]:
        with open("/app/" + name, "a") as file: file.write("changed")
for path in targets:
    try: open(path, "a").close(); leak("write " + path)
    except OSError: pass
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
for pid in [-1, 1] + [int(word) for word in "@PIDS@".split()]:
    try: os.kill(pid, signal.SIGTERM)
    except OSError: pass
# Process 1 passes what it got on to us, a moment later.
while signal.sigtimedwait([signal.SIGTERM], 1): pass
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
print("attacked", flush=True)
if "PIKU_RELEASE" in os.environ:
    # piku must never follow a link in an app's data.
    for name, target in [("x", victim), ("y", "/etc")]: os.symlink(target, "/data/" + name)
    signal.pause()
"#;

#[test]
fn one_app_cannot_touch_another() {
    let world = World::new();
    let victim = world.repo("victim");
    victim.serves("untouched\n").commit("One").push().succeeds();
    assert!(world.ssh("laptop", "config:set victim SECRET=hunter2").status.success());
    let diary = world.app("victim").join("data/diary");
    std::fs::write(&diary, "dear\n").expect("diary");
    let before = world.ps("victim")[0]["pid"].clone();

    let evil = world.repo("evil");
    let attack = ATTACK
        .replace("@ROOT@", world.root().to_str().expect("text"))
        .replace("@HOME@", world.path("home").to_str().expect("text"))
        .replace("@PIDS@", &before.to_string());
    evil.serves("evil\n").file("attack.py", attack).file("requirements.txt", "");
    evil.file("Procfile", "web: ./serve\npreflight: python3 attack.py\nworker: python3 attack.py\n");
    let said = evil.commit("Attack").push().succeeds();
    assert!(said.contains("attacked") && !said.contains("LEAK"), "{said}");
    let log = || {
        let out = world.ssh("laptop", "logs evil --ps worker.1");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    wait_for("the attack of the worker", || log().contains("attacked"));
    assert!(!log().contains("LEAK"), "{}", log());
    let release = world.app("evil").join("releases/1/app");
    assert!(!release.join("new").exists());
    assert_eq!(std::fs::read_to_string(release.join("page")).expect("page"), "evil\n");

    assert!(world.ssh("laptop", "destroy evil --confirm evil").status.success());
    assert_eq!(world.page("victim"), "untouched\n");
    assert_eq!(world.ps("victim")[0]["pid"], before, "it was not even restarted");
    assert_eq!(std::fs::read_to_string(diary).expect("diary"), "dear\n");
    assert!(std::path::Path::new("/etc/passwd").exists());
}

/// Variables of a build step or a worker: piku's, those of the app's own ENV, and those that a shell adds.
const DECLARED: [&str; 62] = [
    "APP_READONLY",
    "LANG",
    "USER",
    "TMPDIR",
    "PORT",
    "BIND_ADDRESS",
    "DATA_DIR",
    "PIKU_APP",
    "PIKU_RELEASE",
    "PIKU_COMMIT",
    "PS",
    "PROC_TYPE",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "NODE_OPTIONS",
    "npm_config_cache",
    "PIP_CACHE_DIR",
    "UV_CACHE_DIR",
    "MAVEN_USER_HOME",
    "GRADLE_USER_HOME",
    "YARN_CACHE_FOLDER",
    "PNPM_HOME",
    "BUILDPACK_CACHE",
    "BUNDLE_USER_CACHE",
    "RAILS_BUILD_CACHE",
    "CARGO_HOME",
    "GOMODCACHE",
    "GOCACHE",
    "SBT_CACHE",
    "COURSIER_CACHE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "SHLVL",
    "_",
    "OLDPWD",
    "npm_config_update_notifier",
    "npm_config_audit",
    "npm_config_fund",
    "pnpm_config_update_notifier",
    "NO_UPDATE_NOTIFIER",
    "DISABLE_OPENCOLLECTIVE",
    "YARN_ENABLE_TELEMETRY",
    "COREPACK_DEFAULT_TO_LATEST",
    "COREPACK_ENABLE_DOWNLOAD_PROMPT",
    "DENO_NO_UPDATE_CHECK",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "BUNDLE_DISABLE_VERSION_CHECK",
    "RUBYGEMS_PREVENT_UPDATE_SUGGESTION",
    "NEXT_TELEMETRY_DISABLED",
    "NUXT_TELEMETRY_DISABLED",
    "GATSBY_TELEMETRY_DISABLED",
    "ASTRO_TELEMETRY_DISABLED",
    "STORYBOOK_DISABLE_TELEMETRY",
    "STRAPI_TELEMETRY_DISABLED",
    "NG_CLI_ANALYTICS",
    "TURBO_TELEMETRY_DISABLED",
    "CHECKPOINT_DISABLE",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS",
    "GRADIO_ANALYTICS_ENABLED",
    "DO_NOT_TRACK",
];

#[test]
fn known_attacks_fail() {
    let world = World::new();
    let victim = world.repo("victim");
    victim.serves("untouched\n").commit("One").push().succeeds();
    assert!(world.ssh("laptop", "config:set victim SECRET=hunter2").status.success());
    std::fs::write(world.app("victim").join("data/diary"), "dear\n").expect("diary");
    let program = tools::attack();
    let attack = std::fs::read(&program).expect("piku-attack");
    // Where the server's user can run it.
    let outside = world.path("outside");
    assert!(Command::new("cp").arg(&program).arg(&outside).status().expect("cp").success());
    let mut outside = world
        .command(&outside)
        .arg("prepare")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("outside");
    let mut said =
        BufReader::new(outside.stdout.take().expect("stdout")).lines().map(|line| line.expect("text"));
    let mut facts: Vec<String> = said.by_ref().take_while(|line| !line.is_empty()).collect();
    let root = world.root();
    let (home, apps) = (world.path("home"), root.join("apps"));
    let tell = |key: &str, path: std::path::PathBuf| format!("{key}={}", path.display());
    for file in [
        "host.yaml",
        "audit.log",
        "apps/victim/config.json",
        "apps/victim/data/diary",
        "apps/victim/repo.git/HEAD",
    ] {
        facts.push(tell("secret", root.join(file)));
    }
    facts.push(tell("write", home.join(".ssh/authorized_keys")));
    for file in
        ["victim/repo.git/config", "victim/current/app/page", "evil/config.json", "evil/releases/1/app/page"]
    {
        facts.push(tell("write", apps.join(file)));
    }
    for socket in ["run/daemon.sock", "run/victim/supervisor.sock"] {
        facts.push(tell("socket", root.join(socket)));
    }
    for pid in std::iter::once(world.ps("victim")[0]["pid"].to_string())
        .chain(processes::find(&root, "").iter().map(i32::to_string))
    {
        facts.push(format!("pid={pid}"));
    }
    facts.extend(DECLARED.map(|name| format!("env={name}")));
    let before = picture(&world);

    let evil = world.repo("evil");
    evil.serves("evil\n")
        .file("ENV", "APP_READONLY=1\n")
        .program("attack", attack)
        .file("facts", facts.join("\n"))
        .file(
            "Procfile",
            // One attack is a SIGTERM to all, which the shell must outlive.
            "web: ./serve\npreflight: trap '' TERM; ./attack all $(cat facts) || :\n\
         worker: trap '' TERM; ./attack all own=ro $(cat facts); trap - TERM; while :; do sleep 0.1; done\n",
        );
    let log = |worker: &str| {
        let out = world.ssh("laptop", &format!("logs evil --ps {worker}"));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let pushed = evil.commit("Attack").push().succeeds();
    wait_for("the attack of the worker", || log("worker.1").contains("attacked: "));
    assert_held(&pushed);
    assert_held(&log("worker.1"));
    // In a copy of the root that its supervisor has prepared.
    let scaled = world.ssh("laptop", "ps:scale evil worker=3");
    assert!(scaled.status.success(), "{scaled:?}");
    let third = world.ps("evil").into_iter().find(|row| row["instance"] == "worker.3").expect("worker.3");
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", third["pid"])).expect("a command line");
    assert!(line.contains("--prepared="), "{line:?}");
    wait_for("the attack of the third worker", || log("worker.3").contains("attacked: "));
    assert_held(&log("worker.3"));
    drop(outside.stdin.take());
    assert_eq!(said.next().expect("a verdict"), "held: all is as it was");
    assert!(outside.wait().expect("outside").success());
    assert_eq!(picture(&world), before);
    assert_eq!(world.page("victim"), "untouched\n");
    assert_eq!(world.page("evil"), "evil\n");
}

/// Each line of an attack, in what a push or a log says, must tell that it was held.
fn assert_held(said: &str) {
    let rows: Vec<_> = said.lines().filter_map(|line| line.split_once(" | ")).collect();
    assert!(rows.len() > 50, "{said}");
    for (name, verdict) in rows {
        let name = name.rsplit(' ').next().unwrap_or_default();
        assert!(!verdict.starts_with("BROKEN"), "{name}: {verdict}");
    }
}

/// State that an attack must not change: the files of piku and of the other app, and the processes.
fn picture(world: &World) -> Vec<String> {
    let list = "cd \"$1\" && find home/.ssh root/host.yaml root/apps/victim lib bin -path '*/log' -prune -o \\( -type f -exec sha256sum {} + \\) -o -printf '%p %m %U %l\\n' 2>&1 | sort";
    let out = world.command("sh").args(["-c", list, "sh"]).arg(world.path("")).output().expect("find");
    let mut lines: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    lines.push(world.ps("victim")[0]["pid"].to_string());
    lines.push(std::fs::read_to_string("/etc/passwd").expect("passwd"));
    lines
}
