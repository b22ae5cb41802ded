//! A day with piku, as one walk: from the first key to goodbye, with a mistake at each step and what piku says to it.

mod scene;

use scene::Scene;

/// Answers with a setting, and writes to its output and its data.
const SHOP: &str = r#"#!/usr/bin/python3
import http.server, os
open("/data/orders", "a").write("order\n")
print("open for business", flush=True)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (open("page").read().strip() + " " + os.environ.get("GREETING", "-") + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"#;

#[test]
fn day_with_piku() {
    let scene = Scene::new();
    first_key(&scene);
    first_push(&scene);
    names(&scene);
    second_key(&scene);
    bad_pushes(&scene);
    operation(&scene);
    pauses(&scene);
    other_names(&scene);
    goodbye(&scene);
    scene.end();
}

fn first_key(scene: &Scene) {
    scene.refuses_key("no key at all\n", "piku-receive: ");
    scene.refuses("laptop", "frobnicate", 2, "piku: unknown verb 'frobnicate'; 'help' lists the verbs ");
    scene.refuses("laptop", "lgos shop", 2, "piku: unknown verb 'lgos', did you mean 'logs'?");
    assert!(scene.does("help deploy").starts_with("usage: piku deploy APP"));
    assert_eq!(scene.does("apps"), "");
    scene.mistake("ps shop", 1, "there is no app 'shop'");
}

fn first_push(scene: &Scene) {
    scene.refuses("laptop", "create Shop!", 2, "piku: create: bad app name \"Shop!\": use 1 to 63 of a-z");
    scene.does("create shop");
    scene.mistake("create shop", 1, "shop exists already");
    // Settings before the push.
    scene.mistake("config:set shop GREETING", 2, "expected NAME=value");
    scene.mistake("config:set shop 9A=x", 2, "bad name \"9A\"");
    scene.does("config:set shop 'GREETING=good morning' SECRET=s3cret");
    // From the platform on which it was before.
    let export = "{\"FROM_HEROKU\": \"a b\", \"HEROKU_SLUG\": \"x\"}\nweb=1:Basic\n";
    let told = "shop: settings: FROM_HEROKU\nshop: scale: web=1\nshop: left out, set by the platform itself: HEROKU_SLUG\n";
    assert_eq!(scene.does_with(export, "import-heroku shop --dry-run"), told);
    scene.mistake("config:get shop FROM_HEROKU", 1, "FROM_HEROKU is not set");
    assert_eq!(scene.does_with(export, "import-heroku shop"), told);
    assert_eq!(scene.does("config:get shop FROM_HEROKU"), "a b\n");
    scene.mistake("import-dokku shop", 1, "stdin has neither settings nor a scale of dokku");
    scene.mistake("config:get shop NOTHING", 1, "NOTHING is not set");
    scene.mistake("rollback shop", 1, "shop has no release yet");

    scene
        .shop
        .file("Procfile", "wbe: ./serve\n")
        .program("serve", SHOP)
        .file("page", "welcome\n")
        .commit("Typo");
    scene.shop.push().fails_with(&["shop"]);
    let said = scene.shop.file("Procfile", "web: ./serve\n").commit("Open").push().succeeds();
    let url = format!("http://127.0.0.1:{}", scene.ports.http);
    assert!(said.contains(" is live, release ") && said.contains(&url), "{said}");
    assert_eq!(scene.does("open shop"), format!("{url}\n"));
    assert_eq!(scene.page("any"), "welcome good morning\n");
    assert!(scene.shop.push().succeeds().contains("Nothing has changed"));
}

fn names(scene: &Scene) {
    scene.mistake("domains:add shop 'a b'", 2, "");
    scene.does("domains:add shop shop.test www.shop.test");
    scene.mistake("domains:remove shop other.test", 1, "shop has no name 'other.test' of its own");
    scene.does("domains:remove shop www.shop.test");
    assert!(scene.does("domains shop").contains("shop.test"));
    assert_eq!(scene.page("shop.test"), "welcome good morning\n");
    assert_eq!(scene.ports.get("nobody.test", "/").status, 404);
    assert!(scene.does("certs shop").contains("shop"));
}

fn second_key(scene: &Scene) {
    scene.world.add_key("guest", &["blog"]);
    for words in ["logs shop", "config shop", "destroy shop --confirm shop", "rename blog shop"] {
        scene.refuses("guest", words, 1, "piku: key 'guest' may not use 'shop', only blog\n");
    }
    scene.refuses("guest", "keys", 2, "piku: keys cannot be managed over ssh; on the server: ");
    scene.refuses("guest", "grant blog /dev/null", 2, "piku: grant does not work over ssh; on the server: ");
    scene.guest_shop.serves("stolen\n").commit("Stolen").push().fails_with(&["guest", "shop"]);
    scene.guest_blog.serves("a blog\n").commit("One").push().succeeds();
    scene.guest_blog.file("ENV", "NGINX_SERVER_NAME=shop.test\n").commit("Taken");
    scene.guest_blog.push().fails_with(&["shop.test"]);
    assert!(!scene.says("guest", "apps").1.contains("shop"), "the apps of others are not listed");
    assert_eq!(scene.page("shop.test"), "welcome good morning\n");
}

fn bad_pushes(scene: &Scene) {
    let before = scene.does("releases shop --format json");
    scene.shop.program("serve", "#!/bin/sh\nexit 3\n").commit("Broken").push().fails_with(&["web.1"]);
    assert_eq!(scene.page("shop.test"), "welcome good morning\n");
    scene.mistake("rollback shop 99", 1, "shop has no release 99");
    assert!(scene.does("logs shop --deploy").contains("web.1"), "the log of the failed deploy");
    assert_ne!(before, scene.does("releases shop --format json"), "the failed deploy is listed");

    scene.shop.program("serve", SHOP).file("page", "sale\n").commit("Sale").push().succeeds();
    assert_eq!(scene.page("shop.test"), "sale good morning\n");
    scene.does("rollback shop");
    assert_eq!(scene.page("shop.test"), "welcome good morning\n");
    scene.does("deploy shop");
    assert_eq!(scene.page("shop.test"), "sale good morning\n");
    let told = scene.does("releases:info shop --since 1");
    assert!(told.contains("page") && !told.contains("s3cret"), "{told}");
}

fn operation(scene: &Scene) {
    scene.mistake("ps:scale shop wbe=2", 1, "");
    scene.mistake("ps:scale shop web=many", 2, "");
    scene.does("ps:scale shop web=2");
    assert_eq!(scene.does("ps:scale shop"), "web=2\n");
    scene.mistake("restart shop web.7", 1, "shop has no instance 'web.7'");
    scene.does("restart shop web.2");
    scene.mistake("logs shop --since lately", 2, "");
    assert!(scene.does("logs shop web").contains("open for business"));
    let orders = scene.does("run shop cat /data/orders");
    assert!(orders.lines().count() >= 2, "{orders}");
    assert_eq!(scene.says("laptop", "run shop sh -c 'exit 7'").0, 7);
    scene.does("config:unset shop GREETING");
    assert_eq!(scene.page("shop.test"), "sale -\n");
}

fn pauses(scene: &Scene) {
    scene.does("maintenance:on shop");
    assert_eq!(scene.ports.get("shop.test", "/").status, 503);
    assert!(scene.does("apps").contains("maintenance"), "{}", scene.does("apps"));
    scene.does("maintenance:off shop");
    scene.does("lock shop --reason 'the audit'");
    scene.mistake("lock shop", 1, "shop is locked by laptop since ");
    scene
        .shop
        .file("page", "late\n")
        .commit("Late")
        .push()
        .fails_with(&["shop is locked by laptop", "the audit"]);
    scene.does("unlock shop");
    scene.does("stop shop");
    assert_eq!(scene.ports.get("shop.test", "/").status, 503);
    assert!(scene.does("apps").contains("stopped"));
    scene.does("start shop");
    scene.shop.push().succeeds();
    assert_eq!(scene.page("shop.test"), "late -\n");
}

fn other_names(scene: &Scene) {
    scene.mistake("rename shop blog", 1, "blog exists already");
    scene.mistake("rename shop shop", 2, "shop has this name already");
    scene.does("rename shop store");
    scene.shop.push().fails_with(&["store"]);
    assert_eq!(scene.page("shop.test"), "late -\n");
    scene.does("clone store copy --data");
    assert_eq!(scene.does("config:get copy SECRET"), "s3cret\n");
    assert!(scene.does("run copy cat /data/orders").contains("order"));
    scene.mistake("clone store copy", 1, "copy exists already");
    scene.mistake("gc nothing", 1, "there is no app 'nothing'");
    scene.does("gc store");
}

fn goodbye(scene: &Scene) {
    scene.refuses("laptop", "destroy copy", 2, "piku: usage: piku destroy APP --confirm APP [--now]\n");
    scene.mistake("destroy copy --confirm store", 2, "'store' is not the name of the app to destroy, 'copy'");
    scene.does("destroy copy --confirm copy --now");
    scene.mistake("restore copy", 1, "there is no app 'copy'");
    scene.does("destroy store --confirm store");
    assert_eq!(scene.ports.get("shop.test", "/").status, 404);
    scene.mistake("ps store", 1, "store was destroyed");
    scene.does("restore store");
    assert_eq!(scene.does("config:get store SECRET"), "s3cret\n");
    assert!(scene.does("run store cat /data/orders").contains("order"));
    assert_eq!(scene.page("shop.test"), "late -\n");
    scene.does("destroy store --confirm store --now");
    scene.does("destroy blog --confirm blog --now");
    assert_eq!(scene.does("apps"), "");
    let left: Vec<_> = std::fs::read_dir(scene.world.root().join("apps")).expect("apps").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
