//! Attacks by a hostile push, or through a repository that an attacker has changed.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use piku_tests::repo::Repo;
use piku_tests::snapshot::{assert_redacted, str};
use support::{Server, program, stderr};

/// An object made by hand, in the laptop's repository.
fn object(laptop: &Repo, kind: &str, raw: &[u8]) -> String {
    let mut git = laptop.command();
    git.args(["hash-object", "-w", "--literally", "--stdin", "-t", kind]);
    let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    git.stdin.take().unwrap().write_all(raw).unwrap();
    String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

/// A tree of these entries: mode, name, object.
fn tree_of(laptop: &Repo, entries: &[(&str, &str, &str)]) -> String {
    let mut raw = Vec::new();
    for (mode, name, id) in entries {
        raw.extend(format!("{mode} {name}\0").into_bytes());
        raw.extend((0..40).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()));
    }
    object(laptop, "tree", &raw)
}

fn tree(laptop: &Repo, mode: &str, name: &str, id: &str) -> String {
    tree_of(laptop, &[(mode, name, id)])
}

fn deployed() -> (Server, Repo) {
    let server = Server::new();
    let laptop = server.laptop("blog");
    laptop.file("page", "one").commit("One").push().succeeds();
    (server, laptop)
}

#[test]
fn refs_that_are_neither_branches_nor_tags_are_refused() {
    let (server, laptop) = deployed();
    let head = laptop.git(&["rev-parse", "HEAD"]);
    let before = laptop.git(&["ls-remote", "piku"]);
    let long = format!("refs/heads/{}", "x".repeat(2000));
    for reference in [
        format!("refs/replace/{head}"),
        "refs/notes/commits".to_owned(),
        "refs/meta/config".to_owned(),
        "refs/piku/x".to_owned(),
        "refs/stash".to_owned(),
        format!("refs/heads/{head}"),
        long.clone(),
    ] {
        let push = laptop.push_with(&["piku", &format!("HEAD:{reference}")]);
        let said = push.fails_with(&["pre-receive hook declined"]);
        assert!(!said.contains("Nothing has changed") && !said.contains("is deployed"), "{said}");
        if reference == long {
            let ours: Vec<_> = said.lines().filter(|line| line.starts_with(" !     ")).collect();
            assert!(ours.len() == 1 && ours[0].len() < 300, "{said}");
        }
    }
    // Together with an honest one, neither is stored.
    laptop.file("page", "two").commit("Two");
    laptop.push_with(&["piku", "main", "HEAD~:refs/notes/x"]).fails_with(&["is neither a branch nor a tag"]);
    assert_eq!(laptop.git(&["ls-remote", "piku"]), before);
    assert_eq!(server.deploys().len(), 1);
}

#[test]
fn refs_of_an_older_piku_replace_nothing() {
    let (server, laptop) = deployed();
    let head = laptop.git(&["rev-parse", "HEAD"]);
    let blob = object(&laptop, "blob", b"no commit");
    laptop.push_with(&["piku", &format!("{blob}:refs/tags/blob")]).succeeds();
    let replace = server.app("blog").join("repo.git/refs/replace");
    fs::create_dir(&replace).unwrap();
    fs::write(replace.join(&head), format!("{blob}\n")).unwrap();
    laptop.file("page", "two").commit("Two").push().succeeds();
    let clone = server.path("laptop/clone");
    laptop.git(&["clone", "-q", &server.sshd.url("blog"), clone.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(clone.join("page")).unwrap(), "two");
    // Whose it is can take it away.
    laptop.push_with(&["piku", &format!(":refs/replace/{head}")]).succeeds();
}

#[test]
fn hooks_and_programs_of_the_repository_are_not_run() {
    let (server, laptop) = deployed();
    let repo = server.app("blog").join("repo.git");
    let marker = server.path("control/marker");
    let evil = format!("#!/bin/sh\necho $0 >>'{}'\n", marker.display());
    fs::create_dir_all(repo.join("hooks")).unwrap();
    for hook in [
        "pre-receive",
        "update",
        "post-receive",
        "post-update",
        "reference-transaction",
        "proc-receive",
        "push-to-checkout",
        "pre-auto-gc",
        "an-unknown-one",
    ] {
        program(&repo.join("hooks").join(hook), &evil);
    }
    let run = repo.join("hooks/update").display().to_string();
    let config = fs::read_to_string(repo.join("config")).unwrap();
    let config = format!(
        "{config}[core]\n\thooksPath = hooks\n\talternateRefsCommand = '{run}'\n\tsshCommand = '{run}'\n\
         \tfsmonitor = '{run}'\n\tpager = '{run}'\n[log]\n\tshowSignature = true\n[gpg]\n\tprogram = '{run}'\n\
         [receive]\n\tprocReceiveRefs = refs/heads\n[tar \"zip\"]\n\tcommand = '{run}'\n\tremote = true\n\
         [gc]\n\tauto = 1\n\trecentObjectsHook = '{run}'\n[include]\n\tpath = /dev/null\n"
    );
    fs::write(repo.join("config"), &config).unwrap();
    fs::write(repo.join("objects/info/alternates"), format!("{}\n", repo.join("objects").display())).unwrap();
    // Reading comes first: nothing has put the settings right by then.
    let clone = server.path("laptop/clone");
    laptop.git(&["clone", "-q", &server.sshd.url("blog"), clone.to_str().unwrap()]);
    fs::write(repo.join("config"), &config).unwrap();
    let remote = format!("--remote={}", server.sshd.url("blog"));
    let out = laptop.command().args(["archive", &remote, "--format=zip", "main"]).output().unwrap();
    assert!(out.status.success() && out.stdout.starts_with(b"PK"), "{}", stderr(&out));
    fs::write(repo.join("config"), &config).unwrap();
    let said = laptop.file("page", "two").commit("Two").push().succeeds();
    assert!(said.contains("-----> fake deploy 2"), "{said}");
    assert!(!marker.exists(), "{}", fs::read_to_string(&marker).unwrap());
    assert!(!fs::read_to_string(repo.join("config")).unwrap().contains("hooks/update"));
}

#[test]
fn old_history_quirks_are_accepted_and_broken_objects_refused() {
    let (server, laptop) = deployed();
    let blob = object(&laptop, "blob", b"three");
    let head = laptop.git(&["rev-parse", "HEAD"]);
    let mut parent = head.clone();
    let page = tree(&laptop, "100644", "page", &blob);
    // As other tools have written them: no address, no date, an invalid time zone, a padded mode.
    for author in
        ["A laptop <> 1 +0000", "A laptop 1 +0000", "<a@x 1 +0000", "A <a@x> 1 +051800", "A <a@x>1 +0000"]
    {
        let padded = tree(&laptop, "040000", "sub", &page);
        let raw =
            format!("tree {padded}\nparent {parent}\nauthor {author}\ncommitter A <a@x> 1 +0000\n\nOld\n");
        parent = object(&laptop, "commit", raw.as_bytes());
    }
    laptop.git(&["reset", "-q", "--hard", &parent]);
    laptop.file("page", "two").commit("New").push().succeeds();
    assert_eq!(fs::read_to_string(server.path("control/tree/sub/page")).unwrap(), "three");

    let before = laptop.git(&["ls-remote", "piku"]);
    let twice = tree_of(&laptop, &[("100644", "a", &blob), ("100755", "a", &blob)]);
    let unsorted = tree_of(&laptop, &[("100644", "b", &blob), ("100644", "a", &blob)]);
    for bad in [twice, unsorted] {
        let raw = format!(
            "tree {bad}\nparent {parent}\nauthor A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\n\nBad\n"
        );
        let commit = object(&laptop, "commit", raw.as_bytes());
        let push = laptop.push_with(&["--force", "piku", &format!("{commit}:refs/heads/bad")]);
        let said = push.fails_with(&["git refused the push"]);
        assert!(!said.contains("Nothing has changed"), "{said}");
    }
    assert_eq!(laptop.git(&["ls-remote", "piku"]), before);
    assert_eq!(server.deploys().len(), 2, "no refused push deploys");
}

#[test]
fn a_refused_push_names_the_setting_that_bounds_it() {
    let (server, laptop) = deployed();
    let settings = |text: &str| fs::write(server.path("root/host.yaml"), text).unwrap();
    let noise: Vec<u8> = (0..3_000_000_u32)
        .map(|n| u8::try_from(n.wrapping_mul(2_654_435_761).wrapping_mul(n | 1) >> 24).unwrap())
        .collect();
    laptop.file("noise", &noise).commit("Noise");
    settings("max_push_size: 1\n");
    // git's lines and piku's come by different streams, in either order.
    laptop.push().fails_with(&[
        "fatal: pack exceeds maximum allowed size",
        " !     git refused the push; the reason is above\n       a push may contain 1.0 MiB (max_push_size in host.yaml) and \
         must leave 64.0 MiB of disk space free (disk_reserve in host.yaml); ",
        " ! [remote rejected] main -> main (unpacker error)\n",
    ]);
    settings("disk_reserve: 1000000000\n");
    laptop.push().fails_as(str![[r#"
piku: not enough space on the disk of '[..]/root/apps/blog': the data has 0 KiB, [..] are free, and 976562.5 GiB must stay free
hint: 'piku gc' removes what nothing needs; disk_reserve in host.yaml sets how much stays free
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"#]]);
    assert_eq!(server.deploys().len(), 1);

    let take = |bytes: u64| {
        let out = server.ssh("alice", &format!("release:take blog {} {bytes}", "0".repeat(64)));
        assert_eq!(out.status.code(), Some(1), "{out:?}");
        stderr(&out)
    };
    assert_redacted(
        &take(5),
        &[],
        str![[r#"
piku: not enough space on the disk of '[..]/root/apps/blog/incoming': the data has 1 KiB, [..] are free, and 976562.5 GiB must stay free
hint: 'piku gc' removes what nothing needs; disk_reserve in host.yaml sets how much stays free

"#]],
    );
    settings("max_push_size: 1\n");
    assert_redacted(
        &take(1_048_577),
        &[],
        str![[r#"
piku: the data has 1.0 MiB, and 1.0 MiB are allowed
hint: max_push_size in host.yaml sets the limit

"#]],
    );

    settings("{}\n");
    laptop.push().succeeds();
}

#[test]
fn a_commit_whose_message_fills_memory_is_refused() {
    let (server, laptop) = deployed();
    let tree = laptop.git(&["rev-parse", "HEAD^{tree}"]);
    let people = "author A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000";
    let raw = format!("tree {tree}\n{people}\n\n{}", "x".repeat(2 << 20));
    let commit = object(&laptop, "commit", raw.as_bytes());
    laptop.push_with(&["--force", "piku", &format!("{commit}:refs/heads/main")]).fails_as(str![[r#"
 !     the commit [SHORT] has 2.0 MiB, more than the allowed 1.0 MiB
 !     hint: write a shorter message
 ! [remote rejected] [COMMIT] -> main (pre-receive hook declined)
"#]]);
    assert_eq!(server.deploys().len(), 1);
}

/// Writes blobs to the laptop's repository in one pack of a megabyte: noise, and `count` blobs of 20 megabytes, each of which
/// is a difference from the blob before it. The branch `bomb` has all of them.
fn pack_large_blobs(laptop: &Repo, count: usize) {
    let noise: Vec<u8> = (0..1_u64 << 20)
        .scan(1_u64, |state, _| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Some((*state >> 56) as u8)
        })
        .collect();
    let mut import = laptop.command();
    import.args(["-c", "fastimport.unpackLimit=1", "fast-import", "--quiet"]);
    let mut import = import.stdin(Stdio::piped()).spawn().unwrap();
    let mut to = import.stdin.take().unwrap();
    for number in 0..=count {
        let blob = if number == 0 { noise.clone() } else { noise.repeat(20) };
        write!(to, "blob\nmark :{}\ndata {}\n{number:04}", number + 1, blob.len() + 4).unwrap();
        to.write_all(&blob).unwrap();
    }
    write!(to, "\ncommit refs/heads/bomb\ncommitter A <a@x> 1 +0000\ndata 1\nx\n").unwrap();
    for number in 0..=count {
        writeln!(to, "M 100644 :{} f{number}", number + 1).unwrap();
    }
    drop(to);
    assert!(import.wait().unwrap().success());
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().flatten();
    entries
        .map(|entry| match entry.metadata().unwrap() {
            meta if meta.is_dir() => bytes_below(&entry.path()),
            meta => meta.len(),
        })
        .sum()
}

#[test]
fn a_small_pack_of_large_objects_stays_small() {
    let (server, laptop) = deployed();
    pack_large_blobs(&laptop, 3);
    let repo = server.app("blog").join("repo.git");
    laptop.push_with(&["piku", "bomb"]).succeeds();
    assert!(bytes_below(&repo) < 4 << 20, "{}", bytes_below(&repo));
    // Also when no branch names it any more, and git packs the repository again.
    laptop.push_with(&["piku", ":bomb"]).succeeds();
    let gc = Command::new("git").arg("-C").arg(&repo).args(["gc", "--quiet"]).output().unwrap();
    assert!(gc.status.success(), "{gc:?}");
    assert!(bytes_below(&repo) < 4 << 20, "{}", bytes_below(&repo));
}

#[test]
fn git_may_not_fill_the_disk_or_the_memory() {
    let server = Server::new();
    let (hook, limits) = (server.path("scripts/post-receive"), server.path("control/limits"));
    let text = fs::read_to_string(&hook).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    // What git may write to a file: it completes packs with what the repository has.
    program(&hook, &format!("{first}\n(ulimit -S -f; ulimit -S -d) >'{}'\n{rest}", limits.display()));
    server.laptop("blog").file("page", "one").commit("One").push().succeeds();
    let limits = fs::read_to_string(limits).unwrap();
    assert!(limits.lines().count() == 2 && limits.lines().all(|one| one.parse::<u64>().is_ok()), "{limits}");
}

#[test]
fn refs_beyond_a_bound_are_refused() {
    let (server, laptop) = deployed();
    let head = laptop.git(&["rev-parse", "HEAD"]);
    let before = laptop.git(&["ls-remote", "piku"]);
    let tags: Vec<String> = (0..10_000).map(|number| format!("{head} refs/tags/t{number:05}\n")).collect();
    laptop.file(".git/packed-refs", tags.concat());
    laptop.push_with(&["piku", "--tags"]).fails_with(&[
        " !     the app would have 10001 branches and tags, and 10000 are allowed\n \
         !     hint: push the branch that is deployed alone, or delete others: git push REMOTE --delete NAME\n",
    ]);
    assert_eq!(laptop.git(&["ls-remote", "piku"]), before);
    // What is stored is reported in a few lines.
    let said = laptop
        .push_with(&[
            "piku",
            "refs/tags/t0000*:refs/tags/a*",
            "refs/tags/t0001*:refs/tags/b*",
            "refs/tags/t0002*:refs/tags/c*",
        ])
        .succeeds();
    assert_eq!(said.matches(" is stored, not deployed: it is a tag").count(), 20, "{said}");
    assert!(said.contains("-----> 10 more branches and tags are stored, not deployed\n"), "{said}");
    assert_eq!(server.deploys().len(), 1);
}

#[test]
fn root_keeps_no_apps_and_no_keys_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let run = |words: &[&str], input: &Path| {
        let mut tool = Command::new(support::TOOL);
        tool.env_remove("PIKU_ROOT").env("HOME", home.path()).args(words);
        tool.stdin(fs::File::open(input).unwrap()).output().unwrap()
    };
    let key = piku_tests::sshd::key_pair(home.path(), "key").with_extension("pub");
    for (words, input) in [
        (&["key", "add", "alice"][..], key.as_path()),
        (&["key", "list"], Path::new("/dev/null")),
        (&["--key", "alice"], Path::new("/dev/null")),
    ] {
        let out = run(words, input);
        let refused = out.status.code() == Some(1) && stderr(&out).contains("sudo piku keys:add");
        assert_eq!(refused, is_root, "{words:?}: {out:?}");
    }
    assert_eq!(home.path().join(".ssh/authorized_keys").exists(), !is_root);
    if is_root {
        let out = run(&["deploy", "blog"], Path::new("/dev/null"));
        assert!(out.status.code() == Some(1) && stderr(&out).contains("does not exist"), "{out:?}");
    }
    assert!(!home.path().join(".piku").exists() || !is_root);
}
