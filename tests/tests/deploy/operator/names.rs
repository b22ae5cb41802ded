//! `rename`, `clone`, `destroy` and `restore`, over a real ssh.

use std::fs;
use std::io::{BufRead, BufReader};

use nix::sys::signal::Signal;
use piku_tests::repo::Repo;
use piku_tests::world::{World, wait_for};

use crate::operator::operate::says;

/// A world with an app that has config, data, a formation and a grant.
fn live() -> (World, Repo) {
    let world = World::new();
    let repo = world.repo("blog");
    let procfile = "web: ./serve\nworker: exec sleep 1000\n";
    repo.serves("one\n").file("Procfile", procfile).commit("One").push().succeeds();
    says(&world, "config:set blog SECRET=s3cret", 0);
    says(&world, "config:set blog --no-restart NGINX_SERVER_NAME=blog.test", 0);
    says(&world, "ps:scale blog worker=2", 0);
    says(
        &world,
        "run blog sh -c 'echo kept >/data/file; mkfifo /data/pipe; ln -s /etc/passwd /data/link'",
        0,
    );
    (world, repo)
}

fn pids(world: &World, app: &str) -> Vec<u64> {
    world.ps(app).iter().filter_map(|row| row["pid"].as_u64()).collect()
}

#[test]
fn renamed_app_keeps_what_it_has() {
    let (world, repo) = live();
    world.add_key("guest", &["blog"]);
    let before = pids(&world, "blog");
    for (words, said) in [
        ("rename blog blog", "has this name already"),
        ("rename nothing shop", "there is no app 'nothing'"),
        ("rename blog Shop", "bad app name"),
        ("rename blog", "usage: piku rename APP NEW"),
    ] {
        let out = world.ssh("laptop", words);
        let told = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && told.contains(said), "{words}: {told}");
    }
    let refused = world.ssh("guest", "rename blog shop");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("may not use 'shop'"), "{refused:?}");
    says(&world, "create taken", 0);
    assert!(says(&world, "rename blog taken", 1).contains("taken exists already"));

    let mut follower = world.start_ssh("laptop", "logs blog -f -n 1");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe"));
    assert!(lines.read_line(&mut String::new()).expect("text") > 0, "it follows");
    let renamed = says(&world, "apps:rename blog shop", 0);
    assert!(renamed.contains("blog is called shop now"), "{renamed}");
    std::io::copy(&mut lines, &mut std::io::sink()).expect("its end");
    let end = follower.wait_with_output().expect("its end");
    let told = String::from_utf8_lossy(&end.stderr);
    assert!(
        !end.status.success() && told.contains("blog is called shop now\nhint: piku logs shop -f"),
        "{told}"
    );
    assert_eq!(world.page("shop"), "one\n");
    assert!(!world.app("blog").exists() && !world.root().join("run/blog").exists());
    wait_for("the end of the old processes", || {
        before.iter().all(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true))
    });
    assert_eq!(says(&world, "config:get shop SECRET", 0), "s3cret\n");
    assert_eq!(says(&world, "ps:scale shop", 0), "web=1\nworker=2\n");
    assert_eq!(says(&world, "run shop cat /data/file", 0), "kept\n");
    assert_eq!(says(&world, "apps", 0), "shop\ntaken\n");
    assert!(says(&world, "releases shop", 0).contains("One"));
    assert!(says(&world, "logs shop --deploy 1", 0).contains("live"));

    repo.file("page", "two\n")
        .commit("Two")
        .push()
        .fails_with(&["blog is called shop now", "git remote set-url piku "]);
    assert!(says(&world, "ps blog", 1).contains("it is called 'shop' now"));
    assert!(says(&world, "config:set blog A=1", 1).contains("blog is called shop now"));
    repo.git(&["remote", "set-url", "piku", &world.url("shop")]);
    repo.push().succeeds();
    assert_eq!(world.page("shop"), "two\n");
    says(&world, "rollback shop", 0);
    assert_eq!(world.page("shop"), "one\n");
    // The old name is free for those who want it, and the app can have it back.
    says(&world, "rename shop blog", 0);
    says(&world, "create shop", 0);
    assert_eq!(says(&world, "apps", 0), "blog\nshop\ntaken\n");
}

#[test]
fn killed_renaming_leaves_one_state_or_is_completed() {
    let (mut world, _repo) = live();
    let names = [("blog", "shop"), ("shop", "blog")];
    for round in 0..8u64 {
        let (from, to) = names[usize::from(world.app("shop").exists())];
        let mut rename = world.tool("piku-run").args(["rename", from, to]).spawn().expect("piku-run");
        std::thread::sleep(std::time::Duration::from_millis(round * round * 12));
        let _ = rename.kill();
        let _ = rename.wait();
        assert!(world.app(from).exists() != world.app(to).exists(), "exactly one of the two");
        // It is completed by a new daemon, or by the guard.
        if round % 2 == 0 {
            world.end_daemon(Signal::SIGKILL);
            world.start_daemon();
        }
        let is_between = || ["blog", "shop"].iter().any(|app| world.app(app).join("renaming.json").exists());
        wait_for("the end of the renaming", || !is_between());
        let app = if world.app("shop").exists() { "shop" } else { "blog" };
        wait_for("the app", || world.ps(app).iter().any(|row| row["state"] == "healthy"));
        assert_eq!(
            (world.page(app).as_str(), says(&world, &format!("config:get {app} SECRET"), 0).as_str()),
            ("one\n", "s3cret\n")
        );
    }
}

/// Each part is what an interruption at some moment leaves, or somebody who has waited for the lock.
#[test]
fn old_name_is_not_taken_during_a_renaming() {
    let (mut world, repo) = live();
    let record =
        |is_complete: bool| format!(r#"{{"from": "blog", "to": "shop", "is_complete": {is_complete}}}"#);
    let file = |app: &str, name: &str| world.app(app).join(name);
    let (blog, shop) = (world.app("blog"), world.app("shop"));
    let renaming = [file("blog", "renaming.json"), file("shop", "renaming.json")];
    let is_between = || renaming.iter().any(|record| record.exists());

    // Before the move it has its old name.
    fs::write(&renaming[0], record(false)).expect("record");
    world.end_daemon(Signal::SIGKILL);
    world.start_daemon();
    wait_for("the end of the record", || !is_between());
    assert!(blog.exists() && !shop.exists());
    wait_for("the app", || world.ps("blog").iter().any(|row| row["state"] == "healthy"));

    fs::write(&renaming[0], record(false)).expect("record");
    says(&world, "stop blog", 0);
    fs::remove_file(blog.join("stopped")).expect("stopped");
    fs::write(blog.join("former-names"), "blog\n").expect("former names");
    repo.file("page", "two\n").commit("Two");
    let waiting = world.while_locked(&blog.join("lock"), || {
        let mut push = repo.run_push();
        push.until_said("Waiting for ");
        fs::rename(&blog, &shop).expect("the move");
        push
    });
    waiting.finish().fails_with(&["blog is called shop now"]);
    assert!(!blog.join("repo.git").exists());
    assert!(says(&world, "create blog", 75).contains("is being renamed to shop"));
    let set = world.tool("piku-run").args(["config", "blog", "set", "A=1"]).output().expect("piku-run");
    let said = String::from_utf8_lossy(&set.stderr);
    assert_eq!(set.status.code(), Some(1), "{said}");
    assert!(said.contains("blog is called shop now") && !said.contains("cannot create"), "{said}");
    let audit = fs::read_to_string(world.root().join("audit.log")).expect("the audit log");
    let last = audit.lines().last().unwrap_or_default();
    assert!(last.contains("config:set") && last.contains("exit 1"), "{audit}");
    world.end_daemon(Signal::SIGKILL);
    world.start_daemon();
    wait_for("the end of the renaming", || !is_between());
    wait_for("the app", || world.ps("shop").iter().any(|row| row["state"] == "healthy"));
    assert_eq!(world.page("shop"), "one\n");

    // Only the last step is missing, and the name has another app.
    says(&world, "create blog", 0);
    fs::write(&renaming[1], record(true)).expect("record");
    world.end_daemon(Signal::SIGKILL);
    world.start_daemon();
    wait_for("the end of the renaming", || !is_between());
    wait_for("the app", || world.ps("shop").iter().any(|row| row["state"] == "healthy"));
    assert_eq!(says(&world, "apps", 0), "blog\nshop\n");
}

#[test]
fn clone_is_an_app_of_its_own() {
    let (world, repo) = live();
    world.add_key("guest", &["blog"]);
    let refused = world.ssh("guest", "clone blog mine");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("may not use 'mine'"), "{refused:?}");
    repo.file("page", "two\n").commit("Two").push().succeeds();
    says(&world, "rollback blog 1", 0);
    says(&world, "config:set blog SECRET=s3cret", 0);
    says(&world, "config:set blog --no-restart NGINX_SERVER_NAME=blog.test", 0);
    // An interrupted clone has left this.
    let left = world.root().join("apps/.clone.copy");
    let leave = "mkdir -p \"$1\"/data/x && ln -s /etc \"$1\"/data/etc && : >\"$1\"/lock";
    let made = world.command("sh").args(["-c", leave, "sh"]).arg(&left).status();
    assert!(made.expect("sh").success());
    let cloned = says(&world, "apps:clone blog copy --data", 0);
    assert!(cloned.contains("without NGINX_SERVER_NAME") && cloned.contains("copy has the code"), "{cloned}");
    assert_eq!(
        (world.page("copy").as_str(), world.page("blog").as_str()),
        ("one\n", "one\n"),
        "what is live"
    );
    assert_eq!(says(&world, "config copy", 0), "SECRET=s3cret\n");
    assert_eq!(says(&world, "ps:scale copy", 0), "web=1\nworker=2\n");
    assert_eq!(
        says(&world, "run copy sh -c 'cat /data/file; readlink /data/link; test -p /data/pipe'", 0),
        "kept\n/etc/passwd\n"
    );
    assert!(!world.app("copy").join("data/etc").exists() && !left.exists());
    says(&world, "config:set copy SECRET=other", 0);
    assert_eq!(says(&world, "config:get blog SECRET", 0), "s3cret\n");
    assert!(says(&world, "clone blog copy", 1).contains("copy exists already"));
    says(&world, "clone blog bare --skip-deploy", 0);
    assert!(!world.app("bare").join("data").exists() && !world.app("bare").join("current").exists());
    says(&world, "deploy bare", 0);
    assert_eq!(world.page("bare"), "one\n");
}

#[test]
fn destroyed_app_comes_back_until_its_time_is_over() {
    let (world, _repo) = live();
    let destroyed = says(&world, "destroy blog --confirm blog", 0);
    assert!(destroyed.contains("kept until 2") && destroyed.contains("piku restore blog"), "{destroyed}");
    assert_eq!(says(&world, "apps", 0), "");
    assert!(
        says(&world, "ps blog", 1).contains("blog was destroyed\nhint: to bring it back: piku restore blog")
    );
    assert!(says(&world, "rename nothing blog", 1).contains("there is no app"));
    let back = says(&world, "restore blog", 0);
    assert!(back.contains("blog is back"), "{back}");
    assert_eq!(
        (world.page("blog").as_str(), says(&world, "config:get blog SECRET", 0).as_str()),
        ("one\n", "s3cret\n")
    );
    assert_eq!(says(&world, "run blog cat /data/file", 0), "kept\n");
    assert!(says(&world, "restore blog", 1).contains("was not destroyed"));

    says(&world, "destroy blog --confirm blog", 0);
    let lock = world.app("blog").join("lock");
    world.while_locked(&lock, || {
        assert!(says(&world, "data:remove blog --confirm blog", 75).contains("being created or restored"));
        assert!(world.app("blog").join("data/file").exists() && lock.exists());
    });
    // What a killed clone has left.
    let half = world.root().join("apps/.clone.half");
    let made = world.command("mkdir").arg("-p").arg(half.join("repo.git/refs")).status();
    assert!(made.expect("mkdir runs").success());
    assert!(says(&world, "gc --dry-run", 0).contains("apps/.clone.half") && half.exists());
    let expired =
        || world.tool("piku-run").args(["gc", "--expired"]).status().expect("piku-run runs").success();
    assert!(expired() && world.app("blog").exists());
    world.set_settings("keep_destroyed: 0d");
    // As the daemon does every hour.
    assert!(expired() && !world.app("blog").exists() && half.exists());
    says(&world, "gc", 0);
    assert!(!world.app("blog").exists() && !half.exists());
    says(&world, "restore blog", 1);
    // Nothing is kept with either of them.
    let repo = world.repo("shop");
    repo.serves("one\n").commit("One");
    for (settings, option) in [("", " --now"), ("keep_destroyed: 0d", "")] {
        world.set_settings(settings);
        repo.push().succeeds();
        says(&world, "run shop touch /data/file", 0);
        let destroyed = says(&world, &format!("destroy shop --confirm shop{option}"), 0);
        assert!(destroyed.contains("shop is destroyed\n"), "{destroyed}");
        assert!(!destroyed.contains("kept") && !world.app("shop").exists(), "{destroyed}");
    }
}
