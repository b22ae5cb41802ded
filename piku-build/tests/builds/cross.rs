//! Releases for machines of another architecture than this one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use piku_tests::snapshot::{assert_redacted, str};

use crate::support::World;

const MAIN: &str = "package main\n\nfunc main() { println(hello) }\n";

/// A small Go app with a file that counts on 32-bit ARM alone.
fn shop() -> World {
    World::new(&[
        ("go.mod", "module example.org/shop\n\ngo 1.17\n"),
        ("main.go", MAIN),
        ("hello.go", "//go:build !arm\n\npackage main\n\nconst hello = \"hello\"\n"),
        ("hello_arm.go", "package main\n\nconst hello = \"hello from an ARM\"\n"),
    ])
    .sharing_caches()
}

/// `e_machine` of a program.
fn machine_of(program: &Path) -> u16 {
    let bytes = fs::read(program).expect("a program");
    assert_eq!(&bytes[..4], b"\x7fELF");
    u16::from_le_bytes([bytes[18], bytes[19]])
}

/// Returns the facts about its build that Go wrote into a program.
fn build_info(program: &Path) -> String {
    let go = ["/usr/local/go/bin/go", "/usr/bin/go"].into_iter().find(|go| Path::new(go).exists());
    let mut command = Command::new(go.expect("a Go"));
    // Go keeps notes of its own there.
    let home = tempfile::tempdir().expect("a folder");
    let out =
        command.args(["version", "-m"]).arg(program).env("HOME", home.path()).output().expect("go runs");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn go_builds_for_machines_of_every_kind() {
    let world = shop();
    for (name, machine, level, compiler) in [
        ("arm64", 183, None, "aarch64-linux-gnu-gcc"),
        ("armv6l", 40, Some("6"), ""),
        ("armhf", 40, Some("7"), "arm-linux-gnueabihf-gcc"),
    ] {
        world.build_with(name, &["--architecture", name]).good(&["Go app detected"]);
        let program = world.path(&format!("out/{name}/app/bin/shop"));
        assert_eq!(machine_of(&program), machine, "{name}");
        let info = build_info(&program);
        // C code is on where a compiler for it is installed.
        let c_code = u8::from(Path::new("/usr/bin").join(compiler).is_file());
        assert!(info.contains(&format!("CGO_ENABLED={c_code}")), "{info}");
        if let Some(level) = level {
            assert!(info.contains(&format!("GOARM={level}")), "{info}");
            let bytes = fs::read(&program).expect("a program");
            assert!(bytes.windows(17).any(|part| part == b"hello from an ARM"));
        }
    }
    let built = ["arm64", "armv6l", "armhf"].map(|name| world.release(name).architecture);
    assert_eq!(built, ["aarch64", "armv6l", "armv7l"]);
    // For this machine itself it is a build like any other.
    let own = world.run(&["machine"]).good(&[]).stdout.trim().to_owned();
    world.build_with("own", &["--architecture", &own]).good(&[]);
    assert_eq!(machine_of(&world.path("out/own/app/bin/shop")), machine_of(Path::new("/bin/sh")));
}

#[test]
fn c_code_that_cannot_be_compiled_for_the_target_is_named_before_the_build() {
    let world = shop();
    world.write(
        "sum/sum.go",
        "package sum\n\n// int one() { return 1; }\nimport \"C\"\n\nfunc One() int { return int(C.one()) }\n",
    );
    world.write("sum/other.go", "//go:build !cgo\n\npackage sum\n\nfunc One() int { panic(\"no C\") }\n");
    world.write(
        "main.go",
        "package main\n\nimport \"example.org/shop/sum\"\n\nfunc main() { println(hello, sum.One()) }\n",
    );
    // No cross compiler of Debian's makes what such a machine runs.
    let refused = world.build_with("1", &["--architecture", "armv6l"]);
    refused.fails(str![[r#"
piku-build: the app has C code (example.org/shop/sum), which this machine cannot compile for armv6l
hint: Debian's cross compilers make programs for newer machines than armv6l: push to that machine, which builds the app itself
hint: if the app works without its C code, set CGO_ENABLED=0 in ENV

"#]]);
    assert!(world.outputs().is_empty(), "{refused}");
    world.write("ENV", "CGO_ENABLED=1\n");
    world.run(&["plan", "app", "--architecture", "armv6l"]).fails(str![[r#"
piku-build: the app has C code, which this machine cannot compile for armv6l
hint: Debian's cross compilers make programs for newer machines than armv6l: push to that machine, which builds the app itself
hint: if the app works without its C code, set CGO_ENABLED=0 in ENV

"#]]);
    world.write("ENV", "CGO_ENABLED=0\n");
    world.build_with("2", &["--architecture", "armv6l"]).good(&[]);
    assert_eq!(machine_of(&world.path("out/2/app/bin/shop")), 40);
}

#[test]
fn a_program_for_another_machine_than_the_release_is_refused() {
    let own = World::new(&[]).run(&["machine"]).good(&[]).stdout.trim().to_owned();
    let other = if own == "riscv64" { "aarch64" } else { "riscv64" };
    let machines = [("[OWN]", own.as_str()), ("[OTHER]", other)];
    let world = shop();
    let goarch = if own == "x86_64" { "amd64" } else { "arm64" };
    world.write("ENV", format!("GOARCH={goarch}\n"));
    let refused = world.build_with("1", &["--architecture", other]);
    assert_redacted(
        &refused.failure(),
        &machines,
        str![[r#"
piku-build: the build made 'shop' for [OWN], and the release is for [OTHER]
hint: does ENV or a configuration file of the app name an architecture? leave that to the build

"#]],
    );

    let committed = World::new(&[("Procfile", "web: ./tool\n")]);
    committed.executable("tool", fs::read("/bin/true").expect("a program"));
    let refused = committed.build_with("1", &["--architecture", other]);
    assert_redacted(
        &refused.failure(),
        &machines,
        str![[r#"
piku-build: Procfile: web: './tool' is a program for [OWN], the release is for [OTHER]
hint: build it for [OTHER]: compilers have an option for the target

"#]],
    );
    committed.build("2").good(&[]);

    // Of a package that brings programs for both there is one that runs.
    committed.write("Procfile", "web: sh run.sh\n");
    committed.write("run.sh", "echo hello\n");
    committed.executable("node_modules/@x/native/build/x.node", fs::read("/bin/true").expect("a library"));
    let refused = committed.build_with("3", &["--architecture", other]);
    assert_redacted(
        &refused.failure(),
        &machines,
        str![[r#"
piku-build: native code that was built for this machine does not run on [OTHER]: @x/native
hint: push to that machine directly: it builds these packages itself

"#]],
    );
    let mut theirs = fs::read("/bin/true").expect("a program");
    theirs[18..20].copy_from_slice(&(if other == "riscv64" { 243_u16 } else { 183 }).to_le_bytes());
    committed.executable("node_modules/@x/native/prebuilds/x.node", theirs);
    committed.build_with("4", &["--architecture", other]).good(&["'tool' does not run on"]);

    let unknown = committed.run(&["plan", "app", "--architecture", "pdp11"]);
    assert_eq!(unknown.code, Some(2), "{unknown}");
    unknown
        .said(&["unknown architecture; known are x86_64 (amd64), aarch64 (arm64), armv7l (armhf), armv6l"]);
}

#[test]
fn rust_builds_for_a_target_whose_standard_library_is_there() {
    let mut world = World::new(&[
        ("Cargo.toml", "[package]\nname = 'shop'\nversion = '0.1.0'\nedition = '2021'\n"),
        ("Cargo.lock", "version = 3\n\n[[package]]\nname = 'shop'\nversion = '0.1.0'\n"),
        ("src/main.rs", "fn main() {}\n"),
        ("rust-toolchain.toml", "[toolchain]\nchannel = 'fork'\n"),
    ]);
    let root = world.path("rustup/toolchains/fork");
    fs::create_dir_all(root.join("bin")).expect("a folder");
    for (name, text) in [("cargo", "exit 1"), ("rustc", "echo rustc 9.9.0")] {
        let program = root.join("bin").join(name);
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    world.env("RUSTUP_HOME", world.path("rustup").to_str().expect("UTF-8"));
    let plan = |world: &World| world.run(&["plan", "app", "--architecture", "armv6l"]);
    plan(&world).fails(str![[r#"
piku-build: this machine's Rust has no standard library for armv6l
hint: as the user piku: rustup target add arm-unknown-linux-musleabihf --toolchain fork

"#]]);
    for file in ["arm-unknown-linux-musleabihf/lib/libstd-1.rlib", "x86_64-unknown-linux-gnu/bin/rust-lld"] {
        let path = root.join("lib/rustlib").join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "").expect("a file");
    }
    let planned = plan(&world).good(&[]).stdout.clone();
    assert!(
        planned.contains("cargo build --release --bins --target arm-unknown-linux-musleabihf"),
        "{planned}"
    );
    assert!(planned.contains("CARGO_TARGET_ARM_UNKNOWN_LINUX_MUSLEABIHF_LINKER"), "{planned}");
}

/// A wheel whose library is a program of this machine.
fn native_wheel() -> Vec<u8> {
    let mut wheel = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [
        ("fast/native.so", fs::read("/bin/true").expect("a program")),
        ("fast-1.dist-info/METADATA", b"Metadata-Version: 2.1\nName: fast\nVersion: 1\n".to_vec()),
        (
            "fast-1.dist-info/WHEEL",
            b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_vec(),
        ),
        ("fast-1.dist-info/RECORD", Vec::new()),
    ] {
        wheel.start_file(name, zip::write::SimpleFileOptions::default()).expect("a file");
        wheel.write_all(&content).expect("its content");
    }
    wheel.finish().expect("a wheel").into_inner()
}

#[test]
fn native_wheels_gems_and_modules_are_named_with_the_way_out() {
    let own = World::new(&[]).run(&["machine"]).good(&[]).stdout.trim().to_owned();
    let other = if own == "riscv64" { "aarch64" } else { "riscv64" };
    let library = fs::read("/bin/true").expect("a program");
    let python = World::new(&[
        ("requirements.txt", "./fast-1-py3-none-any.whl\n"),
        ("Procfile", "web: python main.py\n"),
        ("main.py", ""),
    ])
    .sharing_caches();
    python.write("fast-1-py3-none-any.whl", native_wheel());
    let ruby = World::new(&[
        ("Gemfile", "gem 'fast', path: 'gems/fast'\n"),
        ("gems/fast/fast.gemspec", "Gem::Specification.new { |g| g.name = 'fast'; g.version = '1'; g.summary = 'x'; g.authors = ['x']; g.files = ['lib/fast.so'] }\n"),
        ("Procfile", "web: ruby main.rb\n"),
        ("main.rb", ""),
    ])
    .sharing_caches();
    ruby.write("gems/fast/lib/fast.so", &library);
    let node = World::new(&[("package.json", "{}"), ("server.js", "")]).sharing_caches();
    node.write("node_modules/fast/build/Release/fast.node", &library);
    let failures = [python, ruby, node].map(|world| {
        let refused = world.build_with("1", &["--architecture", other]);
        assert!(world.outputs().is_empty(), "{refused}");
        world.build("2").good(&[]);
        refused.failure()
    });
    assert_redacted(
        &failures.concat(),
        &[("[OTHER]", other)],
        str![[r#"
piku-build: native code that was built for this machine does not run on [OTHER]: fast
hint: push to that machine directly: it builds these packages itself
 !     warning: there is no Gemfile.lock: Bundler installs what Gemfile allows, which may be other versions each time; 'bundle lock' makes one, commit it
piku-build: native code that was built for this machine does not run on [OTHER]: fast
hint: push to that machine directly: it builds these packages itself
 !     warning: there is no lock file: npm installs what package.json allows; 'npm install' makes one, commit it
 !     warning: 'node_modules' is in the repository and is not used; 'git rm -r --cached node_modules' and a line in .gitignore take it out
piku-build: native code that was built for this machine does not run on [OTHER]: fast
hint: push to that machine directly: it builds these packages itself

"#]],
    );
}
