//! Debian's `MariaDB`, in the jail.

use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::{says, says_with};

/// Serves the number of rows of a table. It speaks to the server with its client, which the jail shows, as any driver would:
/// through `DATABASE_URL`.
const COUNTS: &str = r#"#!/usr/bin/python3
import http.server, os, subprocess, urllib.parse
at = urllib.parse.urlparse(os.environ.get("DATABASE_URL", ""))
os.environ["MYSQL_PWD"] = at.password or ""
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ask = ["mariadb", "--no-defaults", "-N", "-h", str(at.hostname), "-P", str(at.port), "-u", str(at.username)]
        out = subprocess.run(ask + [at.path[1:], "-e", "SELECT count(*) FROM visits"], capture_output=True, text=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write((out.stdout + out.stderr).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"#;

/// Parts of a database that a dump brings back beside the rows.
const SCHEMA: &str = "CREATE TABLE visits (id int AUTO_INCREMENT PRIMARY KEY, note text);
CREATE TABLE pages (id int PRIMARY KEY, visit int, FOREIGN KEY (visit) REFERENCES visits (id));
CREATE TABLE counts (total int);
CREATE TRIGGER counted AFTER INSERT ON visits FOR EACH ROW UPDATE counts SET total = total + 1;
CREATE VIEW latest AS SELECT max(id) AS id FROM visits;
CREATE PROCEDURE visit() INSERT INTO visits (note) VALUES ('called');
INSERT INTO counts VALUES (0);
INSERT INTO visits (note) VALUES ('na\u{ef}ve \u{1F600}; \\\\ ''quoted''');
INSERT INTO pages VALUES (1, 1);
";

/// Runs SQL with the rights of an app.
fn sql(world: &World, app: &str, statements: &str) -> String {
    let out = says_with(world, &format!("service:console {app}"), statements.as_bytes());
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

fn restore(world: &World, app: &str, dump: &[u8]) -> (bool, String) {
    let out = says_with(world, &format!("service:restore {app}"), dump);
    (out.status.success(), text(&out))
}

#[test]
fn database_follows_its_app_through_its_life() {
    let world = World::new();
    let made = says(&world, "laptop", "service:create mariadb", 0);
    assert!(made.contains("mariadb runs, at 127.0.0.1:"), "{made}");
    let repo = world.repo("blog");
    repo.file("Procfile", "web: ./serve\n").program("serve", COUNTS).commit("One").push().succeeds();
    let bound = says(&world, "laptop", "service:bind mariadb blog", 0);
    assert!(bound.contains("blog is bound to mariadb: DATABASE_URL"), "{bound}");
    let url = says(&world, "laptop", "config:get blog DATABASE_URL", 0);
    assert!(url.starts_with("mysql://app_blog:") && url.trim().ends_with("/app_blog"), "{url}");
    assert_eq!(sql(&world, "blog", SCHEMA), "");
    assert_eq!(world.page("blog"), "1\n");

    // A dump and the way back, as a whole or not at all.
    let dump = says_with(&world, "service:dump blog", b"");
    assert!(dump.status.success(), "{}", text(&dump));
    let dump = dump.stdout;
    assert_eq!(sql(&world, "blog", "CALL visit(); CREATE TABLE later (id int); DROP VIEW latest;"), "");
    let mut bad = dump.clone();
    bad.splice(dump.len() - 30..dump.len() - 30, *b"\nSELECT broken FROM nowhere;\n");
    // Those that name the database of the app itself, by a statement or by a command of the client.
    let named = [&b"USE `app_blog`;\n"[..], &dump].concat();
    let made = [&b"/*!40000 DROP DATABASE IF EXISTS `app_blog`*/;\n"[..], &dump].concat();
    let chosen = [&b"\\u app_blog\n"[..], &dump].concat();
    let parts = [&dump[..dump.len() / 2], &dump[..dump.len() - 60]];
    for damaged in parts.into_iter().chain([&bad[..], &named, &made, &chosen, b""]) {
        let (is_good, said) = restore(&world, "blog", damaged);
        let why = if damaged.is_empty() {
            "which is empty; nothing was changed"
        } else {
            "the dump is not restored"
        };
        assert!(!is_good && said.contains(why), "{said}");
        assert_eq!(world.page("blog"), "2\n");
        assert_eq!(sql(&world, "blog", "SELECT total FROM counts; SELECT * FROM later"), "total\n2\n");
    }
    // A view whose table is gone.
    assert_eq!(sql(&world, "blog", "CREATE VIEW invalid AS SELECT * FROM later; DROP TABLE later"), "");
    let said = text(&says_with(&world, "service:dump blog", b""));
    assert!(said.contains("app_blog.invalid") && said.contains("changed or dropped first"), "{said}");
    for _ in 0..2 {
        let (is_good, said) = restore(&world, "blog", &dump);
        assert!(is_good, "{said}");
        assert_eq!(world.page("blog"), "1\n");
    }
    for gone in ["later", "invalid"] {
        assert!(sql(&world, "blog", &format!("SELECT * FROM {gone}")).contains("doesn't exist"));
    }
    let told =
        sql(&world, "blog", "CALL visit(); SELECT total, id FROM counts, latest; SELECT note FROM visits");
    assert_eq!(told, "total\tid\n2\t2\nnote\nna\u{ef}ve \u{1F600}; \\\\ 'quoted'\ncalled\n");
    assert!(sql(&world, "blog", "INSERT INTO pages VALUES (2, 9)").contains("foreign key constraint fails"));
    assert_eq!(sql(&world, "blog", "SHOW DATABASES").matches("blog").count(), 1);

    // That of another app.
    says(&world, "laptop", "service:bind mariadb shop", 0);
    let (is_good, said) = restore(&world, "shop", &dump);
    assert!(is_good, "{said}");
    assert_eq!(sql(&world, "shop", "CALL visit(); SELECT total FROM counts"), "total\n2\n");

    // Killed, the server comes back with what was committed.
    let pid = world.ps("mariadb")[0]["pid"].as_i64().expect("a pid");
    let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(killed.expect("kill").success());
    wait_for("the server", || world.page("blog") == "2\n");

    // Unbound, the data is kept; bound again, it is there; dropped, it is not.
    says(&world, "laptop", "service:unbind mariadb blog", 0);
    says(&world, "laptop", "service:bind mariadb blog", 0);
    assert_eq!(world.page("blog"), "2\n");
    says(&world, "laptop", "service:unbind mariadb blog", 0);
    says(&world, "laptop", "service:drop mariadb blog --confirm blog", 0);
    says(&world, "laptop", "service:bind mariadb blog", 0);
    assert!(world.page("blog").contains("doesn't exist"), "{}", world.page("blog"));
}

#[test]
fn another_app_reaches_nothing() {
    let world = World::new();
    says(&world, "laptop", "service:create mariadb", 0);
    // The second name is a pattern that the first one fits, for a server that takes '_' as a wildcard.
    for app in ["a1b", "a-b"] {
        says(&world, "laptop", &format!("service:bind mariadb {app}"), 0);
    }
    assert_eq!(sql(&world, "a1b", "CREATE TABLE visits (id int); INSERT INTO visits VALUES (7)"), "");
    for statement in [
        "SELECT * FROM app_a1b.visits",
        "CREATE DATABASE new_a1b",
        "DROP DATABASE app_a1b",
        "SELECT * FROM mysql.global_priv",
        "CREATE USER other",
        "GRANT ALL ON app_a_b.* TO app_a1b@'127.0.0.1'",
        "SELECT 1 INTO OUTFILE '/tmp/seven'",
        "SET GLOBAL max_connections = 1",
        "INSTALL SONAME 'auth_socket'",
    ] {
        let said = sql(&world, "a-b", statement);
        assert!(said.contains("denied"), "{statement}: {said}");
    }
    let sees = sql(&world, "a-b", "SHOW DATABASES; SHOW PROCESSLIST; SELECT user(); \\! ls /data");
    assert!(!sees.contains("a1b") && !sees.contains("password"), "{sees}");
    let port = world.port("mariadb");
    for user in ["app_a1b", "admin", "root", "mariadb.sys", "''"] {
        let out = std::process::Command::new("mariadb")
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-e", "SELECT 7"])
            .args([format!("-P{port}"), format!("-u{user}")])
            .output()
            .expect("mariadb");
        assert!(!out.status.success() && text(&out).contains("Access denied"), "{user}: {}", text(&out));
    }

    // A transaction in two phases outlives its connection, and holds its locks.
    let held = sql(&world, "a1b", "XA START 'x'; INSERT INTO visits VALUES (8); XA END 'x'; XA PREPARE 'x'");
    assert_eq!(held, "");
    says(&world, "laptop", "service:unbind mariadb a1b", 0);
    says(&world, "laptop", "service:drop mariadb a1b --confirm a1b", 0);
    assert!(!says(&world, "laptop", "service:list", 0).contains("a1b"));
}
