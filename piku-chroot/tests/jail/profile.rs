//! The built-in profiles.

use crate::scene::{Scene, run, users};

#[test]
fn a_profile_gives_way_to_options() {
    for user in users() {
        let scene = Scene::new(user);
        scene.folder("app");
        scene.file("app/file", "own\n");
        let app = scene.path("app");
        let app = app.to_str().unwrap();
        let run_it = |options: &[&str], script| {
            let outcome = run(scene.jail(options).args(["--", "sh", "-c", script]));
            assert!(outcome.code == Some(0) && outcome.err.is_empty(), "{options:?}: {outcome:#?}");
            outcome.out
        };
        assert_eq!(run_it(&["--profile=run", "--app", app], "pwd; cat file; hostname"), "/app\nown\napp\n");
        let bind = format!("{app}:/app");
        assert_eq!(
            run_it(&["--profile=build", "--bind", &bind], "pwd; touch new; hostname"),
            "/app\nbuild\n"
        );
        assert!(scene.path("app/new").exists());
        let options =
            ["--profile=build", "--bind", &bind, "--hostname=typed", "--chdir=/tmp", "--tmp-size=1m"];
        let script = "pwd; hostname; df -k --output=size /tmp | tail -1";
        let out = run_it(&options, script);
        assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["/tmp", "typed", "1024"]);
    }
}

#[test]
fn only_the_built_in_profiles_are_taken() {
    for user in users() {
        let scene = Scene::new(user);
        scene.file("p.yaml", "root_from_host: true\n");
        for name in ["./p.yaml", "/dev/zero", "ruin", ""] {
            let outcome = run(scene.jail(&["--profile", name]).args(["--", "true"]));
            assert!(outcome.code == Some(125) && outcome.out.is_empty(), "{name}: {outcome:#?}");
            let expected = format!(
                "error: invalid value '{name}' for '--profile <NAME>'\n  [possible values: build, run]\n"
            );
            assert!(name.is_empty() || outcome.err.starts_with(&expected), "{name}: {outcome:#?}");
        }
    }
}
