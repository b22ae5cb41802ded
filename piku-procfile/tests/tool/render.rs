//! `render` on real files: whole outputs, and what systemd and cron say to them where they are installed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use piku_tests::snapshot::{assert_redacted, assert_snapshot, file, str};

use crate::support::Tool;

const PROCFILE: &str = "\
web: gunicorn app:app --bind 127.0.0.1:$PORT
worker: echo \"50%\" \\n && sleep 60
release: ./migrate
cron: */15 8-10 * * mon-fri ./report $(date +%F)
cron-odd: 0 12 13 * fri ./unlucky
";

const ENV: &str = "A='50% \"x\" $HOME \\n'\nB=\"two\nlines\"\nURL=http://127.0.0.1:$PORT/\n";

/// Reports a skipped test. Not by a macro, whose output is hidden if the test passes.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Returns whether the program is installed, and reports if not.
fn have(program: &str) -> bool {
    let have = ["/usr/bin", "/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
    if !have {
        skipped(&format!("{program} is not installed"));
        assert!(std::env::var_os("CI").is_none(), "nothing may be skipped with CI set");
    }
    have
}

/// The shell that commands run in on this machine.
fn shell() -> &'static str {
    if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" }
}

#[test]
fn systemd_units_whole() {
    let tool = Tool::new(&["render", "systemd", "--app", "blog", "--dir", "/srv/50% blog", "--user", "piku"])
        .file("Procfile", "web: ./serve $PORT\nwork: a | b\ncron: @daily ./x\nstatic: public\n")
        .file("ENV", "URL=http://127.0.0.1:$PORT/50%\n")
        .arg("-m")
        .arg("web=2,work=0");
    let (stdout, stderr, code) = tool.run();
    assert_eq!(code, 0, "{stderr}");
    assert_snapshot(
        &stderr,
        str![[r#"
Procfile:4: warning: 'static' has no unit: a web server serves it

"#]],
    );
    assert_redacted(&stdout, &[("[SHELL]", shell())], file!["systemd.txt"]);
}

#[test]
fn nginx_files_whole() {
    let proxied = Tool::new(&["render", "nginx", "--app", "blog", "--upstream", "127.0.0.1:5000"])
        .file("Procfile", "web: a\nstatic: public\n")
        .file("ENV", "NGINX_SERVER_NAME=blog.test www.blog.test\nNGINX_STATIC_PATHS=/media:/data/media\nNGINX_CACHE_PREFIXES=/thumb\nNGINX_HTTPS_ONLY=true\n");
    for folder in ["app/public", "data/media"] {
        fs::create_dir_all(proxied.path().join(folder)).expect("a folder");
    }
    let proxied = ["--root", "app", "--data", "data", "--cache", "/cache", "--acme-root", "/acme"]
        .into_iter()
        .chain(["--certificate", "/tls/certificate.pem", "--key", "/tls/key.pem"])
        .fold(proxied, Tool::arg);
    let dir = proxied.path().to_owned();
    assert_redacted(
        &proxied.transcript(),
        &[("[DIR]", dir.to_str().expect("text"))],
        file!["nginx-site.txt"],
    );
    let main = Tool::new(&["render", "nginx", "--main", "/srv/nginx", "--listen", "8080"]);
    assert_snapshot(&main.transcript(), file!["nginx-main.txt"]);
}

#[test]
fn systemd_takes_the_units() {
    if !have("systemd-analyze") {
        return;
    }
    let units = tempfile::tempdir().expect("a folder");
    let tool = Tool::new(&["render", "systemd", "--app", "blog", "--dir", "/", "--output"])
        .arg(units.path())
        .file("Procfile", PROCFILE)
        .file("ENV", ENV);
    let (stdout, stderr, code) = tool.run();
    assert_eq!((stdout.as_str(), code), ("", 0), "{stderr}");
    let mut names: Vec<_> =
        fs::read_dir(units.path()).expect("units").flatten().map(|unit| unit.path()).collect();
    names.sort();
    assert_eq!(names.len(), 7, "{names:?}");
    let out =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&names).output().expect("systemd");
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    // Other units of this machine may have their own faults.
    assert!(!told.contains("blog."), "{told}");
    assert!(out.status.success() || !told.is_empty(), "{out:?}");
    let mut bad = fs::read_to_string(units.path().join("blog.web@.service")).expect("a unit");
    bad.push_str("Nonsense=1\n");
    fs::write(units.path().join("blog.web@.service"), bad).expect("a unit");
    let out =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&names).output().expect("systemd");
    assert!(String::from_utf8_lossy(&out.stderr).contains("Nonsense"), "the check notices nothing: {out:?}");
    for timer in ["blog.cron.timer", "blog.cron-odd.timer"] {
        let text = fs::read_to_string(units.path().join(timer)).expect("a timer");
        let times: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("OnCalendar=")).collect();
        assert_eq!(times.len(), if timer.contains("odd") { 2 } else { 1 });
        for time in times {
            let out = Command::new("systemd-analyze").args(["calendar", time]).output().expect("systemd");
            assert!(out.status.success(), "{time}: {out:?}");
        }
    }
}

#[test]
fn systemd_says_what_it_cannot_have() {
    let long = format!("web: {}\n", "x".repeat(200 << 10));
    let cases = [
        (&[][..], "release: x"),
        (&["-m", "x=2"], "web: x"),
        (&["--user", "a b"], "web: x"),
        (&["--dir", "/a\nb"], "web: x"),
        (&["--port", "65535", "-m", "web=2"], "web: x"),
        (&[], &long),
    ];
    let text = cases.map(|(args, procfile)| {
        Tool::new(&[&["render", "systemd"], args].concat()).file("Procfile", procfile).transcript()
    });
    assert_snapshot(
        &text.concat(),
        str![[r#"
$ piku-procfile render systemd
exit status: 1
--- stderr
piku-procfile: the Procfile has nothing that runs under systemd

$ piku-procfile render systemd -m x=2
exit status: 1
--- stderr
piku-procfile: --formation: the Procfile has no service 'x'

$ piku-procfile render systemd --user a b
exit status: 1
--- stderr
piku-procfile: --user: 'a b' is not a user name

$ piku-procfile render systemd --dir /a
b
exit status: 1
--- stderr
piku-procfile: --dir: systemd cannot use the path '/a
b'

$ piku-procfile render systemd --port 65535 -m web=2
exit status: 1
--- stderr
piku-procfile: --port: no ports are left for 'web'

$ piku-procfile render systemd
exit status: 1
--- stderr
Procfile:1: 'web': the command is longer than Linux's limit of 128 KiB


"#]],
    );
}

#[test]
fn a_crontab_is_taken_by_cron() {
    let text = {
        let tool = Tool::new(&["render", "crontab", "--dir", "/srv/blog"])
            .file("Procfile", PROCFILE)
            .file("ENV", "A='it is 50%'\nMAILTO=x\n");
        let (stdout, stderr, code) = tool.run();
        assert_eq!(code, 0, "{stderr}");
        assert_snapshot(
            &stderr,
            str![[r#"
ENV:2: warning: MAILTO: is left out: cron sets its own

"#]],
        );
        stdout
    };
    assert_redacted(
        &text,
        &[("[SHELL]", shell())],
        str![[r##"
# generated by piku-procfile render crontab
SHELL=[SHELL]
A="it is 50%"
*/15 8-10 * * mon-fri cd /srv/blog || exit; ./report $(date +\%F)
0 12 13 * fri cd /srv/blog || exit; exec ./unlucky

"##]],
    );
    // The schedules are the parser's own again.
    for line in text.lines().skip(3) {
        Tool::new(&["check", "-"]).stdin(format!("cron: {line}\n")).prints("");
    }
    // Debian's calls the check -n, others -T.
    if !have("crontab") {
        return;
    }
    let check = |text: &str| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("a file");
        ["-n", "-T"].iter().any(|flag| {
            let mut crontab = Command::new("crontab");
            crontab.arg(flag).arg(file.path()).stdin(Stdio::null());
            crontab.output().expect("crontab").status.success()
        })
    };
    if !check("0 5 * * * true\n") {
        skipped("this crontab cannot check a file, or this user may have none");
        return;
    }
    assert!(check(&text) && !check(&format!("{text}60 * * * * x\n")));
}
