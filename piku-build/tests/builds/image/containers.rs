//! An image in engines: skopeo reads it, podman runs it, also from the objects for Kubernetes, and containerd stores
//! it.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use piku_tests::skip;
use piku_tests::tools::{built, repository};

use super::{Image, has, pack, site};
use crate::support::{World, has_jail, shared_cache};

/// Time in which containerd starts, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that ends with the test.
struct RunningServer(Child);

impl RunningServer {
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("its state").is_some()
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const APP: &str = r#"
import getpass, os
from flask import Flask

app = Flask(__name__)

@app.get("/")
def hello():
    names = ("GREETING", "FROM_PROFILE", "PROC_TYPE", "HOME")
    return " ".join([getpass.getuser(), str(os.getuid()), os.getcwd(), *(os.environ[name] for name in names)])
"#;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn a_python_release_answers_in_a_container() {
    for program in ["mmdebstrap", "skopeo", "podman", "runc", "catatonit", "ip", "curl"] {
        if !has(program) {
            return skip(&format!("images in containers: {program} is not installed"));
        }
    }
    if !is_root() || !has_jail() {
        return skip("images in containers: they need root and a jail");
    }
    let renderer = built().join("piku-procfile");
    if !renderer.is_file() {
        return skip("images in containers: piku-procfile is not built; run cargo build --workspace");
    }
    let mut world = World::new(&[
        ("app.py", APP),
        ("requirements.txt", "flask\ngunicorn\n"),
        ("Procfile", "web: gunicorn --bind $BIND_ADDRESS:$PORT app:app\nrelease: python -c 'print(1)'\n"),
        ("ENV", "GREETING=hello\n"),
        (".profile.d/own.sh", "export FROM_PROFILE=read\n"),
    ])
    .sharing_caches();
    world.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    world.build("1").good(&[]);
    // Making a base takes half a minute: it is that of all runs.
    let bases = shared_cache().join("bases");
    let bases = ["--bases", bases.to_str().expect("UTF-8")];
    let bytes = pack(&world, "1", &bases);
    let (config, layers) = Image::read(&bytes).parts();
    assert_eq!((layers.len(), &config["config"]["Cmd"]), (4, &serde_json::json!(["web"])));
    assert!(bytes == pack(&world, "1", &bases), "the same release gives other bytes");
    let text = String::from_utf8_lossy(&bytes);
    for url in [
        "pkg:pypi/flask@",
        "pkg:pypi/gunicorn@",
        "pkg:deb/debian/python3.",
        "pkg:deb/debian/ca-certificates@",
    ] {
        assert!(text.contains(url), "{url} is not in the bill of materials");
    }
    fs::write(world.path("image.tar"), &bytes).expect("a file");

    world.write("app.py", APP.replace("\" \".join", "\"-\".join"));
    world.build_with("2", &["--number", "2"]).good(&[]);
    let (_, later) = Image::read(&pack(&world, "2", &bases)).parts();
    assert_eq!((later.len(), &later[..2]), (4, &layers[..2]));
    assert_ne!(later[2], layers[2]);

    let script = repository().join("piku-build/tests/builds/image/containers.sh");
    // Interfaces, mounts and processes of podman are those of namespaces that end with the script.
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"])
        .arg(script)
        .args([world.path("."), renderer])
        .output()
        .expect("unshare runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let answer = "app 1000 /app hello read web /data/home";
    let lines: Vec<&str> = stdout.lines().collect();
    let wanted = [
        &format!("container: {answer}"),
        "stopped: 143",
        "command: input, exit 7",
        "terminal: /dev/pts/0",
        &format!("pod: {answer}"),
    ];
    assert_eq!(lines, wanted, "{stderr}");
}

#[test]
fn containerd_stores_the_image_under_its_name() {
    if !has("containerd") || !has("ctr") {
        return skip("images in containerd: it is not installed");
    }
    if !is_root() || !has_jail() {
        return skip("images in containerd: it needs root and a jail");
    }
    let world = site();
    world.build("1").good(&[]);
    // As a push to nodes of k3s names it: their pods find it by this name alone.
    let base = world.path("base");
    let image = pack(&world, "1", &["--base", base.to_str().expect("UTF-8"), "--tag", "localhost/blog:1"]);
    fs::write(world.path("image.tar"), image).expect("a file");
    let dir = world.path("containerd");
    fs::create_dir(&dir).expect("a folder");
    let socket = dir.join("socket");
    let config = format!(
        "version = 2\nroot = '{dir}/root'\nstate = '{dir}/state'\n\
         disabled_plugins = ['io.containerd.grpc.v1.cri']\n\
         [grpc]\naddress = '{dir}/socket'\n[ttrpc]\naddress = '{dir}/ttrpc'\n\
         [plugins.'io.containerd.internal.v1.opt']\npath = '{dir}/opt'\n",
        dir = dir.display()
    );
    fs::write(dir.join("config.toml"), config).expect("a file");
    // Its mounts and processes end with it.
    let containerd = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "containerd", "--config"])
        .arg(dir.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("log")).expect("a file"))
        .spawn()
        .expect("unshare runs");
    let mut containerd = RunningServer(containerd);
    let ctr = |args: &[&str], input: Stdio| {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(&socket).args(["--namespace", "k8s.io"]).args(args).stdin(input);
        command.output().expect("ctr runs")
    };
    let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
    let begun = Instant::now();
    while !socket.exists() || !ctr(&["version"], Stdio::null()).status.success() {
        assert!(
            !containerd.has_ended() && begun.elapsed() < PATIENCE,
            "containerd does not answer\n{}",
            log()
        );
        sleep(Duration::from_millis(50));
    }
    let archive = fs::File::open(world.path("image.tar")).expect("the image");
    let imported = ctr(&["images", "import", "-"], archive.into());
    let listed = ctr(&["images", "list", "--quiet"], Stdio::null());
    let checked = ctr(&["images", "check"], Stdio::null());
    drop(containerd);
    assert!(imported.status.success(), "{}\n{}", String::from_utf8_lossy(&imported.stderr), log());
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "localhost/blog:1\n");
    let checked = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.contains(" complete ") && checked.trim_end().ends_with("true"), "unpacked: {checked}");
}
