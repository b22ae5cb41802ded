//! Names of apps that pass to other apps, whose data must not, and guests that stand in the way.

use piku_tests::world::World;

use crate::postgres::{sql, with_postgres};
use crate::says;

/// Returns the name of an app's database.
fn database(world: &World, app: &str) -> String {
    let url = says(world, "laptop", &format!("config:get {app} DATABASE_URL"), 0);
    url.trim().rsplit('/').next().expect("a name").to_owned()
}

#[test]
fn database_stays_with_its_app_when_names_change() {
    let world = with_postgres("");
    says(&world, "laptop", "service:bind postgres blog", 0);
    sql(&world, "blog", "CREATE TABLE secret (id int)");
    says(&world, "laptop", "rename blog news", 0);
    assert_eq!(database(&world, "news"), "app_blog");

    // The next app of the old name, and of a name that is written alike.
    says(&world, "laptop", "create blog", 0);
    says(&world, "laptop", "service:bind postgres blog", 0);
    assert_eq!(database(&world, "blog"), "app_blog_2");
    assert!(sql(&world, "blog", "SELECT * FROM secret").contains("does not exist"));
    assert!(!sql(&world, "news", "SELECT * FROM secret").contains("does not exist"));
    // The data of a renamed app is there after another binding, under the name that it had.
    says(&world, "laptop", "service:unbind postgres news", 0);
    says(&world, "laptop", "service:bind postgres news", 0);
    assert_eq!(database(&world, "news"), "app_blog");
    assert!(!sql(&world, "news", "SELECT * FROM secret").contains("does not exist"));

    // A copy of the app has no way to the database.
    says(&world, "laptop", "clone news copy --skip-deploy", 0);
    says(&world, "laptop", "config:get copy DATABASE_URL", 1);
    let backup = crate::says_with(&world, "backup news", b"");
    assert!(backup.status.success());
    let restored =
        crate::says_with(&world, "restore news --as other --skip-deploy --without-services", &backup.stdout);
    assert!(restored.status.success(), "{}", piku_tests::snapshot::text(&restored));
    says(&world, "laptop", "config:get other DATABASE_URL", 1);

    // A destroyed app gets it back, and a later one of its name does not.
    says(&world, "laptop", "destroy news --confirm news", 0);
    says(&world, "laptop", "service:console news", 1);
    says(&world, "laptop", "restore news", 0);
    assert!(!sql(&world, "news", "SELECT * FROM secret").contains("does not exist"));
    says(&world, "laptop", "destroy news --confirm news --now", 0);
    assert!(!says(&world, "laptop", "service:list", 0).contains("news"));
    says(&world, "laptop", "create news", 0);
    says(&world, "laptop", "service:console news", 1);
    says(&world, "laptop", "service:bind postgres news", 0);
    assert!(sql(&world, "news", "SELECT * FROM secret").contains("does not exist"));
    // Also while the server is stopped.
    sql(&world, "news", "CREATE TABLE secret (id int)");
    says(&world, "laptop", "stop postgres", 0);
    let said = says(&world, "laptop", "destroy news --confirm news --now", 0);
    assert!(said.contains("the next command on postgres removes the data of news"), "{said}");
    says(&world, "laptop", "create news", 0);
    says(&world, "laptop", "service:console news", 1);
    says(&world, "laptop", "start postgres", 0);
    says(&world, "laptop", "service:bind postgres news", 0);
    assert!(sql(&world, "news", "SELECT * FROM secret").contains("does not exist"));
}

#[test]
fn guest_cannot_keep_its_service_from_others() {
    let world = with_postgres("");
    says(&world, "laptop", "service:bind postgres blog", 0);
    world.add_key("guest", &["guest"]);
    says(&world, "guest", "create guest", 0);
    says(&world, "guest", "service:bind postgres guest", 0);
    // An open transaction that holds the row of its role.
    let held = "BEGIN; ALTER ROLE app_guest PASSWORD 'x'; SELECT 'is held';\n";
    let mut open = world.start_ssh("guest", "service:console guest");
    std::io::Write::write_all(open.stdin.as_mut().expect("stdin"), held.as_bytes()).expect("SQL");
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(open.stdout.take().expect("stdout"));
    while !said.contains("is held") {
        let length = std::io::BufRead::read_line(&mut lines, &mut said).expect("a line");
        assert!(length > 0, "{said}");
    }
    says(&world, "laptop", "service:unbind postgres guest", 0);
    drop(open.stdin.take());
    open.wait().expect("ssh");

    // A database that is a template, closed and read-only, and rights that others have in it.
    says(&world, "guest", "service:bind postgres guest", 0);
    sql(
        &world,
        "guest",
        "GRANT CONNECT ON DATABASE app_guest TO app_blog; CREATE TABLE trap (id int); GRANT SELECT ON trap TO app_blog;
         ALTER DATABASE app_guest IS_TEMPLATE true; ALTER DATABASE app_guest SET default_transaction_read_only = on;",
    );
    says(&world, "laptop", "service:unbind postgres blog", 0);
    says(&world, "laptop", "service:drop postgres blog --confirm blog", 0);
    says(&world, "laptop", "service:bind postgres blog", 0);
    sql(
        &world,
        "guest",
        "SET default_transaction_read_only = off; GRANT CONNECT ON DATABASE app_guest TO app_blog; ALTER DATABASE app_guest ALLOW_CONNECTIONS false",
    );
    says(&world, "laptop", "service:unbind postgres blog", 0);
    says(&world, "laptop", "service:drop postgres blog --confirm blog", 0);
    says(&world, "laptop", "service:bind postgres blog", 0);

    // What is interrupted of one app is no business of a key of another.
    let state = world.root().join("services/postgres/state.json");
    let text = std::fs::read_to_string(&state).expect("the state");
    let mut parsed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for one in parsed["bindings"].as_array_mut().expect("bindings") {
        if one["app"] == "blog" {
            one["state"] = "unbinding".into();
        }
    }
    std::fs::write(&state, parsed.to_string()).expect("the state");
    let said = says(&world, "guest", "service:unbind postgres guest", 0);
    assert!(!said.contains("blog"), "{said}");
    says(&world, "laptop", "config:get blog DATABASE_URL", 0);
    says(&world, "guest", "service:drop postgres guest --confirm guest", 0);
    let said = says(&world, "laptop", "service:bind postgres guest", 0);
    assert!(said.contains("finished the interrupted unbinding of blog"), "{said}");
    says(&world, "laptop", "config:get blog DATABASE_URL", 1);
}
