//! An image in engines: skopeo reads it, podman runs it, also from the objects for Kubernetes.

use std::fs;
use std::path::Path;
use std::process::Command;

use piku_tests::skip;
use piku_tests::tools::{built, repository};

use super::{Image, pack};
use crate::support::{World, has_jail, shared_cache};

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

/// Returns the program of this name of the system.
fn has(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(program).exists())
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
    assert_eq!((layers.len(), &config["config"]["Cmd"]), (3, &serde_json::json!(["web"])));
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
    assert_eq!((later.len(), &later[..2]), (3, &layers[..2]));
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
    assert_eq!(lines, [&format!("container: {answer}"), &format!("pod: {answer}")], "{stderr}");
}
