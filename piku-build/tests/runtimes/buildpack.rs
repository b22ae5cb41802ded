//! Buildpacks: Heroku's classic interface, several of them, from the app, from the host and by git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use piku_tests::snapshot::str;

use crate::support::World;

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    fs::write(path, format!("#!/bin/sh\nset -eu\n{text}\n")).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// A pack that takes an app with the file `marker`.
fn pack(dir: &Path, marker: &str, compile: &str, release: &str) {
    script(&dir.join("bin/detect"), &format!("[ -f \"$1/{marker}\" ] || exit 1\necho A {marker} app"));
    script(&dir.join("bin/compile"), compile);
    script(&dir.join("bin/release"), &format!("printf '{release}'"));
}

const TOOL: &str = "mkdir -p \"$1/bin\" \"$1/.profile.d\"
printf '#!/bin/sh\\necho the tool, with $SETTING\\n' > \"$1/bin/tool\"; chmod +x \"$1/bin/tool\"
echo 'export PATH=/app/bin:$PATH SETTING=\"${SETTING:-profile}\"' > \"$1/.profile.d/tool.sh\"
echo 'export TOOL=/app/bin/tool' > \"$(dirname \"$0\")/../export\"
n=$(cat \"$2/count\" 2>/dev/null || echo 0); echo $((n + 1)) > \"$2/count\"; echo \"compiled $((n + 1)) times\"";

#[test]
fn several_packs_work_one_after_the_other() {
    // Packs write paths below /app into what they make.
    if !crate::support::has_jail() {
        return;
    }
    let world = World::new(&[
        ("marker", ""),
        (".buildpacks", "# two\ntool\n./second\n"),
        ("ENV", "SECRET=s3 c'ret\n"),
    ]);
    let release = "config_vars:\\n  GREETING: hello\\n  LEVEL: 3\\n  RATIO: 0.5\\n  NOTHING:\\n  PATH: /nowhere\\n  NUL: \"a\\\\0\"\\n  no-name: x\\ndefault_process_types:\\n  web: first\\n";
    pack(&world.path("buildpacks/tool"), "marker", TOOL, release);
    let second = "\"$TOOL\"; printf 'exported %s, env %s\\n' \"$TOOL\" \"$(cat \"$3/SECRET\" | wc -c)\"; pwd; echo built > \"$1/made\"";
    pack(
        &world.app().join("second"),
        "marker",
        second,
        "config_vars:\\ndefault_process_types:\\n  web: tool --serve\\n  worker: cat made\\n",
    );
    let ran = world.build_with("1", &["--buildpacks", "buildpacks"]);
    ran.good(&[
        "-----> Buildpack app detected: .buildpacks names tool, second\n",
        "       A marker app\n",
        "       compiled 1 times\n",
        "       exported /app/bin/tool, env 8\n",
        "-----> Process types: web, worker (by default, from bin/release)\n",
    ]);
    ran.not_said("s3 c'ret");
    let release = world.release("1");
    assert_eq!((release.processes["web"].as_str(), release.profile), ("tool --serve", true));
    assert_eq!((release.env["GREETING"].as_str(), release.env["LEVEL"].as_str()), ("hello", "3"));
    assert_eq!((release.env["RATIO"].as_str(), release.env["NOTHING"].as_str()), ("0.5", ""));
    assert!(!release.env.values().any(|value| value == "/nowhere"), "{:?}", release.env);
    assert!(!["no-name", "NUL"].iter().any(|name| release.env.contains_key(*name)), "{:?}", release.env);
    assert!(!crate::support::names(&world.path("out/1/app")).iter().any(|name| name.starts_with(".piku")));
    // A Procfile wins; the cache is kept. What a step names like the output of a third buildpack is none.
    world.write("Procfile", "web: tool\n");
    let stray = "printf 'config_vars: {STRAY: x}' > \"$1/.piku-release-2\"";
    script(&world.app().join("second/bin/compile"), stray);
    world
        .build_with("2", &["--buildpacks", "buildpacks"])
        .good(&["compiled 2 times\n", "Process types: web\n"]);
    assert!(!world.release("2").env.contains_key("STRAY"));
    fs::remove_file(world.app().join("marker")).unwrap();
    world.build_with("3", &["--buildpacks", "buildpacks"]).fails(str![[r#"
piku-build: the buildpack 'tool' does not detect this app
hint: its README says which files it looks for

"#]]);
}

#[test]
fn packs_are_named_by_the_app_or_find_it() {
    let world = World::new(&[("marker", ""), ("Procfile", "web: cat made\n")]);
    pack(&world.path("buildpacks/zebra"), "nothing", "false", "");
    pack(&world.path("buildpacks/mark"), "marker", "echo by $(basename $0) > $1/made", "");
    let with = ["--buildpacks", "buildpacks"];
    world
        .build_with("1", &with)
        .good(&["Buildpack app detected: the host's buildpack 'mark' says: A marker app\n"]);
    assert_eq!(world.work("1", &["cat", "made"]).stdout, "by compile\n");
    world.write("ENV", "BUILDPACK_URL=zebras\n");
    world.build_with("2", &with).fails(str![[r#"
piku-build: BUILDPACK_URL in ENV names the unknown buildpack 'zebras'; the host has mark, zebra
hint: write the name of one of the host's, a folder of the app such as './buildpack', or a URL such as https://host/repo.git#branch

"#]]);
    world.write("ENV", format!("BUILDPACK_URL={}\n", world.path("buildpacks/mark").display()));
    world.build_with("2", &with).fails(str![[r#"
piku-build: BUILDPACK_URL in ENV names '[DIR]/buildpacks/mark', but that folder of the app has no bin/compile
hint: a path is one inside the app; what the operator keeps on the host goes by its name alone

"#]]);
    // By git: a repository that lies in the app itself is one that the jail shows.
    let git = |args: &[&str], dir: &Path| {
        let done = std::process::Command::new("git").args(args).current_dir(dir).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let pack_dir = world.path("buildpacks/mark");
    git(&["init", "-q", "-b", "v1"], &pack_dir);
    git(&["add", "-A"], &pack_dir);
    git(&["-c", "user.name=a", "-c", "user.email=a@example.invalid", "commit", "-q", "-m", "x"], &pack_dir);
    git(
        &[
            "clone",
            "-q",
            "--bare",
            &pack_dir.to_string_lossy(),
            &world.app().join("pack.git").to_string_lossy(),
        ],
        &pack_dir,
    );
    let url = if crate::support::has_jail() {
        "/app/pack.git".to_owned()
    } else {
        world.app().join("pack.git").display().to_string()
    };
    world.write("ENV", format!("BUILDPACK_URL=file://{url}#v1\n"));
    world.build("2").good(&["BUILDPACK_URL in ENV names pack\n", "       A marker app\n"]);
    world.write("ENV", format!("BUILDPACK_URL=file://{url}#v2\n"));
    world.build("3").fails(str![[r#"
piku-build: step 'fetch' failed with exit code 128
  warning: Could not find remote branch v2 to clone.
  fatal: Remote branch v2 not found in upstream origin

"#]]);
    let head = std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .current_dir(&pack_dir)
        .output()
        .unwrap();
    let commit = String::from_utf8(head.stdout).unwrap();
    world.write("ENV", format!("BUILDPACK_URL=file://{url}#{commit}"));
    world.build("3").good(&["BUILDPACK_URL in ENV names pack\n", "       A marker app\n"]);
    world.write("ENV", "BUILDPACK_URL=https://host/pack.tgz\n");
    world.build("4").fails(str![[r#"
piku-build: BUILDPACK_URL in ENV names the archive 'https://host/pack.tgz'; a buildpack is cloned by git
hint: write the URL of its repository, such as https://host/repo.git#branch

"#]]);
    world.write("ENV", "BUILDPACK_URL=heroku/python\n");
    world.build("4").fails(str![[r#"
piku-build: BUILDPACK_URL in ENV names 'heroku/python', but that folder of the app has no bin/compile
hint: piku builds most languages itself, without BUILDPACK_URL in ENV; Heroku's own buildpack is https://github.com/heroku/heroku-buildpack-python

"#]]);
    fs::remove_file(world.app().join("ENV")).unwrap();
    let compile = world.path("buildpacks/mark/bin/compile");
    fs::set_permissions(&compile, fs::Permissions::from_mode(0o644)).expect("a mode");
    let said = world.build_with("4", &with).failure();
    assert!(
        said.contains("hint: in the buildpack, run 'git update-index --chmod=+x bin/detect bin/compile'"),
        "{said}"
    );
    pack(&world.path("buildpacks/mark"), "marker", "echo the reason; exit 9", "");
    world.build_with("4", &with).fails(str![[r#"
piku-build: step 'compile' failed with exit code 9

"#]]);
}
