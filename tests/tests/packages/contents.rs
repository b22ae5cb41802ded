//! The packages: the version and the changelog agree, the programs in them need nothing of the host's C library, and those for ARM run.
//!
//! The tests of packages take those of `scripts/package`, in target/packages or in the folder that `PIKU_PACKAGES` names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use piku_tests::snapshot::text;
use piku_tests::tools::repository;
use tempfile::TempDir;

const TOOLS: [&str; 5] = ["piku-build", "piku-chroot", "piku-procfile", "piku-receive", "piku-run"];

/// Calls that ask the C library for an account or an address, which loads modules named by nsswitch.conf. A socket's
/// address as text asks it too, even if it is a number.
const NAME_SERVICE: [&str; 9] = [
    "to_socket_addrs",
    "User::from_uid",
    "User::from_name",
    "Group::from_gid",
    "Group::from_name",
    "::bind(\"",
    "::bind((\"",
    "::connect(\"",
    "::connect((\"",
];

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Runs the command and returns what it printed.
fn print(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    assert!(out.status.success(), "{command:?}\n{}", text(&out));
    String::from_utf8(out.stdout).expect("UTF-8")
}

fn changelog(version: &str) -> Command {
    let mut command = Command::new(repository().join("packaging/changelog"));
    command.args([version, "A Maintainer <a@example.org>", "1700000000"]);
    command
}

#[test]
fn changelog_names_this_version() {
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
fn all_parts_have_same_version() {
    for lock in [
        "Cargo.lock",
        "crates/release/fuzz/Cargo.lock",
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
fn tools_do_not_use_libc_name_lookup() {
    let mut files = Vec::new();
    for tool in TOOLS {
        sources(&repository().join(tool).join("src"), &mut files);
    }
    for entry in fs::read_dir(repository().join("crates")).expect("the crates") {
        sources(&entry.expect("a crate").path().join("src"), &mut files);
    }
    assert!(files.len() > 200, "only {} files", files.len());
    for file in files {
        // Unit tests are in a file of their own, or at the end of one.
        if file.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source");
        let shipped = text.split("#[cfg(test)]\nmod tests {").next().expect("the first part");
        for call in NAME_SERVICE {
            assert!(!shipped.contains(call), "{} calls {call}; piku_nss asks getent", file.display());
        }
    }
}

#[test]
fn wrong_push_options_are_reported() {
    let said = |args: &[&str]| {
        let out = Command::new(repository().join("scripts/package")).args(args).output().expect("it runs");
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", text(&out));
        text(&out)
    };
    assert!(said(&["--arch", "mips"]).contains("cannot build packages for 'mips'"));
    assert!(said(&["--arch"]).contains("--arch needs a value"));
    assert!(said(&["--fast"]).contains("unknown option '--fast'"));
    assert!(said(&["--run"]).contains("--run needs words after it"));
}

/// The packages that scripts/package has made; nothing, and said, where it has not.
#[expect(clippy::print_stderr, reason = "a skipped test reports it")]
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
fn packaged_programs_are_static() {
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
            // The mark of getaddrinfo in the GNU C library, which armhf has; its other look-ups leave none. musl loads no modules.
            let conf = b"/etc/gai.conf";
            assert!(
                !bytes.windows(conf.len()).any(|bytes| bytes == conf),
                "{arch} {tool} looks addresses up by the C library"
            );
        }
        if arch == "arm64" {
            // A Pi 5's kernel has pages of 16 kB, and loads no program whose segments share one.
            let program = package.tool("piku-run");
            let segments = print(Command::new("readelf").args(["--program-headers", "-W"]).arg(program));
            let mut loaded = segments.lines().filter(|line| line.trim_start().starts_with("LOAD")).peekable();
            assert!(loaded.peek().is_some() && loaded.all(|line| line.ends_with("0x10000")), "{segments}");
        }
        if arch == "armhf" {
            let tags = print(Command::new("readelf").arg("--arch-specific").arg(package.tool("piku-run")));
            let newer = tags.lines().any(|line| line.trim().starts_with("Tag_CPU_arch: v7"));
            assert!(tags.contains("Tag_CPU_arch: v6") && !newer, "not for ARMv6: {tags}");
            assert!(!tags.contains("Tag_ABI_VFP_args"), "floats in registers: {tags}");
        }
    }
}

/// The emulator of another machine: the host's, or that in the tree of `scripts/package`; neither needs a library.
struct OtherMachine {
    qemu: PathBuf,
    processor: &'static str,
    /// The header of its programs, as `binfmt_misc` reads it.
    header: &'static str,
}

impl OtherMachine {
    #[expect(clippy::print_stderr, reason = "a skipped test reports it")]
    fn of(arch: &str) -> Option<Self> {
        let (name, processor, header) = match arch {
            "arm64" => (
                "qemu-aarch64",
                "cortex-a53",
                r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
            ),
            // That of the first Pi and of the Zero: what is newer ends it by SIGILL.
            _ => (
                "qemu-arm",
                "arm1176",
                r"\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00",
            ),
        };
        let built = repository().join("target/package/root/usr/bin");
        // The tree's first: Debian 12's knows less of what the tools ask of a kernel.
        let places = [
            built.join(name),
            PathBuf::from(format!("/usr/bin/{name}-static")),
            PathBuf::from(format!("/usr/bin/{name}")),
        ];
        let found = places.into_iter().find(|place| Command::new(place).arg("--version").output().is_ok());
        let missing = match &found {
            None => format!("no {name}; sudo ./scripts/package --add qemu-user"),
            Some(_) if !Self::can_be_registered() => {
                "no binfmt_misc in a namespace, before Linux 6.7".to_owned()
            }
            Some(_) => return found.map(|qemu| Self { qemu, processor, header }),
        };
        assert!(std::env::var_os("PIKU_PACKAGES").is_none(), "{missing}");
        eprintln!("skipped: the programs for {arch}: {missing}");
        None
    }

    fn can_be_registered() -> bool {
        let mount = ["mount", "-t", "binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"];
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).args(mount);
        command.output().is_ok_and(|out| out.status.success())
    }

    /// The program in a namespace whose kernel hands all programs of that machine to the emulator.
    fn run(&self, program: &Path) -> Command {
        let register = format!(
            r":other:M::{}:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{}:FPC",
            self.header,
            self.qemu.display()
        );
        let enter = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
            printf '%s' \"$1\" >/proc/sys/fs/binfmt_misc/register
            shift
            exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-ec", enter, "sh", &register])
            .arg(program);
        command.env("QEMU_CPU", self.processor);
        command
    }
}

/// An app, of which each process waits for what the other one has done.
fn small_app() -> TempDir {
    let app = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| fs::write(app.path().join(name), text).expect(name);
    let wait = "n=0; until [ -e ticked ] || [ $n = 600 ]; do n=$((n + 1)); sleep 0.1; done";
    file("Procfile", &format!("web: {wait}; echo here\nworker: echo tick; : >ticked; exec sleep 1000\n"));
    file("requirements.txt", "");
    app
}

#[test]
fn packaged_programs_run_on_each_architecture() {
    let Some(folder) = made() else { return };
    let app = small_app();
    for arch in ["amd64", "arm64", "armhf"] {
        let package = UnpackedPackage::of(&folder, arch);
        let other = if arch == "amd64" { None } else { OtherMachine::of(arch) };
        if arch != "amd64" && other.is_none() {
            return;
        }
        let run = |tool: &str, args: &[&str]| {
            let program = package.tool(tool);
            let mut command =
                other.as_ref().map_or_else(|| Command::new(&program), |other| other.run(&program));
            print(command.args(args).current_dir(app.path()))
        };
        for tool in TOOLS {
            assert_eq!(run(tool, &["--version"]), format!("{tool} {}\n", version()), "{arch}");
        }
        run("piku-procfile", &["check", "Procfile"]);
        let plan = run("piku-build", &["plan", "--format", "json", "."]);
        assert!(
            plan.contains("\"runtime\":\"python\"") || plan.contains("\"runtime\": \"python\""),
            "{arch}: {plan}"
        );
    }
}

#[test]
fn app_starts_on_simulated_kernels() {
    let Some(folder) = made() else { return };
    for arch in ["arm64", "armhf"] {
        let package = UnpackedPackage::of(&folder, arch);
        let Some(other) = OtherMachine::of(arch) else { return };
        let app = small_app();
        let said = print(other.run(&package.tool("piku-run")).arg("start").current_dir(app.path()));
        for line in ["web.1    | here\n", "worker.1 | tick\n"] {
            assert!(said.contains(line), "{arch}: {said}");
        }
    }
}

/// The emulator takes no filter, but each machine has numbers of its own, by which the filter is made and read.
#[test]
fn seccomp_filter_fits_each_architecture() {
    let Some(folder) = made() else { return };
    for arch in ["arm64", "armhf"] {
        let tests = folder.join(format!("piku-chroot-tests-{arch}"));
        if std::env::var_os("PIKU_PACKAGES").is_none() && !tests.exists() {
            return;
        }
        let Some(other) = OtherMachine::of(arch) else { return };
        let said = print(other.run(&tests).arg("confinement::seccomp"));
        let passed: usize = said
            .split_once("test result: ok. ")
            .and_then(|(_, rest)| rest.split_once(' '))
            .and_then(|(number, _)| number.parse().ok())
            .expect(&said);
        assert!(passed > 8, "{arch}: {said}");
    }
}
