//! A script's work in a jail: in one that builds, with the app's folder writable, or in one that runs, where
//! it is not.

use std::process::Command;

use crate::machine::{skipped, way_out};
use crate::scene::{Outcome, Scene, User, run, users};

/// Seconds that a script may take.
const PATIENCE: &str = "300";

/// The user who builds for all of [`users`]: fetching and compiling for each would only take longer.
pub(crate) fn builder() -> User {
    *users().last().unwrap()
}

/// A scene with these files in its folder `app`.
pub(crate) fn scene(user: User, files: &[(&str, &str)]) -> Scene {
    let scene = Scene::new(user);
    scene.folder("app");
    for (name, content) in files {
        let path = format!("app/{name}");
        scene.folder(path.rsplit_once('/').unwrap().0);
        scene.file(&path, content);
    }
    scene
}

/// A script in a jail that builds: the folder `app` is writable at `/app`, and HOME.
pub(crate) fn build(scene: &Scene, options: &[String], script: &str) -> Outcome {
    let app = format!("{}:/app", scene.path("app").display());
    let mut command = scene.jail(&["--profile=build", "--env=HOME=/app"]);
    command.args(["--bind", &app]).args(options);
    for (name, value) in way_out() {
        command.arg("--env").arg(format!("{name}={value}"));
    }
    run(command.args(["--", "timeout", PATIENCE, "sh", "-c", script]))
}

/// The same with what has to be fetched. False, said aloud, where the same script outside of any jail cannot
/// fetch it either. It may name no path but relative ones and those below HOME.
pub(crate) fn fetch(scene: &Scene, what: &str, options: &[String], script: &str) -> bool {
    // As it was before anything was fetched.
    assert_eq!(run(scene.command("cp").args(["-r", "app", "outside"])).code, Some(0));
    let outcome = build(scene, options, script);
    if outcome.code == Some(0) {
        return true;
    }
    let path = options.iter().find_map(|option| option.strip_prefix("PATH="));
    let mut command = scene.command("timeout");
    command.args([PATIENCE, "sh", "-c", script]).envs(way_out()).envs(path.map(|path| ("PATH", path)));
    let home = scene.path("outside");
    // The JVM takes the home of /etc/passwd for its own, which in the jail is HOME.
    command
        .env("JAVA_TOOL_OPTIONS", format!("-Duser.home={}", home.display()))
        .env("HOME", &home)
        .current_dir(home);
    let outside = run(command);
    assert!(outside.code != Some(0), "{what} can be fetched outside of the jail and not in it: {outcome:#?}");
    skipped(what, &format!("it cannot be fetched on this machine: {}{}", outside.out, outside.err));
    false
}

/// A script in a jail that runs what `made` has in its folder `app`, read-only, as another scene's user. It
/// must end well.
pub(crate) fn works(scene: &Scene, made: &Scene, options: &[String], script: &str) -> String {
    let outcome = run(running(scene, made, options, &["timeout", PATIENCE, "sh", "-c", script]));
    assert!(outcome.code == Some(0), "{script}: {outcome:#?}");
    outcome.out
}

/// A command in such a jail.
pub(crate) fn running(scene: &Scene, made: &Scene, options: &[String], argv: &[&str]) -> Command {
    // Limits that no work here comes near: what is tried is that programs live with the way in which they are
    // kept.
    let mut command = scene.jail(&["--profile=run", "--limit=memory=1g,pids=500,nofile=1024"]);
    command.arg("--app").arg(made.path("app")).arg("--data").arg(scene.folder("data")).args(options);
    command.arg("--").args(argv);
    command
}
