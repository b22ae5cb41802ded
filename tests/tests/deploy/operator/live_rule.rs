//! The rule of what is live, `docs/releases.md`: each row of its table, executed with one app.

use std::fs;

use piku_tests::repo::Repo;
use piku_tests::world::World;

use crate::operator::operate::says;

/// The state of the app after an act: its page, the setting `A` of the live release and of the store (`-` without
/// one), the number of instances, and the live release.
fn state(world: &World) -> String {
    let setting = |name: &str| {
        let text = fs::read(world.app("blog").join(name)).unwrap_or_else(|_| b"{}".to_vec());
        let config: serde_json::Value = serde_json::from_slice(&text).expect("a config");
        config["A"].as_str().unwrap_or("-").to_owned()
    };
    let live = fs::read_link(world.app("blog").join("current")).expect("a live release");
    let live = live.file_name().expect("a number").to_string_lossy().into_owned();
    let up = world.ps("blog").iter().filter(|row| row["state"] == "healthy").count();
    let page = if up == 0 { "down".to_owned() } else { world.page("blog").trim().to_owned() };
    format!("{page} {} {} x{up} release {live}", setting("current/config.json"), setting("config.json"))
}

/// Performs an act with the words of the table.
fn perform(world: &World, repo: &Repo, act: &str) {
    let commit = |page: &str| repo.serves(page).commit(page);
    match act {
        "push of a new commit" => _ = commit("two\n").push().succeeds(),
        "push of the live commit" | "push of the deployed commit after a rollback" => {
            repo.push().succeeds();
        }
        "failed push" => {
            repo.file("Procfile", "web: ./nothing\n").commit("Bad").push().fails_with(&["blog"]);
        }
        "`deploy`" => {
            // The head of the branch works again.
            repo.push_with(&["-f", "piku", "HEAD~1:main"]).succeeds();
            repo.git(&["reset", "-q", "--hard", "HEAD~1"]);
            says(world, "rollback blog 5", 0);
            says(world, "deploy blog", 0);
        }
        "`rebuild`" => _ = says(world, "rebuild blog", 0),
        "`rollback`" => _ = says(world, "rollback blog 1", 0),
        "`config:set`" => _ = says(world, "config:set blog A=set", 0),
        "`config:set --no-restart`" => _ = says(world, "config:set blog --no-restart A=later", 0),
        "`config:set` of a stopped app" => _ = says(world, "config:set blog A=stopped", 0),
        "failed `config:set`" => _ = says(world, "config:set blog A=bad PYTHONHOME=/none", 1),
        "`ps:scale`" => _ = says(world, "ps:scale blog web=2", 0),
        "`restart`" => _ = says(world, "restart blog", 0),
        "`restart TYPE`" => _ = says(world, "restart blog web", 0),
        "`stop`" => _ = says(world, "stop blog", 0),
        "`start`" => _ = says(world, "start blog", 0),
        "push to a stopped app" => {
            says(world, "stop blog", 0);
            commit("three\n").push().succeeds();
        }
        other => panic!("no test of the row {other:?}"),
    }
}

#[test]
fn each_row_of_the_table_holds() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n").commit("One").push().succeeds();
    assert_eq!(state(&world), "one - - x1 release 1");
    // In an order in which each act meets what makes it differ from the others.
    let walk = [
        ("push of the live commit", "one - - x1 release 1"),
        ("`config:set`", "one set set x1 release 2"),
        ("push of a new commit", "two set set x1 release 3"),
        ("failed `config:set`", "two set set x1 release 3"),
        ("`config:set --no-restart`", "two set later x1 release 3"),
        ("`restart TYPE`", "two set later x1 release 3"),
        ("`rebuild`", "two set later x1 release 3"),
        ("`ps:scale`", "two set later x2 release 3"),
        ("`restart`", "two later later x2 release 4"),
        ("`rollback`", "one - - x2 release 5"),
        ("push of the deployed commit after a rollback", "two - - x2 release 6"),
        ("failed push", "two - - x2 release 6"),
        ("`stop`", "down - - x0 release 6"),
        ("`config:set` of a stopped app", "down - stopped x0 release 6"),
        ("`start`", "two stopped stopped x2 release 8"),
        ("`deploy`", "two - - x2 release 11"),
        ("push to a stopped app", "three - - x2 release 12"),
    ];
    for (act, expected) in walk {
        perform(&world, &repo, act);
        assert_eq!(state(&world), expected, "after {act}");
    }
    let document = include_str!("../../../../docs/releases.md");
    let rows = document.split_once("## What is live").expect("the table").1;
    let rows: Vec<&str> =
        rows.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).skip(1).collect();
    let mut walked: Vec<&str> = walk.iter().map(|(act, _)| *act).collect();
    let mut listed = rows.clone();
    walked.sort_unstable();
    listed.sort_unstable();
    assert_eq!(walked, listed, "the rows of the table");
}
