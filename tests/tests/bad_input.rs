//! What users push by mistake, and what strangers push on purpose: each gets its own clear lines, exit 1, and the old
//! release serves on.

use piku_tests::http;
use piku_tests::ports::free_port;
use piku_tests::repo::{Repo, SERVE};
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
fn an_empty_repo_and_refs_that_are_not_there() {
    let (world, repo) = live();
    repo.push_with(&["piku", "no-such-branch"]).fails_with(&["no-such-branch"]);
    repo.push_with(&["piku", ":main"]).fails_with(&["main"]);
    assert_eq!(world.page("blog"), "good\n");
    repo.git(&["rm", "-rqf", "."]);
    repo.commit("Empty").push().fails_with(&[" !     "]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn no_procfile() {
    let (world, repo) = live();
    repo.without("Procfile").commit("Bad").push().fails_with(&[" !     ", "Procfile"]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn a_procfile_with_several_bad_lines_names_them_all() {
    let (world, repo) = live();
    repo.file("Procfile", "web: ./serve\ngarbage\nweb: x\n").commit("Bad");
    repo.push().fails_with(&["Procfile:2:", "Procfile:3:"]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn links_out_of_the_tree() {
    let (world, repo) = live();
    for target in ["/etc/passwd", "../../../config.json", "sub/../../..", "/proc/self/root"] {
        repo.link("out", target).commit("Bad").push().fails_with(&[" !     ", "'out'"]);
        repo.without("out");
    }
    assert_eq!(world.page("blog"), "good\n");
    repo.link("inside", "page").commit("Good").push().succeeds();
}

#[test]
fn a_git_file_in_a_subfolder() {
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
fn a_submodule_at_a_file_address() {
    let (world, repo) = live();
    let head = repo.git(&["rev-parse", "HEAD"]);
    repo.file(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = file:///etc\n");
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},lib")]);
    repo.git(&["add", ".gitmodules"]);
    repo.git(&["commit", "-qm", "Bad"]);
    repo.push().fails_with(&[" !     ", "lib", "file:"]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn a_hundred_thousand_files() {
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
fn requirements_that_cannot_be_satisfied() {
    let (world, repo) = live();
    repo.file("requirements.txt", "six==99.99.99\n")
        .file("app.py", "")
        .file("Procfile", "web: python app.py\n")
        .commit("Bad");
    repo.push().fails_with(&[" !     ", "six==99.99.99"]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn a_syntax_error_in_the_app() {
    let (world, repo) = live();
    repo.file("requirements.txt", "")
        .file("app.py", "def broken(:\n")
        .file("Procfile", "web: python app.py\n")
        .commit("Bad");
    repo.push().fails_with(&[" !     ", "app.py", "SyntaxError"]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn an_app_that_never_listens() {
    let (world, repo) = live();
    repo.file("ENV", "HEALTHCHECK_START_PERIOD=3\n").file("Procfile", "web: sleep 1000\n").commit("Bad");
    repo.push().fails_with(&[" !     ", "nothing listens on PORT"]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn an_app_that_listens_on_another_port() {
    let (world, repo) = live();
    let port = free_port();
    let elsewhere = SERVE.replace("int(os.environ[\"PORT\"])", &port.to_string());
    repo.file("ENV", "HEALTHCHECK_START_PERIOD=5\n").program("serve", elsewhere).commit("Bad");
    if piku_chroot::can_restrict_ports() {
        // It may not: that port may be another app's.
        repo.push().fails_with(&[" !     ", "web.1 exited with code 1", "LISTEN_PORTS in ENV names"]);
        repo.file("ENV", format!("HEALTHCHECK_START_PERIOD=5\nLISTEN_PORTS={port}\n")).commit("Named");
    }
    repo.push().fails_with(&[" !     ", "nothing listens on PORT", &port.to_string()]);
    assert_eq!(world.page("blog"), "good\n");
    assert!(http::get(port, "/").is_err(), "the failed instance is gone");
}

#[test]
fn an_app_that_exits_at_once() {
    let (world, repo) = live();
    repo.file("Procfile", "web: echo no database; exit 7\n").commit("Bad");
    repo.push().fails_with(&[" !     ", "web.1 exited with code 7", "no database"]);
    assert_eq!(world.page("blog"), "good\n");
}

#[test]
fn an_app_that_answers_500() {
    let (world, repo) = live();
    repo.file("ENV", "HEALTHCHECK_START_PERIOD=3\n")
        .program("serve", SERVE.replace("200", "500"))
        .commit("Bad");
    repo.push().fails_with(&[" !     ", "500"]);
    assert_eq!(world.page("blog"), "good\n");
}
