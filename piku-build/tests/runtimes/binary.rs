//! Apps that are a Procfile and what it starts, and those that are nothing at all.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use piku_tests::snapshot::{assert_redacted, assert_snapshot, str};

use crate::support::World;

#[test]
fn a_script_becomes_a_release_and_runs() {
    let world =
        World::new(&[("Procfile", "web: ./run.sh\nworker: sh work.sh\n"), ("work.sh", "echo work\n")]);
    world.executable("run.sh", "#!/bin/sh\necho \"$0 in $(pwd)\"\n");
    symlink("/etc/hostname", world.app().join("link")).unwrap();
    let args =
        ["--app", "tool", "--number", "7", "--commit", "abc", "--subject", "-a subject", "--by", "ann"];
    let ran = world.build_with("7", &args);
    ran.good(&["-----> Binary app detected: there is a Procfile\n", "-----> Process types: web, worker\n"]);
    assert_eq!(ran.stdout, "");
    let release = world.release("7");
    assert_eq!((release.app.as_str(), release.number, release.by.as_str()), ("tool", 7, "ann"));
    assert_eq!((release.commit.as_str(), release.subject.as_str()), ("abc", "-a subject"));
    assert_eq!((release.runtime.as_str(), release.layers.len()), ("binary", 0));
    let types: Vec<_> =
        release.processes.iter().map(|(name, command)| (name.as_str(), command.as_str())).collect();
    assert_eq!(types, [("web", "./run.sh"), ("worker", "sh work.sh")]);
    let worked = world.work("7", &["./run.sh"]);
    worked.good(&[]);
    assert!(worked.stdout.starts_with("./run.sh in "), "{worked}");
    let tree = world.path("out/7/app");
    assert_eq!(fs::metadata(tree.join("run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(fs::symlink_metadata(tree.join("link")).unwrap().is_symlink());
    assert_eq!(world.outputs(), ["7"]);
}

#[test]
fn unstartable_commands_are_refused_with_a_fix() {
    let world = World::new(&[
        ("plain.sh", "#!/bin/sh\n"),
        ("folder/x", ""),
        ("tool", "x"),
        (
            "Procfile",
            "l: ./away\nweb: ./gone\na: ./plain.sh\nb: no-such-program --x\nc: ./folder\nd: tool\ne: sh gone.sh\nf: java -jar target/app-1.jar\nstatic: public\n",
        ),
    ]);
    symlink("/nowhere/at/all", world.app().join("away")).unwrap();
    world.build("1").fails(str![[r#"
piku-build: Procfile: l: './away' is a link that leads to nothing the app can see
Procfile: web: './gone' does not exist
Procfile: a: './plain.sh' is not executable
Procfile: b: there is no program 'no-such-program', neither in the app's dependencies nor on this machine
Procfile: c: './folder' is a folder
Procfile: d: 'tool' is not on PATH
Procfile: e: 'gone.sh' does not exist
Procfile: f: 'target/app-1.jar' does not exist
Procfile: static: there is no folder 'public' in the app
hint: inside the app a link may lead to the app's own files, which are at /app, and to the machine's programs
hint: is it committed? 'git status --ignored' shows whether .gitignore names it; 'git add -f ./gone' adds it
hint: chmod +x plain.sh, or where files have no modes: git update-index --chmod=+x plain.sh; then commit
hint: add what brings 'no-such-program' to the dependencies, or install it on the machine
hint: the app has a file of that name: write './tool'
hint: is it committed? 'git status --ignored' shows whether .gitignore names it; 'git add -f gone.sh' adds it
hint: the name of a jar ends with its version, which changes: 'target/*.jar' fits any, where there is one; without a Procfile the jar that is a program is found
hint: git keeps no empty folders: put a file into it

"#]]);
    assert!(world.outputs().is_empty());
}

#[test]
fn a_program_for_another_machine_names_both() {
    let world = World::new(&[("Procfile", "web: ./server\n")]);
    let mut program = fs::read("/bin/true").unwrap();
    world.executable("server", &program);
    world.build("1").good(&[]);
    // e_machine; 22 is s390x on every machine that these tests run on.
    program[18] = 22;
    program[19] = 0;
    world.executable("server", &program);
    let failure = world.build("2").failure();
    assert_redacted(
        &failure,
        &[("[ARCH]", std::env::consts::ARCH)],
        str![[r#"
piku-build: Procfile: web: './server' is a program for s390x, this machine is [ARCH]
hint: build it for [ARCH]: [..]

"#]],
    );
}

#[test]
fn programs_are_checked_as_linux_starts_them() {
    let world = World::new(&[("Procfile", "web: ./server\n")]);
    let good = fs::read("/bin/true").unwrap();
    let change = |at: usize, bytes: &[u8]| {
        let mut program = good.clone();
        program[at..at + bytes.len()].copy_from_slice(bytes);
        program
    };
    // Linux does not look at the table of sections, nor at the class.
    world.executable("server", change(40, &[0xff; 8]));
    world.build("1").good(&[]);
    world.executable("server", change(4, &[9]));
    world.build("2").good(&[]);
    world.executable("server", &good[..good.len() / 2]);
    world.build("3").fails(str![[r#"
piku-build: Procfile: web: './server' begins like a program and ends too early

"#]]);
    world.executable("server", change(16, &[1]));
    world.build("4").fails(str![[r#"
piku-build: Procfile: web: './server' begins like a program, but is an object file or damaged

"#]]);
}

#[test]
fn files_that_only_look_like_programs() {
    let failures = [
        "#!/bin/sh\r\necho\r\n",
        "#!/usr/bin/env no-such-thing\n",
        "#!/no/such/shell\n",
        "MZ\u{90}",
        "\u{7f}ELF",
        "",
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
    ]
    .map(|content| {
        let world = World::new(&[("Procfile", "web: ./server\n")]);
        world.executable("server", content);
        format!("# {content:?}\n{}", world.build("1").failure())
    });
    assert_snapshot(
        &failures.concat(),
        str![[r##"
# "#!/bin/sh\r\necho\r\n"
piku-build: Procfile: web: './server' has Windows line ends: its interpreter would be looked for with a carriage return in its name
hint: put the line 'server text eol=lf' into .gitattributes and commit the file again
# "#!/usr/bin/env no-such-thing\n"
piku-build: Procfile: web: the first line of './server' asks for 'no-such-thing', which does not exist
# "#!/no/such/shell\n"
piku-build: Procfile: web: the first line of './server' asks for '/no/such/shell', which does not exist
# "MZ\u{90}"
piku-build: Procfile: web: './server' is a program for Windows, this machine runs Linux
hint: build it for Linux
# "\u{7f}ELF"
piku-build: Procfile: web: './server' begins like a program and ends too early
# ""
piku-build: Procfile: web: './server' is empty
# "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"
piku-build: Procfile: web: './server' is a Git LFS pointer, not the file itself
hint: the machine has no LFS store: commit the file itself

"##]],
    );
    let world = World::new(&[("Procfile", "web: ./server\n")]);
    world.executable("server", "echo no first line\n");
    world.build("1").good(&[" !     warning: web: './server' has no '#!' line"]);
}

#[test]
fn links_lead_where_the_worker_will_be_led() {
    if !crate::support::has_jail() {
        return;
    }
    let world = World::new(&[("Procfile", "web: ./server\n")]);
    fs::create_dir(world.path("elsewhere")).unwrap();
    fs::copy("/bin/true", world.path("elsewhere/server")).unwrap();
    symlink("../elsewhere/server", world.app().join("server")).unwrap();
    world.build("1").fails(str![[r#"
piku-build: Procfile: web: './server' is a link that leads to nothing the app can see
hint: inside the app a link may lead to the app's own files, which are at /app, and to the machine's programs

"#]]);
    fs::remove_file(world.app().join("server")).unwrap();
    symlink("/bin/true", world.app().join("server")).unwrap();
    world.build("2").good(&[]);
    world.work("2", &["./server"]).good(&[]);
}

#[test]
fn no_runtime_matches() {
    let world = World::new(&[("README.md", "")]);
    let detected = world.run(&["detect", "app", "--format", "json"]);
    detected.fails(str![[r#"
piku-build: no runtime fits this app; looked for:
  buildpack: BUILDPACK_URL or a file .buildpacks is missing, and no buildpack of the host detects the app
  python: uv.lock, poetry.lock, Pipfile.lock, requirements.txt, Pipfile, pyproject.toml, setup.py, setup.cfg, or *.py files with a Procfile are missing
  go: go.mod, go.work or *.go files with a 'package main' are missing
  rust: Cargo.toml is missing
  java: pom.xml, build.gradle, build.gradle.kts, a jar or Main.java are missing
  ruby: Gemfile or gems.rb is missing
  node: package.json is missing
  static: index.html at the top or in public, dist, build, _site, out, www, or a Staticfile, is missing
  binary: a Procfile that starts a program or a script, or a start.sh, is missing
found at its top: README.md
hint: the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'

"#]]);
    assert_eq!(world.build("1").failure(), detected.failure());
    let data: serde_json::Value = serde_json::from_str(&detected.stdout).unwrap();
    assert!(data["runtime"].is_null() && data["others"][8]["runtime"] == "binary", "{data}");
    fs::remove_file(world.app().join("README.md")).unwrap();
    world.build("1").fails(str![[r#"
piku-build: no runtime fits this app; looked for:
...
found at its top: nothing
hint: the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'

"#]]);
    assert!(world.outputs().is_empty());
}

#[test]
fn deploy_errors_have_the_error_mark() {
    let mut world = World::new(&[("README.md", "")]);
    world.env("PIKU_TALK", "deploy");
    let ran = world.build("1");
    ran.fails(str![[r#"
 !     no runtime fits this app; looked for:
...
 !     found at its top: README.md
 !     hint: the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'

"#]]);
    assert_eq!(ran.stderr, ran.failure());
}

#[test]
fn bad_files_stop_the_build_and_nothing_leaks() {
    let world = World::new(&[("Procfile", "web ./x\nweb: \n")]);
    world.build("1").fails(str![[r#"
Procfile:1: this is not 'name: command'
    web ./x
hint: the colon is missing: write 'web: …'
Procfile:2:5: 'web' has no command after the colon
    web: 
        ^

"#]]);
    let world = World::new(&[("Procfile", "web: true\n"), ("ENV", "A = secret-value\n")]);
    world.build("1").fails(str![[r#"
ENV:1:2: a blank before the '='
    A =…
     ^
hint: remove the blanks around '=': NAME=value

"#]]);
    let world = World::new(&[]);
    fs::write(world.path("secret"), "web secret-line\n").unwrap();
    symlink("../secret", world.app().join("Procfile")).unwrap();
    world
        .build("1")
        .fails(str![[r#"
piku-build: 'Procfile' leads out of the app's folder
hint: put a copy of the file into the repository

"#]])
        .not_said("secret-line");
    world.run(&["detect", "nowhere"]).fails(str![[r#"
piku-build: cannot open 'nowhere': No such file or directory (os error 2)

"#]]);
}

#[test]
fn an_output_is_never_written_over() {
    let world = World::new(&[("Procfile", "web: true\n")]);
    fs::create_dir_all(world.path("out/1")).unwrap();
    world.build("1").fails(str![[r#"
piku-build: '[DIR]/out/1' already exists
hint: a release is never overwritten: name a folder that does not exist yet

"#]]);
    assert_eq!(crate::support::names(&world.path("out/1")), [""; 0]);
    let usage = world.run(&["build"]);
    assert_eq!(usage.code, Some(2), "{usage}");
}

#[test]
fn build_keeps_its_folder_unless_it_may_move_it() {
    let world = World::new(&[
        ("Procfile", "web: true\n"),
        ("sub/file", "x"),
        (".git/HEAD", "ref\n"),
        ("sub/.git", "gitdir: x\n"),
    ]);
    fs::set_permissions(world.app().join("sub"), fs::Permissions::from_mode(0o555)).unwrap();
    let listing = || {
        let output = std::process::Command::new("find")
            .arg(world.app())
            .args(["-printf", "%p %m %s %T@ %i\n"])
            .output()
            .unwrap();
        let mut lines: Vec<_> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = listing();
    world.build("1").good(&[]);
    assert_eq!(listing(), before);
    assert_eq!(crate::support::names(&world.path("out/1/app")), ["Procfile", "sub"]);
    assert_eq!(crate::support::names(&world.path("out/1/app/sub")), ["file"]);
    // A cache and an output inside the folder are not part of the app.
    let inside = ["build", ".", "--cache", "cache", "--output", "out/1", "--app", "x"];
    let ran = crate::support::Ran::of(world.command(&inside).current_dir(world.app()).output().unwrap());
    ran.good(&[]);
    assert_eq!(crate::support::names(&world.app().join("out/1/app")), ["Procfile", "out", "sub"]);
    fs::set_permissions(world.app().join("sub"), fs::Permissions::from_mode(0o755)).unwrap();
    world.build_with("2", &["--move"]).good(&[]);
    assert!(!world.app().exists());
    assert!(!world.path("out/2/app/.git").exists());
    assert_eq!(world.outputs(), ["1", "2"]);
}

#[test]
fn a_schedule_stays_in_front_of_its_command() {
    let world = World::new(&[("Procfile", "web: true\ncron_a: */5 * * * * ./gone\n")]);
    world.build("1").fails(str![[r#"
piku-build: Procfile: cron_a: './gone' does not exist
hint: is it committed? 'git status --ignored' shows whether .gitignore names it; 'git add -f ./gone' adds it

"#]]);
    world.executable("gone", "#!/bin/sh\n");
    world.build("1").good(&[]);
    assert_eq!(world.release("1").processes["cron_a"], "*/5 * * * * ./gone");
}
