//! Files that the web server sends for an app, outside of any jail: what a build step or a worker leaves among them.

use std::fs;

use piku_tests::nginx::start_server;
use piku_tests::world::wait_for;

#[test]
fn static_files_do_not_follow_symlinks() {
    let (world, ports) = start_server("");
    let victim = world.repo("victim");
    victim.serves("untouched\n").commit("One").push().succeeds();
    fs::write(world.app("victim").join("data/diary"), "dear diary\n").expect("diary");

    let data = world.app("victim").join("data");
    let data = data.to_str().expect("text");
    let odd = format!(
        "mkdir -p $1; cd $1; ln -s {data}/diary leak; ln -s {data} folder; ln -s /dev/zero zero; mkfifo pipe; echo mine >own\n"
    );
    let repo = world.repo("evil");
    repo.serves("evil\n")
        .file("ENV", "NGINX_SERVER_NAME=evil.test\nNGINX_STATIC_PATHS=/p:public, /d:/data/public\n")
        .program("odd", format!("#!/bin/sh\n{odd}"))
        .file(
            "Procfile",
            "web: ./serve\npreflight: ./odd public\nworker: ./odd /data/public; exec sleep 1000\n",
        )
        .commit("Odd");
    repo.push().succeeds();
    wait_for("the worker's files", || world.app("evil").join("data/public/own").exists());
    for folder in ["/p", "/d"] {
        assert_eq!(ports.get("evil.test", &format!("{folder}/own")).body, "mine\n", "{folder}");
        for name in ["leak", "folder/diary", "folder/", "zero", "pipe"] {
            let got = ports.get("evil.test", &format!("{folder}/{name}"));
            assert!(matches!(got.status, 403 | 404), "{folder}/{name}: {}", got.status);
            assert!(!got.body.contains("dear"), "{folder}/{name}");
        }
    }
}
