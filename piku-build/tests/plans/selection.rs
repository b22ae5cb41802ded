//! The programs of Go apps: those that Heroku's settings select, and those without a module.

use piku_tests::snapshot::{file, str};

use crate::support::World;
use crate::{check_all, check_words, has_programs};

const MAIN: &str = "package main\n\nfunc main() {}\n";

#[test]
fn programs_are_selected_by_folder_and_by_import_path() {
    if !has_programs("go programs", &["go"]) {
        return;
    }
    let app = |install: &str| {
        World::new(&[
            (
                "go.mod",
                &format!(
                    "// +heroku goVersion go1.x\n// +heroku install {install}\nmodule example.org/shop\n"
                ),
            ),
            ("main.go", MAIN),
            ("cmd/web/main.go", MAIN),
            ("cmd/tool/main.go", MAIN),
        ])
    };
    check_all(
        &[&app("example.org/shop/cmd/web"), &app(". ./cmd/..."), &app("./cmd/none")],
        file!["words/programs_are_selected_by_folder_and_by_import_path.txt"],
    );
    let plan = app("./cmd/web example.net/migrate/v4/cmd/migrate").run(&["plan", "app"]);
    assert!(
        plan.good(&[]).stdout.contains("-o bin/ ./cmd/web example.net/migrate/v4/cmd/migrate\n"),
        "{plan}"
    );
}

#[test]
fn an_app_without_a_module_has_the_name_that_it_is_started_by() {
    if !has_programs("go without a module", &["go"]) {
        return;
    }
    check_words(
        &World::new(&[("web.go", MAIN), ("Procfile", "web: web\n")]),
        str![[r#"
exit 0
runtime  go [VERSION] (the machine's go)
because  there is web.go, and no go.mod: no dependencies
process  web: web (Procfile)

"#]],
    );
    let old = [("web.go", MAIN), (".godir", "example.org/old/shop\n")];
    check_words(
        &World::new(&old),
        str![[r#"
exit 0
runtime  go [VERSION] (the machine's go)
because  there is a .godir
process  web: bin/shop (go)

"#]],
    );
    let world = World::new(&old);
    world.write("lib/lib.go", "package lib\n");
    let plan = world.run(&["plan", "app"]);
    assert!(plan.good(&[]).stdout.contains("mod init example.org/old/shop\n"), "{plan}");
}

#[test]
fn programs_of_a_workspace() {
    if !has_programs("a Go workspace", &["go"]) {
        return;
    }
    let world = World::new(&[
        ("go.work", "// +heroku install ./api/...\ngo 1.18\n\nuse (\n\t.\n\t./api\n)\n"),
        ("go.mod", "module example.org/site\n\ngo 1.18\n"),
        ("main.go", MAIN),
        ("api/go.mod", "module example.org/api\n\ngo 1.18\n"),
        ("api/cmd/serve/main.go", MAIN),
    ]);
    check_words(
        &world,
        str![[r#"
exit 0
runtime  go [VERSION] (go in go.work)
because  there is a go.work
process  web: bin/serve (go)

"#]],
    );
    world.write("go.work", "go 1.18\n\nuse (\n\t.\n\t./api\n)\n");
    check_words(
        &world,
        str![[r#"
exit 0
runtime  go [VERSION] (go in go.work)
because  there is a go.work
process  web: bin/site (go)

"#]],
    );
}

#[test]
fn dependencies_of_tools_before_modules_are_named() {
    if !has_programs("old dependencies of Go", &["go"]) {
        return;
    }
    let app = |file: &str| World::new(&[("main.go", "package main\n\nfunc main() {}\n"), (file, "")]);
    let worlds = ["Godeps/Godeps.json", "Gopkg.toml", "glide.yaml", "vendor/vendor.json"].map(app);
    let modern = app("Gopkg.toml");
    modern.write("go.mod", "module example.org/shop\n\ngo 1.18\n");
    let worlds: Vec<_> = worlds.iter().chain([&modern]).collect();
    check_all(&worlds, file!["words/dependencies_of_tools_before_modules_are_named.txt"]);
}
