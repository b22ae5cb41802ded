//! Debian's Redis, in the jail.

use std::process::Command;

use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::{says, says_with};

/// Runs commands with the rights of an app.
fn redis(world: &World, app: &str, commands: &str) -> String {
    text(&says_with(world, &format!("service:console {app}"), commands.as_bytes()))
}

#[test]
fn server_belongs_to_one_app_and_keeps_its_data() {
    let world = World::new();
    says(&world, "laptop", "service:create redis", 0);
    let repo = world.repo("blog");
    repo.serves("x\n").commit("One").push().succeeds();
    says(&world, "laptop", "service:bind redis blog", 0);
    let url = says(&world, "laptop", "config:get blog REDIS_URL", 0);
    assert!(url.starts_with("redis://app_blog:"), "{url}");
    assert_eq!(
        redis(&world, "blog", "SET a 1\nINCR a\nCONFIG GET dir\nACL LIST\n").matches("NOPERM").count(),
        2
    );

    // Another app is told to have a server of its own.
    let said = says(&world, "laptop", "service:bind redis shop", 1);
    assert!(said.contains("piku service:create redis --name redis-shop"), "{said}");
    // Nobody gets in without the password.
    let port = world.port("redis").to_string();
    for words in
        [&["GET", "a"][..], &["--user", "app_blog", "--pass", "wrong", "--no-auth-warning", "GET", "a"]]
    {
        let out = Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli");
        assert!(text(&out).contains("NOAUTH"), "{}", text(&out));
    }

    let dump = says_with(&world, "service:dump blog", b"");
    assert!(dump.status.success() && dump.stdout.starts_with(b"REDIS"), "{}", text(&dump));
    // And back, as a whole or not at all: also what is binary, expires, or is in another of its databases.
    redis(&world, "blog", "SET a 5\nSET later 1\nSELECT 3\nSET b \"x\\ny\\x00\" EX 1000\nRPUSH list 1 2\n");
    let full = says_with(&world, "service:dump blog", b"").stdout;
    let half = says_with(&world, "service:restore blog", &full[..full.len() - 60]);
    assert!(!half.status.success() && text(&half).contains("is damaged"), "{}", text(&half));
    assert_eq!(redis(&world, "blog", "GET a\n"), "5\n");
    let back = says_with(&world, "service:restore blog", &dump.stdout);
    assert!(back.status.success(), "{}", text(&back));
    assert_eq!(redis(&world, "blog", "GET a\nDBSIZE\nSELECT 3\nDBSIZE\n"), "2\n1\nOK\n0\n");
    let back = says_with(&world, "service:restore blog", &full);
    assert!(back.status.success(), "{}", text(&back));
    assert_eq!(
        redis(&world, "blog", "GET a\nSELECT 3\nSTRLEN b\nLRANGE list 0 -1\nPERSIST b\n"),
        "5\nOK\n4\n1\n2\n1\n"
    );
    redis(&world, "blog", "SET a 2\n");

    // A server for one app is not given to another one: the app of the backup gets its own.
    let whole = says_with(&world, "backup blog", b"");
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    let told = says_with(&world, "restore blog --as copy", &whole.stdout);
    assert!(told.status.success() && text(&told).contains("a new service redis-copy"), "{}", text(&told));
    redis(&world, "blog", "SET a 3\n");
    assert_eq!(redis(&world, "copy", "GET a\n"), "2\n");
    redis(&world, "blog", "SET a 2\n");

    let pid = world.ps("redis")[0]["pid"].as_i64().expect("a pid");
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(killed.expect("kill").success());
    wait_for("the server", || redis(&world, "blog", "GET a\n") == "2\n");

    // A server that does not answer has done nothing.
    let state =
        || std::fs::read_to_string(world.root().join("services/redis/state.json")).expect("the state");
    says(&world, "laptop", "service:unbind redis blog", 0);
    says(&world, "laptop", "stop redis", 0);
    for words in ["service:bind redis blog", "service:drop redis blog --confirm blog"] {
        assert!(says(&world, "laptop", words, 1).contains("redis is stopped"), "{words}");
    }
    assert!(state().contains("\"unbound\""), "{}", state());
    let down = Command::new("sh")
        .args(["-euc", ". \"$KIND/lib.sh\"; as_admin 'ACL SAVE'"])
        .env("KIND", piku_tests::tools::repository().join("scripts/services/redis"))
        .env("DATA_DIR", world.root().join("services/redis/data"))
        .envs([("SERVICE_KIND", "redis"), ("SERVICE_PORT", &port)])
        .output()
        .expect("sh");
    assert!(!down.status.success() && text(&down).contains("gave 0 answers to 1"), "{}", text(&down));
    says(&world, "laptop", "start redis", 0);
    says(&world, "laptop", "service:bind redis blog", 0);
    assert_eq!(redis(&world, "blog", "GET a\n"), "2\n");
    says(&world, "laptop", "service:unbind redis blog", 0);
    says(&world, "laptop", "service:drop redis blog --confirm blog", 0);
    says(&world, "laptop", "service:destroy redis --confirm redis", 0);
}
