//! Mistaken and hostile pushes: each gets its own clear lines and exit code 1, and the old release keeps serving.

use piku_tests::http;
use piku_tests::ports::free_port;
use piku_tests::repo::{Repo, SERVE};
use piku_tests::snapshot::str;
use piku_tests::world::World;

/// A world with a good release of `blog` live, and the laptop's work tree.
fn live() -> (World, Repo) {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    (world, repo)
}

#[test]
fn app_names() {
    let world = World::new();
    for name in ["Blog", "a_b", "..", "a/b", "-x", "blog*", &"a".repeat(64)] {
        let repo = world.repo(name);
        repo.serves("x").commit("One").push().fails_with(&["app name"]);
    }
    assert!(
        !world.root().join("apps").exists()
            || world.root().join("apps").read_dir().expect("apps").count() == 0
    );
}

#[test]
fn ssh_commands() {
    let world = World::new();
    for words in [
        "",
        "sh",
        "git-receive-pack",
        "git-receive-pack 'a b'",
        "git-receive-pack a; id",
        "rsync --server",
        "piku-run ps",
        "'",
    ] {
        let out = world.ssh("laptop", words);
        assert!(!out.status.success(), "{words:?}: {out:?}");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.contains("piku"), "{words:?}: {said}");
        assert!(!String::from_utf8_lossy(&out.stdout).contains("uid="), "{words:?}: {out:?}");
    }
}

#[test]
fn empty_repository_and_unknown_refs() {
    let (world, repo) = live();
    repo.push_with(&["piku", "no-such-branch"]).fails_with(&["no-such-branch"]);
    repo.push_with(&["piku", ":main"]).fails_as(str![[r#"
 !     main is the deploy branch and cannot be deleted
 ! [remote rejected] main (pre-receive hook declined)
"#]]);
    assert_eq!(world.page("blog"), "good\n");
    repo.git(&["rm", "-rqf", "."]);
    repo.commit("Empty").push().fails_as(str![[r#"
 !     the commit [SHORT] contains no files
 !     hint: add the app's files: git add -A, git commit, git push
 !     deploy 2 of blog failed at: export (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn no_procfile() {
    let (world, repo) = live();
    repo.without("Procfile").commit("Bad").push().fails_as(str![[r#"
 !     no runtime fits this app; looked for:
 !       buildpack: BUILDPACK_URL or a file .buildpacks is missing, and no buildpack of the host detects the app
 !       python: uv.lock, poetry.lock, Pipfile.lock, requirements.txt, Pipfile, pyproject.toml, setup.py, setup.cfg, or *.py files with a Procfile are missing
 !       go: go.mod, go.work or *.go files with a 'package main' are missing
 !       rust: Cargo.toml is missing
 !       java: pom.xml, build.gradle, build.gradle.kts, a jar or Main.java are missing
 !       ruby: Gemfile or gems.rb is missing
 !       node: package.json is missing
 !       static: index.html at the top or in public, dist, build, _site, out, www, or a Staticfile, is missing
 !       binary: a Procfile that starts a program or a script, or a start.sh, is missing
 !     found at its top: page, serve
 !     hint: the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'
 !     deploy 2 of blog failed at: build (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn all_bad_procfile_lines_are_reported() {
    let (world, repo) = live();
    repo.file("Procfile", "web: ./serve\ngarbage\nweb: x\n").commit("Bad");
    repo.push().fails_as(str![[r#"
 !     Procfile:2: this is not 'name: command'
 !         garbage
 !     hint: a line is a name, a colon and a command; a comment begins with '#'
 !     Procfile:3: 'web' is already on line 1
 !         web: x
 !     deploy 2 of blog failed at: check (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn settings_are_checked_before_the_build() {
    let (world, repo) = live();
    let said = repo
        .file("ENV", "MEMORY_LIMIT=lots\n")
        .commit("Bad")
        .push()
        .fails_with(&["MEMORY_LIMIT", "deploy 2 of blog failed at: check (exit 1); nothing was changed"]);
    assert!(!said.contains("----->"), "nothing is built:\n{said}");
    assert_eq!(world.page("blog"), "good\n");
    // Warnings come once: the check leaves them to the build.
    let said =
        repo.file("ENV", "A=1\nA=2\n").file("Procfile", "web : ./serve\n").commit("Odd").push().succeeds();
    for place in ["Procfile:1", "ENV:2"] {
        assert_eq!(said.matches(place).count(), 1, "{place}:\n{said}");
    }
}

#[test]
fn symlinks_out_of_tree() {
    let (world, repo) = live();
    for target in ["/etc/passwd", "../../../config.json", "sub/../../..", "/proc/self/root"] {
        repo.link("out", target).commit("Bad").push().fails_with(&[" !     ", "'out'"]);
        repo.without("out");
    }
    assert_eq!(world.page("blog"), "good\n");
    repo.link("inside", "page").commit("Good").push().succeeds();
}

#[test]
fn git_file_in_subdirectory() {
    let (world, repo) = live();
    // git refuses to add such a file, so the tree is made by hand, as a stranger would.
    let blob = repo.git(&["hash-object", "-w", "page"]);
    let index = repo.path().join("index-by-hand");
    let inner = tree(&repo, &format!("100644 blob {blob}\t.git\n"));
    let outer = tree(&repo, &format!("100644 blob {blob}\tpage\n040000 tree {inner}\tsub\n"));
    let commit = repo.git(&["commit-tree", &outer, "-p", "HEAD", "-m", "Bad"]);
    // git itself does not take it in.
    repo.push_with(&["piku", &format!("{commit}:refs/heads/main")]).fails_with(&["hasDotgit"]);
    assert!(!index.exists());
    assert_eq!(world.page("blog"), "good\n");
}

/// `git mktree` without its checks on names.
fn tree(repo: &Repo, entries: &str) -> String {
    use std::io::Write;
    use std::process::Stdio;
    let mut git = repo.command();
    git.args(["mktree"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = git.spawn().expect("git mktree");
    child.stdin.take().expect("stdin").write_all(entries.as_bytes()).expect("entries");
    let out = child.wait_with_output().expect("git mktree");
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).expect("a hash").trim().to_owned()
}

#[test]
fn submodule_with_file_url() {
    let (world, repo) = live();
    let head = repo.git(&["rev-parse", "HEAD"]);
    repo.file(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = file:///etc\n");
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},lib")]);
    repo.git(&["add", ".gitmodules"]);
    repo.git(&["commit", "-qm", "Bad"]);
    repo.push().fails_as(str![[r#"
 !     the submodule 'lib' is at 'file:///etc': piku does not fetch from file: URLs
 !     hint: use an https:// or ssh:// URL in .gitmodules
 !     deploy 2 of blog failed at: export (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn hundred_thousand_files() {
    let (world, repo) = live();
    let blob = repo.git(&["hash-object", "-w", "page"]);
    let files: Vec<_> = (0..1000).map(|n| format!("100644 blob {blob}\tf{n}\n")).collect();
    let folder = tree(&repo, &files.concat());
    let many: Vec<_> = (0..100).map(|n| format!("040000 tree {folder}\td{n}\n")).collect();
    let many = tree(&repo, &many.concat());
    let root = repo.git(&["ls-tree", "HEAD"]);
    let root = tree(&repo, &format!("{root}\n040000 tree {many}\tmany\n"));
    let commit = repo.git(&["commit-tree", &root, "-p", "HEAD", "-m", "Many"]);
    repo.push_with(&["piku", &format!("{commit}:refs/heads/main")]).succeeds();
    assert_eq!(world.page("blog"), "good\n");
    assert_eq!(world.ps("blog")[0]["release"], 2);
}

#[test]
fn syntax_error_in_app() {
    let (world, repo) = live();
    repo.file("requirements.txt", "")
        .file("app.py", "def broken(:\n")
        .file("Procfile", "web: python app.py\n")
        .commit("Bad");
    repo.push().fails_as(str![[r#"
-----> Python app detected: there is a requirements.txt
       Sandbox: [PROTECTIONS]
-----> Python [VERSION] (the machine's python3)
-----> Installing dependencies: layer venv [SHORT]
 !     app.py:1: SyntaxError: invalid syntax
 !     'web' starts with it
 !     hint: 'python3 -m py_compile app.py' shows the same on your machine
 !     deploy 2 of blog failed at: build (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn app_never_listens() {
    let (world, repo) = live();
    repo.file("ENV", "HEALTHCHECK_START_PERIOD=3\n").file("Procfile", "web: sleep 1000\n").commit("Bad");
    repo.push().fails_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
-----> Starting web.1 on port [PORT]
 !     nothing listens on PORT [PORT] after [DURATION] (HEALTHCHECK_START_PERIOD): web.1 must listen on the port in $PORT; it uses no CPU time ([..] so far): it may wait for something, such as a database
 !     deploy 2 of blog failed at: start (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn app_listens_on_other_port() {
    let (world, repo) = live();
    let port = free_port();
    let elsewhere = SERVE.replace("int(os.environ[\"PORT\"])", &port.to_string());
    repo.file("ENV", "HEALTHCHECK_START_PERIOD=15\n").program("serve", elsewhere).commit("Bad");
    if piku_chroot::can_restrict_ports() {
        // It may not: that port may be another app's.
        repo.push().fails_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
-----> Starting web.1 on port [PORT]
 !     web.1 exited with code 1 before it was ready
 !     the last lines of its log:
...
 !       PermissionError: [Errno 13] Permission denied
 !     hint: if that was a port: an app may listen on the port in $PORT, and on those that LISTEN_PORTS in ENV names; PORT=8080 in ENV gives 'web' that port
 !     deploy 2 of blog failed at: start (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
        repo.file("ENV", format!("HEALTHCHECK_START_PERIOD=15\nLISTEN_PORTS={port}\n")).commit("Named");
    }
    repo.push().fails_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
-----> Starting web.1 on port [PORT]
...
 !     nothing listens on PORT [PORT]; the process listens on :[PORT] (web.1, after [DURATION] (HEALTHCHECK_START_PERIOD))
...
 !     hint: let it listen on the port in $PORT, or have it given that port: PORT=[..] in ENV, or piku config:set blog PORT=[..]
...
 !     deploy 3 of blog failed at: start (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "good\n");
    assert!(http::get(port, "/").is_err(), "the failed instance is gone");
}

#[test]
fn app_exits_at_once() {
    let (world, repo) = live();
    repo.file("Procfile", "web: echo no database; exit 7\n").commit("Bad");
    repo.push().fails_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
-----> Starting web.1 on port [PORT]
 !     web.1 exited with code 7 before it was ready
 !     the last lines of its log:
 !       no database
 !     deploy 2 of blog failed at: start (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn app_answers_500() {
    let (world, repo) = live();
    repo.file("ENV", "HEALTHCHECK_START_PERIOD=3\n")
        .program("serve", SERVE.replace("200", "500"))
        .commit("Bad");
    repo.push().fails_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
-----> Starting web.1 on port [PORT]
...
 !     web.1 was not healthy within [DURATION] (HEALTHCHECK_START_PERIOD): it answered 500 to GET / (Host: localhost) on port [PORT]
 !     the last lines of its log:
...
 !     deploy 2 of blog failed at: start (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "good\n");
}
