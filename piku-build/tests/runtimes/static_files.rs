//! Files for the web server: what is served, and what must not be.

use piku_tests::snapshot::str;

use crate::support::World;

#[test]
fn a_page_at_the_top_is_served_without_the_settings_beside_it() {
    let world = World::new(&[
        ("index.html", "<script src='app.js'></script>\n"),
        ("app.js", ""),
        ("ENV", "SECRET=1\n"),
        (".env", ""),
        ("img/a.png", ""),
        (".well-known/x", ""),
    ]);
    let plan = world.run(&["plan", "app"]);
    assert!(plan.good(&[]).stdout.contains("process  static: site (index.html)\n"), "{plan}");
    world.build("1").good(&["Process types: static (by default, from index.html)"]);
    assert_eq!(world.release("1").processes["static"], "site");
    let served = crate::support::names(&world.path("out/1/app/site"));
    assert_eq!(served, [".well-known", "app.js", "img", "index.html"]);
    assert_eq!(crate::support::names(&world.path("out/1/app")), [".env", "ENV", "site"]);
}

#[test]
fn the_source_of_a_front_end_is_not_served() {
    let source = "<div id=app></div><script type=module src=\"/src/main.ts\"></script>\n";
    let world = World::new(&[("index.html", source), ("src/main.ts", "")]);
    world.build("1").fails(str![[r#"
piku-build: index.html is the source of a front end: it loads '/src/main.ts', which no browser reads, and nothing here builds it
hint: commit the package.json with its build script; or build it on your machine and commit the folder that it makes

"#]]);
    world.write("dist/index.html", "built");
    world.build("1").good(&["there is dist/index.html"]);
    assert_eq!(world.release("1").processes["static"], "dist");
    world.write("Procfile", "static: pages\n");
    world.build("2").fails(str![[r#"
piku-build: Procfile: static: there is no folder 'pages' in the app
hint: git keeps no empty folders: put a file into it

"#]]);
    world.write("pages/x.txt", "");
    world.build("2").good(&["Static app detected: the Procfile has a line 'static' and nothing that runs"]);
    // A package.json that builds and starts nothing makes no Node app of pages.
    world.write("package.json", r#"{"devDependencies": {"prettier": "3"}}"#);
    world.build("3").good(&["Static app detected"]);
}

#[test]
fn a_misspelt_page() {
    World::new(&[("index.htm", "")]).build("1").fails(str![[r#"
piku-build: this looks like pages for the web server, but the first is 'index.htm'; expected 'index.html'
hint: git mv index.htm index.html

"#]]);
}

#[test]
fn a_staticfile_marks_a_site() {
    let world = World::new(&[("Staticfile", "root: web\n"), ("web/a.html", ""), ("ENV", "")]);
    world.build("1").good(&["Static app detected: there is a Staticfile"]);
    assert_eq!(world.release("1").processes["static"], "web");
    world.write("Staticfile", "");
    world.build("2").good(&[]);
    assert_eq!(world.release("2").processes["static"], "site");
    assert_eq!(crate::support::names(&world.path("out/2/app")), ["ENV", "Staticfile", "site"]);
    assert_eq!(crate::support::names(&world.path("out/2/app/site")), ["web"]);
    world.write("Staticfile", "root: ../outside\n");
    world.build("3").fails(str![[r#"
piku-build: Procfile: static: '../outside': '..' is not allowed

"#]]);
}

#[test]
fn symlinks_among_the_pages_are_named() {
    let world = World::new(&[("index.html", ""), ("a/page.html", ""), (".hidden/x", "")]);
    let link = |name: &str| std::os::unix::fs::symlink("index.html", world.app().join(name)).unwrap();
    link(".hidden/link");
    assert!(!world.run(&["plan", "app"]).stderr.contains("symlink"));
    link("a/old.html");
    world
        .build("1")
        .good(&["'a/old.html' is a symlink, which nginx does not serve: commit the files themselves"]);
    link("b.html");
    link("c.html");
    world.write("Procfile", "static: .\n");
    world
        .build("2")
        .good(&["'a/old.html' and 2 other symlinks are not served by nginx: commit the files themselves"]);
    world.write("Procfile", "static: ./a/\n");
    world
        .build("3")
        .good(&["'old.html' is a symlink, which nginx does not serve: commit the files themselves"]);
}
