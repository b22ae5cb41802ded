//! `releases:info`, and locks that refuse deploys.

use piku_tests::world::World;

use crate::operator::operate::says;

/// A world with an app that has two releases of code and one of config.
fn live() -> (World, piku_tests::repo::Repo) {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n").file("old.txt", "a text of several words\n").commit("One").push().succeeds();
    says(&world, "config:set blog SECRET=s3cret KEPT=1", 0);
    repo.file("page", "two\n").file("new é.txt", "x\n").without("old.txt").commit("Two").push().succeeds();
    (world, repo)
}

#[test]
fn release_tells_its_changes_without_secrets() {
    let (world, repo) = live();
    let third = says(&world, "releases:info blog", 0);
    let commit = repo.git(&["rev-parse", "HEAD"]);
    assert!(third.starts_with("release   3 of blog, live\nchange    deploy Two\n"), "{third}");
    assert!(third.contains(&format!("commit    {commit}\nby        laptop\n")), "{third}");
    let files = "since release 2:\nconfig    unchanged\nfiles     A new é.txt\n          D old.txt\n          M page\n";
    assert!(third.ends_with(files), "{third}");

    let second = says(&world, "releases:info blog v2", 0);
    assert!(second.contains("change    config: set SECRET, KEPT\n"), "{second}");
    assert!(
        second.ends_with("since release 1:\nconfig    + SECRET\n          + KEPT\nfiles     unchanged\n"),
        "{second}"
    );
    says(&world, "config:set blog SECRET=other", 0);
    says(&world, "config:unset blog KEPT", 0);
    let all = ["", " --format json", " --format yaml"]
        .map(|format| says(&world, &format!("releases:info blog 5 --since 3{format}"), 0));
    assert!(
        !all.concat().contains("s3cret") && all[0].contains("config    ~ SECRET\n          - KEPT\n"),
        "{all:?}"
    );
    let shown = says(&world, "releases:info blog 5 --since 3 --show", 0);
    assert!(
        shown.contains("config    - SECRET=s3cret\n          + SECRET=other\n          - KEPT=1\n"),
        "{shown}"
    );
    let first = says(&world, "releases:info blog 1 --format json", 0);
    let first: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    assert!(first["since"].is_null() && first["release"] == 1 && first["subject"] == "One", "{first}");
    assert!(
        says(&world, "releases:info blog 9", 1).contains("has no release 9\nhint: it has: 5, 4, 3, 2, 1")
    );
}

#[test]
fn locked_app_takes_no_deploy_and_says_why() {
    let (world, repo) = live();
    world.add_key("guest", &["blog"]);
    says(&world, "apps:lock blog --reason 'end of  the month'", 0);
    let why = "blog is locked by laptop since 2";
    let refused = repo.file("page", "three\n").commit("Three").push();
    refused.fails_with(&[why, "Z: end of the month", "hint: to deploy again: piku unlock blog"]);
    // Nothing to send, but a deploy is due.
    for words in ["deploy blog", "rebuild blog", "lock blog"] {
        assert!(says(&world, words, 1).contains(why), "{words}");
    }
    let rebuild = world.tool("piku-build").args(["rebuild", "--all"]).output().expect("piku-build");
    assert!(rebuild.status.success() && rebuild.stdout.is_empty(), "{rebuild:?}");
    let tar = world.ssh("laptop", "release:offer blog");
    assert!(String::from_utf8_lossy(&tar.stderr).contains(why), "{tar:?}");
    assert_eq!(says(&world, "apps", 0), "blog  locked\n");
    let plan = repo.push_with(&["-o", "dry-run", "piku", "main"]).succeeds();
    assert!(plan.contains("Dry run"), "{plan}");
    // What runs can be operated.
    says(&world, "config:set blog A=1", 0);
    says(&world, "rollback blog 1", 0);
    assert_eq!(world.page("blog"), "one\n");
    says(&world, "restart blog", 0);

    let unlocked = world.ssh("guest", "unlock blog");
    assert!(unlocked.status.success(), "{unlocked:?}");
    assert!(says(&world, "unlock blog", 0).contains("was not locked"));
    repo.push().succeeds();
    assert_eq!(world.page("blog"), "three\n");
}
