//! The packages: the version and the changelog agree, the programs in them need nothing of the host's C library, and those for ARM run.
//!
//! What looks into packages takes those of `scripts/package`, in target/packages or in the folder that `PIKU_PACKAGES` names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use piku_tests::tools::repository;
use tempfile::TempDir;

const TOOLS: [&str; 5] = ["piku-build", "piku-chroot", "piku-procfile", "piku-receive", "piku-run"];

/// What asks the C library for an account or an address, which would load modules as nsswitch.conf says.
const NAME_SERVICE: [&str; 5] =
    ["to_socket_addrs", "User::from_uid", "User::from_name", "Group::from_gid", "Group::from_name"];

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Runs the command and returns what it printed.
fn print(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    assert!(out.status.success(), "{command:?}\n{}", text(&out));
    String::from_utf8(out.stdout).expect("UTF-8")
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn changelog(version: &str) -> Command {
    let mut command = Command::new(repository().join("packaging/changelog"));
    command.args([version, "A Maintainer <a@example.org>", "1700000000"]);
    command
}

#[test]
fn the_newest_section_of_the_changelog_is_of_this_version() {
    let debian = print(&mut changelog(version()));
    assert!(debian.starts_with(&format!("piku ({}) stable; urgency=medium\n\n  ", version())), "{debian}");
    assert!(
        debian.contains("\n -- A Maintainer <a@example.org>  Tue, 14 Nov 2023 22:13:20 +0000\n"),
        "{debian}"
    );
    let other = changelog("9.9.9").output().expect("it runs");
    assert!(!other.status.success() && text(&other).contains("'9.9.9'"), "{}", text(&other));
}

#[test]
fn all_parts_have_one_version() {
    for lock in [
        "Cargo.lock",
        "piku-build/fuzz/Cargo.lock",
        "piku-procfile/fuzz/Cargo.lock",
        "crates/files/fuzz/Cargo.lock",
    ] {
        let lines = fs::read_to_string(repository().join(lock)).expect(lock);
        let lines: Vec<_> = lines.lines().collect();
        let ours = lines
            .windows(2)
            .filter(|pair| pair[0].starts_with("name = \"piku-") && !pair[0].ends_with("-fuzz\""));
        let versions: BTreeSet<_> = ours.map(|pair| pair[1]).collect();
        assert_eq!(
            versions.into_iter().collect::<Vec<_>>(),
            [format!("version = \"{}\"", version())],
            "{lock}"
        );
    }
}

/// The Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_tools_look_no_name_up_by_the_c_library() {
    let mut files = Vec::new();
    for tool in TOOLS {
        sources(&repository().join(tool).join("src"), &mut files);
    }
    sources(&repository().join("crates/files/src"), &mut files);
    sources(&repository().join("crates/nss/src"), &mut files);
    assert!(files.len() > 200, "only {} files", files.len());
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        for call in NAME_SERVICE {
            assert!(!text.contains(call), "{} calls {call}; piku_nss asks getent", file.display());
        }
    }
}

#[test]
fn wrong_options_are_said() {
    let said = |args: &[&str]| {
        let out = Command::new(repository().join("scripts/package")).args(args).output().expect("it runs");
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", text(&out));
        text(&out)
    };
    assert!(said(&["--arch", "mips"]).contains("no packages are made for 'mips'"));
    assert!(said(&["--arch"]).contains("--arch needs a value"));
    assert!(said(&["--fast"]).contains("unknown option '--fast'"));
    assert!(said(&["--run"]).contains("--run needs words after it"));
}

/// The packages that scripts/package has made; nothing, and said, where it has not.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so aloud")]
fn made() -> Option<PathBuf> {
    let named = std::env::var_os("PIKU_PACKAGES").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| repository().join("target/packages"));
    let all = ["amd64", "arm64", "armhf"].map(|arch| folder.join(format!("piku_{}_{arch}.deb", version())));
    if all.iter().all(|deb| deb.is_file()) {
        return Some(folder);
    }
    assert!(std::env::var_os("PIKU_PACKAGES").is_none(), "no packages in {}", folder.display());
    eprintln!("skipped: no packages in {}; sudo ./scripts/package --quick --arch all", folder.display());
    None
}

/// A package that has been unpacked.
struct UnpackedPackage {
    dir: TempDir,
    deb: PathBuf,
}

impl UnpackedPackage {
    fn of(folder: &Path, arch: &str) -> Self {
        let deb = folder.join(format!("piku_{}_{arch}.deb", version()));
        let dir = tempfile::tempdir().expect("a folder");
        print(Command::new("dpkg-deb").arg("--raw-extract").arg(&deb).arg(dir.path()));
        Self { dir, deb }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn tool(&self, name: &str) -> PathBuf {
        self.path("usr/bin").join(name)
    }

    fn field(&self, name: &str) -> String {
        print(Command::new("dpkg-deb").arg("--field").arg(&self.deb).arg(name)).trim().to_owned()
    }
}

#[test]
fn the_programs_in_a_package_are_static_and_ask_nsswitch_nothing() {
    let Some(folder) = made() else { return };
    for (arch, machine) in [("amd64", "X86-64"), ("arm64", "AArch64"), ("armhf", "ARM")] {
        let package = UnpackedPackage::of(&folder, arch);
        assert_eq!(package.field("Version"), version());
        assert_eq!(package.field("Architecture"), arch);
        for tool in TOOLS {
            let program = package.tool(tool);
            let elf = print(
                Command::new("readelf").args(["--file-header", "--program-headers", "-W"]).arg(&program),
            );
            assert!(elf.contains(machine), "{arch} {tool}: {elf}");
            assert!(elf.contains("EXEC (Executable file)"), "{arch} {tool} moves: {elf}");
            assert!(!elf.contains("INTERP") && !elf.contains("DYNAMIC"), "{arch} {tool} is dynamic: {elf}");
            let bytes = fs::read(&program).expect("the program");
            let conf = b"/etc/nsswitch.conf";
            assert!(
                !bytes.windows(conf.len()).any(|bytes| bytes == conf),
                "{arch} {tool} reads nsswitch.conf"
            );
        }
        if arch == "armhf" {
            let tags = print(Command::new("readelf").arg("--arch-specific").arg(package.tool("piku-run")));
            let newer = tags.lines().any(|line| line.trim().starts_with("Tag_CPU_arch: v7"));
            assert!(tags.contains("Tag_CPU_arch: v6") && !newer, "not for ARMv6: {tags}");
            assert!(!tags.contains("Tag_ABI_VFP_args"), "floats in registers: {tags}");
        }
    }
}

/// A program of another machine's, run by qemu.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so aloud")]
fn emulated(arch: &str, program: &Path) -> Option<Command> {
    let (qemu, processor) = match arch {
        "arm64" => ("qemu-aarch64-static", "cortex-a53"),
        // That of the first Pi and of the Zero: what is newer ends it by SIGILL.
        "armhf" => ("qemu-arm-static", "arm1176"),
        _ => return Some(Command::new(program)),
    };
    if Command::new(qemu).arg("--version").output().is_err() {
        eprintln!("skipped: no {qemu}; apt-get install qemu-user-static");
        return None;
    }
    let mut command = Command::new(qemu);
    command.args(["-cpu", processor, "-0"]).arg(program).arg(program);
    Some(command)
}

#[test]
fn the_programs_run_on_their_machines() {
    let Some(folder) = made() else { return };
    let app = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| fs::write(app.path().join(name), text).expect(name);
    file("Procfile", "web: python app.py\nworker: sleep 1\n");
    file("requirements.txt", "");
    file("app.py", "print('here')\n");
    for arch in ["amd64", "arm64", "armhf"] {
        let package = UnpackedPackage::of(&folder, arch);
        for tool in TOOLS {
            let Some(mut command) = emulated(arch, &package.tool(tool)) else { return };
            assert_eq!(print(command.arg("--version")), format!("{tool} {}\n", version()), "{arch}");
        }
        let run = |tool: &str, args: &[&str]| {
            let mut command = emulated(arch, &package.tool(tool)).expect("qemu");
            print(command.args(args).current_dir(app.path()))
        };
        run("piku-procfile", &["check", "Procfile"]);
        let plan = run("piku-build", &["plan", "--format", "json", "."]);
        assert!(
            plan.contains("\"runtime\":\"python\"") || plan.contains("\"runtime\": \"python\""),
            "{arch}: {plan}"
        );
    }
}
