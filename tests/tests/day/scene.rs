//! The server of the day, two laptops, and what they say to it.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::process::Stdio;

use piku_tests::nginx::{self, Ports};
use piku_tests::repo::Repo;
use piku_tests::snapshot::text;
use piku_tests::world::World;

/// A server with nginx, and the work trees of its two users.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) ports: Ports,
    pub(crate) shop: Repo,
    pub(crate) guest_blog: Repo,
    pub(crate) guest_shop: Repo,
    /// Answers to mistakes that are not as expected: the walk reports all of them.
    surprises: RefCell<Vec<String>>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let (world, ports) = nginx::start_server("");
        let shop = world.repo("shop");
        let (guest_blog, guest_shop) =
            (world.repo_with_key("blog", "guest"), world.repo_with_key("shop", "guest"));
        Self { world, ports, shop, guest_blog, guest_shop, surprises: RefCell::default() }
    }

    /// Runs a verb by ssh with a key; returns its exit code, and what it has printed.
    pub(crate) fn says(&self, key: &str, words: &str) -> (i32, String) {
        let out = self.world.ssh(key, words);
        (out.status.code().expect("an exit code"), text(&out))
    }

    /// Runs a verb with the first key, which must succeed; returns its data.
    #[track_caller]
    pub(crate) fn does(&self, words: &str) -> String {
        let out = self.world.ssh("laptop", words);
        assert!(out.status.success(), "{words}: {}", text(&out));
        String::from_utf8(out.stdout).expect("text")
    }

    /// Runs a verb with this input, which must succeed; returns its data.
    #[track_caller]
    pub(crate) fn does_with(&self, input: &str, words: &str) -> String {
        let mut child = self.world.start_ssh("laptop", words);
        child.stdin.take().expect("its stdin").write_all(input.as_bytes()).expect("ssh reads");
        let out = child.wait_with_output().expect("ssh ends");
        assert!(out.status.success(), "{words}: {}", text(&out));
        String::from_utf8(out.stdout).expect("text")
    }

    /// Runs a verb with the first key, which must fail with this code and a line that begins with its name and `line`.
    pub(crate) fn mistake(&self, words: &str, code: i32, line: &str) {
        let verb = words.split(' ').next().unwrap_or_default();
        self.refuses("laptop", words, code, &format!("piku {verb}: {line}"));
    }

    /// Runs a verb with a key, which must fail with this code and one line that begins so; what else it says are hints.
    pub(crate) fn refuses(&self, key: &str, words: &str, code: i32, line: &str) {
        let (found, said) = self.says(key, words);
        let is_hint = |line: &str| line.starts_with("hint: ");
        if found != code || !said.starts_with(line) || !said.lines().skip(1).all(is_hint) {
            self.surprises.borrow_mut().push(format!("{words}: {found}, not {code}: {line:?}: {said}"));
        }
    }

    /// Fails if an answer to a mistake was not as expected.
    pub(crate) fn end(&self) {
        let surprises = self.surprises.take();
        assert!(surprises.is_empty(), "{}", surprises.join("\n"));
    }

    /// Offers a bad public key, which must be refused with a line that begins so.
    pub(crate) fn refuses_key(&self, key: &str, line: &str) {
        let file = self.world.path("bad.pub");
        fs::write(&file, key).expect("a file");
        let mut add = self.world.tool("piku-receive");
        add.args(["key", "add", "bad", "--authorized-keys"])
            .arg(self.world.path("home/.ssh/authorized_keys"));
        let out =
            add.stdin(Stdio::from(fs::File::open(file).expect("the key"))).output().expect("piku-receive");
        let said = text(&out);
        assert!(!out.status.success() && said.starts_with(line), "{said}");
    }

    /// Fetches the page at `/` of a host.
    pub(crate) fn page(&self, host: &str) -> String {
        self.ports.get(host, "/").body
    }
}
