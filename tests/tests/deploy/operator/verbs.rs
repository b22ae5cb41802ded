//! Verbs as users of Heroku, dokku and the Python piku type them, over ssh.

use std::io::{BufRead, BufReader};

use piku_tests::world::{World, wait_for};

use crate::operator::operate::says;

/// A world with an app that has a web, a worker and a cron job, live.
fn live() -> World {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("page\n");
    let procfile = std::fs::read_to_string(repo.path().join("Procfile")).expect("its Procfile");
    let more = "worker: echo worker has $NAME; exec sleep 1000\ncron-tick: 0 3 1 1 * echo the tick has run\n";
    repo.file("Procfile", procfile + more).commit("One").push().succeeds();
    world
}

/// Words that are values of options elsewhere are names of apps, too.
#[test]
fn limited_key_sees_no_app_named_as_a_format() {
    let world = World::new();
    world.add_key("guest", &["blog"]);
    for app in ["blog", "json"] {
        says(&world, &format!("create {app}"), 0);
        says(&world, &format!("config:set {app} NGINX_SERVER_NAME={app}.test"), 0);
    }
    for line in
        ["domains blog json", "domains:check blog json", "certs blog json", "apps blog json", "apps json"]
    {
        let refused = world.ssh("guest", line);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains("may not use"), "{line}: {told}");
        assert!(!String::from_utf8_lossy(&refused.stdout).contains("json"), "{line}: {refused:?}");
    }
    let seen = world.ssh("guest", "domains blog --format json");
    assert!(seen.status.success(), "the value of an option is no app: {seen:?}");
}

#[test]
fn other_spellings_do_what_they_say() {
    let world = live();
    says(&world, "config:add blog --no-restart NAME=first", 0);
    assert_eq!(says(&world, "config:show blog", 0), "NAME=first\n");
    says(&world, "ps:restart --app blog", 0);
    assert_eq!(says(&world, "ps:scale blog", 0), "web=1\nworker=1\n");
    says(&world, "scale blog worker=2", 0);
    assert_eq!(says(&world, "ps:scale blog --format json", 0), "{\n  \"web\": 1,\n  \"worker\": 2\n}\n");

    let pids = |world: &World| -> Vec<(String, u64)> {
        let rows = world.ps("blog").into_iter().filter(|row| row["state"] != "draining");
        let pid = |row: serde_json::Value| (row["instance"].to_string(), row["pid"].as_u64().unwrap_or(0));
        rows.map(pid).filter(|(name, _)| name.contains("worker")).collect()
    };
    let before = pids(&world);
    says(&world, "restart blog worker.1", 0);
    wait_for("the old worker's end", || pids(&world).len() == 2);
    let after = pids(&world);
    assert!(before[0].1 != after[0].1 && before[1] == after[1], "{before:?} {after:?}");
    says(&world, "restart blog worker.9", 1);
    says(&world, "restart blog cron-tick", 0);
    wait_for("the run", || says(&world, "logs blog -n 100", 0).contains("the tick has run"));
    let tick =
        |world: &World| world.ps("blog").into_iter().find(|row| row["type"] == "cron-tick").expect("the job");
    wait_for("its result", || tick(&world)["last_exit"] == "exit 0");
    assert!(tick(&world)["last_run"].is_string(), "a run out of turn has a time, too");
    let worker = says(&world, "logs blog worker --since yesterday", 0);
    assert!(worker.contains("worker has first") && !worker.contains("the tick"), "{worker}");

    assert_eq!(says(&world, "run blog 'echo $NAME; exit 7'", 7), "first\n");
    assert_eq!(says(&world, "run blog cron-tick", 0), "the tick has run\n");
    says(&world, "ps:stop blog", 0);
    assert!(says(&world, "open blog", 1).contains("hint: piku start blog"));
    assert_eq!(says(&world, "apps", 0), "blog  stopped\n");
    says(&world, "maintenance:on blog", 0);
    assert_eq!(says(&world, "apps", 0), "blog  maintenance, stopped\n");
    says(&world, "maintenance:off blog", 0);
    says(&world, "start blog", 0);
    assert!(says(&world, "ps:start blog", 0).contains("is not stopped"));
    let apps: serde_json::Value = serde_json::from_str(&says(&world, "apps --format json", 0)).expect("JSON");
    let app = &apps[0];
    assert_eq!((&app["app"], &app["state"], &app["release"]), (&"blog".into(), &"running".into(), &2.into()));
    assert_eq!(app["urls"][0], format!("http://127.0.0.1:{}", world.port("blog")));
    assert_eq!(says(&world, "open blog", 0), format!("http://127.0.0.1:{}\n", world.port("blog")));
    assert_eq!(says(&world, "apps", 0), "blog\n");

    assert!(says(&world, "restrat blog", 2).contains("did you mean 'restart'?"));
    assert!(says(&world, "config:set --help", 0).starts_with("usage: piku config:set APP "));
    assert!(says(&world, "ps blog --help", 0).starts_with("usage: piku ps "));
    // Options of the tools that the verbs do not have.
    for line in ["ps blog --root /", "deploy blog --written", "logs blog --root=/ -f", "apps --urls"] {
        assert!(says(&world, line, 2).contains(": unknown option '--"), "{line}");
    }
    // No nginx runs here.
    says(&world, "domains:add blog --no-restart blog.test", 0);
    let names = says(&world, "domains blog", 0);
    assert!(names.contains("blog.test") && names.contains("this machine does not serve"), "{names}");
    assert!(says(&world, "ps blog --wath", 2).contains("did you mean '--watch'?"));
    assert!(says(&world, "ps blog --root /", 2).contains("hint: piku help ps"));
}

#[test]
fn logs_of_several_apps_are_those_that_the_key_may_use() {
    let world = live();
    world.add_key("guest", &["blog"]);
    let shop = world.repo("shop");
    shop.serves("page\n").file("Procfile", "web: echo secret of shop; exec ./serve\n").commit("One");
    shop.push().succeeds();
    wait_for("the lines of both", || {
        let said = says(&world, "logs", 0);
        said.contains(" blog worker.1: worker has") && said.contains(" shop web.1: secret of shop")
    });
    let both = says(&world, "logs blog shop -n 100", 0);
    assert!(both.contains(" blog worker.1: ") && both.contains(" shop web.1: "), "{both}");
    assert!(says(&world, "logs shop --terminal", 0).contains(" \x1b[36mweb.1:\x1b[0m secret of shop"));
    for line in ["logs", "logs -n 100", "logs blog", "logs --app blog"] {
        let seen = world.ssh("guest", line);
        let text = String::from_utf8_lossy(&seen.stdout).into_owned();
        assert!(seen.status.success() && text.contains("worker.1: worker has"), "{line}: {seen:?}");
        assert!(!text.contains("secret"), "{line}: {text}");
    }
    for line in
        ["logs shop", "logs -n 100 shop", "logs blog shop", "logs blog blog shop", "logs blog -- shop"]
    {
        let refused = world.ssh("guest", line);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{line}: {refused:?}");
    }
    says(&world, "logs --deploy", 2);

    // It ends when its reader does.
    let mut watch = world.start_ssh("laptop", "ps blog --watch");
    let out = BufReader::new(watch.stdout.take().expect("a pipe"));
    let tables = out.lines().map(|line| line.expect("text")).filter(|line| line.starts_with("PS "));
    assert_eq!(tables.take(2).count(), 2);
    watch.wait().expect("its end");
}

#[test]
fn misspelt_setting_is_named_by_push() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("page\n").file("ENV", "NGINX_SERVR_NAME=blog.test\n").commit("One");
    let said = repo.push().succeeds();
    assert!(said.contains("NGINX_SERVR_NAME") && said.contains("did you mean NGINX_SERVER_NAME?"), "{said}");
}

#[test]
fn key_of_one_app_sees_only_that() {
    let world = live();
    world.add_key("guest", &["shop"]);
    let out = |words: &str| {
        let out = world.ssh("guest", words);
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    assert_eq!(out("apps"), (true, String::new()));
    assert_eq!(out("apps --format json"), (true, "[]\n".to_owned()));
    for words in [
        "apps blog",
        "domains blog",
        "domains",
        "certs",
        "open blog",
        "stop shop --app blog",
        "--app=blog ps",
    ] {
        assert!(!out(words).0, "{words}");
    }
    world.repo_with_key("shop", "guest").serves("shop\n").commit("One").push().succeeds();
    assert_eq!(out("apps"), (true, "shop\n".to_owned()));
    assert!(!out("stop shop --app blog").0);
    assert_eq!(world.page("blog"), "page\n");
}

#[test]
fn value_comes_from_stdin_and_names_are_kept_in_config() {
    let world = live();
    let mut child = world.start_ssh("laptop", "config:set blog --no-restart KEY --stdin");
    let pem = "-----BEGIN KEY-----\nab  cd=\n\"$x\"\n-----END KEY-----";
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), pem.as_bytes()).expect("it reads");
    assert!(child.wait().expect("ssh").success());
    assert_eq!(says(&world, "config:get blog KEY", 0), format!("{pem}\n"));

    says(&world, "domains:add blog --no-restart blog.test www.blog.test", 0);
    says(&world, "domains:add blog --no-restart Blog.test", 0);
    assert_eq!(says(&world, "config:get blog NGINX_SERVER_NAME", 0), "blog.test www.blog.test\n");
    says(&world, "domains:remove blog --no-restart blog.test", 0);
    assert_eq!(says(&world, "config:get blog NGINX_SERVER_NAME", 0), "www.blog.test\n");
    assert!(says(&world, "domains:remove blog blog.test", 1).contains("has no name 'blog.test' of its own"));
    assert!(says(&world, "domains:add blog http://x/", 2).contains("is a URL"));
    says(&world, "domains:remove blog --no-restart www.blog.test", 0);
    says(&world, "config:get blog NGINX_SERVER_NAME", 1);
}
