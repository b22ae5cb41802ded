//! App of a framework, and its services.

use std::fs;
use std::io::Write;
use std::process::Command;

use piku_tests::http;
use piku_tests::repo::Repo;
use piku_tests::snapshot::text;
use piku_tests::tools::repository;
use piku_tests::world::{World, wait_for};

/// Says `words` over ssh, which must succeed.
pub(crate) fn says(world: &World, words: &str) -> String {
    let out = world.ssh("laptop", words);
    assert!(out.status.success(), "{words}: {}", text(&out));
    text(&out)
}

/// An app in `apps/NAME`. Its page lists its release and its notes, and stores the notes that are posted to it.
pub(crate) struct Framework {
    pub(crate) name: &'static str,
    /// File that names the release.
    pub(crate) page: &'static str,
    /// Text that the migration prints.
    pub(crate) migrated: &'static str,
    /// True if a job changes each note to upper case.
    pub(crate) has_jobs: bool,
}

/// An app of a framework that is bound to its services.
pub(crate) struct BoundApp<'a> {
    world: &'a World,
    framework: Framework,
    /// Its work tree on the laptop.
    pub(crate) repo: Repo,
    /// Release and notes that its page shows.
    shown: Vec<String>,
    /// Process of its first release.
    pid: i64,
}

impl<'a> BoundApp<'a> {
    /// Makes the app and binds it before its first push.
    pub(crate) fn new(world: &'a World, framework: Framework) -> Self {
        let name = framework.name;
        let repo = world.repo(name);
        let files = repository().join("tests/tests/frameworks/apps").join(name);
        let copied = Command::new("cp").arg("-rT").arg(files).arg(repo.path()).status();
        assert!(copied.expect("cp").success(), "{name}");
        says(world, &format!("create {name}"));
        says(world, &format!("service:bind postgres {name}"));
        if framework.has_jobs {
            says(world, &format!("service:create redis --name redis-{name}"));
            says(world, &format!("service:bind redis-{name} {name}"));
        }
        Self { world, framework, repo, shown: Vec::new(), pid: 0 }
    }

    /// Pushes it for the first time, which migrates its database.
    pub(crate) fn push_first(&mut self) {
        let said = self.repo.commit("One").push().succeeds();
        let log = self.log();
        let count = (said.clone() + &log).matches(self.framework.migrated).count();
        assert_eq!(count, 1, "{said}\n{log}");
        self.shown = vec!["one".to_owned()];
        self.pid = self.pid();
    }

    /// Pushes another release, which finds the database migrated.
    pub(crate) fn push_second(&mut self) {
        let migrations = self.log().matches(self.framework.migrated).count();
        let path = self.repo.path().join(self.framework.page);
        let page = fs::read_to_string(&path).expect("the page");
        fs::write(&path, page.replace("one", "two")).expect("the page");
        let said = self.repo.commit("Two").push().succeeds();
        assert!(!said.contains(self.framework.migrated), "{said}");
        let log = self.log();
        assert_eq!(log.matches(self.framework.migrated).count(), migrations, "{log}");
        "two".clone_into(&mut self.shown[0]);
    }

    /// Adds a note. The first try may meet a connection to a killed server.
    pub(crate) fn add(&mut self, note: &str) {
        wait_for(&format!("{} to store a note", self.framework.name), || {
            http::post(self.port(), "/", note).is_ok_and(|(status, _)| status == 200)
        });
        self.shown.push(if self.framework.has_jobs { note.to_uppercase() } else { note.to_owned() });
        self.shows_all();
    }

    /// Waits until its page shows all notes, each as its job has changed it.
    pub(crate) fn shows_all(&self) {
        let page = self.shown.join(" ");
        wait_for(&format!("{} to show '{page}'", self.framework.name), || {
            http::get(self.port(), "/").is_ok_and(|(_, body)| body == page)
        });
    }

    /// Expects the process of the first release.
    pub(crate) fn has_not_restarted(&self) {
        assert_eq!(self.pid(), self.pid, "{}", self.log());
    }

    fn port(&self) -> u16 {
        self.world.port(self.framework.name)
    }

    fn pid(&self) -> i64 {
        self.world.ps(self.framework.name)[0]["pid"].as_i64().expect("a pid")
    }

    fn log(&self) -> String {
        says(self.world, &format!("logs {} --ps web.1 -n 1000", self.framework.name))
    }
}

impl Drop for BoundApp<'_> {
    /// Prints the log of a failed test.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let out = self.world.ssh("laptop", &format!("logs {} -n 30", self.framework.name));
            let log = format!("--- {}\n{}\n", self.framework.name, text(&out));
            let _ = std::io::stderr().lock().write_all(log.as_bytes());
        }
    }
}
