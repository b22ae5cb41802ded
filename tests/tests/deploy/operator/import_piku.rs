//! `import-piku`: apps of a Python piku, from a home as it leaves one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use piku_tests::repo::SERVE;
use piku_tests::snapshot::text;
use piku_tests::world::World;

/// Home of a Python piku in the making.
struct OldHome(PathBuf);

impl OldHome {
    fn new(world: &World) -> Self {
        Self(world.path("old/.piku"))
    }

    fn file(&self, name: &str, content: &str) -> &Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, content).expect("file");
        self
    }

    /// Creates the repository of an app, as its first push does, and the work tree.
    fn app(&self, name: &str, files: &[(&str, &str)]) -> &Self {
        let (bare, tree) = (self.0.join("repos").join(name), self.0.join("apps").join(name));
        let git = |dir: &Path, words: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=a", "-c", "user.email=a@example.invalid", "-C"]).arg(dir).args(words);
            let out = git.output().expect("git runs");
            assert!(out.status.success(), "{words:?}: {}", text(&out));
        };
        fs::create_dir_all(&bare).expect("repos");
        fs::create_dir_all(&tree).expect("apps");
        git(&bare, &["init", "-q", "--bare", "-b", "master"]);
        git(&tree, &["init", "-q", "-b", "master"]);
        for (file, content) in files {
            self.file(&format!("apps/{name}/{file}"), content);
        }
        git(&tree, &["add", "."]);
        git(&tree, &["update-index", "--chmod=+x", "serve"]);
        git(&tree, &["commit", "-q", "-m", "One"]);
        git(&tree, &["push", "-q", &bare.display().to_string(), "master"]);
        self
    }

    /// Lists the paths of all files, to compare them later.
    fn listing(&self) -> String {
        let out = Command::new("find").arg(&self.0).args(["-printf", "%p %y %m %s %T@\n"]).output();
        let mut lines: Vec<String> = text(&out.expect("find runs")).lines().map(str::to_owned).collect();
        lines.sort();
        lines.join("\n")
    }

    fn import(&self, world: &World, words: &[&str]) -> Output {
        let mut piku = world.command(world.path("lib/piku"));
        piku.arg("import-piku").arg(self.0.parent().expect("a home")).args(words).output().expect("piku runs")
    }
}

#[test]
fn apps_of_the_python_piku_go_live_with_their_data() {
    let world = World::new();
    let old = OldHome::new(&world);
    let procfile = "web: ./serve\nworker: sleep 1000\n";
    old.app("My_Blog", &[("Procfile", procfile), ("serve", SERVE), ("page", "old\n"), ("ENV", "SHIPPED=1\n")])
        .file("apps/My_Blog/db.sqlite3", "rows")
        .file("apps/My_Blog/uploads/a.txt", "photo")
        .file("apps/My_Blog/node_modules/x/index.js", "remade")
        .file("data/My_Blog/notes.txt", "kept\n")
        .file("envs/My_Blog/ENV", "SECRET=p@$$ \"w\"\nDB=$DATA_ROOT/db\nUWSGI_PROCESSES=4\n")
        .file(
            "envs/My_Blog/LIVE_ENV",
            "APP=My_Blog\nDATA_ROOT=/home/piku/.piku/data/My_Blog\nPWD=/home/piku/.piku/apps/My_Blog\nPORT=4711\n",
        )
        .file("envs/My_Blog/SCALING", "web:1\nworker:2\n");
    // Hostile or odd entries do no harm.
    old.app("bad", &[("Procfile", procfile), ("serve", SERVE), ("page", "bad\n")])
        .file("envs/bad/SCALING", "worker:1000000\n../x:2\nworker\n")
        .file("repos/ /x", "");
    let secret = world.path("secret");
    fs::create_dir(&secret).expect("a folder");
    fs::write(secret.join("ENV"), "STOLEN=1\n").expect("a file");
    fs::create_dir_all(old.0.join("data")).expect("data");
    symlink(&secret, old.0.join("data/bad")).expect("a link");
    symlink(secret.join("ENV"), old.0.join("envs/bad/ENV")).expect("a link");
    symlink(&secret, old.0.join("repos/linked")).expect("a link");
    let before = old.listing();

    let dry = old.import(&world, &["--dry-run"]);
    let said = text(&dry);
    assert_eq!(dry.status.code(), Some(0), "{said}");
    assert!(!world.root().join("apps").exists(), "a dry run creates nothing");
    for expected in [
        "my-blog: would be imported from My_Blog: branch master at ",
        "settings SECRET DB UWSGI_PROCESSES DATA_ROOT WRITABLE_PATHS, worker=2, data, beside the code db.sqlite3 uploads/;",
        "its old directories are /data and /app in: DB",
        "without effect: UWSGI_PROCESSES",
        "'linked': skipped: it is not a directory",
        "' ': skipped: it is not a name for an app",
        "bad: would be imported: branch master at ",
        "'data/bad' is not imported: it is not a directory",
        "SCALING: 'worker:1000000' is not imported",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("p@$$") && !said.contains("STOLEN"), "{said}");

    let out = old.import(&world, &["my-blog", "bad"]);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("my-blog: deployed\n") && said.contains("bad: deployed\n"), "{said}");
    assert_eq!(world.page("my-blog"), "old\n");
    assert_eq!(old.listing(), before, "the old home is only read");
    let run = |app: &str, command: &str| text(&world.ssh("laptop", &format!("run {app} {command}")));
    assert_eq!(run("my-blog", "cat /data/notes.txt"), "kept\n");
    assert_eq!(run("my-blog", "cat /app/db.sqlite3 /app/uploads/a.txt"), "rowsphoto");
    assert_eq!(text(&world.ssh("laptop", "config:get my-blog SECRET")), "p@$$ \"w\"\n");
    assert_eq!(text(&world.ssh("laptop", "config:get my-blog DB")), "/data/db\n");
    let scale = text(&world.ssh("laptop", "ps:scale my-blog"));
    assert!(scale.contains("worker=2"), "{scale}");
    assert!(!run("bad", "ls -a /data").contains("ENV"), "no link leads out of the old home");
    assert!(!text(&world.ssh("laptop", "config bad")).contains("STOLEN"));

    // Again: nothing changes, also what has been changed here since.
    assert!(world.ssh("laptop", "config:set my-blog SECRET=new").status.success());
    let said = text(&old.import(&world, &[]));
    assert!(said.contains("my-blog: is here already, and is not changed\n"), "{said}");
    assert_eq!(text(&world.ssh("laptop", "config:get my-blog SECRET")), "new\n");
}

#[test]
fn interrupted_import_is_completed() {
    let world = World::new();
    let old = OldHome::new(&world);
    old.app("blog", &[("Procfile", "web: ./serve\n"), ("serve", SERVE), ("page", "one\n")])
        .file("data/blog/notes.txt", "whole\n");
    // As after a kill while the data was copied.
    assert!(world.ssh("laptop", "create blog").status.success());
    for (name, content) in [("importing/x", ""), ("data/notes.txt", "wh")] {
        let path = world.app("blog").join(name);
        let mut write = world.command("sh");
        write.args(["-c", "mkdir -p \"${1%/*}\" && printf %s \"$2\" >\"$1\"", "sh"]).arg(path).arg(content);
        assert!(write.status().expect("sh runs").success());
    }
    let out = old.import(&world, &["--no-deploy"]);
    assert!(text(&out).contains("not deployed yet: blog; each by: piku deploy APP"), "{}", text(&out));
    let notes = world.app("blog").join("data/notes.txt");
    assert_eq!(fs::read_to_string(notes).expect("notes"), "whole\n");
    assert!(!world.app("blog").join("importing").exists());

    // Data of an app that was here before is not replaced.
    old.app("shop", &[("Procfile", "web: ./serve\n"), ("serve", SERVE), ("page", "one\n")])
        .file("data/shop/notes.txt", "old\n");
    assert!(world.ssh("laptop", "config:set shop A=1").status.success());
    let mut write = world.command("sh");
    write
        .args(["-c", "mkdir -p \"$1\" && echo own >\"$1/notes.txt\"", "sh"])
        .arg(world.app("shop").join("data"));
    assert!(write.status().expect("sh runs").success());
    let said = text(&old.import(&world, &["--no-deploy", "shop"]));
    assert!(said.contains("its data is not copied: the app has data here already"), "{said}");
    let notes = world.app("shop").join("data/notes.txt");
    assert_eq!(fs::read_to_string(notes).expect("notes"), "own\n");
}

/// piku's user reads the repositories of all apps, and git goes where a repository tells it.
#[test]
fn repository_that_leads_elsewhere_is_not_read() {
    let world = World::new();
    let old = OldHome::new(&world);
    old.app("shop", &[("Procfile", "web: ./serve\n"), ("serve", SERVE)]);
    let secret = world.path("shop.git");
    fs::rename(old.0.join("repos/shop"), &secret).expect("a repository");
    fs::remove_dir_all(old.0.join("apps/shop")).expect("a tree");
    let other = secret.display().to_string();
    for app in ["common", "linked", "borrowed"] {
        for name in ["refs/x", "objects/x"] {
            old.file(&format!("repos/{app}/{name}"), "");
        }
        old.file(&format!("repos/{app}/HEAD"), "ref: refs/heads/master\n");
    }
    old.file("repos/common/commondir", &other).file("repos/borrowed/objects/info/alternates", &other);
    for name in ["refs", "objects"] {
        fs::remove_dir_all(old.0.join("repos/linked").join(name)).expect("a folder");
        symlink(secret.join(name), old.0.join("repos/linked").join(name)).expect("a link");
    }
    let out = old.import(&world, &["--no-deploy"]);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    for app in ["common", "linked", "borrowed"] {
        assert!(said.contains(&format!("{app}: not imported: ")), "{said}");
    }
    assert_eq!(said.matches("may lead to files outside of it").count(), 3, "{said}");
    assert!(!world.root().join("apps").exists(), "{said}");
}

#[test]
fn only_a_home_of_the_python_piku_is_imported() {
    let world = World::new();
    for dir in [world.path("home"), world.root(), world.path("missing")] {
        let mut piku = world.tool("piku-run");
        let out = piku.arg("import-piku").arg(&dir).output().expect("piku-run runs");
        assert_eq!(out.status.code(), Some(1), "{}", text(&out));
        assert!(!world.root().join("apps").exists());
    }
    let mut mkdir = world.command("mkdir");
    assert!(mkdir.arg(world.root().join("repos")).status().expect("mkdir runs").success());
    let out = world.tool("piku-run").arg("import-piku").arg(world.root()).output().expect("piku-run runs");
    let said = text(&out);
    assert!(
        said.contains("is the directory of this piku, too\nhint: on the server: sudo systemctl stop"),
        "{said}"
    );
    let out = world.ssh("laptop", "import-piku /etc");
    let said = text(&out);
    assert!(!out.status.success() && said.contains("does not work over ssh"), "{said}");
    let old = OldHome::new(&world);
    old.app("empty", &[("serve", SERVE)]);
    let said = text(&old.import(&world, &["blog"]));
    assert!(said.contains("there is no app 'blog'") && said.contains("hint: it has: empty"), "{said}");
}
