//! A release goes through a stream to another machine, and strangers' streams go nowhere.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use piku_tests::snapshot::str;

use super::hostile_streams::stream;
use crate::support::{Ran, Running, World, names, until};
use piku_release::machine::TargetMachine;

/// Runs `piku-build ARGS` with these bytes on stdin.
pub(super) fn feed(world: &World, args: &[&str], input: &[u8]) -> Ran {
    let mut child = world.command(args).stdin(Stdio::piped()).spawn().expect("it works");
    // What is refused early is not read to its end.
    let _ = child.stdin.take().expect("it works").write_all(input);
    Ran::of(child.wait_with_output().expect("it works"))
}

pub(super) fn pack(world: &World, more: &[&str]) -> Vec<u8> {
    let args = [&["pack", "out/1", "--layers", "cache/layers"], more].concat();
    let out = world.command(&args).output().expect("it works");
    assert!(out.status.success(), "{out:?}");
    out.stdout
}

/// Unpacks into `there/NAME` and `there/layers`.
pub(super) fn unpack(world: &World, name: &str, input: &[u8]) -> Ran {
    let output = format!("there/{name}");
    feed(world, &["unpack", "--output", &output, "--layers", "there/layers"], input)
}

#[test]
fn a_release_with_its_layer_runs_elsewhere_and_packs_the_same_again() {
    let world = World::new(&[
        ("app.py", "import six\nprint('six', six.__name__)\n"),
        ("requirements.txt", "six\n"),
        ("Procfile", "web: python app.py\n"),
        ("ENV", "A=1\n"),
    ]);
    fs::create_dir_all(world.app().join("empty").join("d".repeat(150)).join("e".repeat(150)))
        .expect("it works");
    symlink("../app.py", world.app().join("empty/link")).expect("it works");
    world.build("1").good(&[]);
    if !world.release("1").jailed {
        crate::support::skipped(
            "a virtualenv on another machine: without a jail it works at its own place alone",
        );
        unpack(&world, "1", &pack(&world, &[])).fails(str![[r#"
piku-build: this release was built without the jail: its layer 'venv' works at '[..]' alone
hint: build where there is a jail, or keep everything in the same folders on both machines

"#]]);
        return;
    }
    fs::write(world.path("out/1/config.json"), "{\"SECRET\": \"x\"}").expect("it works");
    let whole = pack(&world, &[]);
    assert_eq!(whole, pack(&world, &[]), "the same bytes");
    let args = ["unpack", "--output", "there/7", "--layers", "there/layers", "--number", "7", "--via", "pi"];
    feed(&world, &args, &whole).good(&[]);
    assert!(!world.path("there/7/config.json").exists(), "the release alone is packed");
    // The next one that comes in shares what is the same with the one before it.
    let args = ["unpack", "--output", "there/8", "--layers", "there/layers", "--before", "there/7"];
    feed(&world, &args, &whole).good(&[]);
    let inode = |path: &str| fs::metadata(world.path(path)).expect(path).ino();
    assert_eq!(inode("there/7/app/app.py"), inode("there/8/app/app.py"));
    fs::remove_dir_all(world.path("there/8")).expect("it works");
    let key = names(&world.path("there/layers")).pop().expect("it works");
    let there = piku_release::manifest::BuiltRelease::read(&world.path("there/7")).expect("it works");
    assert_eq!((there.number, there.by.as_str(), there.commit), (7, " via pi", world.release("1").commit));
    assert_eq!(
        fs::read_link(world.path("there/7/app/empty/link")).expect("it works"),
        Path::new("../app.py")
    );

    // Run it with nothing of the first machine's left.
    fs::rename(world.path("cache"), world.path("gone")).expect("it works");
    fs::create_dir(world.path("cache")).expect("it works");
    fs::rename(world.path("there/layers"), world.path("cache/layers")).expect("it works");
    fs::rename(world.path("out/1"), world.path("out/old")).expect("it works");
    fs::rename(world.path("there/7"), world.path("out/1")).expect("it works");
    let worked = world.work("1", &["python", "app.py"]);
    assert_eq!(worked.good(&[]).stdout, "six six\n");

    // Each part alone; a layer is the same from either machine.
    let layer = pack(&world, &["--part", &key]);
    let release = pack(&world, &["--part", "release"]);
    assert!(layer.len() + release.len() < whole.len() + 2000);
    let lacking = unpack(&world, "8", &release);
    lacking.fails(str![[r#"
piku-build: the release needs the layer 'venv' ([SHA]), which is neither in the stream nor in '[DIR]/there/layers'

"#]]);
    let head = pack(&world, &["--part", "head"]);
    let fits = |there: &str| feed(&world, &["fits", "--layers", there, "--format", "json"], &head);
    assert!(fits("there/layers").good(&[]).stdout.contains(&key));
    unpack(&world, "8", &layer).good(&[]);
    assert!(!fits("there/layers").good(&[]).stdout.contains(&key));
    unpack(&world, "8", &layer).good(&[]);
    unpack(&world, "8", &release).good(&[]);
    unpack(&world, "8", &release).fails(str![[r#"
piku-build: '[DIR]/there/8' already exists
hint: a release is never overwritten: name a folder that does not exist yet

"#]]);
    fs::remove_dir_all(world.path("cache")).expect("it works");
    fs::rename(world.path("gone"), world.path("cache")).expect("it works");
    assert_eq!(layer, pack_of(&world, "out/old", &key), "a layer's bytes are the same on both machines");

    // The virtualenv's python is the machine's.
    let text = String::from_utf8(head).expect("it works");
    assert!(text.contains("\"/usr/bin/python3"), "{text}");
    let other = text.replace("/usr/bin/python3", "/usr/bin/python9");
    feed(&world, &["fits"], other.as_bytes()).fails(str![[r#"
piku-build: this release needs '/usr/bin/python9.[..]', which is missing on this machine
hint: apt install python9.[..], where the system has that; or let both machines run the same system

"#]]);
}

fn pack_of(world: &World, release: &str, part: &str) -> Vec<u8> {
    world
        .command(&["pack", release, "--layers", "cache/layers", "--part", part])
        .output()
        .expect("it works")
        .stdout
}

/// Refuses a release's head on a machine whose programs are those.
fn on(machine: &str, head: &[u8]) -> Result<(), String> {
    let machine = TargetMachine::parse(machine).expect("a machine");
    piku_build::check_head(head, &machine).map_err(|err| err.to_string())
}

#[test]
fn portable_release_runs_on_another_architecture() {
    let page = World::new(&[("index.html", "hello world\n")]);
    let python = World::new(&[("app.py", "print('hello')\n"), ("Procfile", "web: python app.py\n")]);
    let jar = World::new(&[("Procfile", "web: java -jar app.jar\n")]);
    // Libraries in an archive are there for every kind of machine.
    let mut zip = zip::ZipWriter::new(fs::File::create(jar.app().join("app.jar")).expect("a jar"));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("lib/libx.so", stored).expect("an entry");
    zip.write_all(&fs::read("/bin/true").expect("a program")).expect("an entry");
    zip.finish().expect("a jar");
    for world in [&page, &python, &jar] {
        world.build("1").good(&[]).not_said("Needs");
        let release = world.release("1");
        assert_eq!((release.architecture.as_str(), release.native), ("any", None));
        let head = pack(world, &["--part", "head"]);
        for machine in ["aarch64", "armv6l", "armv8l, aarch64", "riscv64"] {
            assert_eq!(on(machine, &head), Ok(()));
        }
        feed(world, &["fits", "--layers", "there/layers"], &head).good(&[]);
        for layer in &release.layers {
            let part = pack(world, &["--part", &layer.key]);
            assert_eq!(part, pack(world, &["--part", &layer.key]));
            unpack(world, "2", &part).good(&[]);
        }
        unpack(world, "1", &pack(world, &["--part", "release"])).good(&[]);
        let there = piku_release::manifest::BuiltRelease::read(&world.path("there/1")).expect("a release");
        assert_eq!(there.architecture, "any");
    }
}

#[test]
fn a_release_finds_the_java_of_the_machine_that_runs_it() {
    if names(Path::new("/usr/lib/jvm")).is_empty() {
        return crate::support::skipped("a Java of the system");
    }
    let world = World::new(&[("Procfile", "web: java -jar app.jar\n"), ("app.jar", "PK")]);
    world.build("1").good(&["Java app detected"]);
    let own = world.release("1").env["JAVA_HOME"].clone();
    // Debian's have the architecture behind them.
    let Some((stem, _)) = own.rsplit_once("-openjdk-") else {
        return crate::support::skipped("Debian's JDK");
    };
    let theirs = format!("{stem}-openjdk-s390x");
    let head = String::from_utf8(pack(&world, &["--part", "head"])).expect("text");
    assert!(head.contains(&format!("\"{own}/bin/java\"")), "it asks for that Java: {head}");
    feed(&world, &["fits"], head.replace(&own, &theirs).as_bytes()).good(&[]);
    feed(&world, &["fits"], head.replace(&own, "/usr/lib/jvm/java-99-openjdk-s390x").as_bytes()).fails(str![
        [r#"
piku-build: this release needs '/usr/lib/jvm/java-99-openjdk-s390x/bin/java', which is missing on this machine
hint: apt install java, where the system has that; or let both machines run the same system

"#]
    ]);

    // As if a machine of that architecture had built it.
    let path = world.path("out/1/release.yaml");
    let text = fs::read_to_string(&path).expect("a release");
    fs::write(&path, text.replace(&own, &theirs)).expect("a release");
    unpack(&world, "1", &pack(&world, &[])).good(&[]);
    let there = piku_release::manifest::BuiltRelease::read(&world.path("there/1")).expect("a release");
    assert_eq!(there.env["JAVA_HOME"], own);
    assert!(there.env["PATH"].starts_with(&format!("{own}/bin:")), "{:?}", there.env);
    assert!(!there.env["PATH"].contains("s390x"));
}

#[test]
fn an_interpreter_that_starts_a_release_is_asked_for_where_it_is_not_brought() {
    let world =
        World::new(&[("Procfile", "web: node server.js\n"), ("server.js", ""), ("package.json", "{}")]);
    world.build("1").good(&["Node app detected"]);
    let head = String::from_utf8(pack(&world, &["--part", "head"])).expect("text");
    assert!(head.contains("\"commands\":[\"node\"]"), "{head}");
    feed(&world, &["fits"], head.as_bytes()).good(&[]);
    let asking = |name: &str| head.replace("[\"node\"]", &format!("[\"{name}\"]"));
    feed(&world, &["fits"], asking("node0.1").as_bytes()).fails(str![[r#"
piku-build: this release is started by 'node0.1', which is missing on this machine
hint: apt install node0.1, on that machine

"#]]);
    feed(&world, &["fits"], asking("/etc/shadow").as_bytes()).fails(str![[r#"
piku-build: '/etc/shadow' is not an interpreter that a release may need
hint: a release is made by 'piku-build pack' of this version

"#]]);

    // Where the app brings one of its own, no other is asked for.
    world.executable("bin/node", "#!/bin/sh\n");
    world.write("ENV", "PATH=/app/bin:/usr/bin:/bin\n");
    world.build("2").good(&[]);
    let head = String::from_utf8(pack_of(&world, "out/2", "head")).expect("text");
    assert!(!head.contains("commands"), "{head}");
}

#[test]
fn a_program_binds_a_release_and_is_named() {
    let world = script();
    world.executable("bin/tool", fs::read("/bin/true").expect("a program"));
    // One for another machine beside it, which nothing here starts.
    let mut foreign = fs::read("/bin/true").expect("a program");
    (foreign[18], foreign[19]) = (22, 0);
    world.write("bin/s390", &foreign);
    let here = piku_release::machine::architecture().expect("a machine");
    world.build("2").good(&[&format!("Needs {here} for 'app/bin/tool'\n")]);
    let release = world.release("2");
    assert_eq!((release.architecture.as_str(), release.native.as_deref()), (&*here, Some("app/bin/tool")));
    let head = pack_of(&world, "out/2", "head");
    assert_eq!(on(&here, &head), Ok(()));
    let refused = on("riscv64", &head);
    assert_eq!(
        refused,
        Err(format!("this release needs {here} for 'app/bin/tool', this machine is riscv64"))
    );
    feed(&world, &["fits"], &head).good(&[]);

    // A manifest that says less than its files is not believed.
    for name in ["tool", "s390"] {
        fs::create_dir_all(world.path("out/1/app/bin")).expect("a folder");
        fs::copy(world.app().join("bin").join(name), world.path("out/1/app/bin").join(name)).expect("a file");
    }
    assert_eq!(world.release("1").architecture, "any");
    let ran = unpack(&world, "1", &pack(&world, &[]));
    ran.good(&[]).not_said("warning");
    let there = piku_release::manifest::BuiltRelease::read(&world.path("there/1")).expect("a release");
    assert_eq!((there.architecture, there.native.as_deref()), (here, Some("app/bin/tool")));
    fs::remove_file(world.path("out/1/app/bin/tool")).expect("a file");
    unpack(&world, "2", &pack(&world, &[]))
        .good(&["warning: 'app/bin/s390' is for s390x, and this machine is"]);
    let there = piku_release::manifest::BuiltRelease::read(&world.path("there/2")).expect("a release");
    assert_eq!(there.architecture, "any");
}

pub(super) fn script() -> World {
    let world = World::new(&[("Procfile", "web: ./run.sh\n"), ("page", "hello\n")]);
    world.executable("run.sh", "#!/bin/sh\necho hello\n");
    world.build("1").good(&[]);
    world
}

#[test]
fn damaged_or_foreign_streams_leave_nothing() {
    let world = script();
    let whole = pack(&world, &[]);
    let nothing = |ran: &Ran, what: &str| {
        assert_eq!(ran.code, Some(1), "{what}: {ran}");
        assert!(names(&world.path("there")).iter().all(|name| name == "layers"), "{what}");
        assert!(names(&world.path("there/layers")).is_empty(), "{what}");
    };
    for length in [0, 3, 10, whole.len() / 2, whole.len() - 5, whole.len() - 1] {
        nothing(&unpack(&world, "1", &whole[..length]), "cut");
    }
    let content = zstd::decode_all(&whole[..]).expect("a stream");
    let mut ignored = 0;
    for at in (0..whole.len()).step_by(whole.len() / 23) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        // zstd has bits without a meaning: the content and its checksum are then the same.
        if zstd::decode_all(&bytes[..]).is_ok_and(|read| read == content) {
            ignored += 1;
            continue;
        }
        nothing(&unpack(&world, "1", &bytes), &format!("byte {at}"));
    }
    assert!(ignored < 5, "{ignored} of 24 changes made no difference");
    nothing(&unpack(&world, "1", &[&whole[..], b"more"].concat()), "more behind its end");
    nothing(&unpack(&world, "1", b"#!/bin/sh\n"), "no stream");

    let head = String::from_utf8(pack(&world, &["--part", "head"])).expect("it works");
    let other = head.replace("\"architecture\":\"any\"", "\"architecture\":\"sparc64\"");
    feed(&world, &["fits"], other.as_bytes()).fails(str![[r#"
piku-build: this release was built for sparc64, this machine is [..]
hint: build it on a machine like this one: git push to this one does

"#]]);
    nothing(&unpack(&world, "1", &stream(&other, |_| ())), "another machine");
    let newer = head.replace("\"glibc\":null", "\"glibc\":\"2.999\"");
    assert_ne!(newer, head, "scripts need no C library");
    feed(&world, &["fits"], newer.as_bytes()).fails(str![[r#"
piku-build: this release needs glibc 2.999, this machine has 2.[..]
hint: build it on a machine whose system is no newer than this one's

"#]]);
    feed(&world, &["fits", "--app", "other"], head.as_bytes()).fails(str![[r#"
piku-build: this is a release of app, not of other

"#]]);
    unpack(&world, "1", &whole).good(&[]);
}

#[test]
fn killed_unpack_leaves_nothing_for_the_next() {
    let world = script();
    fs::write(world.path("out/1/app/big"), vec![7_u8; 3 << 20]).expect("it works");
    fs::set_permissions(world.path("out/1/app/run.sh"), fs::Permissions::from_mode(0o4755))
        .expect("it works");
    let whole = pack(&world, &[]);
    let mut command = world.command(&["unpack", "--output", "there/1"]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.0.stdin.take().expect("it works");
    stdin.write_all(&whole[..whole.len() - 20]).expect("it works");
    stdin.flush().expect("it works");
    until("it has begun", || names(&world.path("there")).iter().any(|name| name.starts_with(".piku-build-")));
    running.signal("KILL");
    running.0.wait().expect("it works");
    assert!(!world.path("there/1").exists());
    unpack(&world, "1", &whole).good(&[]);
    assert_eq!(names(&world.path("there")), ["1", "layers"]);
    let mode = fs::metadata(world.path("there/1/app/run.sh")).expect("it works").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "set-uid is not packed");
}
