//! Isolation that does not fail open: the host settings apply to old releases too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::{SERVE, Server};

/// Appends to the server's host settings.
fn set(server: &Server, more: &str) {
    let path = server.root().join("host.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{more}\n")).unwrap();
}

#[test]
fn a_release_from_before_the_jail_was_required_is_not_started_again() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    let (table, _) = server.good(&["ps", "blog"]);
    assert!(table.contains("Sandbox: none (built without a jail"), "{table}");
    assert!(table.contains("build it again: piku deploy blog)"), "{table}");
    set(&server, "sandbox: require");
    let refusal = "release 1 was built without the jail, and host.yaml says 'sandbox: require'";
    for args in [&["restart", "blog"][..], &["scale", "blog", "web=2"], &["exec", "blog", "--", "true"]] {
        let out = server.run(args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(refusal), "{args:?}: {said}");
    }
    let dir = server.release("two", &[("web", SERVE)]);
    let said = server.bad(1, &["deploy", "blog", dir.to_str().unwrap()]);
    assert!(said.contains("built without the jail") && said.contains("hint: build it again"), "{said}");
}

#[test]
fn the_first_start_records_the_protections() {
    let server = Server::new();
    let settings = fs::read_to_string(server.root().join("host.yaml")).unwrap();
    assert!(settings.starts_with("ports: "), "{settings}");
    assert_eq!(settings.lines().filter(|line| line.starts_with("protections: [")).count(), 1, "{settings}");
    let (table, _) = server.good(&["protections"]);
    assert!(table.contains("namespaces ") && !table.contains("nothing recorded"), "{table}");
    let (again, _) = server.good(&["protections", "--record"]);
    assert_eq!(again, table);
    assert_eq!(fs::read_to_string(server.root().join("host.yaml")).unwrap(), settings);
}

#[test]
fn recorded_protections_are_required_of_each_jail() {
    let Some(server) = Server::in_jail() else { return };
    server.deploy("one", &[("web", SERVE)]);
    let (rows, _) = server.good(&["ps", "blog", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let line = fs::read(format!("/proc/{}/cmdline", rows[0]["pid"])).unwrap();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    assert!(line.contains(" --require=namespaces "), "{line}");
}

/// A release received by an older piku may name any directory of the host.
#[test]
fn an_old_release_gets_no_host_directory_except_an_interpreters_home() {
    let Some(server) = Server::in_jail() else { return };
    server.deploy("one", &[("web", SERVE)]);
    let (here, above) = (server.root(), server.path(""));
    for folder in [here.as_path(), above.as_path(), Path::new("/var"), Path::new("/")] {
        let dir = server.release("two", &[("web", SERVE)]);
        let path = dir.join("release.yaml");
        let mut release: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        release["host"] = serde_json::json!([folder]);
        fs::write(&path, release.to_string()).unwrap();
        let said = server.bad(1, &["deploy", "blog", dir.to_str().unwrap()]);
        assert!(said.contains("is not the home of an interpreter"), "{said}");
    }
    // A release that is live already.
    let path = server.app("current/release.yaml");
    let mut release: serde_json::Value = serde_yaml::from_slice(&fs::read(&path).unwrap()).unwrap();
    release["host"] = serde_json::json!([here]);
    fs::write(&path, release.to_string()).unwrap();
    for args in [&["restart", "blog"][..], &["exec", "blog", "--", "true"]] {
        let out = server.run(args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(
            !out.status.success() && said.contains("is not the home of an interpreter"),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn a_temporary_shortage_is_not_recorded() {
    let server = Server::new();
    let before = fs::read_to_string(server.root().join("host.yaml")).unwrap();
    let program = server.path("piku-chroot");
    fs::write(&program, "#!/bin/sh\necho 'piku-chroot: cannot begin: Disk quota exceeded' >&2\nexit 125\n")
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut tool = server.tool(&["protections", "--record"]);
    let out = tool.env("PIKU_CHROOT", &program).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(75), "{said}");
    assert!(said.contains("cannot tell what protects apps here: no jail can be made now"), "{said}");
    // A program that is missing does not come back by itself.
    let mut tool = server.tool(&["protections", "--record"]);
    let out = tool.env("PIKU_CHROOT", server.path("missing")).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("hint: install piku-chroot beside this program"), "{said}");
    assert_eq!(fs::read_to_string(server.root().join("host.yaml")).unwrap(), before);
}

/// A host without jails records an empty list; a jail lost later is reported with a hint.
#[test]
fn a_host_that_can_no_longer_make_jails_is_reported() {
    let server = Server::new();
    let program = server.path("piku-chroot");
    let ended =
        r#"{"event":"ended","exit_code":125,"memory_peak_bytes":null,"oom_kills":0,"obstacle":"absent"}"#;
    fs::write(
        &program,
        format!("#!/bin/sh\necho '{ended}'\necho 'piku-chroot: off\nhint: switch it on' >&2\nexit 125\n"),
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |args: &[&str]| {
        let out = server.tool(args).env("PIKU_CHROOT", &program).output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap())
    };
    let settings = server.root().join("host.yaml");
    fs::write(&settings, "protections: [namespaces]\n").unwrap();
    let (code, table) = run(&["protections"]);
    assert_eq!(code, Some(1), "{table}");
    let expected =
        "namespaces        no   recorded\n    why:  no jail can be made here: off\n    mend: switch it on\n";
    assert!(table.starts_with(expected), "{table}");
    // Without a jail, data commands fail too: the app's symlinks may lead anywhere.
    fs::create_dir_all(server.app("data")).unwrap();
    assert_eq!(run(&["data", "blog", "export"]).0, Some(1));
    let (code, table) = run(&["protections", "--record"]);
    assert_eq!(code, Some(0), "{table}");
    assert_eq!(fs::read_to_string(&settings).unwrap(), "protections: []\n");
    assert_eq!(run(&["data", "blog", "export"]).0, Some(0));
}
