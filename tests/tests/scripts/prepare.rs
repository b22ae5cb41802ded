//! `scripts/prepare`: where it builds, what it says before, and what need not be built. A cargo that only tells how it was called
//! stands in for the real one.

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use piku_tests::tools::repository;

const TOOLS: [&str; 5] = ["piku-receive", "piku-build", "piku-run", "piku-procfile", "piku-chroot"];

/// A folder with a toolchain in `bin`, which everybody can reach: the script runs it as the owner of the checkout.
struct Toolchain {
    dir: tempfile::TempDir,
}

impl Toolchain {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let toolchain = Self { dir };
        toolchain.program("bin/rustc", "echo 'rustc 1.99.0 (of a test)'");
        toolchain.program(
            "bin/cargo",
            "if [ \"$1\" = rustc ]; then\n\
             echo \"jobs ${CARGO_BUILD_JOBS-free}, lto ${CARGO_PROFILE_RELEASE_LTO-as it is}\" >&2\n\
             case \"$*\" in *+crt-static*) [ -z \"${NO_STATIC-}\" ] || exit 101 ;; esac\n\
             mkdir -p \"$CARGO_TARGET_DIR/release\"\n\
             made=${*#*--bin }\n\
             made=$CARGO_TARGET_DIR/release/${made%% *}\n\
             rm -f -- \"$made\"\n\
             echo \"$*\" >\"$made\"\nfi",
        );
        toolchain
    }

    /// Written by a process of its own: what another test starts at the same moment would inherit the file while it is open for
    /// writing, and such a program cannot be started (ETXTBSY).
    fn program(&self, name: &str, script: &str) {
        let path = self.dir.path().join(name);
        let mut install = Command::new("install");
        install.args(["-D", "-m", "755", "/dev/stdin"]).arg(&path).stdin(Stdio::piped());
        let mut install = install.spawn().expect("install");
        let mut stdin = install.stdin.take().expect("stdin");
        write!(stdin, "#!/bin/sh\n{script}\n").expect("a program");
        drop(stdin);
        assert!(install.wait().expect("install").success(), "{name}");
    }

    /// The five tools in a folder, which say that they are of this version.
    fn tools(&self, folder: &str, version: &str) -> PathBuf {
        for tool in TOOLS {
            self.program(&format!("{folder}/{tool}"), &format!("echo '{tool} {version}'"));
        }
        self.dir.path().join(folder)
    }

    fn prepare(&self, words: &[&str], variables: &[(&str, &str)]) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display());
        let mut command = Command::new(repository().join("scripts/prepare"));
        command.args(words).env("PATH", path);
        for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_HOME"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied()).output().expect("scripts/prepare")
    }
}

fn stdout(out: &Output) -> String {
    assert!(out.status.success(), "{out:?}");
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

#[test]
fn target_directory_has_one_source() {
    let toolchain = Toolchain::new();
    let ask = |variables: &[(&str, &str)]| stdout(&toolchain.prepare(&["target-dir"], variables));
    let own = |folder: &str| repository().join(folder).display().to_string();
    assert_eq!(ask(&[]), own("target"));
    assert_eq!(ask(&[("CARGO_TARGET_DIR", "/some where")]), "/some where");
    assert_eq!(ask(&[("CARGO_TARGET_DIR", "build"), ("CARGO_BUILD_TARGET_DIR", "/other")]), own("build"));
    assert_eq!(ask(&[("CARGO_BUILD_TARGET_DIR", "/other")]), "/other");
    // What cargo itself says counts more: its settings may name a folder.
    toolchain.program(
        "bin/cargo",
        r#"echo '{"packages":[],"target_directory":"/by \"its\" settings","version":1}'"#,
    );
    assert_eq!(ask(&[]), "/by \"its\" settings");
}

#[test]
fn target_directory_follows_cargo_config() {
    let home = tempfile::tempdir().expect("a folder");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::write(home.path().join("config.toml"), "[build]\ntarget-dir = \"/of settings\"\n")
        .expect("config.toml");
    let cargo = Path::new(env!("CARGO")).parent().expect("a folder");
    let mut command = Command::new(repository().join("scripts/prepare"));
    command.arg("target-dir").env("PATH", format!("{}:/usr/bin:/bin", cargo.display()));
    command
        .env("CARGO_HOME", home.path())
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET_DIR");
    assert_eq!(stdout(&command.output().expect("scripts/prepare")), "/of settings");
}

#[test]
fn build_without_enough_memory_is_refused() {
    let toolchain = Toolchain::new();
    let target = toolchain.dir.path().join("target").display().to_string();
    let build = |memory: &str| {
        let variables =
            [("PIKU_BUILD_MEMORY", memory), ("CARGO_BUILD_JOBS", "2"), ("CARGO_TARGET_DIR", target.as_str())];
        let out = toolchain.prepare(&["build"], &variables);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    for (memory, told) in
        [("16000", "jobs 2, lto as it is"), ("1500", "jobs 1, lto as it is"), ("900", "jobs 1, lto off")]
    {
        let (code, said) = build(memory);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(told), "{memory}: {said}");
        let before = said.find("minutes on a PC").expect("how long it takes");
        assert!(before < said.find(told).expect("the build"), "{said}");
        assert!(said.contains(&format!("{memory} MiB are free")), "{said}");
    }
    let (code, said) = build("200");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot build here") && said.contains("200 MiB are free"), "{said}");
    assert!(said.contains("hint: install a package") && !said.contains("jobs "), "{said}");
}

#[test]
fn tools_are_two_static_programs() {
    let toolchain = Toolchain::new();
    let target = toolchain.dir.path().join("target");
    for none in [false, true, false] {
        let mut variables = vec![("CARGO_TARGET_DIR", target.to_str().expect("text"))];
        variables.extend(none.then_some(("NO_STATIC", "yes")));
        let out = toolchain.prepare(&["build"], &variables);
        assert!(out.status.success(), "{out:?}");
        let file = |tool: &str| fs::metadata(target.join("release").join(tool)).expect(tool).ino();
        let chroot = file("piku-chroot");
        let others: Vec<_> = TOOLS.into_iter().filter(|tool| *tool != "piku-chroot").map(file).collect();
        assert!(others.iter().all(|other| *other == others[0] && *other != chroot), "{chroot} {others:?}");
        for (tool, package) in [("piku-run", "piku-multicall"), ("piku-chroot", "piku-chroot")] {
            let said = fs::read_to_string(target.join("release").join(tool)).expect(tool);
            assert!(said.contains(&format!("--package {package} ")), "{said}");
            assert_eq!(said.contains("+crt-static"), !none, "{said}");
        }
    }
}

#[test]
fn installed_tools_are_reused() {
    let toolchain = Toolchain::new();
    let version = env!("CARGO_PKG_VERSION");
    let target = toolchain.dir.path().join("target");
    let ask = || toolchain.prepare(&["tools"], &[("CARGO_TARGET_DIR", target.to_str().expect("text"))]);
    let none = |out: Output| assert!(out.status.code() == Some(1) && out.stdout.is_empty(), "{out:?}");
    // Installed: in a folder of PATH.
    let installed = toolchain.tools("bin", version);
    assert_eq!(stdout(&ask()), installed.display().to_string());
    toolchain.tools("bin", "0.0.0");
    none(ask());
    // Built: newer than all sources.
    toolchain.tools("bin", version);
    let built = toolchain.tools("target/release", version);
    assert_eq!(stdout(&ask()), built.display().to_string());
    toolchain.tools("target/release", "0.0.0");
    none(ask());
    toolchain.tools("target/release", version);
    let old = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    File::open(built.join("piku-build")).and_then(|file| file.set_times(old)).expect("a date");
    none(ask());
    fs::remove_file(built.join("piku-build")).expect("a tool");
    none(ask());
}
