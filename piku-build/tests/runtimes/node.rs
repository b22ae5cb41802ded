//! Node apps with real dependencies from the real registry, built, and run as their workers are.

use std::fs;
use std::os::unix::fs::MetadataExt;

use piku_tests::snapshot::{assert_redacted, str};

use crate::support::World;

/// A lock file as npm writes it, for one dependency without dependencies of its own.
const LOCK: &str = r#"{"name":"a","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{
"":{"name":"a","version":"1.0.0","dependencies":{"ms":"2.1.3"},"devDependencies":{"is-number":"7.0.0"}},
"node_modules/ms":{"version":"2.1.3"},"node_modules/is-number":{"version":"7.0.0","dev":true}}}"#;

fn package(more: &str) -> String {
    format!(
        r#"{{"name":"a","version":"1.0.0","dependencies":{{"ms":"2.1.3"}},"devDependencies":{{"is-number":"7.0.0"}}{more}}}"#
    )
}

#[test]
fn locked_packages_are_installed_once_and_others_not() {
    let world = World::new(&[
        ("package-lock.json", LOCK),
        ("server.js", "console.log(require('ms')('2 days'), process.env.NODE_ENV)\n"),
    ]);
    world.write("package.json", package(""));
    let plan = world.run(&["plan", "app", "--format", "json"]);
    plan.good(&[]);
    let json: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!((&json["runtime"], &json["version_from"]), (&"node".into(), &"the machine's own".into()));
    assert_eq!(
        (&json["layers"][0]["name"], &json["layers"][0]["hit"]),
        (&"node_modules".into(), &false.into())
    );
    assert!(json["steps"][0]["run"].as_str().unwrap().contains("npm ci '--omit=dev'"), "{json}");
    assert_eq!(json["processes"]["web"], "node server.js");
    assert!(json["processes_from"].as_str().unwrap().contains("server.js"), "{json}");

    world
        .build("1")
        .good(&["-----> Installing dependencies: layer node_modules ", "Process types: web (by default"]);
    assert_eq!(world.work("1", &["node", "server.js"]).good(&[]).stdout, "172800000 production\n");
    // Where there is a jail the layer is shown in its place, and ten releases need no more folders than one.
    let jailed = crate::support::has_jail();
    let modules = || match world.release("1").layers.first() {
        Some(layer) => world.content(&layer.key),
        None => world.path("out/1/app/node_modules"),
    };
    assert!(
        modules().join("ms").exists() && !modules().join("is-number").exists(),
        "only the build would need it"
    );

    // Another script, another page: no other dependency.
    world.write("package.json", package(r#","scripts":{"start":"node main.mjs"}"#));
    world.write("main.mjs", "import ms from 'ms'; console.log('esm', ms(1000))\n");
    world.build("2").good(&["-----> Dependencies are unchanged: layer node_modules "]).not_said("Installing");
    assert_eq!(world.release("2").processes["web"], "node main.mjs");
    assert_eq!(world.work("2", &["node", "main.mjs"]).good(&[]).stdout, "esm 1s\n");
    let release = world.release("2");
    assert_eq!(
        (world.layers().len(), release.layers.len(), release.kept.len()),
        if jailed { (1, 1, 0) } else { (1, 0, 1) }
    );
    let left = fs::read_dir(world.path("out/2/app/node_modules")).unwrap().count();
    assert_eq!(left == 0, jailed);
    if jailed {
        assert_eq!(release.layers[0].mount.to_str(), Some("/app/node_modules"));
        world.run(&["pack", "out/2", "--layers", "cache/layers", "--part", "head"]).good(&[]);
    }

    // What the lock leaves open is nothing: a rebuild takes what is there, and leaves it there.
    let before = world.layers();
    world
        .build_with("3", &["--rebuild", "--before", "out/2"])
        .good(&["-----> Dependencies are unchanged: layer node_modules ", "Nothing has changed"])
        .not_said("Installing");
    assert_eq!((world.outputs().len(), world.layers()), (2, before));

    world.write("package.json", package("").replace("2.1.3", "2.1.2"));
    world.build("3").fails(str![[r#"
piku-build: package-lock.json is out of step with package.json
  Invalid: lock file's ms@2.1.3 does not satisfy ms@2.1.2
hint: run 'npm install' and commit package-lock.json

"#]]);
    assert_eq!((world.outputs(), world.layers().len()), (vec!["1".to_owned(), "2".to_owned()], 1));
}

#[test]
fn the_build_has_what_it_needs_and_the_release_does_not() {
    // NODE_ENV=production would leave out what the build needs.
    let world = World::new(&[
        ("package-lock.json", LOCK),
        ("ENV", "NODE_ENV=production\n"),
        (
            "make.js",
            "require('fs').writeFileSync('made.js', `console.log('made', ${require('is-number')(5)}, require('ms')('1s'))`)\n",
        ),
        (
            "post.js",
            "require('fs').appendFileSync('node_modules/ms/index.js', '\\nconsole.log(\"patched\")\\n')\n",
        ),
    ]);
    let scripts = r#","scripts":{"build":"node make.js","prestart":"true","start":"node made.js"}"#;
    world.write("package.json", package(scripts));
    world.build("1").good(&["added 2 packages", "> node make.js"]);
    assert_eq!(world.release("1").processes["web"], "npm start");
    assert_eq!(world.work("1", &["node", "made.js"]).good(&[]).stdout, "made true 1000\n");
    assert!(!world.path("out/1/app/node_modules/is-number").exists());

    // What the app's own scripts write into a package stays in the release they ran for.
    world.write(
        "package.json",
        package(&scripts.replace(r#""build""#, r#""postinstall":"node post.js","build""#)),
    );
    for release in ["2", "3"] {
        world.build(release).good(&["-----> Dependencies are unchanged"]);
        assert_eq!(world.work(release, &["node", "made.js"]).good(&[]).stdout, "patched\nmade true 1000\n");
    }
    assert_eq!(world.work("1", &["node", "made.js"]).good(&[]).stdout, "made true 1000\n");
    world.write(
        "package.json",
        package(r#","scripts":{"build":"echo the reason; exit 3","start":"node made.js"}"#),
    );
    world.build("4").fails(str![[r#"
piku-build: step 'build' failed with exit code 3

"#]]);
}

#[test]
fn a_build_that_writes_into_its_packages_changes_no_other_release() {
    if !crate::support::has_jail() {
        return;
    }
    let add = |more: &str| {
        format!(
            "const fs = require('fs'), f = 'node_modules/ms/index.js'; {more}fs.appendFileSync(f, '\\nconsole.log(\"patched\")\\n')\n"
        )
    };
    let scripts = r#","scripts":{"build":"node make.js","start":"node run.js"}"#;
    let run = ("run.js", "console.log(require('ms')('1s'))\n");
    // As a build that works by itself would; as one that first makes sure that it may.
    for take in ["", "fs.chmodSync(f, 0o644); "] {
        let world = World::new(&[("package-lock.json", LOCK), ("make.js", "0\n"), run]);
        world.write("package.json", package(scripts));
        world.build("1").good(&[]);
        let says = |release: &str| world.work(release, &["node", "run.js"]).good(&[]).stdout.clone();
        let number = |release: &str| {
            let file = world.path("out").join(release).join("app/node_modules/ms/index.js");
            fs::metadata(file).expect("a package").ino()
        };
        world.write("make.js", add(take));
        world.build("2").good(&["Dependencies are unchanged"]);
        assert_eq!([says("1"), says("2")], ["1000\n", "patched\n1000\n"]);
        world.write("make.js", format!("{}process.exit(3)\n", add(take)));
        world.build("3").fails(str![[r#"
piku-build: step 'build' failed with exit code 3

"#]]);
        world.write("make.js", "0\n");
        world.build("4").good(&[]);
        assert_eq!([says("1"), says("4")], ["1000\n", "1000\n"]);
        assert!(number("1") == number("4") && number("1") != number("2"), "shared when it is the same");
    }
}

#[test]
fn packages_in_the_app_itself_and_a_front_end_that_is_only_built() {
    let world = World::new(&[
        (
            "package.json",
            r#"{"name":"top","private":true,"workspaces":["packages/*"],"scripts":{"build":"node packages/site/build.js"}}"#,
        ),
        (
            "packages/words/package.json",
            r#"{"name":"words","version":"1.0.0","main":"index.js","dependencies":{"ms":"2.1.3"}}"#,
        ),
        ("packages/words/index.js", "module.exports = () => 'for ' + require('ms')(60000)\n"),
        (
            "packages/site/package.json",
            r#"{"name":"site","version":"1.0.0","dependencies":{"words":"1.0.0"}}"#,
        ),
        (
            "packages/site/build.js",
            "const fs = require('fs'); fs.mkdirSync('dist/site/browser', {recursive: true}); fs.writeFileSync('dist/site/browser/index.html', require('words')())\n",
        ),
        ("index.html", "the source\n"),
    ]);
    world.build("1").good(&[
        "there is no lock file: npm installs what package.json allows",
        "Process types: static (by default, from what the build makes)",
    ]);
    assert_eq!(world.release("1").processes["static"], "dist/site/browser");
    assert_eq!(fs::read_to_string(world.path("out/1/app/dist/site/browser/index.html")).unwrap(), "for 1m");
    assert!(!world.path("out/1/app/node_modules").exists(), "nothing of it runs");
    world.write("packages/site/build.js", "console.log('nothing')\n");
    world.build("2").fails(str![[r#"
 !     warning: there is no lock file: npm installs what package.json allows; 'npm install' makes one, commit it
piku-build: the build script succeeded, but made no page to serve: index.html is not in dist, build, out, _site, .output/public, public
hint: a Procfile says where it is ('static: FOLDER') or what to start ('web: node server.js')

"#]]);
}

#[test]
fn the_page_of_a_front_end_is_built_by_vite_and_not_served_as_it_is() {
    let world = World::new(&[
        (
            "package.json",
            r#"{"type":"module","scripts":{"start":"vite preview","build":"vite build"},"devDependencies":{"vite":"7.1.12"}}"#,
        ),
        ("index.html", "<script type=\"module\" src=\"/src/main.ts\"></script>\n"),
        ("src/main.ts", "const words: string = 'by vite'; document.title = words\n"),
    ]);
    world
        .build("1")
        .good(&["> vite build\n", "Process types: static (by default, from what the build makes)"]);
    assert_eq!(world.release("1").processes["static"], "dist");
    let page = fs::read_to_string(world.path("out/1/app/dist/index.html")).unwrap();
    assert!(page.contains("/assets/index-") && !page.contains("main.ts"), "{page}");
    assert!(!world.path("out/1/app/node_modules").exists());
}

#[test]
fn requested_node_version_is_used() {
    let world = World::new(&[("package.json", "{}"), ("server.js", "console.log(process.version)\n")]);
    let world = world.with_own_tools();
    let version = std::process::Command::new("node").arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap().trim().trim_start_matches('v').to_owned();
    let major = version.split('.').next().unwrap();
    world.write(".nvmrc", format!("{major}\n"));
    world.run(&["plan", "app"]).good(&[]);
    assert!(world.run(&["plan", "app"]).stdout.starts_with(&format!("runtime  node {version} (.nvmrc)\n")));
    world.write(".nvmrc", format!("v{major}.0.0\n"));
    world.write("package.json", r#"{"engines":{"node":">=99"}}"#);
    world.run(&["plan", "app"]).good(&[
        &format!("warning: .nvmrc asks for Node v{major}.0.0, which is not on this machine: using the nearest, {version}\n"),
        &format!("warning: engines.node in package.json wants >=99; Node {version} is taken, as .nvmrc says\n"),
    ]);
    world.write(".nvmrc", "twenty\n");
    world.build("1").fails(str![[r#"
piku-build: .nvmrc asks for Node 'twenty': 'twenty' is not a version
hint: examples: 22, 22.x, 20.11.1, >=20, ^20.9 || >=22, lts/*

"#]]);
    // One that the machine has not comes from the registry; one that nobody has is said.
    world.write(".nvmrc", "99\n");
    world.build("1").fails(str![[r#"
 !     warning: there is no lock file: npm installs what package.json allows; 'npm install' makes one, commit it
piku-build: notarget No matching version found for node-linux-[..]@99.
hint: ask for a version that the registry has: 'npm view NAME versions'

"#]]);
    // An old one gets the npm that belongs to it, and what is reported is what runs.
    world.write(".nvmrc", "16\n");
    world.write("package.json", package(""));
    world.write("package-lock.json", LOCK);
    world.write("server.js", "console.log(process.version, require('ms')('1s'))\n");
    let ran = world.build("1");
    ran.good(&["-----> Node 16 (.nvmrc; fetched from the package registry)\n", "       Node v16.20.2\n"]);
    if crate::support::has_jail() {
        let shared = "Installing tools for all apps: layer";
        ran.good(&[&format!("{shared} node "), &format!("{shared} npm ")]);
    }
    assert_eq!(world.release("1").version.as_deref(), Some("16.20.2"));
    assert_eq!(world.work("1", &["node", "server.js"]).good(&[]).stdout, "v16.20.2 1000\n");
    let npm = world.work("1", &["npm", "--version"]);
    assert!(npm.good(&[]).stdout.starts_with("8."), "{npm}");
    let plan = world.run(&["plan", "app", "--layers", "cache/layers"]);
    assert!(plan.good(&[]).stdout.starts_with("runtime  node 16.20.2 (.nvmrc; fetched"), "{plan}");
    // A site that it builds does not need it any more.
    let build = r#"{"scripts":{"build":"mkdir -p dist && node --version >dist/index.html"}}"#;
    world.write("package.json", build);
    world.write("Procfile", "static: dist\n");
    world.build("site").good(&[]).not_said("Needs");
    let site = world.release("site");
    assert_eq!(
        (site.architecture.as_str(), site.layers, site.env["PATH"].contains("/layers/")),
        ("any", vec![], false)
    );
    assert_eq!(fs::read_to_string(world.path("out/site/app/dist/index.html")).unwrap(), "v16.20.2\n");
    fs::remove_file(world.app().join("Procfile")).unwrap();
    world.write("package.json", "{\n  \"name\": \"a\",\n}\n");
    world.build("2").fails(str![[r#"
piku-build: package.json:3:1: trailing comma
hint: 'npm pkg get name' says the same on your machine

"#]]);
}

/// The managers that are not npm come from the registry by npm, each in the version that reads the lock file.
#[test]
fn yarn_and_pnpm() {
    let server = "console.log(require('ms')('1s'))\n";
    let failures = [
        ("yarn.lock", "# yarn lockfile v1\n\n\nms@2.1.3:\n  version \"2.1.3\"\n", "layer yarn "),
        (
            "pnpm-lock.yaml",
            "lockfileVersion: '9.0'\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\nimporters:\n  .:\n    dependencies:\n      ms:\n        specifier: 2.1.3\n        version: 2.1.3\npackages:\n  ms@2.1.3:\n    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}\nsnapshots:\n  ms@2.1.3: {}\n",
            "layer pnpm ",
        ),
    ]
    .map(|(lock, text, said)| {
        let world = World::new(&[
            (lock, text),
            ("server.js", server),
            ("package.json", r#"{"dependencies":{"ms":"2.1.3"}}"#),
        ]);
        world.build("1").good(&[said, "layer node_modules "]);
        assert_eq!(world.work("1", &["node", "server.js"]).good(&[]).stdout, "1000\n");
        world.build("2").good(&["Dependencies are unchanged: layer node_modules "]).not_said("Installing");
        world.write("package.json", r#"{"dependencies":{"ms":"2.1.2"}}"#);
        world.build("3").failure()
    });
    assert_redacted(
        &failures.concat(),
        &[],
        str![[r#"
piku-build: yarn.lock is out of step with package.json
hint: run 'yarn install' and commit yarn.lock
piku-build: pnpm-lock.yaml is out of step with package.json
hint: run 'pnpm install' and commit pnpm-lock.yaml

"#]],
    );
}
