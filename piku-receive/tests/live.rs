//! A push deploys whenever the pushed commit is not the one that is live, whatever came between.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod support;

use std::fs;

use piku_tests::repo::Repo;
use piku_tests::snapshot::str;
use support::Server;

/// A server with two releases of `blog`, of the commits "One" and "Two".
fn two_releases() -> (Server, Repo) {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One").push().succeeds();
    laptop.file("page", "two").commit("Two").push().succeeds();
    (server, laptop)
}

fn short(laptop: &Repo) -> String {
    laptop.git(&["rev-parse", "--short=7", "HEAD"])
}

#[test]
fn after_a_rollback_the_same_push_deploys_the_commit_again() {
    let (server, laptop) = two_releases();
    server.succeed_release("blog", 1);
    let head = short(&laptop);
    laptop.push().succeeds_as(str![[r#"
-----> Nothing new was pushed, but release 3 of blog is not [SHORT]: deploying [SHORT]
-----> fake deploy 4 of blog
Everything up-to-date
"#]]);
    assert_eq!(fs::read_link(server.app("blog").join("current")).unwrap().to_str(), Some("releases/4"));
    server.audited(&format!("alice push blog deployed {head} as release 4"));
    laptop.push().succeeds_as(str![[r#"
-----> Nothing has changed: [SHORT] of blog is live as release 4
       to rebuild it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog --no-cache
Everything up-to-date
"#]]);

    // With --force git sends nothing either; a failed attempt leaves it to the next push.
    server.succeed_release("blog", 1);
    server.tell("fail");
    laptop.push_with(&["--force", "piku", "main"]).fails_as(str![[r#"
-----> Nothing new was pushed, but release 5 of blog is not [SHORT]: deploying [SHORT]
-----> fake deploy 6 of blog
 !     the fake stage failed
"#]]);
    server.no_longer("fail");
    let said = laptop.push_with(&["-o", "no-cache", "piku", "main"]).succeeds();
    assert!(said.contains("-----> fake deploy 7 of blog"), "{said}");
}

#[test]
fn other_settings_and_a_way_back_to_the_same_commit_change_nothing() {
    let (server, laptop) = two_releases();
    server.succeed_release("blog", 2);
    laptop.push().succeeds_as(str![[r#"
-----> Nothing has changed: [SHORT] of blog is live as release 3
       to rebuild it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog --no-cache
Everything up-to-date
"#]]);
    assert_eq!(server.deploys().len(), 2);

    let out = server.ssh("alice", "deploy blog --no-cache");
    assert!(support::stderr(&out).contains("-----> fake deploy 4 of blog no-cache"), "{out:?}");

    fs::write(server.app("blog").join("stopped"), "").unwrap();
    laptop.push().succeeds_as(str![[r#"
-----> Nothing has changed: [SHORT] of blog is live as release 4
       blog is stopped; to start it: ssh -p [PORT] [USER]@127.0.0.1 restart blog
       to rebuild it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog --no-cache
Everything up-to-date
"#]]);
}

#[test]
fn the_last_deploy_of_the_commit_counts_and_that_of_another_does_not() {
    let (server, laptop) = two_releases();
    // Live, but not to its end: a machine that it goes to has failed, say.
    server.tell("fail-late");
    assert_eq!(server.ssh("alice", "deploy blog").status.code(), Some(1));
    server.no_longer("fail-late");
    assert!(laptop.push().succeeds().contains("-----> fake deploy 4 of blog"));

    laptop.git(&["branch", "other", "HEAD~"]);
    laptop.push_with(&["piku", "other"]).succeeds();
    server.tell("fail");
    assert_eq!(server.ssh("alice", "deploy blog other").status.code(), Some(1));
    server.no_longer("fail");
    laptop.push().succeeds_as(str![[r#"
-----> Nothing has changed: [SHORT] of blog is live as release 4
       to rebuild it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog --no-cache
Everything up-to-date
"#]]);

    assert!(server.ssh("alice", "deploy blog other").status.success());
    laptop.push().succeeds_as(str![[r#"
-----> Nothing new was pushed, but release 6 of blog is not [SHORT]: deploying [SHORT]
-----> fake deploy 7 of blog
Everything up-to-date
"#]]);
}

#[test]
fn an_older_verdict_is_not_taken_for_that_of_a_hook_that_failed() {
    let (server, laptop) = two_releases();
    server.tell("fail-early");
    laptop.file("page", "three").commit("Three").push().fails_with(&[]);
    // Two was deployed once, and is not now: what its hook comes to is what counts.
    laptop.git(&["reset", "-q", "--hard", "HEAD~"]);
    laptop.push_with(&["--force", "piku", "main"]).fails_with(&[]);
    server.no_longer("fail-early");
    // It serves all the time.
    laptop.push().succeeds_as(str![[r#"
-----> Nothing has changed: [SHORT] of blog is live as release 2
       to rebuild it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog --no-cache
Everything up-to-date
"#]]);
}

#[test]
fn an_app_that_was_destroyed_begins_anew() {
    let (server, laptop) = two_releases();
    for gone in ["repo.git", "releases", "log"] {
        fs::remove_dir_all(server.app("blog").join(gone)).unwrap();
    }
    for gone in ["current", "verdict.json", "lock"] {
        fs::remove_file(server.app("blog").join(gone)).unwrap();
    }
    // Nobody gets under its name what it has left.
    fs::create_dir(server.app("blog").join("data")).unwrap();
    laptop.push().fails_with(&["blog was destroyed, and what it had is kept"]);
    fs::remove_dir(server.app("blog").join("data")).unwrap();
    let said = laptop.push().succeeds();
    assert!(said.contains("-----> fake deploy 1 of blog"), "{said}");
}

#[test]
fn distributed_app_is_live_as_last_deployed() {
    let (server, laptop) = two_releases();
    fs::write(
        server.path("root/host.yaml"),
        "deploy_to: {blog: {machines: [piku@elsewhere], here: false}}\n",
    )
    .unwrap();
    fs::remove_file(server.app("blog").join("current")).unwrap();
    laptop.push().succeeds_as(str![[r#"
-----> Nothing has changed: [SHORT] of blog is live as release 2
       to rebuild it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog --no-cache
Everything up-to-date
"#]]);
    server.tell("fail");
    assert_eq!(server.ssh("alice", "deploy blog").status.code(), Some(1));
    server.no_longer("fail");
    assert!(laptop.push().succeeds().contains("-----> fake deploy 4 of blog"));
}
