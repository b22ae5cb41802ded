//! What `render nginx` prints, under a real nginx that serves it: rootless, on loopback, in a folder of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// Whom nginx runs as when the test is root.
const NOBODY: u32 = 65534;

fn nginx() -> Option<PathBuf> {
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// An app's process: it answers with what it was asked, and counts. `/fail` is read and never answered; `/upgrade` becomes
/// an echo.
struct App {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl App {
    fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || while answer(&stream, &count).is_some() {});
            }
        });
        Self { port, requests }
    }

    fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: &TcpStream, count: &AtomicUsize) -> Option<()> {
    let head = head(stream)?;
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
    let path = head.split(' ').nth(1)?;
    if path.starts_with("/fail") {
        return None;
    }
    if path.starts_with("/upgrade") && header(&head, "upgrade").as_deref() == Some("websocket") {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(switch.as_bytes()).ok()?;
        let mut message = [0; 4];
        stream.read_exact(&mut message).ok()?;
        stream.write_all(&message).ok()?;
        return None;
    }
    let body = format!("answer {number}\n{head}");
    let cookie = if path.starts_with("/thumb/cookie") { "Set-Cookie: a=b\r\n" } else { "" };
    write!(stream, "HTTP/1.1 200 OK\r\n{cookie}Content-Length: {}\r\n\r\n{body}", body.len()).ok()
}

/// Up to the empty line, byte by byte: nothing of what follows is taken.
fn head(mut stream: &TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// One answer: its status, its head, its body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

/// An nginx and the files that it serves; ended by its own id.
struct World {
    dir: TempDir,
    port: u16,
    tls: u16,
    nginx: PathBuf,
    child: Option<Child>,
}

impl World {
    /// None where there is no nginx.
    fn new() -> Option<Self> {
        let nginx = nginx()?;
        let dir = tempfile::tempdir().expect("a temporary folder");
        for folder in ["nginx/apps", "app/public", "data/media", "acme/.well-known/acme-challenge", "cache"] {
            fs::create_dir_all(dir.path().join(folder)).expect(folder);
        }
        let world = Self { dir, port: free_port(), tls: free_port(), nginx, child: None };
        Some(world.file("app/Procfile", "web: serve\n"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    /// `render nginx ARGS` in the app's folder, its stdout.
    fn render(&self, args: &[&str]) -> String {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_piku-procfile"));
        tool.args(["render", "nginx"]).args(args).current_dir(self.path("app")).env_clear();
        tool.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        let out = tool.args(["--listen-tls", &format!("127.0.0.1:{}", self.tls)]).output().expect("the tool");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    }

    /// Renders the app as `blog` with all folders, and the instance.
    fn site(self, args: &[&str]) -> Self {
        let paths: Vec<String> = ["app", "data", "acme", "cache", "passwords"]
            .iter()
            .map(|name| self.path(name).to_str().expect("text").to_owned())
            .collect();
        let mut all = vec!["--app", "blog", "--root", &paths[0], "--data", &paths[1]];
        all.extend(["--acme-root", &paths[2], "--cache", &paths[3], "--passwords", &paths[4]]);
        all.extend(args);
        let site = self.render(&all);
        all.extend(["--print", "passwords"]);
        let passwords = self.render(&all);
        let main = self.render(&["--main", self.path("nginx").to_str().expect("text")]);
        self.file("nginx/apps/blog.conf", site).file("passwords", passwords).file("nginx/nginx.conf", main)
    }

    fn nginx(&self, args: &[&str]) -> Command {
        let mut nginx = Command::new(&self.nginx);
        nginx.args(["-e", "stderr", "-c"]).arg(self.path("nginx/nginx.conf")).args(args);
        nginx.env_clear().current_dir("/").stdin(Stdio::null());
        if is_root() {
            own(self.dir.path());
            nginx.uid(NOBODY).gid(NOBODY);
        }
        nginx
    }

    /// What `nginx -t` says against it.
    fn tested(&self) -> Result<(), String> {
        let out = self.nginx(&["-t"]).output().expect("nginx");
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        if out.status.success() { Ok(()) } else { Err(told) }
    }

    fn start(mut self) -> Self {
        self.tested().expect("a good configuration");
        let child = self.nginx(&["-g", "daemon off;"]).stderr(Stdio::null()).spawn().expect("nginx starts");
        self.child = Some(child);
        for _ in 0..1000 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return self;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen: {:?}", fs::read_to_string(self.path("nginx/error.log")));
    }

    fn send(&self, request: &str) -> Answer {
        self.send_from("127.0.0.1", request)
    }

    /// Sends it from this address, and reads to the end.
    fn send_from(&self, from: &str, request: &str) -> Answer {
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

    fn get(&self, host: &str, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// The status of the path under the app's own name.
    fn status(&self, path: &str) -> u16 {
        self.get("blog.test", path).status
    }
}

fn own(path: &Path) {
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

fn read(all: &[u8]) -> Answer {
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

#[test]
fn requests_reach_the_app_with_what_it_needs_to_know() {
    let Some(world) = World::new() else { return };
    let app = App::start();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test, *.blog.test\n");
    let world = world.site(&["--upstream", &format!("127.0.0.1:{}", app.port)]).start();
    let port = world.port;
    let answer = world.send(&format!(
        "GET /a%20b/../c?x=%2e HTTP/1.1\r\nHost: Blog.test:{port}\r\nX-Forwarded-For: 9.9.9.9\r\nProxy: evil\r\n\
         Upgrade: h2c\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("GET /a%20b/../c?x=%2e HTTP/1.1"), "{answer:?}");
    for (name, value) in [
        ("host", &*format!("blog.test:{port}")),
        ("x-forwarded-for", "9.9.9.9, 127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", &port.to_string()),
        ("x-real-ip", "127.0.0.1"),
    ] {
        assert_eq!(header(&answer.body, name).as_deref(), Some(value), "{answer:?}");
    }
    for name in ["proxy", "upgrade", "connection"] {
        assert_eq!(header(&answer.body, name), None, "{name}");
    }
    assert_eq!(world.get("x.blog.test", "/").status, 200);
    let stranger = world.get("other.test", "/");
    assert_eq!((stranger.status, stranger.body.as_str()), (404, "No app has this host name.\n"));
    assert_eq!(
        [world.status("/.git/config"), world.status("/a/.git"), world.status("/.gitx")],
        [404, 404, 200]
    );
    assert_eq!(world.get("blog.test", "/.well-known/acme-challenge/none").status, 404);
}

#[test]
fn a_websocket_is_passed_through() {
    let Some(world) = World::new() else { return };
    let app = App::start();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test");
    let world = world.site(&["--upstream", &format!("127.0.0.1:{}", app.port)]).start();
    let mut stream = TcpStream::connect(("127.0.0.1", world.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
        .write_all(
            b"GET /upgrade HTTP/1.1\r\nHost: blog.test\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n",
        )
        .unwrap();
    let head = head(&stream).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(b"ping").unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"ping");
}

#[test]
fn what_may_not_be_sent_twice_is_not_and_a_dead_instance_is_passed_over() {
    let Some(world) = World::new() else { return };
    let apps = [App::start(), App::start()];
    let dead = free_port();
    let upstreams: Vec<String> =
        [dead, apps[0].port, apps[1].port].iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test");
    let args: Vec<&str> = upstreams.iter().flat_map(|upstream| ["--upstream", upstream]).collect();
    let world = world.site(&args).start();
    let count = || apps[0].count() + apps[1].count();
    let post = |path: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"
        );
        world.send(&request).status
    };
    for _ in 0..6 {
        assert_eq!([post("/"), world.status("/")], [200, 200]);
    }
    assert_eq!(count(), 12);
    // Both were asked.
    assert!(apps.iter().all(|app| app.count() > 0));
    assert_eq!(post("/fail"), 502);
    assert_eq!(count(), 13);
    assert_eq!(world.status("/fail"), 502);
    assert_eq!(count(), 15);
}

#[test]
fn files_are_served_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "secret").unwrap();
    let world = world
        .file("app/Procfile", "static: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_STATIC_PATHS=/all:.,/media:/data/media,/one.txt:public/one.txt,/it's \"a\\b\":public\n")
        .file("app/public/index.html", "<h1>hi</h1>")
        .file("app/public/about.html", "about")
        .file("app/public/one.txt", "one")
        .file("app/public/a.css", "a {}")
        .file("app/public/a.mjs", "1")
        .file("app/public/a.woff2", "1")
        .file("app/public/sub/index.html", "sub")
        .file("app/public/.git/config", "secret")
        .file("app/public/.env", "secret")
        .file("app/public/.well-known/security.txt", "mail me")
        .file("data/media/x.svg", "<svg/>")
        .file("data/private.txt", "secret")
        .file("acme/.well-known/acme-challenge/tok-en_1", "proof");
    symlink(secret.path(), world.path("data/media/link")).unwrap();
    symlink(secret.path(), world.path("app/public/link")).unwrap();
    symlink("/", world.path("data/media/root")).unwrap();
    let world = world.site(&[]).start();
    for (path, kind, body) in [
        ("/", "text/html; charset=utf-8", "<h1>hi</h1>"),
        ("/about", "text/html; charset=utf-8", "about"),
        ("/sub/", "text/html; charset=utf-8", "sub"),
        ("/a.css", "text/css; charset=utf-8", "a {}"),
        ("/a.mjs", "text/javascript; charset=utf-8", "1"),
        ("/a.woff2", "font/woff2", "1"),
        ("/one.txt", "text/plain; charset=utf-8", "one"),
        ("/media/x.svg", "image/svg+xml", "<svg/>"),
        ("/all/public/a.css", "text/css; charset=utf-8", "a {}"),
        ("/it's%20%22a%5Cb%22/a.css", "text/css; charset=utf-8", "a {}"),
        ("/.well-known/security.txt", "text/plain; charset=utf-8", "mail me"),
        ("/.well-known/acme-challenge/tok-en_1", "text/plain", "proof"),
    ] {
        let answer = world.get("blog.test", path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
        let found = answer.header("content-type").unwrap();
        assert!(found.split(';').next() == kind.split(';').next(), "{path}: {found}");
    }
    for path in [
        "/.git/config",
        "/.env",
        "/sub/../.env",
        "/all/ENV",
        "/all/Procfile",
        "/all/public/.env",
        "/media/.x",
        "/media../private.txt",
        "/media/../private.txt",
        "/media/%2e%2e/private.txt",
        "/all/..%2f..%2fpasswords",
        "/none",
        "/link",
        "/media/link",
        "/media/root/etc/passwd",
        "/.well-known/acme-challenge/../../../passwords",
        "/.well-known/acme-challenge/..%2f..%2f..%2fpasswords",
        "/all",
        "/media",
        "/media/",
    ] {
        let answer = world.get("blog.test", path);
        assert!(matches!(answer.status, 301 | 400 | 403 | 404), "{path}: {answer:?}");
        assert!(!answer.body.contains("secret") && !answer.body.contains("root:"), "{path}: {answer:?}");
    }
    assert_eq!(world.get("blog.test", "/media").header("location").as_deref(), Some("/media/"));
}

#[test]
fn a_catch_all_answers_for_a_single_page_app() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/Procfile", "static: dist\n")
        .file(
            "app/ENV",
            "NGINX_SERVER_NAME=blog.test\nNGINX_CATCH_ALL=/index.html\nNGINX_STATIC_PATHS=/ui:dist",
        )
        .file("app/dist/index.html", "app")
        .file("app/dist/a.js", "js")
        .site(&[])
        .start();
    for (path, body) in [
        ("/", "app"),
        ("/any/where", "app"),
        ("/a.js", "js"),
        ("/ui/", "app"),
        ("/ui/any/where", "app"),
        ("/ui/a.js", "js"),
    ] {
        let answer = world.get("blog.test", path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
    }
    assert_eq!(
        world.get("blog.test", "/x").header("content-type").as_deref(),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(world.status("/.git/x"), 404);
}

#[test]
fn files_come_first_and_the_app_answers_the_rest() {
    let Some(world) = World::new() else { return };
    let app = App::start();
    let world = world
        .file("app/Procfile", "web: serve\nstatic: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_CACHE_PREFIXES=/thumb\nNGINX_CACHE_CONTROL=60\n")
        .file("app/public/a.css", "a {}")
        .site(&["--upstream", &format!("127.0.0.1:{}", app.port)])
        .start();
    assert_eq!(world.get("blog.test", "/a.css").body, "a {}");
    assert!(world.get("blog.test", "/").body.starts_with("answer "));
    let first = world.get("blog.test", "/thumb/1");
    let second = world.get("blog.test", "/thumb/1");
    assert_eq!((first.body, second.header("x-cache").as_deref()), (second.body.clone(), Some("HIT")));
    assert_eq!(second.header("cache-control").as_deref(), Some("public, max-age=60"));
    let cookies = [world.get("blog.test", "/thumb/cookie"), world.get("blog.test", "/thumb/cookie")];
    assert_ne!(cookies[0].body, cookies[1].body);
    assert_eq!(cookies[1].header("cache-control"), None);
    let other = world.get("blog.test", "/thumbs");
    assert_eq!(other.header("x-cache"), None);
}

#[test]
fn names_and_passwords_are_asked_for_except_by_acme() {
    let Some(world) = World::new() else { return };
    let app = App::start();
    // 'openssl passwd -6 -salt ab secret'
    let hash = "$6$ab$";
    let made =
        Command::new("openssl").args(["passwd", "-6", "-salt", "ab", "secret"]).output().expect("openssl");
    let made = String::from_utf8(made.stdout).unwrap();
    assert!(made.starts_with(hash), "{made}");
    let world = world
        .file(
            "app/ENV",
            format!("NGINX_SERVER_NAME=blog.test\nNGINX_BASIC_AUTH='ann:{} bob:pa,ss'\n", made.trim()),
        )
        .file("acme/.well-known/acme-challenge/token", "proof")
        .site(&["--upstream", &format!("127.0.0.1:{}", app.port)])
        .start();
    let with = |proof: &str| {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: blog.test\r\nAuthorization: Basic {proof}\r\nConnection: close\r\n\r\n"
        );
        world.send(&request).status
    };
    assert_eq!(world.status("/"), 401);
    // ann:secret, bob:pa,ss, bob:secret
    assert_eq!([with("YW5uOnNlY3JldA=="), with("Ym9iOnBhLHNz"), with("Ym9iOnNlY3JldA==")], [200, 200, 401]);
    assert_eq!(world.get("blog.test", "/.well-known/acme-challenge/token").body, "proof");
}

#[test]
fn maintenance_is_503_with_a_time_to_come_back() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_CACHE_PREFIXES=/x\nNGINX_CATCH_ALL=i.html\nNGINX_STATIC_PATHS=/:public")
        .file("acme/.well-known/acme-challenge/token", "proof")
        .site(&["--maintenance"])
        .start();
    let answer = world.get("blog.test", "/any/where");
    assert_eq!((answer.status, answer.header("retry-after").as_deref()), (503, Some("120")), "{answer:?}");
    assert!(answer.body.contains("maintenance"));
    let posted =
        world.send("POST /x HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(posted.status, 503);
    assert_eq!(world.get("blog.test", "/.well-known/acme-challenge/token").body, "proof");
}

#[test]
fn https_is_served_and_redirected_to_and_strangers_get_no_certificate() {
    let Some(world) = World::new() else { return };
    let app = App::start();
    let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| world.path(name));
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
    let (key, certificate) = (key.to_str().unwrap().to_owned(), certificate.to_str().unwrap().to_owned());
    let upstream = format!("127.0.0.1:{}", app.port);
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_HTTPS_ONLY=true\n")
        .file("acme/.well-known/acme-challenge/token", "proof")
        .site(&["--upstream", &upstream, "--certificate", &certificate, "--key", &key])
        .start();
    let answer = world.get("blog.test", "/a?b=c");
    assert_eq!(answer.status, 301);
    let wanted = format!("https://blog.test:{}/a?b=c", world.tls);
    assert_eq!(answer.header("location"), Some(wanted.clone()));
    assert_eq!(world.get("blog.test", "/.well-known/acme-challenge/token").body, "proof");
    let curl = |host: &str| {
        let resolve = format!("{host}:{}:127.0.0.1", world.tls);
        let url = wanted.replace("blog.test", host);
        let out =
            Command::new("curl").args(["-s", "-k", "--noproxy", "*", "--resolve", &resolve, &url]).output();
        out.expect("curl")
    };
    let answer = curl("blog.test");
    let body = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert_eq!(header(&body, "x-forwarded-proto").as_deref(), Some("https"), "{body}");
    assert_eq!(header(&body, "host"), Some(format!("blog.test:{}", world.tls)));
    assert!(!curl("other.test").status.success());
}

#[test]
fn only_cloudflare_and_this_machine_get_an_answer() {
    let Some(world) = World::new() else { return };
    let app = App::start();
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_CLOUDFLARE_ACL=1\n")
        .file("ranges", "127.0.0.3/32\n2400:cb00::/32\n");
    let ranges = world.path("ranges").to_str().unwrap().to_owned();
    let upstream = format!("127.0.0.1:{}", app.port);
    let world = world.site(&["--upstream", &upstream, "--cloudflare-ranges", &ranges]).start();
    assert_eq!(world.status("/"), 200);
    assert_eq!(world.send_from("127.0.0.2", "Host: blog.test").status, 403);
    assert_eq!(world.send_from("127.0.0.3", "Host: blog.test").status, 200);
}

#[test]
fn the_apps_own_lines_are_served_and_cannot_climb_out() {
    let Some(world) = World::new() else { return };
    let app = App::start();
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=conf/nginx.conf\nNGINX_STATIC_PATHS=/static:public\n")
        .file("app/public/a.css", "a {}")
        .file("secret", "secret")
        .file(
            "app/conf/nginx.conf",
            "add_header X-Own 'it; is' always;\n\
             location = /old { return 302 /new; }\n\
             location /api { proxy_set_header X-Api yes; proxy_pass http://app; }\n\
             location /up1 { rewrite ^ /static/../../secret last; }\n\
             location /up2 { rewrite ^ /static/../../secret break; }\n\
             location /up3 { rewrite ^ /.well-known/acme-challenge/../../../secret last; }\n\
             location /up4 { rewrite ^ /static/$arg_p last; }\n\
             location /up5 { error_page 418 /static/../../secret; return 418; }\n\
             location /up6 { }\n",
        )
        .site(&["--upstream", &format!("127.0.0.1:{}", app.port)])
        .start();
    assert_eq!(world.get("blog.test", "/").header("x-own").as_deref(), Some("it; is"));
    assert_eq!(world.get("blog.test", "/old").header("location").as_deref(), Some("/new"));
    assert_eq!(header(&world.get("blog.test", "/api/1").body, "x-api").as_deref(), Some("yes"));
    for path in ["/up1", "/up2", "/up3", "/up4?p=../../secret", "/up5", "/up6/etc/passwd", "/up6../secret"] {
        let answer = world.get("blog.test", path);
        assert!(!answer.body.contains("secret") && !answer.body.contains("root:"), "{path}: {answer:?}");
        assert!(answer.status >= 400 || answer.body.starts_with("answer "), "{path}: {answer:?}");
    }
    assert_eq!(world.get("blog.test", "/up4?p=a.css").body, "a {}");
}

#[test]
fn a_thousand_names_and_the_longest_ones() {
    let Some(world) = World::new() else { return };
    let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    let names: Vec<String> =
        (0..1000).map(|n| format!("host-{n}.blog.test")).chain([longest.clone()]).collect();
    let world = world
        .file("app/Procfile", "static: public")
        .file("app/ENV", format!("NGINX_SERVER_NAME={}\n", names.join(",")))
        .file("app/public/index.html", "hi")
        .site(&[])
        .start();
    for name in ["host-0.blog.test", "host-999.blog.test", &longest] {
        assert_eq!(world.get(name, "/").body, "hi");
    }
    assert_eq!(world.get("host-1000.blog.test", "/").status, 404);
}

#[test]
fn many_apps_are_one_good_configuration() {
    let Some(world) = World::new() else { return };
    let mut world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test").site(&["--upstream", "127.0.0.1:9"]);
    for number in 0..50 {
        let env = format!(
            "NGINX_SERVER_NAME=x{number}.test\nNGINX_CACHE_PREFIXES=/a,/b\nNGINX_CLOUDFLARE_ACL=1\nNGINX_ALLOW_GIT_FOLDERS=1\n"
        );
        world = world.file("app/ENV", env);
        let (name, cache) = (format!("x-{number}"), world.path("cache"));
        let site = world.render(&[
            "--app",
            &name,
            "--upstream",
            "[::1]:9",
            "--cache",
            cache.to_str().unwrap(),
            "--no-ipv6",
        ]);
        world = world.file(&format!("nginx/apps/{name}.conf"), site);
    }
    assert_eq!(world.tested(), Ok(()));
}

#[test]
fn the_test_notices_a_bad_file() {
    let Some(world) = World::new() else { return };
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test").site(&["--upstream", "127.0.0.1:9"]);
    let world = world.file("nginx/apps/bad.conf", "server { nonsense; }");
    assert!(world.tested().unwrap_err().contains("nonsense"));
}
