//! Files with nearly the right name.

use piku_tests::snapshot::{file, str};

use crate::support::World;
use crate::{check_all, check_words};

#[test]
fn a_file_with_nearly_the_name_of_a_procfile_is_named() {
    for name in ["procfile", "PROCFILE", "ProcFile", "Procfile.txt"] {
        let said = format!("'{name}' is not read: rename it to 'Procfile'");
        World::new(&[(name, "web: python3 srv.py\n"), ("srv.py", "")]).run(&["detect", "app"]).bad(&[&said]);
        World::new(&[(name, "web: x\n"), ("index.html", "")]).run(&["plan", "app"]).good(&[&said]);
    }
    check_words(
        &World::new(&[("procfile", "web: python3 srv.py\n"), ("srv.py", "")]),
        str![[r#"
exit 1
piku-build: no runtime fits this app, which looks like a Python app ('srv.py'): requirements.txt, or a Procfile beside srv.py, is missing
found at its top: procfile, srv.py
hint: 'procfile' is not read: rename it to 'Procfile'
hint: a Procfile says what to start, such as 'web: python app.py'; dependencies are in requirements.txt

"#]],
    );
    for name in ["env", "Env", ".env", "ENV.txt"] {
        let said = format!(
            "warning: '{name}' is not read: settings that ship with the app stand in a file named ENV"
        );
        World::new(&[(name, "A=1\n"), ("index.html", "")]).run(&["plan", "app"]).good(&[&said]);
    }
    World::new(&[("env/x", ""), ("ENV", ""), ("Procfile.dev", ""), ("index.html", "")])
        .run(&["plan", "app"])
        .good(&[])
        .not_said("is not read");
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
    for (code, name) in [
        ("app.py", "requirments.txt"),
        ("app.rb", "gemfile"),
        ("app.js", "Package.json"),
        ("a.rs", "cargo.toml"),
    ] {
        let world = app(name);
        world.write(code, "");
        world.run(&["plan", "app"]).bad(&[&format!("git mv {name} ")]);
    }
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
