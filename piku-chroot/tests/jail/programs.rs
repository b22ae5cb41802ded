//! Real programs do their work.

use crate::scene::{Scene, users};

#[test]
fn python_makes_a_virtual_environment() {
    for user in users() {
        let scene = Scene::new(user);
        let app = scene.folder("app");
        let bind = format!("{}:/app", app.display());
        let script = "/usr/bin/python3 -m venv venv && venv/bin/pip --version && venv/bin/python -c '
import multiprocessing, os, pwd, socket, ssl, tempfile
print(pwd.getpwuid(os.getuid()).pw_dir, os.path.expanduser(\"~\"))
tempfile.NamedTemporaryFile().write(b\"x\")
assert multiprocessing.Semaphore(1).acquire()
with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))
socket.gethostbyname(socket.gethostname())
ssl.create_default_context()
'";
        let out = scene.ok(&["--bind", &bind, "--chdir", "/app", "--env", "HOME=/app"], script);
        assert!(out.starts_with("pip ") && out.contains("(python 3"), "{out}");
        assert!(out.ends_with("/app /app\n[1, 2]\n"), "{out}");
        assert!(app.join("venv/bin/python").symlink_metadata().is_ok());
    }
}

#[test]
fn a_terminal_can_be_opened() {
    for user in users() {
        let scene = Scene::new(user);
        let out = scene.ok(&[], "/usr/bin/python3 -c 'import os, pty; print(os.ttyname(pty.openpty()[1]))'");
        assert_eq!(out, "/dev/pts/0\n");
    }
}

#[test]
fn another_tree_as_the_base() {
    for user in users() {
        let scene = Scene::new(user);
        scene.folder("base/usr/bin");
        scene.folder("base/etc");
        std::os::unix::fs::symlink("/etc/shadow", scene.path("base/etc/mime.types")).unwrap();
        std::os::unix::fs::symlink("usr/bin", scene.path("base/bin")).unwrap();
        scene.file("base/etc/debian_version", "other\n");
        scene.file("base/usr/bin/data", "of the base\n");
        let root = scene.path("base");
        let root = root.to_str().unwrap();
        let options =
            ["--root", root, "--ro", "/usr:/host", "--ro", "/usr/lib:/lib", "--ro", "/usr/lib64:/lib64"];
        let mut command = scene.jail(&options);
        let argv = ["/host/bin/cat", "/bin/data", "/etc/debian_version"];
        let outcome = crate::scene::run(command.arg("--").args(argv));
        assert_eq!(outcome.out, "of the base\nother\n", "{}", outcome.err);
        let mut command = scene.jail(&options);
        let outcome = crate::scene::run(command.args(["--", "/host/bin/cat", "/etc/mime.types"]));
        assert!(outcome.err.contains("No such file"), "a link of the base led to the host: {outcome:?}");
    }
}
