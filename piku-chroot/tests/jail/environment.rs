//! Only what was declared gets in.

use piku_chroot::jail::JailSpec;

use crate::scene::{Scene, User, run, users};

#[test]
fn only_declared_variables() {
    for user in users() {
        let scene = Scene::new(user);
        let mut command =
            scene.jail(&["--root-from-host", "--env", "A=1", "--keep-env", "KEPT", "--env-prefix", "P_"]);
        command.env("SSH_CLIENT", "10.0.0.1 1 2").env("GIT_DIR", "/x").env("SECRET", "s");
        command.env("KEPT", "two words").env("P_LD_PRELOAD", "/no/such.so").env("P_B", "x=\ny");
        let outcome = run(command.args(["--", "/usr/bin/env", "-0"]));
        let mut vars: Vec<_> = outcome.out.split('\0').filter(|var| !var.is_empty()).collect();
        vars.sort_unstable();
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(vars, ["A=1", "B=x=\ny", "HOME=/tmp", "KEPT=two words", "LD_PRELOAD=/no/such.so", path]);
    }
}

#[test]
fn the_callers_side_passes_values_that_the_launcher_never_sees() {
    let scene = Scene::new(User::Own);
    let app = scene.folder("app");
    // A library that does not exist is complained about by each program that is told to load it: the one
    // inside, once.
    let env = [("LD_PRELOAD", "/no/such.so"), ("PORT", "8000"), ("HOME", "/elsewhere")];
    let script = "echo $PORT $HOME $PWD".to_owned();
    let jail = JailSpec::new().app(&app).data(&app).hostname("blog").chdir("/data".as_ref());
    let outcome = run(jail.command(env, &["/bin/sh".to_owned(), "-c".to_owned(), script]));
    assert_eq!(outcome.out, "8000 /elsewhere /data\n");
    assert_eq!(outcome.err.matches("/no/such.so").count(), 1, "{}", outcome.err);
}

#[test]
fn odd_names_are_data_for_the_callers_side_too() {
    let scene = Scene::new(User::Own);
    let odd = scene.folder("--a:b\\c,d\ne");
    std::fs::write(odd.join("f"), "found").unwrap();
    let jail = JailSpec::new().ro(&odd, "/x:y\\,\n--z".as_ref()).bind(&odd, "/data".as_ref());
    let argv = ["cat".to_owned(), "--".to_owned(), "/x:y\\,\n--z/f".to_owned(), "/data/f".to_owned()];
    let outcome = run(jail.command([("A", "1")], &argv));
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (Some(0), "foundfound", ""));
}

#[test]
fn a_jail_can_be_made_here() {
    piku_chroot::jail::available().unwrap();
}

#[test]
fn the_user_the_name_and_the_rest_of_the_world() {
    for user in users() {
        let scene = Scene::new(user);
        let script = "test $(id -un) = $(id -gn) && hostname && umask && cat /proc/sys/kernel/hostname && pwd && ulimit -c";
        assert_eq!(scene.ok(&["--hostname", "blog"], script), "blog\n0022\nblog\n/\n0\n");
        assert_eq!(scene.ok(&["--hostname", "blog"], "getent hosts blog | grep -c ."), "1\n");
        let status = scene.ok(&[], "cat /proc/self/status | grep -E '^(Sig(Blk|Ign|Cgt)|Cap...|NoNewPrivs)' | cut -f 2 | tr -d 0 | sort -u");
        assert_eq!(status, "\n1\n", "no signal blocked, ignored or caught, no capability, no new rights");
        assert_eq!(scene.ok(&["--net", "none"], "grep -c : /proc/net/dev"), "1\n");
    }
}
