//! Files with nearly the right name.

use piku_tests::snapshot::{assert_redacted, file, str};

use crate::check_all;
use crate::support::World;

#[test]
fn a_file_with_nearly_the_name_of_a_procfile_is_named() {
    let names = ["procfile", "PROCFILE", "ProcFile", "Procfile.txt"];
    let refused = names.map(|name| World::new(&[(name, "web: python3 srv.py\n"), ("srv.py", "")]));
    let warned = names.map(|name| World::new(&[(name, "web: x\n"), ("index.html", "")]));
    let worlds: Vec<_> = refused.iter().chain(&warned).collect();
    check_all(&worlds, file!["words/a_file_with_nearly_the_name_of_a_procfile_is_named.txt"]);
    let mut worlds = Vec::from(
        ["env", "Env", ".env", "ENV.txt"].map(|name| World::new(&[(name, "A=1\n"), ("index.html", "")])),
    );
    worlds.push(World::new(&[("env/x", ""), ("ENV", ""), ("Procfile.dev", ""), ("index.html", "")]));
    check_all(
        &worlds.iter().collect::<Vec<_>>(),
        file!["words/a_file_with_nearly_the_name_of_env_is_named.txt"],
    );
}

#[test]
fn an_app_with_a_procfile_is_not_refused_for_a_resemblance() {
    let app = |name: &str| World::new(&[(name, ""), ("Procfile", "web: ./run\n")]);
    check_all(
        &[
            &app("project.toml"),
            &app("requirments.txt"),
            &app("gemfile"),
            &app("environment.yml"),
            &app("Package.json"),
            &app("cargo.toml"),
        ],
        file!["words/an_app_with_a_procfile_is_not_refused_for_a_resemblance.txt"],
    );
    // With code of the language it is the app that is meant.
    let failures = [
        ("app.py", "requirments.txt"),
        ("app.rb", "gemfile"),
        ("app.js", "Package.json"),
        ("a.rs", "cargo.toml"),
    ]
    .map(|(code, name)| {
        let world = app(name);
        world.write(code, "");
        world.run(&["plan", "app"]).failure()
    });
    assert_redacted(
        &failures.concat(),
        &[],
        str![[r#"
piku-build: this looks like a Python app, but its dependencies are in 'requirments.txt'; expected 'requirements.txt'
hint: git mv requirments.txt requirements.txt
piku-build: this looks like a Ruby app, but its gems are in 'gemfile'; expected 'Gemfile'
hint: git mv gemfile Gemfile
piku-build: this looks like a Node app, but its dependencies are in 'Package.json'; expected 'package.json'
hint: git mv Package.json package.json
piku-build: this looks like a Rust app, but its manifest is 'cargo.toml'; expected 'Cargo.toml'
hint: git mv cargo.toml Cargo.toml

"#]],
    );
}

#[test]
fn hints_are_about_the_language_that_is_there() {
    check_all(
        &[
            &World::new(&[("index.php", ""), ("style.css", "")]),
            &World::new(&[("deno.json", ""), ("main.ts", "")]),
            &World::new(&[("bun.lock", ""), ("index.ts", "")]),
            &World::new(&[("Dockerfile", ""), ("README.md", "")]),
            &World::new(&[("notes", "")]),
            &World::new(&[("deps.edn", ""), ("Procfile", "web: clojure -M -m shop\n")]),
            &World::new(&[
                ("composer.json", ""),
                ("Procfile", "web: vendor/bin/heroku-php-apache2 public\n"),
            ]),
        ],
        file!["words/hints_are_about_the_language_that_is_there.txt"],
    );
    let bun =
        World::new(&[("package.json", r#"{"scripts":{"start":"bun run index.ts"}}"#), ("index.ts", "")]);
    check_all(
        &[&bun, &World::new(&[("Procfile", "web: deno run main.ts\n"), ("main.ts", "")])],
        file!["words/missing_js_runtimes.txt"],
    );
}
