//! A real nginx with the files that are rendered.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use piku_tests::ports::free_port;
use tempfile::TempDir;

use crate::app::header;

/// User of nginx if the test runs as root.
const NOBODY: u32 = 65534;

pub(crate) fn nginx() -> Option<PathBuf> {
    let found = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].iter().map(PathBuf::from);
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        // Not by a macro, whose words are kept back when the test passes.
        let _ = writeln!(std::io::stderr(), "skipped: nginx is not installed");
        assert!(std::env::var_os("CI").is_none(), "nothing may be skipped with CI set");
    }
    found
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0)
}

/// A response: its status, its head, its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

/// An nginx and the files that it serves; ended by its own id.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) port: u16,
    pub(crate) tls: u16,
    pub(crate) nginx: PathBuf,
    /// The app's file leaves out what apps share.
    is_shared: bool,
    child: Option<Child>,
}

impl World {
    /// None where there is no nginx.
    pub(crate) fn new() -> Option<Self> {
        let nginx = nginx()?;
        let dir = tempfile::tempdir().expect("a temporary folder");
        for folder in ["nginx/apps", "app/public", "data/media", "acme/.well-known/acme-challenge", "cache"] {
            fs::create_dir_all(dir.path().join(folder)).expect(folder);
        }
        let world = Self { dir, port: free_port(), tls: free_port(), nginx, is_shared: false, child: None };
        Some(world.file("app/Procfile", "web: serve\n"))
    }

    /// The same, for an app whose file leaves out what apps share.
    pub(crate) fn shared() -> Option<Self> {
        let mut world = Self::new()?;
        world.is_shared = true;
        let shared = world.render(&["--print", "shared"]);
        Some(world.file("nginx/apps/_shared.conf", shared))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    /// `render nginx ARGS` in the app's folder, its stdout.
    pub(crate) fn render(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    }

    /// Renders the app's folder, which fails; returns what it says.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let root = self.path("app").to_str().expect("text").to_owned();
        let out = self.run(&[&["--root", &root], args].concat());
        assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stdout));
        String::from_utf8(out.stderr).expect("text")
    }

    fn run(&self, args: &[&str]) -> std::process::Output {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_piku-procfile"));
        tool.args(["render", "nginx"]).args(args).current_dir(self.path("app")).env_clear();
        tool.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        tool.args(["--listen-tls", &format!("127.0.0.1:{}", self.tls)]).output().expect("the tool")
    }

    /// Renders the app as `blog` with all folders, and the instance.
    pub(crate) fn site(self, args: &[&str]) -> Self {
        let paths: Vec<String> = ["app", "data", "acme", "cache", "passwords"]
            .iter()
            .map(|name| self.path(name).to_str().expect("text").to_owned())
            .collect();
        let mut all = vec!["--app", "blog", "--root", &paths[0], "--data", &paths[1]];
        all.extend(["--acme-root", &paths[2], "--cache", &paths[3], "--passwords", &paths[4]]);
        all.extend(self.is_shared.then_some("--shared"));
        all.extend(args);
        let site = self.render(&all);
        all.extend(["--print", "passwords"]);
        let passwords = self.render(&all);
        let main = self.render(&["--main", self.path("nginx").to_str().expect("text")]);
        self.file("nginx/apps/blog.conf", site).file("passwords", passwords).file("nginx/nginx.conf", main)
    }

    /// Makes a certificate for `blog.test`; returns its path and that of its key.
    pub(crate) fn make_certificate(&self) -> (String, String) {
        let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| self.path(name));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=blog.test",
                "-keyout",
            ])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl");
        assert!(made.status.success());
        (certificate.to_str().expect("text").to_owned(), key.to_str().expect("text").to_owned())
    }

    pub(crate) fn nginx(&self, args: &[&str]) -> Command {
        let mut nginx = Command::new(&self.nginx);
        nginx.args(["-e", "stderr", "-c"]).arg(self.path("nginx/nginx.conf")).args(args);
        nginx.env_clear().current_dir("/").stdin(Stdio::null());
        if is_root() {
            own(self.dir.path());
            nginx.uid(NOBODY).gid(NOBODY);
        }
        nginx
    }

    /// Checks the files with `nginx -t`; the error is its output.
    pub(crate) fn tested(&self) -> Result<(), String> {
        let out = self.nginx(&["-t"]).output().expect("nginx");
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        if out.status.success() { Ok(()) } else { Err(told) }
    }

    pub(crate) fn start(mut self) -> Self {
        self.tested().expect("a good configuration");
        let mut nginx = self.nginx(&["-g", "daemon off;"]);
        let child = self.child.insert(nginx.stderr(Stdio::null()).spawn().expect("nginx starts"));
        for _ in 0..1000 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return self;
            }
            assert!(child.try_wait().expect("its state").is_none(), "nginx has ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen: {:?}", fs::read_to_string(self.path("nginx/error.log")));
    }

    pub(crate) fn send(&self, request: &str) -> Answer {
        self.send_from("127.0.0.1", request)
    }

    /// Sends it from this address, and reads to the end.
    pub(crate) fn send_from(&self, from: &str, request: &str) -> Answer {
        if from == "127.0.0.1" {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("nginx listens");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            stream.write_all(request.as_bytes()).expect("nginx reads");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("nginx answers");
            return read(&all);
        }
        // std binds no client; curl does.
        let url = format!("http://127.0.0.1:{}/", self.port);
        let out = Command::new("curl")
            .args(["-s", "-i", "--http1.1", "--interface", from, "-H", request, &url])
            .output()
            .expect("curl");
        read(&out.stdout)
    }

    pub(crate) fn get(&self, host: &str, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// The status of the path under the app's own name.
    pub(crate) fn status(&self, path: &str) -> u16 {
        self.get("blog.test", path).status
    }
}

pub(crate) fn own(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    for entry in fs::read_dir(path).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            own(&entry.path());
        } else if kind.is_file() {
            chown(entry.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
    }
}

pub(crate) fn read(all: &[u8]) -> Answer {
    let all = String::from_utf8_lossy(all);
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The master takes its processes along.
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }
}
