//! The kind of docs/services.md, as it is written there.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use piku_tests::snapshot::text;
use piku_tests::tools::repository;
use piku_tests::world::World;

use crate::{says, says_with};

#[test]
fn documented_kind_works() {
    let world = World::new();
    let folder = world.root().join("services.d/memcached");
    fs::create_dir_all(&folder).expect("the kind");
    let page = fs::read_to_string(repository().join("docs/services.md")).expect("the page");
    let mut names = Vec::new();
    for block in page.split("```").skip(1).step_by(2) {
        let body = block.split_once('\n').expect("a block").1;
        let title = body.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default();
        let title = title.split(':').next().unwrap_or_default();
        for name in title
            .split(" and ")
            .filter(|name| ["kind.yaml", "versions", "start", "bind", "unbind", "drop"].contains(name))
        {
            let file = folder.join(name);
            fs::write(&file, body).expect(name);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect(name);
            names.push(name.to_owned());
        }
    }
    assert_eq!(names, ["kind.yaml", "versions", "start", "bind", "unbind", "drop"]);

    says(&world, "laptop", "service:create memcached", 0);
    world.repo("blog").serves("x\n").commit("One").push().succeeds();
    says(&world, "laptop", "service:bind memcached blog", 0);
    let url = says(&world, "laptop", "config:get blog MEMCACHED_URL", 0);
    let mut server = TcpStream::connect(url.trim().trim_start_matches("memcached://")).expect("a server");
    server.write_all(b"version\r\n").expect("a question");
    let mut answer = [0; 8];
    server.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"VERSION ");
    let refused = says(&world, "laptop", "service:dump blog", 1);
    assert!(refused.contains("has no 'dump'"), "{refused}");
    // It is a cache: a backup has the binding alone.
    let whole = says_with(&world, "backup blog", b"");
    assert!(whole.status.success(), "{}", text(&whole));
    let told = says_with(&world, "restore blog --as shop", &whole.stdout);
    assert!(told.status.success() && text(&told).contains("is a cache, and begins empty"), "{}", text(&told));
    assert!(says(&world, "laptop", "config:get shop MEMCACHED_URL", 0).starts_with("memcached://"));
    // One whose data may not be lost, and cannot be saved.
    let about = fs::read_to_string(folder.join("kind.yaml")).expect("the kind");
    fs::write(folder.join("kind.yaml"), about.replace("cache: true\n", "")).expect("the kind");
    let refused = says(&world, "laptop", "backup blog", 1);
    assert!(
        refused.contains("memcached has no 'dump'") && refused.contains("--without-services"),
        "{refused}"
    );
    let without = says_with(&world, "backup blog --without-services", b"");
    assert!(without.status.success(), "{}", text(&without));

    // With other apps, what can be saved of it is, and so are they. The dump is missing, or fails in the middle.
    says(&world, "laptop", "service:unbind memcached-shop shop", 0);
    for (dump, reason) in
        [(None, "has no 'dump'"), (Some("printf half; exit 3"), "'dump' of memcached failed for blog")]
    {
        if let Some(dump) = dump {
            for (name, script) in [("dump", dump), ("restore", "cat >/dev/null")] {
                fs::write(folder.join(name), format!("#!/bin/sh\n{script}\n")).expect(name);
                fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).expect(name);
            }
            let alone = says_with(&world, "backup blog", b"");
            assert_eq!(alone.status.code(), Some(1), "{}", text(&alone));
            let refused = says_with(&world, "restore blog --as other", &alone.stdout);
            let told = text(&refused);
            assert!(
                told.contains("blog is not restored: the backup lacks the data of MEMCACHED_URL"),
                "{told}"
            );
            assert!(!refused.status.success() && !world.app("other").exists());
            let restored = says_with(&world, "restore blog --as other --without-services", &alone.stdout);
            assert!(restored.status.success() && world.page("other") == "x\n", "{}", text(&restored));
        }
        let all = says_with(&world, "backup --all", b"");
        assert_eq!(all.status.code(), Some(1), "{}", text(&all));
        let told = String::from_utf8_lossy(&all.stderr).into_owned();
        let line =
            told.lines().find(|line| line.contains("blog: the backup lacks the data of MEMCACHED_URL: "));
        assert!(line.is_some_and(|line| line.contains(reason)), "{told}");
        let verified = says_with(&world, "backup:verify", &all.stdout);
        assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
        says(&world, "laptop", "destroy shop --confirm shop --now", 0);
        let restored = says_with(&world, "restore shop", &all.stdout);
        assert!(restored.status.success() && world.page("shop") == "x\n", "{}", text(&restored));
    }

    says(&world, "laptop", "service:unbind memcached blog", 0);
    says(&world, "laptop", "config:get blog MEMCACHED_URL", 1);
    says(&world, "laptop", "service:destroy memcached --confirm memcached", 0);
}
