//! Debian's `PostgreSQL`, in the jail.

use piku_tests::skip;
use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::{says, says_with};

/// Serves the number of rows of a table, which its release task makes. It speaks to the server with psql, which the jail
/// shows, as any driver would: through `DATABASE_URL`.
const COUNTS: &str = r#"#!/usr/bin/python3
import http.server, os, subprocess
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ask = ["psql", "-XqAt", os.environ.get("DATABASE_URL", ""), "-c", "SELECT count(*) FROM visits"]
        out = subprocess.run(ask, capture_output=True, text=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write((out.stdout + out.stderr).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"#;
const MIGRATES: &str = "web: ./serve\nrelease: [ -z \"$DATABASE_URL\" ] || psql -Xq \"$DATABASE_URL\" -c 'CREATE TABLE IF NOT EXISTS visits (id serial)'\n";

/// A world with the service `postgres` and the app `blog`, which is not bound to it.
pub(crate) fn with_postgres(settings: &str) -> World {
    let world = World::with_settings(settings);
    let made = says(&world, "laptop", "service:create postgres", 0);
    assert!(made.contains("postgres runs, at 127.0.0.1:"), "{made}");
    let repo = world.repo("blog");
    repo.file("Procfile", MIGRATES).program("serve", COUNTS).commit("One").push().succeeds();
    world
}

/// Runs SQL with the rights of an app.
pub(crate) fn sql(world: &World, app: &str, text: &str) -> String {
    let out = says_with(world, &format!("service:console {app}"), text.as_bytes());
    assert!(out.status.success(), "{text}: {}", piku_tests::snapshot::text(&out));
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

#[test]
fn database_follows_its_app_through_its_life() {
    let world = with_postgres("");
    let bound = says(&world, "laptop", "service:bind postgres blog", 0);
    assert!(bound.contains("blog is bound to postgres: DATABASE_URL"), "{bound}");
    says(&world, "laptop", "deploy blog", 0);
    assert_eq!(world.page("blog"), "0\n");
    assert!(says(&world, "laptop", "service:bind postgres blog", 0).contains("bound to postgres already"));

    // The names of apps and services are one name space.
    assert!(says(&world, "laptop", "create postgres", 1).contains("is a service"));
    world.repo("postgres").serves("x\n").commit("One").push().fails_with(&["postgres is a service"]);
    assert!(says(&world, "laptop", "destroy postgres --confirm postgres", 1).contains("is a service"));
    assert!(says(&world, "laptop", "service:destroy postgres --confirm postgres", 1).contains("blog bound"));
    assert!(!says(&world, "laptop", "apps", 0).contains("postgres"));
    assert!(says(&world, "laptop", "ps postgres", 0).contains("server.1"));

    // A dump and the way back.
    // Large objects are in no table.
    let add_object = |text: &str| sql(&world, "blog", &format!("SELECT lo_from_bytea(0, '{text}')"));
    let has_objects = |count: u8| {
        let told = sql(&world, "blog", "SELECT count(*) || ' objects' FROM pg_largeobject_metadata");
        told.contains(&format!(" {count} objects"))
    };
    sql(&world, "blog", "INSERT INTO visits DEFAULT VALUES");
    add_object("kept");
    assert_eq!(world.page("blog"), "1\n");
    let dump = says_with(&world, "service:dump blog", b"");
    assert!(dump.status.success() && dump.stdout.starts_with(b"PGDMP"), "{}", text(&dump));
    sql(&world, "blog", "INSERT INTO visits DEFAULT VALUES; CREATE TABLE later (id int)");
    add_object("later");
    let size = dump.stdout.len();
    for end in [size / 2, size - 300, size - 40] {
        let half = says_with(&world, "service:restore blog", &dump.stdout[..end]);
        assert!(!half.status.success(), "a damaged dump: {}", text(&half));
        assert_eq!((world.page("blog").as_str(), has_objects(2)), ("2\n", true), "{end} of {size} bytes");
    }
    let back = says_with(&world, "service:restore blog", &dump.stdout);
    assert!(back.status.success(), "{}", text(&back));
    assert_eq!((world.page("blog").as_str(), has_objects(1)), ("1\n", true));
    assert!(sql(&world, "blog", "SELECT * FROM later").contains("does not exist"));

    // Unbound, the data is kept; bound again, it is there.
    says(&world, "laptop", "service:unbind postgres blog", 0);
    assert!(!says(&world, "laptop", "config blog", 0).contains("DATABASE_URL"));
    assert!(says(&world, "laptop", "service:list", 0).contains("blog (unbound, data kept)"));
    says(&world, "laptop", "service:bind postgres blog", 0);
    assert_eq!(world.page("blog"), "1\n");
    says(&world, "laptop", "service:unbind postgres blog", 0);
    says(&world, "laptop", "service:drop postgres blog --confirm blog", 0);
    says(&world, "laptop", "service:bind postgres blog", 0);
    assert!(world.page("blog").contains("does not exist"), "{}", world.page("blog"));
    says(&world, "laptop", "service:unbind postgres blog", 0);
    says(&world, "laptop", "service:destroy postgres --confirm postgres", 0);
    assert_eq!(says(&world, "laptop", "service:list", 0), "");
}

#[test]
fn killed_server_comes_back_with_what_was_committed() {
    let world = with_postgres("");
    says(&world, "laptop", "service:bind postgres blog", 0);
    says(&world, "laptop", "deploy blog", 0);
    for round in 1..=3 {
        sql(&world, "blog", "INSERT INTO visits DEFAULT VALUES");
        let pid = world.ps("postgres")[0]["pid"].as_i64().expect("a pid");
        let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        assert!(killed.expect("kill").success());
        // A dump, and so a backup, waits for it.
        let dump = world.ssh("laptop", "service:dump blog");
        assert!(dump.status.success(), "{}", text(&dump));
        wait_for("the server", || world.page("blog") == format!("{round}\n"));
    }
    // A deploy while it restarts.
    says(&world, "laptop", "restart postgres", 0);
    wait_for("the server", || world.page("blog") == "3\n");
    says(&world, "laptop", "stop postgres", 0);
    assert!(world.page("blog").contains("refused"), "{}", world.page("blog"));
    assert!(says(&world, "laptop", "service:bind postgres other", 1).contains("postgres is stopped"));
    assert!(says(&world, "laptop", "service:dump blog", 1).contains("postgres is stopped"));
    says(&world, "laptop", "start postgres", 0);
    wait_for("the server", || world.page("blog") == "3\n");
}

#[test]
fn another_app_and_its_key_reach_nothing() {
    let world = with_postgres("");
    says(&world, "laptop", "service:bind postgres blog", 0);
    says(&world, "laptop", "deploy blog", 0);
    sql(&world, "blog", "INSERT INTO visits DEFAULT VALUES");
    world.add_key("guest", &["guest"]);
    let guest = world.repo_with_key("guest", "guest");
    guest.file("Procfile", "web: ./serve\n").program("serve", COUNTS).commit("One").push().succeeds();
    says(&world, "guest", "service:bind postgres guest", 0);

    // With its own password, it neither becomes another role nor connects to another database.
    let port = world.port("postgres");
    for (user, database) in [
        ("app_blog", "app_blog"),
        ("app_guest", "app_blog"),
        ("postgres", "postgres"),
        ("app_guest", "postgres"),
        ("app_guest", "template1"),
    ] {
        let ask = format!(
            "run guest sh -c 'PGPASSWORD=$(echo $DATABASE_URL | cut -d: -f3 | cut -d@ -f1) psql -XqAt -w -h 127.0.0.1 -p {port} -U {user} {database} -c \"SELECT 7\"'"
        );
        let said = says(&world, "guest", &ask, 2);
        assert!(said.contains("FATAL") && !said.contains("7\n"), "{user} {database}: {said}");
    }
    let sees = sql(
        &world,
        "guest",
        "\\! ls /data /app/../data\nCOPY (SELECT 1) TO PROGRAM 'id';\nCREATE ROLE other;\n",
    );
    assert!(!sees.contains("password") && sees.contains("permission denied"), "{sees}");

    // Its key reaches its own bindings only.
    for words in [
        "service:create redis",
        "service:info postgres",
        "service:bind postgres blog",
        "service:unbind postgres blog",
        "service:drop postgres blog --confirm blog",
        "service:console blog",
        "service:dump blog",
        "service:restore blog",
        "service:destroy postgres --confirm postgres",
        "restart postgres",
        "logs postgres",
        "run postgres id",
    ] {
        let said = says(&world, "guest", words, 1);
        assert!(said.contains("may not use") || said.contains("own apps"), "{words}: {said}");
    }
    let list = says(&world, "guest", "service:list", 0);
    assert!(list.contains("guest") && !list.contains("blog"), "{list}");
    assert_eq!(world.page("blog"), "1\n");

    // No secret is in a log, a list or a command line.
    let config = says(&world, "laptop", "config:get blog DATABASE_URL", 0);
    let password = config.split([':', '@']).nth(2).expect("a password");
    assert_eq!(password.len(), 48, "{config}");
    for words in [
        "logs postgres",
        "logs blog",
        "ps",
        "service:list --format json",
        "service:info postgres --format json",
        "releases:info blog",
    ] {
        assert!(!says(&world, "laptop", words, 0).contains(password), "{words}");
    }
}

#[test]
fn interrupted_binding_is_undone_by_the_next_command() {
    let world = with_postgres("");
    let state = world.root().join("services/postgres/state.json");
    let write = |text: &str| {
        std::fs::write(&state, text).expect("the state");
    };
    let read = || std::fs::read_to_string(&state).expect("the state");
    says(&world, "laptop", "service:bind postgres blog", 0);
    // As if it had been killed after the release, before it wrote that it was done.
    write(&read().replace("\"bound\"", "\"creating\""));
    let said = says(&world, "laptop", "service:bind postgres blog", 0);
    assert!(said.contains("finished the interrupted binding"), "{said}");
    assert!(read().contains("\"bound\""), "{}", read());
    // And before the release.
    says(&world, "laptop", "config:unset blog DATABASE_URL", 0);
    write(&read().replace("\"bound\"", "\"creating\""));
    let said = says(&world, "laptop", "service:bind postgres blog --as REPORTS", 0);
    assert!(said.contains("undid the interrupted binding"), "{said}");
    assert!(says(&world, "laptop", "config:get blog REPORTS_URL", 0).contains("/app_blog__reports"));
    // While it was taken away.
    write(&read().replace("\"bound\"", "\"unbinding\""));
    says(&world, "laptop", "service:unbind postgres blog", 0);
    says(&world, "laptop", "config:get blog REPORTS_URL", 1);
    // An app that does not come up with it is not bound.
    let repo = world.repo("broken");
    repo.file("Procfile", "web: ./serve\n").program(
        "serve",
        COUNTS.replace(
            "import http.server, os, subprocess",
            "import http.server, os, subprocess, sys\nif 'DATABASE_URL' in os.environ: sys.exit('no')",
        ),
    );
    repo.commit("One").push().succeeds();
    let said = says(&world, "laptop", "service:bind postgres broken", 1);
    assert!(said.contains("broken is not bound to postgres"), "{said}");
    assert!(!read().contains("broken"), "{}", read());
    // Bad input.
    assert!(says(&world, "laptop", "service:bind mysql blog", 1).contains("there is no service 'mysql'"));
    assert!(
        says(&world, "laptop", "service:create oracle", 1).contains("there is no kind of service 'oracle'")
    );
    assert!(says(&world, "laptop", "service:dump blog", 1).contains("is bound to no service"));
    says(&world, "laptop", "config:set blog DATABASE_URL=mine", 0);
    assert!(says(&world, "laptop", "service:bind postgres blog", 1).contains("has DATABASE_URL already"));
}

#[test]
fn app_with_its_own_network_reaches_its_database() {
    let world = World::with_settings("network: own\n");
    if !world.command("test").args(["-w", "/dev/net/tun"]).status().expect("test").success() {
        return skip("an app with its own network: the account of the tests may not open /dev/net/tun");
    }
    drop(world);
    let world = with_postgres("network: own\n");
    says(&world, "laptop", "service:bind postgres blog", 0);
    says(&world, "laptop", "deploy blog", 0);
    assert_eq!(world.page("blog"), "0\n");
}
