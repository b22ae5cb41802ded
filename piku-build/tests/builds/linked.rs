//! Releases that share their files with the app's source by hard links, and steps that would change them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use piku_files::TreeHandle;
use piku_files::source_index::{FileMark, IndexContent, IndexEntry, IndexFile, IndexFolder, SourceKind};

use crate::support::{World, has_jail};

/// Returns the index that an export would write for this directory.
fn index(dir: &Path) -> IndexFolder {
    let tree = TreeHandle::open(dir).unwrap();
    let entries = tree.read_dir("").unwrap().into_iter().map(|entry| {
        let path = dir.join(&entry.name);
        let stat = tree.symlink_metadata(&entry.name).unwrap();
        let content = if stat.is_dir() {
            IndexContent::Folder(Arc::new(index(&path)))
        } else {
            let kind = match stat.mode & 0o100 {
                _ if stat.is_symlink() => SourceKind::Link,
                0 => SourceKind::File,
                _ => SourceKind::Program,
            };
            let is_native = stat.is_file() && fs::read(&path).unwrap().starts_with(b"\x7fELF");
            let mark = FileMark::of(&stat);
            IndexContent::File(IndexFile { object: [1; 20], kind, is_native, is_pointer: false, mark })
        };
        IndexEntry { name: entry.name.as_bytes().to_vec(), content }
    });
    IndexFolder { object: [1; 20], entries: entries.collect() }
}

impl World {
    fn link(&self, name: &str) -> crate::support::Ran {
        index(&self.app()).write(&self.app()).unwrap();
        self.build_with(name, &["--link"])
    }

    fn inode(&self, path: &str) -> u64 {
        fs::symlink_metadata(self.path(path)).unwrap().ino()
    }
}

#[test]
fn a_release_without_steps_shares_the_files_of_the_source() {
    if !has_jail() {
        return;
    }
    let world = World::new(&[("index.html", "<p>1</p>"), ("css/site.css", "p {}"), ("ENV", "A=1\n")]);
    world.write("get/tool", fs::read("/bin/true").unwrap());
    world.link("1").good(&[]);
    for (source, made) in
        [("index.html", "site/index.html"), ("css/site.css", "site/css/site.css"), ("ENV", "ENV")]
    {
        assert_eq!(world.inode(&format!("app/{source}")), world.inode(&format!("out/1/app/{made}")));
    }
    // All that a build looks for in files is found.
    world.build("2").good(&[]);
    let [linked, copied] = ["1", "2"].map(|name| world.release(name));
    assert_eq!((&linked.architecture, &linked.native), (&copied.architecture, &copied.native));
    assert_eq!(linked.native.as_deref(), Some("app/site/get/tool"));

    // An app below, with a Procfile from above.
    let world = World::new(&[("ENV", "APP_DIR=sub\n"), ("Procfile", "web: ./serve\n"), ("sub/page", "1")]);
    world.executable("sub/serve", "#!/bin/sh\n");
    world.write("sub/tool", fs::read("/bin/true").unwrap());
    world.link("1").good(&[]);
    assert_eq!(world.inode("app/sub/page"), world.inode("out/1/app/page"));
    assert!(!world.path("app/sub/Procfile").exists() && world.path("out/1/app/Procfile").exists());
    assert_eq!(world.release("1").native.as_deref(), Some("app/tool"));

    // Without an index, nothing is known of the folder.
    fs::remove_file(world.path("app.index")).unwrap();
    world.build_with("3", &["--link"]).good(&[]);
    assert_ne!(world.inode("app/sub/page"), world.inode("out/3/app/page"));
}

#[test]
fn a_release_takes_the_tree_of_one_that_waits_for_its_removal() {
    if !has_jail() {
        return;
    }
    for (site, own) in [("", ("Procfile", "web: ./serve\n")), ("site/", ("index.html", "<p>1</p>"))] {
        let world = World::new(&[own, ("page", "1"), ("gone/page", "1")]);
        world.executable("serve", "#!/bin/sh\n");
        for number in 0..500 {
            world.write(&format!("files/{}/{number}", number % 5), "same");
        }
        world.link("1").good(&[]);
        let made = |name: &str, path: &str| format!("out/{name}/app/{site}{path}");
        let folder = world.inode(&made("1", "files/3"));
        // As a collection of old releases and an export do.
        fs::rename(world.path("out/1"), world.path("out/.1.gone")).unwrap();
        fs::remove_dir_all(world.app().join("gone")).unwrap();
        for path in ["page", "files/4/4"] {
            fs::remove_file(world.app().join(path)).unwrap();
            world.write(path, "2");
        }
        world.write("new/page", "2");
        index(&world.app()).write(&world.app()).unwrap();
        let recycle = world.path("out");
        let take = ["--link", "--recycle", recycle.to_str().unwrap()];
        world.build_with("2", &take).good(&[]);

        assert_eq!(world.inode(&made("2", "files/3")), folder, "the directory itself");
        for path in ["page", "files/4/4", "files/3/3", "new/page"] {
            assert_eq!(world.inode(&made("2", path)), world.inode(&format!("app/{path}")), "{path}");
        }
        assert!(!world.path(&made("2", "gone")).exists() && !world.path("out/.1.gone/app").exists());
        // The next one finds nothing to take, and its tree is the same.
        world.build_with("3", &take).good(&[]);
        assert_ne!(world.inode(&made("3", "files/3")), folder);
        let entries = |name: &str| {
            let tree = TreeHandle::open(&world.path(&format!("out/{name}/app"))).unwrap();
            let mut found = Vec::new();
            tree.walk_sorted(Path::new(""), |path, stat| {
                found.push((path.to_owned(), stat.kind, stat.mode, if stat.is_dir() { 0 } else { stat.ino }));
                Ok::<_, piku_files::TreeError>(())
            })
            .unwrap();
            found
        };
        assert_eq!(entries("2"), entries("3"));

        // A tree that steps have written to is not taken.
        world.write("package.json", r#"{"scripts": {"build": "echo 1 >made", "start": "./serve"}}"#);
        index(&world.app()).write(&world.app()).unwrap();
        if site.is_empty() {
            world.build_with("4", &take).good(&[]);
            assert!(world.path("out/4/app/made").exists() && !world.path("out/4/links.index").exists());
        }
        assert!(world.path("out/3/links.index").exists());
    }
}

#[test]
fn a_site_whose_files_were_moved_is_whole() {
    if !has_jail() {
        return;
    }
    let world = World::new(&[("index.html", "<p>1</p>"), ("site/page", "1")]);
    for number in 0..500 {
        world.write(&format!("site/files/{number}"), "same");
    }
    world.link("1").good(&[]);
    fs::rename(world.path("out/1"), world.path("out/.1.gone")).unwrap();
    let recycle = world.path("out");
    world.build_with("2", &["--link", "--recycle", recycle.to_str().unwrap()]).good(&[]);
    assert!(!world.path("out/.1.gone/app").exists(), "its tree was taken");
    for path in ["index.html", "site/page", "site/files/7"] {
        assert_eq!(
            world.inode(&format!("out/2/app/site/{path}")),
            world.inode(&format!("app/{path}")),
            "{path}"
        );
    }
}

#[test]
fn a_file_with_too_many_links_is_copied() {
    if !has_jail() {
        return;
    }
    let world = World::new(&[("index.html", "1")]);
    fs::create_dir(world.path("links")).unwrap();
    let link =
        |number: i32| fs::hard_link(world.app().join("index.html"), world.path(&format!("links/{number}")));
    // ext4 allows 65,000; others have no limit that a test reaches.
    if (0..65_000).all(|number| link(number).is_ok()) {
        return piku_tests::skip("this file system allows more links to a file");
    }
    world.link("1").good(&[]);
    assert_ne!(world.inode("app/index.html"), world.inode("out/1/app/site/index.html"));
    assert_eq!(fs::read_to_string(world.path("out/1/app/site/index.html")).unwrap(), "1");
}

#[test]
fn without_a_jail_nothing_is_shared() {
    let world = World::new(&[("index.html", "1")]).without_jail();
    world.link("1").good(&[]);
    assert_ne!(world.inode("app/index.html"), world.inode("out/1/app/site/index.html"));
}

/// Changes each file that it is given in every way that a process has, and succeeds.
const ATTACK: &str = r#"
import mmap, os, sys
def attempt(act, *words):
    try:
        act(*words)
    except OSError as why:
        print(act.__name__, why)
def overwrite(path):
    with open(path, 'r+b') as file:
        file.write(b'EVIL')
def map_it(path):
    with open(path, 'r+b') as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:4] = b'EVIL'
def by_proc(path):
    fd = os.open(path, os.O_RDONLY)
    with open(f'/proc/self/fd/{fd}', 'r+b') as file:
        file.write(b'EVIL')
def by_link(path):
    os.link(path, path + '.link')
    overwrite(path + '.link')
def replace(path):
    with open('new', 'w') as file:
        file.write('EVIL')
    os.rename('new', path)
for path in sys.argv[1:]:
    attempt(os.chmod, path, 0o6777)
    attempt(os.utime, path, (1, 1))
    attempt(os.setxattr, path, 'user.evil', b'1')
    for act in (overwrite, map_it, by_proc, by_link):
        attempt(act, path)
    attempt(os.truncate, path, 1)
    attempt(replace, path)
"#;

/// Returns the content, mode and time of a file.
fn state(path: &Path) -> (Vec<u8>, u32, i64, i64) {
    let meta = fs::metadata(path).unwrap();
    (fs::read(path).unwrap(), meta.permissions().mode(), meta.mtime(), meta.mtime_nsec())
}

#[test]
fn no_step_changes_the_source_or_an_older_release() {
    if !has_jail() {
        return;
    }
    let files = ["page", "lib/data", "run"];
    let plain =
        [("page", "page 1\n"), ("lib/data", "data 1\n"), ("attack", ATTACK), ("Procfile", "web: ./serve\n")];
    let attack = "/usr/bin/python3 attack page lib/data run";
    let preflight = format!("web: ./serve\npreflight: {attack}\n");
    let package = format!(r#"{{"scripts": {{"build": "{attack}", "start": "./serve"}}}}"#);
    for (name, text) in [("Procfile", preflight), ("package.json", package)] {
        let world = World::new(&plain);
        world.executable("serve", "#!/bin/sh\n");
        world.executable("run", "#!/bin/sh\n");
        world.link("1").good(&[]);
        let paths = files.map(|file| (world.app().join(file), world.path(&format!("out/1/app/{file}"))));
        let before: Vec<_> = paths.iter().map(|(source, _)| state(source)).collect();
        world.write(name, text);
        let ran = world.link("2");
        ran.good(&[]);
        for ((source, old), before) in paths.iter().zip(&before) {
            assert_eq!(state(source), *before, "{name}: {}", source.display());
            assert_eq!(state(old), *before, "{name}: {}", old.display());
            assert_eq!(fs::metadata(old).unwrap().ino(), fs::metadata(source).unwrap().ino());
        }
        let changed = fs::read_to_string(world.path("out/2/app/page")).unwrap();
        assert_eq!(changed, "EVIL", "{name}: the step did write: {ran}");
    }
}
