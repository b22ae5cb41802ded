//! Each verb about an app that runs in a cluster, with a key for this app alone: it works there, works on what is kept
//! here, or is refused with one line.

use std::process::Output;

use piku_tests::repo::Repo;
use piku_tests::tools::repository;
use piku_tests::world::World;

use super::cluster::{ClusterScene, blog};

/// Lines of a session in their order, with the exit code and a part of what is said. A verb has one line at least.
const LINES: &[(&str, i32, &str)] = &[
    ("create blog", 1, "blog exists already"),
    ("apps blog", 0, "blog"),
    ("ps blog", 0, "web-"),
    ("ps:scale blog", 0, "web=1"),
    ("ps:scale blog web=2", 0, "Scaling blog"),
    ("status blog", 0, "blog"),
    ("logs blog", 0, "this is web of release 1"),
    ("logs blog --deploy", 0, "Deploying to lab, namespace default"),
    ("logs blog --nginx", 1, "blog runs in a cluster: its requests do not pass the nginx of this machine"),
    ("logs blog --access", 1, "blog runs in a cluster: its requests do not pass the nginx of this machine"),
    ("run blog 'exit 4'", 4, ""),
    ("cron:run blog cron-tick", 0, ""),
    ("config blog", 0, ""),
    ("config:set blog A=1", 0, "release 2"),
    ("config:get blog A", 0, "1"),
    ("config:unset blog A", 0, "release 3"),
    ("config:import blog", 0, "as it was"),
    ("config:edit blog", 1, "config:edit needs the editor of your computer"),
    ("import-heroku blog", 1, "hint: "),
    ("import-dokku blog", 1, "hint: "),
    ("restart blog", 0, "Restarting blog"),
    ("stop blog", 0, "blog is stopped: web-"),
    ("start blog", 0, "Restarting blog"),
    ("releases blog", 0, "unset A"),
    ("releases:info blog", 0, "A"),
    ("rollback blog", 0, "release 4"),
    ("open blog", 1, "hint: in a cluster, NGINX_SERVER_NAME in ENV gives a 'web' its name"),
    ("domains blog", 0, "blog has no host name"),
    ("domains:add blog blog.example.org", 0, "http://blog.example.org"),
    ("domains blog", 0, "blog.example.org  config"),
    ("domains:check blog", 1, "it runs in a cluster, and its names must lead to the ingress there"),
    ("open blog", 0, "http://blog.example.org"),
    ("certs blog", 0, "blog runs in a cluster: its certificates are those of the ingress there"),
    ("certs:renew blog", 1, "blog runs in a cluster: its certificates are those of the ingress there"),
    ("domains:remove blog blog.example.org", 0, ""),
    ("maintenance:on blog", 1, "blog runs in a cluster: its requests do not pass here"),
    ("maintenance:off blog", 1, "blog runs in a cluster: its requests do not pass here"),
    ("lock blog --reason later", 0, "locked"),
    ("unlock blog", 0, "unlocked"),
    ("deploy blog", 0, "blog is live"),
    ("rebuild blog", 0, ""),
    ("cancel blog", 1, ""),
    ("audit blog", 0, "guest"),
    ("gc blog", 0, ""),
    ("metrics blog", 0, "blog"),
    ("service:bind pg blog", 1, "hint: "),
    ("service:unbind pg blog", 1, "pg"),
    ("service:drop pg blog --confirm blog", 1, "pg"),
    ("service:console blog", 1, "is bound to no service"),
    ("service:dump blog", 1, "is bound to no service"),
    ("service:restore blog", 1, "is bound to no service"),
    ("data:export blog", 1, "blog has no data"),
    ("data:import blog", 2, "blog runs in a cluster: the files go here, not there"),
    ("data:remove blog --confirm blog", 1, "blog"),
    ("backup blog", 0, "blog runs in a cluster: its files there are not saved"),
    ("rename blog diary", 1, "key 'guest' may not use 'diary', only blog"),
    ("clone blog diary", 1, "key 'guest' may not use 'diary', only blog"),
    ("destroy blog --confirm blog", 0, "blog"),
    ("restore blog", 0, "blog is live"),
];

/// Runs a verb, with nothing on stdin; returns its exit code and both outputs.
fn verb(world: &World, key: &str, line: &str) -> (i32, String) {
    let Output { status, stdout, stderr } = world.ssh(key, line);
    (status.code().unwrap_or(-1), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// Returns the verbs of the script about one app or several.
fn verbs_about_apps() -> Vec<String> {
    let script = std::fs::read_to_string(repository().join("scripts/piku")).expect("the script");
    let table =
        script.split_once("\ntable() {\n").expect("a table").1.split_once("\nEND\n").expect("its end").0;
    let rows = table.lines().filter_map(|line| line.strip_prefix("@ ")?.split_once(' '));
    let about_app = rows.filter(|(_, rest)| rest.starts_with("app") || rest.starts_with("service "));
    about_app.map(|(verb, _)| verb.to_owned()).collect()
}

#[test]
fn each_verb_works_for_an_app_in_a_cluster_or_is_refused() {
    for verb in verbs_about_apps() {
        let has_line = LINES.iter().any(|(line, ..)| line.split(' ').next() == Some(&verb));
        assert!(has_line, "'{verb}' has no line: decide what it does for an app in a cluster");
    }
    let Some(scene) = ClusterScene::new() else { return };
    let repo: Repo = blog(&scene.world);
    repo.push().succeeds();
    scene.world.add_key("guest", &["blog"]);
    scene.world.add_key("other", &["shop"]);
    let mut wrong = Vec::new();
    for (line, code, part) in LINES {
        let (ended, said) = verb(&scene.world, "guest", line);
        if ended != *code || !said.contains(part) {
            wrong.push(format!("{line}: expected {code}, '{part}', not {ended}, '{said}'"));
        }
    }
    // A key of another app reaches none of them, by whatever verb.
    for (line, ..) in LINES {
        let (ended, said) = verb(&scene.world, "other", line);
        let is_one_line = said.lines().filter(|line| !line.starts_with("hint: ")).count() == 1;
        if ended == 0 || !said.contains("may not use") || !is_one_line {
            wrong.push(format!("{line} by another key: {ended}, '{said}'"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
