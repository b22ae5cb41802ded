//! Each stage of the pipeline is made to fail, one test a stage: the push says so and exits 1, the old release serves on,
//! and nothing of the failed one remains.

use std::fs;

use piku_tests::processes;
use piku_tests::repo::{GATED_RELEASE, Push, Repo};
use piku_tests::snapshot::{IntoData, str};
use piku_tests::world::{World, wait_for};

/// Pushes a good release, breaks the app, and holds that the next push fails with this output and changes nothing.
fn fails(breaking: impl FnOnce(&Repo), output: impl IntoData) {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();

    breaking(&repo);
    repo.commit("Bad");
    fails_and_changes_nothing(&world, repo.push(), output);

    // The next push is clean.
    repo.git(&["rm", "-rqf", "--ignore-unmatch", "."]);
    repo.serves("better\n").commit("Better").push().succeeds();
    assert_eq!(world.page("blog"), "better\n");
}

fn fails_and_changes_nothing(world: &World, push: Push, output: impl IntoData) {
    let said = push.fails_as(output);
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
    fails_and_changes_nothing(
        &world,
        repo.file("page", "bad\n").commit("Bad").push(),
        str![[r#"
 !     cannot write '[DIR]/root/apps/blog/verdict.json': Is a directory (os error 21)
   [COMMITS]  main -> main
"#]],
    );

    // Once mended, pushing the same again deploys it.
    fs::remove_dir_all(&verdict).expect("the folder");
    repo.push().succeeds();
    assert_eq!(world.page("blog"), "bad\n");
}

#[test]
fn export() {
    fails(
        |repo| _ = repo.link("out", "../../../etc"),
        str![[r#"
 !     the link 'out' to '../../../etc' leads out of the app
 !     hint: a link may point within the repository, or below /app or /data
 !     deploy 2 of blog failed at: export (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]],
    );
}

#[test]
fn check_procfile() {
    fails(
        |repo| _ = repo.file("Procfile", "web: ./serve\nweb ./serve\n"),
        str![[r#"
 !     Procfile:2: this is not 'name: command'
 !         web ./serve
 !     hint: the colon is missing: write 'web: …'
 !     deploy 2 of blog failed at: check (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]],
    );
}

#[test]
fn check_env() {
    fails(
        |repo| _ = repo.file("ENV", "A = 1\n"),
        str![[r#"
 !     ENV:1:2: a blank before the '='
 !         A =…
 !          ^
 !     hint: remove the blanks around '=': NAME=value
 !     deploy 2 of blog failed at: check (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]],
    );
}

#[test]
fn detect() {
    fails(
        |repo| _ = repo.without("Procfile").without("serve"),
        str![[r#"
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
 !     found at its top: page
 !     hint: the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'
 !     deploy 2 of blog failed at: build (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]],
    );
}

#[test]
fn build() {
    fails(
        |repo| {
            repo.file("requirements.txt", "six==99.99.99\n")
                .file("app.py", "")
                .file("Procfile", "web: python app.py\n");
        },
        str![[r#"
-----> Python app detected: there is a requirements.txt
       Sandbox: [PROTECTIONS]
-----> Python [VERSION] (the machine's python3)
-----> Installing dependencies: layer venv [SHORT]
-----> Installing tools for all apps: layer pip [SHORT]
...
       uv does not install them, pip does: [..]
       ERROR: Could not find a version that satisfies the requirement six==99.99.99 (from versions: [..])
       ERROR: No matching distribution found for six==99.99.99
 !     requirements.txt:1: cannot find a version for 'six==99.99.99'
 !     hint: the newest versions are [..]
 !     deploy 2 of blog failed at: build (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]],
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
    fails_and_changes_nothing(
        &world,
        repo.push(),
        str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Running preflight: echo looking && exit 5
       looking
 !     step 'preflight' failed with exit code 5
 !     deploy 2 of blog failed at: build (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]],
    );
    assert_eq!(ran(), "released by looking\n", "the release task was not reached");
    assert_eq!(world.ps("blog")[0]["pid"], pid, "the old one was never touched");
}

#[test]
fn release_task() {
    fails(
        |repo| _ = repo.file("Procfile", "web: ./serve\nrelease: echo migrating; exit 4\n"),
        str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web, release
-----> Running the release task
       migrating
 !     the release task exited with code 4
 !     deploy 2 of blog failed at: start (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]],
    );
}

#[test]
fn health_check() {
    fails(
        |repo| _ = repo.file("Procfile", "web: echo it is broken; exit 3\n"),
        str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
-----> Starting web.1 on port [PORT]
 !     web.1 exited with code 3 before it was ready
 !     the last lines of its log:
 !       it is broken
 !     deploy 2 of blog failed at: start (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]],
    );
}

#[test]
fn missing_daemon() {
    let mut world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    let port = world.port("blog");
    world.end_daemon(nix::sys::signal::Signal::SIGTERM);
    repo.file("page", "bad\n").commit("Bad").push().fails_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
 !     the daemon is not running: nothing listens at '[DIR]/root/run/daemon.sock'
 !     hint: systemctl start piku, or: piku-run daemon
 !     deploy 2 of blog failed at: start (exit 1); nothing was changed
   [COMMITS]  main -> main
"#]]);
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
    repo.file("Procfile", format!("web: ./serve\n{GATED_RELEASE}\n"))
        .file("page", "better\n")
        .commit("Better");
    let push = repo.start_push();
    wait_for("the release task", || !processes::find(&world.root(), "/data/gate").is_empty());
    fs::remove_file(world.app("blog").join("verdict.json")).expect("the verdict");
    world.open_gate("blog");
    let out = push.wait_with_output().expect("git push");
    Push::from(out).fails_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web, release
-----> Running the release task
-----> Starting web.1 on port [PORT]
       web.1 is healthy after [DURATION]
-----> blog is live, release 2: http://127.0.0.1:[PORT]
 !     no deploy has begun
 !     hint: piku-receive begin-deploy begins one
 !     deploy 2 of blog failed at: finish (exit 1); the new release is live
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "better\n");
}
