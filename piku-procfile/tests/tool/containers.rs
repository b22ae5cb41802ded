//! `render` for engines that run images: whole outputs, and what the API of Kubernetes and YAML 1.1 say to them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use piku_tests::snapshot::{assert_snapshot, file, str};

use crate::render::skipped;
use crate::support::Tool;

const PROCFILE: &str = "\
web: gunicorn app:app --bind $BIND_ADDRESS:$PORT
worker: python worker.py
My_mail: ./mail | tee /data/log
release: python manage.py migrate
cron-nightly: 0 3 * * 5-7 ./backup \"$DATA_DIR\"
";

const ENV: &str = "\
NGINX_SERVER_NAME=blog.example.org www.example.org
HEALTHCHECK_PATH=/health
MEMORY_LIMIT=512m
WORKER_CPU_LIMIT=0.5
WORKER_PIDS_LIMIT=50
NO=no
TIME=1:30
MANY='50% \"x\" $HOME \\n'
URL=http://127.0.0.1:$PORT/
";

const CONFIG: &str =
    r#"{"SECRET_KEY": "a: b # c\n\"$x\"\n", "DEPLOY_KEY": "left out", "PORT": "3000", "NO": "on"}"#;

/// Returns the tool with the files of the app.
fn render(engine: &str, args: &[&str]) -> Tool {
    let image = ["--app", "blog", "--image", "registry.example.org/blog:12", "--release", "12"];
    Tool::new(&[&["render", engine], &image[..], args].concat())
        .file("Procfile", PROCFILE)
        .file("ENV", ENV)
        .file("config.json", CONFIG)
}

#[test]
fn kubernetes_objects_whole() {
    let args = [
        "--config",
        "config.json",
        "-m",
        "web=2,My_mail=0",
        "--namespace",
        "shop",
        "--data-size",
        "1Gi",
        "--cluster-issuer",
        "letsencrypt",
        "--ingress-class",
        "traefik",
        "--pull-secret",
        "registry",
        "--architecture",
        "arm64,amd64",
    ];
    assert_snapshot(&render("kubernetes", &args).transcript(), file!["kubernetes.txt"]);
}

#[test]
fn stages_of_a_deploy_are_all_of_the_objects() {
    let kinds = |stage: &str| {
        let (out, err, code) = render("kubernetes", &["--stage", stage]).run();
        assert_eq!((err.as_str(), code), ("", 0));
        let kinds: Vec<String> =
            out.lines().filter_map(|line| line.strip_prefix("kind: ")).map(str::to_owned).collect();
        kinds
    };
    assert_eq!(kinds("config"), ["ConfigMap"]);
    assert_eq!(kinds("release"), ["Job"]);
    assert_eq!(kinds("rollout"), ["Service", "Deployment", "Deployment", "Deployment", "CronJob", "Ingress"]);
    assert_eq!(kinds("all"), [kinds("config"), kinds("release"), kinds("rollout")].concat());
}

#[test]
fn compose_file_whole() {
    let args = ["--config", "config.json", "-m", "web=2", "--port", "9000"];
    assert_snapshot(&render("compose", &args).transcript(), file!["compose.txt"]);
}

#[test]
fn quadlet_units_whole() {
    let args = ["--config", "config.json", "-m", "web=2,My_mail=0", "--port", "9000"];
    assert_snapshot(&render("quadlet", &args).transcript(), file!["quadlet.txt"]);
}

#[test]
fn quadlet_files_lie_where_their_readers_look() {
    let dirs = tempfile::tempdir().expect("a folder");
    let (units, timers) = (dirs.path().join("units"), dirs.path().join("timers"));
    let output = ["--output", units.to_str().expect("text")];
    let both = [&output[..], &["--timers", timers.to_str().expect("text")]].concat();
    for dir in [&units, &timers] {
        fs::create_dir(dir).expect("a folder");
    }
    let (_, err, code) = render("quadlet", &output).run();
    assert_eq!(
        (err.as_str(), code),
        (
            "piku-procfile: the app has cron jobs, and systemd reads no timers in the directory of Quadlet\n\
             hint: add --timers ~/.config/systemd/user\n",
            1
        )
    );
    assert_eq!(names_in(&units), [""; 0]);
    let (_, err, code) = render("quadlet", &[&both[..], &["--config", "config.json"]].concat()).run();
    assert_eq!((err.as_str(), code), ("", 0));
    assert_eq!(names_in(&timers), ["blog-cron-nightly.timer"]);
    assert_eq!(
        names_in(&units),
        [
            "blog-cron-nightly.container",
            "blog-data.volume",
            "blog-my-mail-1.container",
            "blog-release.container",
            "blog-secrets.sh",
            "blog-web-1.container",
            "blog-worker-1.container",
        ]
    );
    // The script hands each value on as it is: a podman that prints.
    let podman = "#!/bin/sh\nprintf '[%s] ' \"$4\"\ncat\n";
    fs::write(dirs.path().join("podman"), podman).expect("a program");
    fs::set_permissions(dirs.path().join("podman"), fs::Permissions::from_mode(0o755)).expect("its mode");
    let path = format!("{}:/usr/bin:/bin", dirs.path().display());
    let out = Command::new("sh").arg(units.join("blog-secrets.sh")).env("PATH", path).output().expect("sh");
    let made = String::from_utf8_lossy(&out.stdout);
    assert_eq!(made, "[blog-SECRET_KEY] a: b # c\n\"$x\"\n[blog-NO] on");
}

/// Returns the names of a folder's files, sorted.
fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn what_a_container_cannot_have_is_told() {
    let tool = |procfile: &str, env: &str| {
        Tool::new(&["render", "kubernetes", "--image", "app:1"])
            .file("Procfile", procfile)
            .file("ENV", env)
            .transcript()
    };
    let told = [
        tool(
            "web: serve 127.0.0.1:$PORT\nstatic: public\npreflight: a\n",
            "NGINX_HTTPS_ONLY=1\nWRITABLE_PATHS=db\n",
        ),
        tool("a_b: x\nA-b: y\n", "MEMORY_LIMIT=50%\nPORT=80\n"),
        tool("static: public\n", ""),
        tool(&format!("{}: x\n", "a".repeat(63)), ""),
        Tool::new(&["render", "kubernetes", "--image", "a b"]).transcript(),
        Tool::new(&["render", "compose", "--image", "a:1", "-m", "web=2", "--port", "65535"])
            .file("Procfile", "web: a\n")
            .transcript(),
        Tool::new(&["render", "quadlet", "--image", "a:1", "--config", "config.json"])
            .file("Procfile", "web: a\n")
            .file("config.json", "{\"A-B\": \"x\"}")
            .transcript(),
    ];
    // Only the messages: the objects of the first one are in another snapshot.
    let told: String = told
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| {
            ["$", "piku", "Procfile", "ENV", "error", "hint", "  "]
                .iter()
                .any(|start| line.starts_with(start))
        })
        .filter(|line| !line.starts_with("  ") || line.contains("hint"))
        .fold(String::new(), |all, line| all + line + "\n");
    assert_snapshot(
        &told,
        str![[r#"
$ piku-procfile render kubernetes --image app:1
Procfile:1: warning: 'web' seems to listen on loopback, where nothing outside its container reaches it: write $BIND_ADDRESS:$PORT
ENV:1: warning: NGINX_HTTPS_ONLY: has no counterpart outside piku's own server
Procfile:2: warning: 'static' is left out: an image needs a 'web' that serves the files
ENV:2: warning: WRITABLE_PATHS: has no effect in a container: keep these files in /data, not in /app
Procfile:3: warning: 'preflight' is left out: it runs before the image is built
$ piku-procfile render kubernetes --image app:1
ENV:1: MEMORY_LIMIT: '50%' is not an amount of memory for any machine, such as 512m
ENV:2: PORT: '80' is not a whole number of a port from 1024 to 65535
Procfile:2: 'A-b' gets the same name as 'a_b': a-b
$ piku-procfile render kubernetes --image app:1
piku-procfile: the Procfile has nothing that runs in a container
$ piku-procfile render kubernetes --image app:1
Procfile:1: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' gets a name of 67 characters with the app's; 52 are allowed
$ piku-procfile render kubernetes --image a b
error: invalid value 'a b' for '--image <IMAGE>': expected an image such as registry.example.org/blog:12
$ piku-procfile render compose --image a:1 -m web=2 --port 65535
piku-procfile: --port: no ports are left for 'web'
$ piku-procfile render quadlet --image a:1 --config config.json
piku-procfile: bad config in 'config.json': 'A-B'
hint: a config is one JSON object of names and strings without NUL

"#]],
    );
}

/// Makes a virtual environment with the package; returns its Python, or `None`, with a message, if the package
/// cannot be installed.
fn python_with(dir: &Path, package: &str) -> Option<PathBuf> {
    let venv = dir.join("venv");
    let is_made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().is_ok_and(|s| s.success());
    let pip = || Command::new(venv.join("bin/pip")).args(["install", "--quiet", package]).status();
    if is_made && pip().is_ok_and(|status| status.success()) {
        return Some(venv.join("bin/python"));
    }
    skipped(&format!("{package} cannot be installed"));
    assert!(std::env::var_os("CI").is_none(), "nothing may be skipped with CI set");
    None
}

#[test]
fn the_api_of_kubernetes_takes_the_objects() {
    let dir = tempfile::tempdir().expect("a folder");
    let variants: [&[&str]; 3] = [
        &[
            "--config",
            "config.json",
            "-m",
            "web=3",
            "--data-size",
            "1Gi",
            "--storage-class",
            "fast",
            "--shared-data",
            "--architecture=arm64",
        ],
        &["--traefik-resolver", "le", "--host", "*.example.org", "--writable-root"],
        &[
            "--cluster-issuer",
            "le",
            "--pull-secret",
            "registry",
            "--namespace",
            "shop",
            "--data-size=1Gi",
            "--architecture=arm,386",
        ],
    ];
    let mut names = Vec::new();
    for (at, args) in variants.iter().enumerate() {
        let (out, err, code) = render("kubernetes", args).run();
        assert_eq!((err.as_str(), code), ("", 0));
        names.push(format!("{at}.yaml"));
        fs::write(dir.path().join(&names[at]), out).expect("a file");
    }
    let Some(python) = python_with(dir.path(), "kubernetes-validate") else { return };
    let run = |args: &[&str]| {
        let out =
            Command::new(&python).current_dir(dir.path()).args(args).args(&names).output().expect("Python");
        let told = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(out.status.success(), "{told}");
        told
    };
    for version in ["1.27", "1.34"] {
        let told = run(&["-m", "kubernetes_validate", "--strict", "--kubernetes-version", version]);
        assert!(told.matches(" passed ").count() >= 3 * 9, "{told}");
    }
    // PyYAML reads version 1.1: each value is still a text.
    let program = "import sys, yaml\nfor name in sys.argv[1:]:\n  for x in yaml.safe_load_all(open(name)):\n    \
                   for kind in ('data', 'stringData'):\n      for key, value in (x or {}).get(kind, {}).items():\n        \
                   assert isinstance(value, str), (key, value)\n        print(key)\n";
    let told = run(&["-c", program]);
    assert!(told.contains("SECRET_KEY"), "{told}");
}
