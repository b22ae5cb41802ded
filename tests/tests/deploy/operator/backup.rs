//! `backup` and `restore` between two machines, over a real ssh.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Output;
use std::thread;

use piku_tests::repo::Repo;
use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::operator::operate::says;

/// A world with an app that has config, a formation, a lock and all kinds of data.
fn live() -> (World, Repo) {
    let world = World::new();
    let repo = world.repo("blog");
    let procfile = "web: ./serve\nworker: exec sleep 1000\n";
    repo.serves("one\n").file("Procfile", procfile).commit("One").push().succeeds();
    says(&world, "config:set blog SECRET='a b'", 0);
    says(&world, "config:set blog --no-restart NGINX_SERVER_NAME=blog.test", 0);
    says(&world, "ps:scale blog worker=2", 0);
    let files = "cd /data; echo kept >file; ln file twin; ln -s /etc/passwd link; mkfifo pipe; \
                 truncate -s 1G sparse; mkdir sub; echo deep >sub/file; chmod 700 sub";
    says(&world, &format!("run blog sh -c '{files}'"), 0);
    says(&world, "lock blog --reason 'the freeze'", 0);
    (world, repo)
}

/// Takes a backup over ssh.
fn backup(world: &World, words: &str) -> Vec<u8> {
    let out = world.ssh("laptop", words);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Runs a verb over ssh with this stdin.
fn feed(world: &World, key: &str, words: &str, input: &[u8]) -> Output {
    let mut ssh = world.start_ssh(key, words);
    let mut stdin = ssh.stdin.take().expect("stdin");
    thread::scope(|scope| {
        // A verb that refuses its input does not read all of it.
        scope.spawn(move || stdin.write_all(input).is_ok());
        ssh.wait_with_output().expect("ssh ends")
    })
}

fn feeds(world: &World, words: &str, input: &[u8], code: i32) -> String {
    let out = feed(world, "laptop", words, input);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(code), "{words}: {said}");
    said
}

/// Lists everything below the root that a refused restore could have left.
fn entries(world: &World) -> Vec<String> {
    let names = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let apps = world.root().join("apps");
    let mut all: Vec<String> = names(&apps).map(|path| path.display().to_string()).collect();
    all.sort();
    all
}

#[test]
fn app_comes_back_on_another_machine() {
    let (old, repo) = live();
    let whole = backup(&old, "backup blog");
    let listed = feeds(&old, "backup:verify", &whole, 0);
    for part in ["repo.bundle", "config.json", "formation.json", "locked.json", "data.tar"] {
        assert!(listed.contains(&format!("apps/blog/{part}")), "{listed}");
    }
    let live_commit = repo.git(&["rev-parse", "HEAD"]);
    drop(old);

    // The machine is lost.
    let new = World::new();
    new.add_key("guest", &["shop"]);
    let told = feeds(&new, "restore --dry-run", &whole, 0);
    assert!(told.contains("would restore blog") && entries(&new).is_empty(), "{told}");
    let told = feeds(&new, "restore blog", &whole, 0);
    assert!(told.contains("blog is back as it was at"), "{told}");
    assert_eq!(new.page("blog"), "one\n");
    assert_eq!(says(&new, "config:get blog SECRET", 0), "a b\n");
    assert_eq!(says(&new, "config:get blog NGINX_SERVER_NAME", 0), "blog.test\n");
    assert_eq!(says(&new, "ps:scale blog", 0), "web=1\nworker=2\n");
    let files = "cd /data; cat file sub/file; stat -c %h file; readlink link; stat -c %F pipe; \
                 stat -c %a sub; stat -c %s sparse; test $(stat -c %b sparse) -lt 1000 && echo holes";
    assert_eq!(
        says(&new, &format!("run blog sh -c '{files}'"), 0),
        "kept\ndeep\n2\n/etc/passwd\nfifo\n700\n1073741824\nholes\n"
    );
    let bare = new.app("blog").join("repo.git");
    let git = new.command("git").arg("--git-dir").arg(bare).args(["rev-parse", "main"]).output();
    assert_eq!(String::from_utf8_lossy(&git.expect("git").stdout).trim(), live_commit.trim());

    // Its deploys are still locked, and a push works as before.
    let moved = new.repo("blog");
    moved.git(&["fetch", "-q", "piku"]);
    moved.git(&["reset", "-q", "--hard", "piku/main"]);
    moved.file("page", "two\n").commit("Two").push().fails_with(&["blog is locked by laptop", "the freeze"]);
    says(&new, "unlock blog", 0);
    moved.push().succeeds();
    assert_eq!(new.page("blog"), "two\n");

    // Another name on the same machine: what only one app can have stays with the first.
    assert!(feeds(&new, "restore blog", &whole, 1).contains("blog exists already"));
    for words in
        ["restore blog", "restore shop", "restore blog --as shop", "restore", "restore shop --as blog"]
    {
        let out = feed(&new, "guest", words, &whole);
        assert!(!out.status.success(), "{words}: {}", text(&out));
    }
    let told = feeds(&new, "restore blog --as shop", &whole, 0);
    assert!(told.contains("without NGINX_SERVER_NAME"), "{told}");
    assert_eq!(new.page("shop"), "one\n");
    assert_eq!(says(&new, "run shop cat /data/file", 0), "kept\n");

    // A key of one app saves and restores that app alone.
    let out = new.ssh("guest", "backup shop");
    assert!(out.status.success());
    assert!(!new.ssh("guest", "backup blog").status.success());
    assert!(!new.ssh("guest", "backup --all").status.success());
    says(&new, "destroy shop --confirm shop --now", 0);
    assert!(feed(&new, "guest", "restore shop", &out.stdout).status.success());
    assert_eq!(new.page("shop"), "one\n");

    // Both at once.
    let both = backup(&new, "backup --all");
    says(&new, "destroy shop --confirm shop --now", 0);
    let told = feeds(&new, "restore", &both, 0);
    assert!(told.contains("blog is left alone: blog exists already"), "{told}");
    assert_eq!(new.page("shop"), "one\n");
    for app in ["blog", "shop"] {
        says(&new, &format!("destroy {app} --confirm {app} --now"), 0);
    }
    let told = feeds(&new, "restore", &both, 0);
    let place = |said: &str| told.find(said).unwrap_or_else(|| panic!("no '{said}' in {told}"));
    assert!(
        place("shop is back as") < place("Deploying "),
        "not all are there before the first deploy: {told}"
    );

    // The live commit is gone from the repository: no other becomes live by itself.
    let shop = new.app("shop").join("repo.git");
    let git = |words: &[&str]| {
        let named = ["-c", "user.name=a", "-c", "user.email=a@b"];
        let out =
            new.command("git").args(named).arg("--git-dir").arg(&shop).args(words).output().expect("git");
        assert!(out.status.success(), "{}", text(&out));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let other = git(&["commit-tree", "-m", "Other", "HEAD^{tree}"]);
    git(&["update-ref", "refs/heads/main", &other]);
    let without = backup(&new, "backup shop");
    let told = feeds(&new, "restore shop --as lost", &without, 0);
    assert!(told.contains("no longer had it") && told.contains("piku deploy lost"), "{told}");
    assert!(!new.app("lost").join("current").exists());

    // A service is no app, whoever saves it.
    let service = new.root().join("services/db");
    assert!(new.command("mkdir").arg("-p").arg(&service).status().expect("mkdir").success());
    let out = new.ssh("laptop", "backup db");
    assert!(text(&out).contains("db is a service, not an app") && !out.status.success(), "{}", text(&out));
    fs::remove_dir_all(service).expect("service");
}

#[test]
fn machine_comes_back_with_its_keys_and_settings() {
    let (old, _repo) = live();
    old.set_settings("keep_releases: 3");
    fs::create_dir_all(old.root().join("acme/certificates/blog")).expect("folder");
    fs::write(old.root().join("acme/certificates/blog/x.pem"), "pem").expect("file");
    assert!(!old.ssh("laptop", "backup --host").status.success(), "a key gets no private keys");
    let out = old.tool("piku-run").args(["backup", "--host"]).output().expect("piku-run");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let file = old.path("laptop/host.tar.zst");
    fs::write(&file, &out.stdout).expect("file");
    let key = fs::read_to_string(old.path("laptop/laptop_key.pub")).expect("key");
    let key = key.split(' ').nth(1).expect("its text");

    let new = World::with_settings("keep_releases: 9");
    assert!(!feed(&new, "laptop", "restore --host", &out.stdout).status.success());
    let restore = |words: &[&str]| {
        let stdin = fs::File::open(&file).expect("file");
        let out = new.tool("piku-run").arg("restore").args(words).stdin(stdin).output().expect("piku-run");
        assert!(out.status.success(), "{}", text(&out));
        text(&out)
    };
    let settings = || fs::read_to_string(new.root().join("host.yaml")).expect("host.yaml");
    restore(&["--host", "--dry-run"]);
    assert!(settings().contains("keep_releases: 9"));
    restore(&["--host"]);
    let keys = fs::read_to_string(new.path("home/.ssh/authorized_keys")).expect("keys");
    assert!(settings().contains("keep_releases: 3") && keys.contains(key), "{keys}");
    assert_eq!(keys.lines().count(), 2, "the keys of this machine stay");
    assert_eq!(fs::read(new.root().join("acme/certificates/blog/x.pem")).expect("file"), b"pem");
    assert!(new.root().join("host.yaml.before-restore").exists() && entries(&new).is_empty());
    restore(&["--skip-deploy"]);
    assert_eq!(says(&new, "config:get blog SECRET", 0), "a b\n");
}

#[test]
fn damaged_backups_change_nothing() {
    let (world, _repo) = live();
    let whole = backup(&world, "backup blog");
    says(&world, "destroy blog --confirm blog --now", 0);
    let before = entries(&world);
    for place in 1..6 {
        let at = whole.len() * place / 6;
        let told = feeds(&world, "restore blog", &whole[..at], 1);
        assert!(told.contains("the backup is damaged or cut off at byte "), "{told}");
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        feeds(&world, "restore blog", &flipped, 1);
        assert_eq!(entries(&world), before, "byte {at}");
    }
    // A killed restore leaves nothing that runs, and the next one begins anew.
    let path = world.path("laptop/blog.tar.zst");
    fs::write(&path, &whole).expect("file");
    for millis in [0, 20, 60, 150, 400] {
        let mut restore = world.tool("piku-run");
        restore.args(["restore", "blog", "--skip-deploy"]).stdin(fs::File::open(&path).expect("file"));
        let mut restore = restore.spawn().expect("piku-run");
        thread::sleep(std::time::Duration::from_millis(millis));
        let _ = restore.kill();
        let _ = restore.wait();
        if world.app("blog").exists() {
            assert_eq!(says(&world, "config:get blog SECRET", 0), "a b\n");
            says(&world, "destroy blog --confirm blog --now", 0);
        }
    }
    let told = feeds(&world, "restore blog", &whole, 0);
    assert!(told.contains("blog is back"), "{told}");
    assert_eq!(says(&world, "run blog cat /data/file", 0), "kept\n");
}

#[test]
fn stdin_decides_between_a_destroyed_app_and_a_backup() {
    let (world, _repo) = live();
    says(&world, "destroy blog --confirm blog", 0);
    assert!(feeds(&world, "restore blog", b"other\nlines\n", 2).contains("stdin is no backup"));
    assert!(feeds(&world, "restore blog --dry-run", b"", 2).contains("expected a backup on stdin"));
    assert!(feeds(&world, "restore", b"", 2).contains("expected a backup on stdin"));
    let told = feeds(&world, "restore blog", b"age-encryption.org/v1\n", 1);
    assert!(told.contains("age -d -i KEY FILE | piku restore"), "{told}");
    // A client whose stdin stays open, as that of a terminal does.
    let mut ssh = world.start_ssh("laptop", "restore blog");
    let stdin = ssh.stdin.take();
    let out = ssh.wait_with_output().expect("ssh ends");
    drop(stdin);
    assert!(text(&out).contains("blog is back, with its repository"), "{}", text(&out));
    assert_eq!(world.page("blog"), "one\n");
}

#[test]
fn app_is_replaced_as_a_whole_and_can_come_back() {
    let (world, repo) = live();
    says(&world, "unlock blog", 0);
    let whole = backup(&world, "backup blog");
    repo.file("page", "two\n").commit("Two").push().succeeds();
    says(&world, "config:set blog SECRET=later", 0);
    says(&world, "run blog sh -c 'echo new >/data/file'", 0);
    let data = world.app("blog").join("data/file");
    let state = || {
        let config = fs::read_to_string(world.app("blog").join("config.json")).expect("config");
        (config.contains("later"), fs::read_to_string(&data).expect("data"))
    };
    let (later, earlier) = ((true, "new\n".to_owned()), (false, "kept\n".to_owned()));

    // What is refused changes nothing.
    assert!(feeds(&world, "restore blog", &whole, 1).contains("to replace it: piku restore blog --replace"));
    says(&world, "lock blog", 0);
    assert!(feeds(&world, "restore blog --replace", &whole, 1).contains("first: piku unlock blog"));
    says(&world, "unlock blog", 0);
    feeds(&world, "restore blog --replace", &whole[..whole.len() - 50], 1);
    assert!(feeds(&world, "restore --replace --dry-run", &whole, 0).contains("would replace blog"));
    assert!(
        says(&world, "restore blog --replace --kept", 1)
            .contains("nothing of blog is kept from before a 'restore --replace'")
    );
    assert_eq!((world.page("blog").as_str(), state()), ("two\n", later.clone()));
    let kept = world.root().join("replaced/blog");
    assert!(!kept.exists());
    // It cannot be saved, and runs on.
    fs::write(world.root().join("replaced"), "").expect("a file");
    feeds(&world, "restore blog --replace", &whole, 1);
    fs::remove_file(world.root().join("replaced")).expect("removed");
    wait_for("the app", || world.page("blog") == "two\n");
    assert_eq!(state(), later);

    let told = feeds(&world, "restore blog --replace", &whole, 0);
    assert!(told.contains("to go back to it: piku restore blog --replace --kept"), "{told}");
    assert_eq!((world.page("blog").as_str(), state()), ("one\n", earlier.clone()));
    assert_eq!(says(&world, "config:get blog SECRET", 0), "a b\n");
    says(&world, "restore blog --replace --kept", 0);
    assert_eq!((world.page("blog").as_str(), state()), ("two\n", later.clone()));
    assert_eq!(fs::read_dir(&kept).expect("a directory").count(), 2);

    // A kill leaves one or the other, and the next command is not in its way.
    let path = world.path("laptop/blog.tar.zst");
    fs::write(&path, &whole).expect("file");
    for millis in [20, 150, 300, 600, 1200] {
        let mut restore = world.tool("piku-run");
        restore.args(["restore", "blog", "--replace", "--skip-deploy"]);
        let mut restore = restore.stdin(fs::File::open(&path).expect("file")).spawn().expect("piku-run");
        thread::sleep(std::time::Duration::from_millis(millis));
        let _ = restore.kill();
        let _ = restore.wait();
        assert!([&later, &earlier].contains(&&state()), "after {millis} ms: {:?}", state());
    }
    feeds(&world, "restore blog --replace", &whole, 0);
    assert_eq!((world.page("blog").as_str(), state()), ("one\n", earlier));
    says(&world, "destroy blog --confirm blog --now", 0);
    assert!(!kept.exists() && entries(&world).is_empty(), "{:?}", entries(&world));
}
