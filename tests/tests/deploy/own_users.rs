//! `app_users: own`: each app is a user of its own to the kernel, and keeps its data over every change of that.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use piku_tests::nginx::Ports;
use piku_tests::repo::{Repo, SERVE};
use piku_tests::world::{World, wait_for};

/// A world with the setting; none, said aloud, where its account has no subordinate ids.
pub(crate) fn world() -> Option<World> {
    world_with("")
}

/// The same, with more settings.
pub(crate) fn world_with(settings: &str) -> Option<World> {
    let world = World::with_settings(&format!("{settings}app_users: own"));
    let mut check = world.tool("piku-chroot");
    check.args(["--check", "--uid-range", "probe", "--uid-registry"]).arg(world.path("home/probe"));
    let out = check.output().expect("piku-chroot runs");
    if out.status.success() {
        return Some(world);
    }
    piku_tests::skip(&format!("no users of their own here:\n{}", String::from_utf8_lossy(&out.stdout)));
    None
}

/// Says hello through /dev/stdout, leaves a file that nobody else can read, and serves.
fn app() -> String {
    let own = r#"
with open("/dev/stdout", "w") as out: print("anew", os.getuid(), file=out)
os.umask(0o077)
with open("/data/starts", "a") as data: data.write("x")
"#;
    SERVE.replace("class Page", &format!("{own}class Page"))
}

fn push(world: &World, name: &str) -> Repo {
    let repo = world.repo(name);
    repo.serves(&format!(
        "{name}
"
    ))
    .program("serve", app())
    .commit("One")
    .push()
    .succeeds();
    assert_eq!(
        world.page(name),
        format!(
            "{name}
"
        )
    );
    repo
}

fn exec(world: &World, app: &str, command: &[&str]) -> String {
    let out = world.tool("piku-run").args(["exec", app, "--"]).args(command).output().expect("exec");
    assert!(out.status.success(), "{out:?}\n{}", world.logs());
    String::from_utf8(out.stdout).expect("text")
}

fn run(world: &World, args: &[&str]) {
    let out = world.tool("piku-run").args(args).output().expect("piku-run runs");
    assert!(out.status.success(), "{out:?}\n{}", world.logs());
}

/// The user of the app's innermost process, as the host sees it.
fn host_uid(world: &World, app: &str) -> u32 {
    let mut pid = world.ps(app)[0]["pid"].as_u64().expect("a pid").to_string();
    while let Some(child) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .expect("children")
        .split_whitespace()
        .next()
    {
        child.clone_into(&mut pid);
    }
    fs::metadata(format!("/proc/{pid}")).expect("a process").uid()
}

fn data_owner(world: &World, app: &str) -> u32 {
    fs::metadata(world.app(app).join("data")).expect("data").uid()
}

fn set(world: &World, from: &str, to: &str) {
    let file = world.root().join("host.yaml");
    let text = fs::read_to_string(&file).expect("host.yaml");
    fs::write(&file, text.replace(from, to)).expect("host.yaml");
}

#[test]
fn apps_run_as_own_users_and_keep_data() {
    let Some(world) = world() else { return };
    let repo = push(&world, "blog");
    push(&world, "shop");
    let (blog, shop, own) = (host_uid(&world, "blog"), host_uid(&world, "shop"), piku_uid(&world));
    assert_eq!(BTreeSet::from([blog, shop, own]).len(), 3, "three users");
    assert_eq!((data_owner(&world, "blog"), data_owner(&world, "shop")), (blog, shop));
    wait_for("a line through /dev/stdout in the log", || {
        let log = world.tool("piku-run").args(["logs", "blog", "--ps", "web.1"]).output().expect("logs");
        String::from_utf8_lossy(&log.stdout).contains(&format!("anew {blog}"))
    });
    assert_eq!(exec(&world, "blog", &["cat", "/data/starts"]), "x");
    assert_eq!(exec(&world, "blog", &["id", "-u"]), format!("{blog}\n"));
    let row = &world.ps("blog")[0];
    assert!(
        row["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1_000_000),
        "it can be measured: {row:#?}"
    );

    // A second release overlaps with the first; a change of the setting waits until the app has stopped.
    set(&world, "own", "shared");
    repo.file("page", "two\n").commit("Two").push().succeeds();
    assert_eq!((world.page("blog"), host_uid(&world, "blog")), ("two\n".to_owned(), blog));
    assert_eq!(exec(&world, "blog", &["cat", "/data/starts"]), "xx");
    run(&world, &["rollback", "blog"]);
    assert_eq!((world.page("blog"), host_uid(&world, "blog")), ("blog\n".to_owned(), blog));

    run(&world, &["stop", "blog"]);
    run(&world, &["restart", "blog"]);
    assert_eq!((world.page("blog"), host_uid(&world, "blog")), ("blog\n".to_owned(), own));
    assert_eq!(data_owner(&world, "blog"), own);
    assert_eq!(exec(&world, "blog", &["cat", "/data/starts"]), "xxxx");
    assert_eq!(fs::metadata(world.app("blog").join("data/starts")).expect("the file").uid(), own);

    set(&world, "shared", "own");
    run(&world, &["stop", "blog"]);
    run(&world, &["restart", "blog"]);
    assert_eq!((host_uid(&world, "blog"), data_owner(&world, "blog")), (blog, blog), "the same as before");
    assert_eq!(exec(&world, "blog", &["cat", "/data/starts"]), "xxxxx");

    // A backup has what only the app can read.
    let save = || world.tool("piku-run").args(["backup", "blog"]).output().expect("piku-run").stdout;
    let file = world.path("home/blog.tar.zst");
    fs::write(&file, save()).expect("a file");
    let mut restore = world.tool("piku-run");
    restore.args(["restore", "--as", "copy"]).stdin(fs::File::open(&file).expect("the backup"));
    let out = restore.output().expect("piku-run");
    assert!(out.status.success(), "{out:?}");
    assert_eq!(exec(&world, "copy", &["cat", "/data/starts"]), "xxxxxx");
    assert_eq!(data_owner(&world, "copy"), host_uid(&world, "copy"));
    let mut replace = world.tool("piku-run");
    replace.args(["restore", "blog", "--replace"]).stdin(fs::File::open(&file).expect("the backup"));
    let out = replace.output().expect("piku-run");
    assert!(out.status.success(), "{out:?}");
    assert_eq!(exec(&world, "blog", &["cat", "/data/starts"]), "xxxxxx");
    let names =
        fs::read_dir(world.root().join("apps")).expect("apps").flatten().map(|entry| entry.file_name());
    assert_eq!(
        names.filter(|name| name.to_string_lossy().starts_with('.')).count(),
        0,
        "nothing is left aside"
    );
    run(&world, &["destroy", "blog", "--confirm", "blog"]);
    assert!(world.app("blog").join("data").exists() && !world.app("blog").join("releases").exists());
}

#[test]
fn release_task_runs_as_app_user() {
    let Some(mut world) = world() else { return };
    let repo = world.repo("blog");
    repo.serves("one\n")
        .file("Procfile", "web: ./serve\nrelease: echo task > /data/task && id -u\n")
        .commit("One");
    let said = repo.push().succeeds();
    let uid = host_uid(&world, "blog");
    assert!(said.contains(&uid.to_string()), "{said}");
    assert_eq!(fs::metadata(world.app("blog").join("data")).expect("data").uid(), uid);
    let pid = world.ps("blog")[0]["pid"].clone();
    world.end_daemon(nix::sys::signal::Signal::SIGKILL);
    world.start_daemon();
    wait_for("the worker under the new daemon", || world.ps("blog")[0]["pid"] == pid);
    assert_eq!(world.page("blog"), "one\n");
    assert_eq!(exec(&world, "blog", &["cat", "/data/task"]), "task\n");
    run(&world, &["scale", "blog", "web=4"]);
    let rows = world.ps("blog");
    let shares = |row: &serde_json::Value| {
        let line = fs::read(format!("/proc/{}/cmdline", row["pid"])).expect("a command line");
        String::from_utf8_lossy(&line).contains("--prepared=")
    };
    let row = |name: &str| rows.iter().find(|row| row["instance"] == name).expect("an instance");
    // Two starts of this supervisor came before the last one. Without a cgroup that limits processes, the kernel would
    // count those of all instances together.
    let reports = fs::read_dir(world.root().join("run/blog/workers")).expect("records").flatten();
    let reports = reports.filter(|file| file.path().extension().is_some_and(|end| end == "report"));
    let by_rlimit = reports
        .map(|file| fs::read_to_string(file.path()).expect("a report"))
        .any(|report| report.contains(r#""limit":"pids","by":"rlimit""#));
    assert_eq!((shares(row("web.1")), shares(row("web.4"))), (false, !by_rlimit), "{rows:#?}");
    assert!(rows.iter().all(|row| row["state"] == "healthy"), "{rows:#?}");
    run(&world, &["stop", "blog"]);
    wait_for("the end of its processes", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn web_server_serves_files_of_own_user() {
    let ports = Ports::free();
    let Some(mut world) = world_with(&ports.settings("")) else { return };
    world.start_nginx();
    let repo = world.repo("blog");
    // Under a usual umask, and where others are kept out.
    let keep = "web: mkdir -p /data/up && echo kept > /data/up/photo && ./serve\n";
    let env = "NGINX_SERVER_NAME=blog.test\nNGINX_STATIC_PATHS=/static:public,/up:/data/up\n";
    repo.serves("page\n").file("Procfile", keep).file("ENV", env).file("public/style.css", "shipped\n");
    repo.commit("One").push().succeeds();
    assert_ne!(data_owner(&world, "blog"), piku_uid(&world));
    let body = |path: &str| ports.get("blog.test", path).body;
    assert_eq!((body("/static/style.css"), body("/up/photo")), ("shipped\n".into(), "kept\n".into()));
    assert_eq!(body("/"), "page\n");

    repo.file("Procfile", keep.replace("mkdir", "umask 077; rm -r /data/up; mkdir")).commit("Private");
    repo.push().succeeds();
    assert_eq!(
        ports.get("blog.test", "/up/photo").status,
        403,
        "what the app keeps from others it keeps from nginx"
    );
    assert_eq!(body("/"), "page\n");
    repo.file("Procfile", "static: public\n").commit("Files alone").push().succeeds();
    assert_eq!(body("/style.css"), "shipped\n");
}

/// A verb over ssh, with this on stdin; what it said on stdout.
fn ssh(world: &World, words: &str, input: &[u8]) -> Vec<u8> {
    let mut child = world.start_ssh("laptop", words);
    child.stdin.take().expect("stdin").write_all(input).expect("stdin");
    let out = child.wait_with_output().expect("ssh");
    assert!(out.status.success(), "{words}: {out:?}\n{}", world.logs());
    out.stdout
}

#[test]
fn operator_verbs_work_with_own_users() {
    let Some(world) = world() else { return };
    let repo = push(&world, "blog");
    let say = |words: &str| String::from_utf8(ssh(&world, words, b"")).expect("text");
    assert_eq!(say("run blog cat /data/starts"), "x");
    say("config:set blog COLOUR=red");
    assert_eq!(say("run blog printenv COLOUR"), "red\n");
    assert!(say("logs blog --ps web.1").contains("anew "));
    say("rollback blog");
    say("rebuild blog");
    say("gc blog");
    say("ps:scale blog web=2");
    repo.file("page", "two\n").commit("Two").push().succeeds();
    assert_eq!(world.page("blog"), "two\n");

    // Files that nobody else can read, and whose folder piku itself cannot list.
    let starts = say("run blog cat /data/starts");
    let archive = ssh(&world, "data:export blog", b"");
    let refused = world.ssh("laptop", "data:remove blog --confirm blog");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("uses its data"));
    say("destroy blog --confirm blog");
    assert_eq!(ssh(&world, "data:export blog", b"").len(), archive.len(), "also when the app is gone");
    say("data:remove blog --confirm blog");
    assert!(!world.app("blog").exists(), "nothing is left");

    repo.push().succeeds();
    ssh(&world, "data:import blog", &archive);
    assert_eq!(say("run blog cat /data/starts"), starts);
    assert_ne!(data_owner(&world, "blog"), piku_uid(&world));
    say("destroy blog --confirm blog");
    say("restore blog");
    assert_eq!(say("run blog cat /data/starts"), format!("{starts}x"), "it finds its data");
}

/// The user that runs piku.
fn piku_uid(world: &World) -> u32 {
    fs::metadata(world.root()).expect("the root").uid()
}

#[test]
fn renamed_cloned_and_restored_apps_reach_their_files() {
    let Some(mut world) = world() else { return };
    push(&world, "blog");
    let ask = |world: &World, words: &str| {
        let out = world.ssh("laptop", words);
        assert!(out.status.success(), "{words}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let owner =
        |world: &World, app: &str| fs::metadata(world.app(app).join("data/starts")).expect("starts").uid();
    let blog = owner(&world, "blog");
    // An app that is gone had this name, and its ids stay reserved.
    push(&world, "shop");
    let gone = owner(&world, "shop");
    ask(&world, "destroy shop --confirm shop --now");
    ask(&world, "rename blog shop");
    assert_eq!(owner(&world, "shop"), blog);
    assert_eq!(ask(&world, "run shop id -u").trim(), blog.to_string());
    assert!(ask(&world, "run shop cat /data/starts").starts_with("xx"));
    // All steps but the first again, as after an interruption.
    let record = r#"{"from": "blog", "to": "shop", "is_complete": false}"#;
    fs::write(world.app("shop").join("renaming.json"), record).expect("record");
    world.end_daemon(nix::sys::signal::Signal::SIGKILL);
    world.start_daemon();
    wait_for("the end of the renaming", || !world.app("shop").join("renaming.json").exists());
    assert_eq!(ask(&world, "run shop id -u").trim(), blog.to_string());

    ask(&world, "clone shop copy --data");
    let copy = owner(&world, "copy");
    assert!(copy != blog && copy != gone, "{copy}");
    assert!(ask(&world, "run copy cat /data/starts").starts_with("xxx"));
    ask(&world, "destroy shop --confirm shop");
    ask(&world, "restore shop");
    assert_eq!(owner(&world, "shop"), blog);
    assert!(ask(&world, "run shop cat /data/starts").starts_with("xxx"));
}
