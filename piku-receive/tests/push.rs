//! Pushing, through a real sshd and the real git: the verdict, the retry, the branches.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod support;

use std::fs;
use std::process::Command;

use piku_tests::snapshot::{assert_redacted, str, transcript};
use support::Server;

#[test]
fn the_first_push_makes_the_repository_and_deploys() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One").push().succeeds_as(str![[r#"
-----> fake deploy 1 of blog
 * [new branch]      main -> main
"#]]);
    let head = laptop.git(&["rev-parse", "HEAD"]);
    assert_eq!(server.deploys(), [format!("{head} 1 alice")]);
    assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), "one");
    assert_eq!(server.verdict("blog")["state"], "deployed");
    server.audited(&format!("alice push blog deployed {} as release 1", &head[..7]));

    laptop.file("page", "two").commit("Two").push().succeeds_as(str![[r#"
-----> fake deploy 2 of blog
   [COMMITS]  main -> main
"#]]);
    assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), "two");
    let names: Vec<String> = fs::read_dir(server.app("blog"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            !["repo.git", "lock", "deploys.json", "verdict.json", "log", "releases", "current"]
                .contains(&name.as_str())
        })
        .collect();
    assert!(names.is_empty(), "nothing else is left: {names:?}");
}

#[test]
fn a_dry_run_stores_nothing_and_can_be_repeated() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One");
    for _ in 0..2 {
        laptop.push_with(&["-o", "dry-run", "piku", "main"]).succeeds_as(str![[r#"
-----> fake plan 1
-----> Dry run: nothing is stored, nothing is deployed
 * [new branch]      main -> main
"#]]);
        assert_eq!(laptop.git(&["ls-remote", "piku"]), "");
    }
    assert!(server.deploys().is_empty() && !server.app("blog").join("verdict.json").exists());
    server.audited("alice push blog planned");

    laptop.push().succeeds();
    let live = laptop.git(&["ls-remote", "piku"]);
    laptop.file("page", "two").commit("Two");
    server.tell("fail");
    laptop.push_with(&["-o", "dry-run", "piku", "main", "main:other"]).fails_as(str![[r#"
-----> other is stored, not deployed: blog deploys main
       to deploy it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog other (or: git push REMOTE other:main)
-----> fake plan 2
-----> Dry run: nothing is stored, nothing is deployed
   [COMMITS]  main -> main
 * [new branch]      main -> other
"#]]);
    server.no_longer("fail");
    assert_eq!(laptop.git(&["ls-remote", "piku"]), live);
    assert_eq!(server.verdict("blog")["state"], "deployed", "that of the first push");
    let said = laptop.push_with(&["-o", "no-cache", "piku", "main"]).succeeds();
    assert!(said.contains("-----> fake deploy 2 of blog no-cache\n"), "{said}");

    let out = server.ssh("alice", "deploy blog --dry-run");
    assert!(out.status.success() && support::stderr(&out).contains("-----> fake plan 3"), "{out:?}");
    laptop.push_with(&["-o", "dry run", "piku", "HEAD~1:refs/heads/x"]).fails_as(str![[r#"
 !     unknown push option 'dry run'
 !     hint: piku knows -o dry-run and -o no-cache
 ! [remote rejected] HEAD~1 -> x (pre-receive hook declined)
"#]]);
    server.audited("alice push blog refused");
    laptop.push().succeeds_as(str![[r#"
-----> Nothing has changed: [SHORT] of blog is live as release 2
       to rebuild it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog --no-cache
Everything up-to-date
"#]]);
}

#[test]
fn a_failed_hook_fails_the_push_and_an_unchanged_push_tries_again() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    server.tell("fail");
    laptop.file("page", "one").commit("One");
    laptop.push().fails_with(&[" !     the fake stage failed"]);
    let head = laptop.git(&["rev-parse", "HEAD"]);
    let short = &head[..7];
    assert_eq!(server.verdict("blog")["state"], "failed");
    server.audited(&format!("alice push blog failed {short}"));

    // "Everything up-to-date": git runs no hook, but the deploy is tried again, and decides.
    laptop.push().fails_as(str![[r#"
-----> Nothing new was pushed, but [SHORT] of blog is not live: deploying it again
-----> fake deploy 2 of blog
 !     the fake stage failed
"#]]);
    server.no_longer("fail");
    laptop.push().succeeds_as(str![[r#"
-----> Nothing new was pushed, but [SHORT] of blog is not live: deploying it again
-----> fake deploy 3 of blog
Everything up-to-date
"#]]);
    assert_eq!(server.verdict("blog")["state"], "deployed");
    // Deployed: there is nothing left to try.
    laptop.push().succeeds_as(str![[r#"
-----> Nothing has changed: [SHORT] of blog is live as release 3
       to rebuild it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog --no-cache
Everything up-to-date
"#]]);
    assert_eq!(server.deploys().len(), 3);
    server.audited("alice push blog unchanged");
}

#[test]
fn a_hook_that_fails_before_it_begins_fails_the_push_too() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One").push().succeeds();
    server.tell("fail-early");
    laptop.file("page", "two").commit("Two").push().fails_with(&[]);
    server.no_longer("fail-early");
    assert!(laptop.push().succeeds().contains("-----> fake deploy 2"), "the unchanged push tries again");
}

#[test]
fn a_shallow_clone_can_push() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    for n in 0..3 {
        laptop.file("page", n.to_string()).commit("One");
    }
    let shallow = server.path("laptop/shallow");
    laptop.git(&[
        "clone",
        "-q",
        "--depth=1",
        &format!("file://{}", laptop.path().display()),
        shallow.to_str().unwrap(),
    ]);
    let url = server.sshd.url("blog");
    let out = laptop.command().current_dir(&shallow).args(["push", &url, "main"]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), "2");
}

#[test]
fn first_branch_is_deployed_and_others_are_stored() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One");
    laptop.push_with(&["piku", "main:production"]).succeeds();
    let head = fs::read_to_string(server.app("blog").join("repo.git/HEAD")).unwrap();
    assert_eq!(head, "ref: refs/heads/production\n");

    laptop.git(&["switch", "-qc", "it's"]);
    laptop.file("page", "two").commit("Two").push_with(&["piku", "it's"]).succeeds_as(str![[r#"
-----> it's is stored, not deployed: blog deploys production
       to deploy it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog 'it'\''s' (or: git push REMOTE 'it'\''s:production')
 * [new branch]      it's -> it's
"#]]);
    assert_eq!(server.deploys().len(), 1);
    assert_eq!(server.verdict("blog")["state"], "deployed");

    // The printed command, as a shell on the laptop would run it, takes ssh's one level away: the branch is a
    // plain word.
    laptop.push_with(&["piku", "HEAD:refs/heads/two"]).succeeds();
    let out = server.ssh("alice", "deploy blog two");
    assert!(out.status.success(), "{out:?}");
    assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), "two");
    assert!(support::stderr(&out).contains("-----> fake deploy 2 of blog"), "{out:?}");
    server.audited("alice deploy blog exit 0");
    // A push to the deploy branch brings it back.
    laptop.push_with(&["piku", "main:production"]).succeeds();
    assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), "one");

    let refused = ["deploy blog nowhere", "deploy shop"].map(|line| transcript(&server.ssh("alice", line)));
    assert_redacted(
        &refused.concat(),
        &[],
        str![[r#"
exit status: 1
--- stderr
piku-receive: blog has no branch 'nowhere': it has it's, production, two
exit status: 1
--- stderr
piku-receive: there is no app 'shop'
hint: the first push creates it

"#]],
    );
    assert!(!server.app("shop").exists());
}

#[test]
fn tags_are_stored_and_several_refs_deploy_once() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One");
    laptop.git(&["tag", "-am", "v1", "v1"]);
    laptop.git(&["branch", "feature"]);
    laptop.git(&["branch", "alpha"]);
    laptop.push_with(&["piku", "--all"]).succeeds_as(str![[r#"
-----> alpha is stored, not deployed: blog deploys main
       to deploy it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog alpha (or: git push REMOTE alpha:main)
-----> feature is stored, not deployed: blog deploys main
       to deploy it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog feature (or: git push REMOTE feature:main)
-----> fake deploy 1 of blog
 * [new branch]      alpha -> alpha
 * [new branch]      feature -> feature
 * [new branch]      main -> main
"#]]);
    assert_eq!(server.deploys().len(), 1, "main, though alpha sorts before it");

    laptop.push_with(&["piku", "v1"]).succeeds_as(str![[r#"
-----> v1 is stored, not deployed: it is a tag
       to deploy it: git push REMOTE 'v1^{}:main'
 * [new tag]         v1 -> v1
"#]]);
    laptop.git(&["tag", "light"]);
    laptop.file("page", "two").commit("Two");
    laptop.push_with(&["piku", "main", "light", "feature"]).succeeds_as(str![[r#"
-----> fake deploy 2 of blog
   [COMMITS]  main -> main
 * [new tag]         light -> light
"#]]);
    assert_eq!(server.deploys().len(), 2);
}

#[test]
fn a_tag_alone_makes_no_deploy_branch() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One");
    laptop.git(&["tag", "v1"]);
    laptop.push_with(&["piku", "v1"]).succeeds();
    assert!(server.deploys().is_empty());
    laptop.push_with(&["piku", "main:refs/heads/live"]).succeeds();
    assert_eq!(server.deploys().len(), 1);
}

#[test]
fn an_annotated_tag_a_detached_head_and_a_forced_push() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One");
    laptop.git(&["tag", "-am", "v1", "v1"]);
    laptop.push_with(&["piku", "v1:refs/heads/main"]).fails_as(str![[r#"
 !     the tag v1 is not a commit, which a branch needs: git push REMOTE 'v1^{}:main'
 ! [remote rejected] v1 -> main (pre-receive hook declined)
"#]]);
    assert!(server.deploys().is_empty());
    laptop.push_with(&["piku", "v1^{}:refs/heads/main"]).succeeds();
    assert_eq!(server.deploys().len(), 1);

    laptop.file("page", "two").commit("Two");
    laptop.git(&["checkout", "-q", "--detach"]);
    laptop.push_with(&["piku", "HEAD:main"]).succeeds();
    assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), "two");

    laptop.git(&["reset", "-q", "--hard", "HEAD~"]);
    laptop.file("page", "three").commit("Three");
    laptop.push_with(&["piku", "HEAD:main"]).fails_with(&["non-fast-forward"]);
    laptop.push_with(&["--force", "piku", "HEAD:main"]).succeeds();
    assert_eq!(fs::read_to_string(server.path("control/tree/page")).unwrap(), "three");
    assert_eq!(server.deploys().len(), 3);
}

#[test]
fn the_deploy_branch_cannot_be_deleted_and_others_can() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One");
    laptop.push_with(&["piku", "main", "main:feature"]).succeeds();
    laptop.push_with(&["piku", ":main"]).fails_as(str![[r#"
 !     main is the deploy branch and cannot be deleted
 ! [remote rejected] main (pre-receive hook declined)
"#]]);
    laptop.push_with(&["piku", ":feature"]).succeeds();
    assert_eq!(server.deploys().len(), 1);

    // A refused push is not an unchanged one: no failed deploy is tried again behind it.
    server.tell("fail");
    laptop.file("page", "two").commit("Two").push().fails_with(&[]);
    laptop.push_with(&["piku", ":main"]).fails_with(&["cannot be deleted"]);
    assert_eq!(server.deploys().len(), 2);
}

#[test]
fn an_empty_repository_and_nothing_to_push() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.push().fails_with(&["main"]);
    let said = laptop.push_with(&["piku", "--all"]);
    let said = format!("{said:?}");
    assert!(!said.contains("panicked"), "{said}");
    let said = laptop.push_with(&["piku", ":gone"]);
    assert!(!format!("{said:?}").contains("fake deploy"), "{said:?}");
    assert!(server.deploys().is_empty());
    laptop.commit("Empty").push().fails_as(str![[r#"
-----> fake deploy 1 of blog
 !     the commit [SHORT] contains no files
 !     hint: add the app's files: git add -A, git commit, git push
 * [new branch]      main -> main
"#]]);
}

#[test]
fn a_push_that_git_refuses_says_why_and_does_not_deploy() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One").push().succeeds();
    let blob = laptop.git(&["hash-object", "-w", "page"]);
    laptop.push_with(&["piku", &format!("{blob}:refs/heads/blob")]).fails_as(str![[r#"
 !     the object pushed to blob is not a commit
 ! [remote rejected] [COMMIT] -> blob (pre-receive hook declined)
"#]]);
    assert_eq!(server.deploys().len(), 1);
}

#[test]
fn the_hook_and_the_tools_see_no_git_variable_of_the_client() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One");
    let out = laptop
        .command()
        .args(["-c", "protocol.version=2", "push", "piku", "main"])
        .env("GIT_TRACE_PACKET", "0")
        .env("LC_GIT_DIR", "x")
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    let env = fs::read_to_string(server.path("control/env")).unwrap();
    let value = |name: &str| env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(value("PIKU_APP"), Some("blog"));
    assert_eq!(value("PIKU_KEY"), Some("alice"));
    assert_eq!(value("PIKU_TALK"), Some("deploy"));
    assert_eq!(value("PIKU_ROOT"), server.path("root").to_str());
    assert_eq!(value("PIKU_SCRIPTS"), server.path("scripts").to_str());
    let tools = std::path::Path::new(support::TOOL).parent().unwrap();
    // git puts its own folder in front.
    let mut path = std::env::split_paths(value("PATH").unwrap()).skip_while(|dir| dir.ends_with("git-core"));
    assert_eq!(path.next().as_deref(), Some(tools), "{env}");
    assert_eq!(value("SSH_ORIGINAL_COMMAND"), None);
    assert_eq!(value("PIKU_BRANCH"), None);
}

#[test]
fn many_pushes_leave_no_process_behind_that_holds_the_lock() {
    let server = Server::new();
    let laptop = server.laptop("blog");
    // Enough loose objects for `git gc --auto`, which must not stay in the background.
    laptop.file("page", "one").commit("One").push().succeeds();
    fs::write(server.path("sshd/.gitconfig"), "[gc]\n\tauto = 1\n").unwrap();
    for n in 0..4 {
        laptop.file(&format!("f{n}"), n.to_string()).commit("More").push().succeeds();
        let free = Command::new("flock")
            .arg("-n")
            .arg(server.app("blog").join("lock"))
            .arg("true")
            .status()
            .unwrap();
        // The session may be a moment behind its client; a gc would be longer.
        if !free.success() {
            server.settled("blog");
        }
    }
    assert_eq!(server.deploys().len(), 5);
}
