//! Files with nearly the right name.

use piku_tests::snapshot::str;

use crate::check_words;
use crate::support::World;

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
    check_words(
        &app("project.toml"),
        str![[r#"
exit 0
runtime  binary
because  there is a Procfile
process  web: ./run (Procfile)

"#]],
    );
    check_words(
        &app("requirments.txt"),
        str![[r#"
exit 0
runtime  binary
because  there is a Procfile
process  web: ./run (Procfile)
 !     warning: 'requirments.txt' is not read: this looks like a Python app, but its dependencies are in 'requirments.txt'; expected 'requirements.txt'

"#]],
    );
    check_words(
        &app("gemfile"),
        str![[r#"
exit 0
runtime  binary
because  there is a Procfile
process  web: ./run (Procfile)
 !     warning: 'gemfile' is not read: this looks like a Ruby app, but its gems are in 'gemfile'; expected 'Gemfile'

"#]],
    );
    check_words(
        &app("environment.yml"),
        str![[r#"
exit 0
runtime  binary
because  there is a Procfile
process  web: ./run (Procfile)
 !     warning: 'environment.yml' is not read: this looks like a Python app, but its dependencies are in 'environment.yml', which conda reads and piku does not; expected 'requirements.txt'

"#]],
    );
    check_words(
        &app("Package.json"),
        str![[r#"
exit 0
runtime  binary
because  there is a Procfile
process  web: ./run (Procfile)
 !     warning: 'Package.json' is not read: this looks like a Node app, but its dependencies are in 'Package.json'; expected 'package.json'

"#]],
    );
    check_words(
        &app("cargo.toml"),
        str![[r#"
exit 0
runtime  binary
because  there is a Procfile
process  web: ./run (Procfile)
 !     warning: 'cargo.toml' is not read: this looks like a Rust app, but its manifest is 'cargo.toml'; expected 'Cargo.toml'

"#]],
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
    check_words(
        &World::new(&[("index.php", ""), ("style.css", "")]),
        str![[r#"
exit 1
piku-build: this is a PHP app ('index.php'), for which piku has no runtime
hint: a Procfile with the line 'web: php -S ${BIND_ADDRESS:-127.0.0.1}:$PORT' runs it by the machine's PHP (apt install php-cli); '-t public' names another folder

"#]],
    );
    check_words(
        &World::new(&[("deno.json", ""), ("main.ts", "")]),
        str![[r#"
exit 1
piku-build: no runtime fits this app, which looks like a Deno app ('deno.json')
found at its top: deno.json, main.ts
hint: with deno in /usr/local/bin, a Procfile with a line such as 'web: deno run --allow-net --allow-env main.ts' starts it

"#]],
    );
    check_words(
        &World::new(&[("bun.lock", ""), ("index.ts", "")]),
        str![[r#"
exit 1
piku-build: no runtime fits this app, which looks like a Bun app ('bun.lock')
found at its top: bun.lock, index.ts
hint: with bun in /usr/local/bin, a Procfile with a line such as 'web: bun run index.ts' starts it; with a package.json, 'npm install bun' makes it a dependency

"#]],
    );
    check_words(
        &World::new(&[("Dockerfile", ""), ("README.md", "")]),
        str![[r#"
exit 1
piku-build: no runtime fits this app, which looks like an app in a container ('Dockerfile')
found at its top: Dockerfile, README.md
hint: a Dockerfile is not read: the files of a language say what to install, and a Procfile says what to start, as CMD does: 'web: COMMAND'

"#]],
    );
    check_words(
        &World::new(&[("notes", "")]),
        str![[r#"
exit 1
piku-build: no runtime fits this app; looked for:
  buildpack: BUILDPACK_URL or a file .buildpacks is missing, and no buildpack of the host detects the app
  python: uv.lock, poetry.lock, Pipfile.lock, requirements.txt, Pipfile, pyproject.toml, setup.py, setup.cfg, or *.py files with a Procfile are missing
  go: go.mod, go.work or *.go files with a 'package main' are missing
  rust: Cargo.toml is missing
  java: pom.xml, build.gradle, build.gradle.kts, a jar or Main.java are missing
  ruby: Gemfile or gems.rb is missing
  node: package.json is missing
  static: index.html at the top or in public, dist, build, _site, out, www, or a Staticfile, is missing
  binary: a Procfile that starts a program or a script, or a start.sh, is missing
found at its top: notes
hint: the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'

"#]],
    );
    let bun =
        World::new(&[("package.json", r#"{"scripts":{"start":"bun run index.ts"}}"#), ("index.ts", "")]);
    check_words(
        &bun,
        str![[r#"
exit 1
piku-build: 'bun run index.ts' starts bun, which is missing on this machine
hint: the operator puts it into /usr/local/bin; or, where there is a package.json, 'npm install bun' makes it a dependency

"#]],
    );
    check_words(
        &World::new(&[("Procfile", "web: deno run main.ts\n"), ("main.ts", "")]),
        str![[r#"
exit 1
piku-build: 'deno run main.ts' starts deno, which is missing on this machine
hint: the operator puts it into /usr/local/bin; or, where there is a package.json, 'npm install deno' makes it a dependency

"#]],
    );
}
