//! A server with an app that the others attack, and a record of all that they must neither read nor change.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use piku_tests::repo::Repo;
use piku_tests::world::World;

/// Text that is in the victim's config, in its data and in a private key of the server's user, and nowhere else.
const SECRET: &str = "hunter2hunter2";

/// A server with a live app `victim` and a private key in the home of its user.
pub(super) struct VictimWorld {
    pub(super) world: World,
    before: Vec<String>,
}

impl VictimWorld {
    /// A victim with these further files in its tree and in its data.
    pub(super) fn new(files: &[(&str, &str)], data: &[(&str, &[u8])]) -> Self {
        let world = World::new();
        let victim = world.repo("victim");
        victim.serves("untouched\n");
        for (name, text) in files {
            victim.file(name, text);
        }
        victim.commit(SECRET).push().succeeds();
        assert!(world.ssh("laptop", &format!("config:set victim SECRET={SECRET}")).status.success());
        // By the server's own account: what is shared with a release must belong to it.
        let write = |path: PathBuf, content: &[u8]| {
            let mut shell = world.command("sh");
            shell.args(["-c", "mkdir -p \"${1%/*}\" && cat >\"$1\"", "sh"]).arg(&path).stdin(Stdio::piped());
            let mut shell = shell.spawn().expect("sh runs");
            shell.stdin.take().expect("stdin").write_all(content).expect("a file of the victim");
            assert!(shell.wait().expect("sh ends").success(), "{}", path.display());
        };
        write(world.path("home/key"), format!("{SECRET}\n").as_bytes());
        write(world.app("victim").join("data/diary"), format!("{SECRET}\n").as_bytes());
        for (name, content) in data {
            write(world.app("victim").join("data").join(name), content);
        }
        let before = picture(&world);
        Self { world, before }
    }

    /// The text of a file of the attacker's, `@ROOT@` and `@HOME@` in it replaced by where these are here.
    pub(super) fn aimed(&self, text: &str) -> String {
        let place = |path: PathBuf| path.to_str().expect("text").to_owned();
        text.replace("@ROOT@", &place(self.world.root())).replace("@HOME@", &place(self.world.path("home")))
    }

    /// An attacker's work tree with what serves a page.
    pub(super) fn attacker(&self, app: &str) -> Repo {
        let repo = self.world.repo(app);
        repo.serves("attacker\n");
        repo
    }

    /// Nothing of the victim's is in what a push said, and all of it is as it was.
    pub(super) fn assert_untouched(&self, said: &str) {
        assert!(!said.contains(SECRET), "a secret was shown:\n{said}");
        let after = picture(&self.world);
        let only_in = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|line| !other.contains(line)).cloned().collect()
        };
        let (lost, new) = (only_in(&self.before, &after), only_in(&after, &self.before));
        assert!(lost.is_empty() && new.is_empty(), "lost: {lost:#?}\nnew: {new:#?}\n{said}");
        assert_eq!(self.world.page("victim"), "untouched\n");
    }
}

/// Types, links, numbers of names and contents of what is the victim's, and of the keys of the server's user.
fn picture(world: &World) -> Vec<String> {
    const LIST: &str = "cd \"$1\" && find home/key home/.ssh root/host.yaml root/apps/victim -path '*/log' -prune -o \
        -printf '%p %M %l\\n' -type f -printf '%p %n %i\\n' -exec sha256sum {} ';' 2>&1; ls home";
    let out = world.command("sh").args(["-c", LIST, "sh"]).arg(world.path("")).output().expect("find");
    let mut lines: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
