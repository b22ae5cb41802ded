//! Backups of apps that are bound to services, and the way back.

use std::fs;
use std::process::Command;

use piku_tests::snapshot::text;
use piku_tests::world::World;

use crate::postgres::{sql, with_postgres};
use crate::{key_says_with, says, says_with};

/// A world with an app whose database has two rows, and its backup.
fn saved() -> (World, Vec<u8>) {
    let world = with_postgres("");
    says(&world, "laptop", "service:bind postgres blog", 0);
    says(&world, "laptop", "deploy blog", 0);
    sql(&world, "blog", "INSERT INTO visits DEFAULT VALUES; INSERT INTO visits DEFAULT VALUES");
    let out = says_with(&world, "backup blog", b"");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    (world, out.stdout)
}

fn restores(world: &World, words: &str, whole: &[u8], code: i32) -> String {
    let out = says_with(world, words, whole);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(code), "{words}: {said}\n{}", world.logs());
    said
}

#[test]
fn rows_come_back_after_their_database_was_dropped() {
    let (world, whole) = saved();
    let listed = restores(&world, "backup:verify", &whole, 0);
    assert!(listed.contains("apps/blog/services/DATABASE.dump"), "{listed}");
    let url = || says(&world, "laptop", "config:get blog DATABASE_URL", 0);
    let old = url();

    // The database is dropped, and the app destroyed.
    says(&world, "laptop", "service:unbind postgres blog", 0);
    says(&world, "laptop", "service:drop postgres blog --confirm blog", 0);
    says(&world, "laptop", "destroy blog --confirm blog --now", 0);
    restores(&world, "restore blog", &whole, 0);
    assert_eq!(world.page("blog"), "2\n");
    assert_ne!(url(), old, "the password is a new one");
    let releases = says(&world, "laptop", "releases blog --format json", 0);
    assert_eq!(releases.matches("\"commit\"").count(), 1, "{releases}");

    // The database was kept, and has gone on since the backup.
    sql(&world, "blog", "INSERT INTO visits DEFAULT VALUES");
    assert_eq!(world.page("blog"), "3\n");
    says(&world, "laptop", "destroy blog --confirm blog --now", 0);
    restores(&world, "restore blog", &whole, 0);
    assert_eq!(world.page("blog"), "2\n");

    // Another name gets a database of its own.
    restores(&world, "restore blog --as shop", &whole, 0);
    sql(&world, "shop", "INSERT INTO visits DEFAULT VALUES");
    assert_eq!((world.page("blog"), world.page("shop")), ("2\n".to_owned(), "3\n".to_owned()));

    // A server that does not run: nothing is half saved or half restored.
    says(&world, "laptop", "stop postgres", 0);
    assert!(says(&world, "laptop", "backup blog", 1).contains("postgres is stopped"));
    assert!(restores(&world, "restore blog --as third", &whole, 1).contains("postgres is stopped"));
    assert!(!world.app("third").exists());
    says(&world, "laptop", "start postgres", 0);

    // Its server is gone as well.
    for app in ["blog", "shop"] {
        says(&world, "laptop", &format!("service:unbind postgres {app}"), 0);
    }
    says(&world, "laptop", "service:destroy postgres --confirm postgres", 0);
    says(&world, "laptop", "destroy blog --confirm blog --now", 0);
    let told = restores(&world, "restore blog", &whole, 0);
    assert!(told.contains("with a new service postgres"), "{told}");
    assert_eq!(world.page("blog"), "2\n");
}

#[test]
fn rows_come_back_on_another_machine() {
    let (old, whole) = saved();
    drop(old);
    let new = World::new();
    new.add_key("guest", &["blog"]);
    let told = restores(&new, "restore --dry-run", &whole, 0);
    assert!(told.contains("with a new service postgres") && !new.root().join("services/postgres").exists());
    let refused = key_says_with(&new, "guest", "restore blog", &whole);
    assert!(text(&refused).contains("a key that is limited to apps makes none"), "{}", text(&refused));
    assert!(!refused.status.success() && !new.app("blog").exists());

    restores(&new, "restore blog --skip-deploy", &whole, 0);
    // As if it had been killed before the service had the data.
    let aside = new.app("blog").join("restoring");
    assert!(!aside.exists());
    let dump = says_with(&new, "service:dump blog", b"").stdout;
    sql(&new, "blog", "DELETE FROM visits");
    fs::create_dir(&aside).expect("the folder");
    fs::write(aside.join("DATABASE.dump"), &dump).expect("the dump");
    let list = r#"[{"variable":"DATABASE","service":"postgres","kind":"postgres","version":"1","variables":["DATABASE_URL"]}]"#;
    fs::write(aside.join("services.json"), list).expect("the list");
    let owner = format!("--reference={}", new.app("blog").display());
    let mut chown = Command::new("chown");
    assert!(chown.args(["-R", &owner]).arg(&aside).status().expect("chown").success());
    let refused = says(&new, "laptop", "deploy blog", 1);
    assert!(refused.contains("piku restore blog --kept"), "{refused}");
    says(&new, "laptop", "restore blog --kept", 0);
    assert_eq!(new.page("blog"), "2\n");
    assert!(!aside.exists());

    // With the service there, also a key of this app alone restores it; and without its data, an app lacks the address.
    says(&new, "laptop", "destroy blog --confirm blog --now", 0);
    let back = key_says_with(&new, "guest", "restore blog", &whole);
    assert!(back.status.success(), "{}", text(&back));
    assert_eq!(new.page("blog"), "2\n");
    restores(&new, "restore blog --as bare --without-services", &whole, 0);
    says(&new, "laptop", "config:get bare DATABASE_URL", 1);
}
