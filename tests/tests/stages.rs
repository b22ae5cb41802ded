//! Each stage of the pipeline is made to fail, one test a stage: the push says so and exits 1, the old release serves on,
//! and nothing of the failed one remains.

use std::fs;

use piku_tests::processes;
use piku_tests::repo::{Push, Repo};
use piku_tests::world::{World, wait_for};

/// Pushes a good release, breaks the app, and holds that the next push fails with `texts` and changes nothing.
fn fails(breaking: impl FnOnce(&Repo), texts: &[&str]) {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();

    breaking(&repo);
    repo.commit("Bad");
    fails_and_changes_nothing(&world, repo.push(), texts);

    // The next push is clean.
    repo.git(&["rm", "-rqf", "--ignore-unmatch", "."]);
    repo.serves("better\n").commit("Better").push().succeeds();
    assert_eq!(world.page("blog"), "better\n");
}

fn fails_and_changes_nothing(world: &World, push: Push, texts: &[&str]) {
    let said = push.fails_with(texts);
    assert!(said.lines().any(|line| line.starts_with(" !     ")), "no line of the error form:\n{said}");
    assert_eq!(world.page("blog"), "good\n", "the old release serves on");
    assert_eq!(world.releases("blog"), ["1"], "no half release");
    let rows = world.ssh("laptop", "releases blog --format json");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&rows.stdout).expect("an array");
    assert_eq!(rows[rows.len() - 1]["state"], "live", "{rows:#?}");
    for failed in &rows[..rows.len() - 1] {
        assert_eq!((&failed["state"], &failed["subject"]), (&"failed".into(), &"Bad".into()), "{rows:#?}");
    }
    let left: Vec<_> = fs::read_dir(world.app("blog"))
        .expect("the app's folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("deploy."))
        .collect();
    assert!(left.is_empty(), "left over: {left:?}");
    let ps = world.ps("blog");
    assert_eq!(ps.len(), 1, "{ps:#?}");
    assert_eq!(ps[0]["release"], 1, "{ps:#?}");
}

#[test]
fn begin_deploy() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    // A folder where the verdict is to be written.
    let verdict = world.app("blog").join("verdict.json");
    fs::remove_file(&verdict).expect("the verdict");
    fs::create_dir_all(verdict.join("x")).expect("a folder in its place");
    fails_and_changes_nothing(&world, repo.file("page", "bad\n").commit("Bad").push(), &["verdict.json"]);

    // Once mended, pushing the same again deploys it.
    fs::remove_dir_all(&verdict).expect("the folder");
    repo.push().succeeds();
    assert_eq!(world.page("blog"), "bad\n");
}

#[test]
fn export() {
    fails(|repo| _ = repo.link("out", "../../../etc"), &["out"]);
}

#[test]
fn check_procfile() {
    fails(|repo| _ = repo.file("Procfile", "web: ./serve\nweb ./serve\n"), &["Procfile:2:"]);
}

#[test]
fn check_env() {
    fails(|repo| _ = repo.file("ENV", "A = 1\n"), &["ENV:1:"]);
}

#[test]
fn detect() {
    fails(|repo| _ = repo.without("Procfile").without("serve"), &["Procfile"]);
}

#[test]
fn build() {
    fails(
        |repo| {
            repo.file("requirements.txt", "six==99.99.99\n")
                .file("app.py", "")
                .file("Procfile", "web: python app.py\n");
        },
        &["six==99.99.99"],
    );
}

#[test]
fn preflight() {
    let world = World::new();
    let repo = world.repo("blog");
    let order = "preflight: echo looking > looked\nrelease: echo released by $(cat looked) >> /data/ran\nweb: ./serve\n";
    let said = repo.serves("good\n").file("Procfile", order).commit("Good").push().succeeds();
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no '{text}' in {said}"));
    let steps = ["Running preflight", "Running the release task", "Starting web.1"].map(at);
    assert!(steps.is_sorted(), "{said}");
    let ran = || fs::read_to_string(world.app("blog").join("data/ran")).expect("what the task wrote");
    assert_eq!(ran(), "released by looking\n");

    let pid = world.ps("blog")[0]["pid"].clone();
    repo.file("page", "bad\n").file("Procfile", order.replace("> looked", "&& exit 5")).commit("Bad");
    let texts = ["looking", "step 'preflight' failed with exit code 5", "nothing was changed"];
    fails_and_changes_nothing(&world, repo.push(), &texts);
    assert_eq!(ran(), "released by looking\n", "the release task was not reached");
    assert_eq!(world.ps("blog")[0]["pid"], pid, "the old one was never touched");
}

#[test]
fn release_task() {
    fails(
        |repo| _ = repo.file("Procfile", "web: ./serve\nrelease: echo migrating; exit 4\n"),
        &["migrating", "release", "4"],
    );
}

#[test]
fn health_check() {
    fails(
        |repo| _ = repo.file("Procfile", "web: echo it is broken; exit 3\n"),
        &["web.1", "it is broken", "3"],
    );
}

#[test]
fn the_daemon_is_not_there() {
    let mut world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    let port = world.port("blog");
    world.end_daemon(nix::sys::signal::Signal::SIGTERM);
    repo.file("page", "bad\n").commit("Bad").push().fails_with(&[" !     ", "daemon"]);
    assert_eq!(piku_tests::http::get(port, "/").expect("the worker outlives the daemon").1, "good\n");
    world.start_daemon();
    assert_eq!(world.page("blog"), "good\n");
    // Pushing the same again retries what failed.
    let said = repo.push().succeeds();
    assert!(said.contains("up-to-date"), "{said}");
    assert_eq!(world.page("blog"), "bad\n");
}

#[test]
fn finish_deploy() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    repo.file("Procfile", "web: ./serve\nrelease: sleep 2\n").file("page", "better\n").commit("Better");
    let push = repo.start_push();
    wait_for("the release task", || !processes::of(&world.root(), "sleep 2").is_empty());
    fs::remove_file(world.app("blog").join("verdict.json")).expect("the verdict");
    let out = push.wait_with_output().expect("git push");
    Push::from(out).fails_with(&[" !     ", "no deploy has begun", "finish", "the new release is live"]);
    assert_eq!(world.page("blog"), "better\n");
}
