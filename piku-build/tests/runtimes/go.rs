//! Go apps without a module, and of several.

use crate::support::{self, World};

const MAIN: &str =
    "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(hello() + \"\\n\") }\n";

#[test]
fn the_compiled_library_is_shared() {
    if !support::has_jail() {
        return;
    }
    let hello = "package main\n\nfunc hello() string { return \"hello\" }\n";
    let world = World::new(&[("main.go", MAIN), ("hello.go", hello), ("Procfile", "web: ./server\n")]);
    let world = world.with_own_tools();
    let line = "Installing tools for all apps: layer go-std ";
    world.build("1").good(&[line]);
    let tools = support::names(&world.path("tools"));
    assert_eq!(tools.len(), 1, "{tools:?}");
    assert!(world.path("tools").join(&tools[0]).join("complete").exists());
    world.write("hello.go", hello.replace("hello\"", "again\""));
    world.build("2").good(&[]).not_said(line);
    assert_eq!(support::names(&world.path("tools")), tools);
}

#[test]
fn lone_files_and_workspaces() {
    let world = World::new(&[
        ("main.go", MAIN),
        ("hello.go", "package main\n\nfunc hello() string { return \"lone\" }\n"),
        ("hello_test.go", "package main\n"),
        ("page", "kept"),
        ("Procfile", "web: ./server\n"),
    ]);
    world.build("1").good(&["-----> Go app detected: there is hello.go, and no go.mod: no dependencies"]);
    let ran = world.work("1", &["server"]);
    assert_eq!(ran.good(&[]).stdout, "lone\n");
    assert_eq!(crate::support::names(&world.path("out/1/app")), ["Procfile", "bin", "page", "server"]);

    // A workspace: what it uses is built, and the tags of GOFLAGS count when programs are looked for.
    for name in ["main.go", "hello.go", "hello_test.go", "Procfile"] {
        std::fs::remove_file(world.app().join(name)).unwrap();
    }
    for (name, text) in [
        ("go.work", "go 1.18\n\nuse (\n\t./api\n\t./lib // shared\n)\n"),
        ("api/go.mod", "module example.org/api/v2\n\ngo 1.18\n\nrequire example.org/lib v0.0.0\n"),
        ("api/main.go", &format!("//go:build extra\n\n{MAIN}")),
        (
            "api/hello.go",
            "package main\n\nimport \"example.org/lib\"\n\nfunc hello() string { return lib.Hello }\n",
        ),
        ("lib/go.mod", "module example.org/lib\n\ngo 1.18\n"),
        ("lib/lib.go", "package lib\n\nconst Hello = \"work\"\n"),
        ("ENV", "GOFLAGS=-tags=extra\n"),
    ] {
        world.write(name, text);
    }
    world.build("2").good(&["there is a go.work", "Process types: web"]);
    assert_eq!(world.release("2").processes["web"], "bin/api");
    assert_eq!(world.work("2", &["api"]).good(&[]).stdout, "work\n");
    assert_eq!(crate::support::names(&world.path("out/2/app")), ["ENV", "bin", "page"]);

    // From before there were modules: the import path is in a file.
    for name in ["go.work", "api", "lib", "ENV"] {
        let path = world.app().join(name);
        std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path)).unwrap();
    }
    world.write(".godir", "example.org/old/web\n");
    world.write("main.go", MAIN);
    world.write(
        "hello.go",
        "package main\n\nimport \"example.org/old/web/lib\"\n\nfunc hello() string { return lib.Hello }\n",
    );
    world.write("lib/lib.go", "package lib\n\nconst Hello = \"old\"\n");
    world.write("Procfile", "web: web\nworker: go run . once\n");
    world.build("3").good(&["there is a .godir", "the line 'worker: bin/web once' does"]);
    assert_eq!(world.work("3", &["web"]).good(&[]).stdout, "old\n");
    assert_eq!(crate::support::names(&world.path("out/3/app")), ["Procfile", "bin", "page"]);
}
