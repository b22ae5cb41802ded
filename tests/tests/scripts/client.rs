//! `scripts/piku` on a laptop: one file, copied by itself, with git, ssh and what POSIX has, in each shell that is here.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use piku_tests::snapshot::text;
use piku_tests::tools::repository;
use piku_tests::world::World;

/// All that the client may call. None of it has an option that POSIX does not know.
const PROGRAMS: [&str; 9] = ["[", "git", "ssh", "sh", "cat", "id", "printf", "sed", "tr"];

/// Shells that a laptop may have as its `sh`, as they are when they are called so. The first must be here.
const SHELLS: [&[&str]; 7] = [
    &["dash"],
    &["bash", "--posix"],
    &["busybox", "ash"],
    &["mksh"],
    &["posh"],
    &["yash", "--posix"],
    &["zsh", "--emulate", "sh"],
];

/// A folder with the client alone, and one with all that it may call.
struct Laptop {
    dir: tempfile::TempDir,
}

impl Laptop {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("programs")).expect("programs");
        fs::create_dir(dir.path().join("my bin")).expect("bin");
        for program in PROGRAMS {
            symlink(found(program).expect(program), dir.path().join("programs").join(program))
                .expect(program);
        }
        let laptop = Self { dir };
        fs::copy(repository().join("scripts/piku"), laptop.client()).expect("a copy of scripts/piku");
        laptop
    }

    fn client(&self) -> PathBuf {
        self.dir.path().join("my bin/piku")
    }

    /// `piku WORDS` in `folder`, by this shell.
    fn piku(&self, shell: &[&str], folder: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(found(shell[0]).expect(shell[0]));
        command.args(&shell[1..]).arg(self.client()).args(words).current_dir(folder).stdin(Stdio::null());
        command
            .env_clear()
            .env("PATH", self.dir.path().join("programs"))
            .env("HOME", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LANG", "C.UTF-8");
        command
    }
}

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The shells that are here.
fn shells() -> Vec<&'static [&'static str]> {
    assert!(found(SHELLS[0][0]).is_some(), "{} is not installed", SHELLS[0][0]);
    SHELLS.into_iter().filter(|shell| found(shell[0]).is_some()).collect()
}

/// The command must end with `code`; returns what it printed, stdout and stderr.
fn says(mut command: Command, code: i32) -> String {
    let out = command.output().expect("a shell");
    said(&out, code, &command)
}

fn said(out: &Output, code: i32, command: &Command) -> String {
    let text = text(out);
    assert_eq!(out.status.code(), Some(code), "{command:?}: {text}");
    text
}

#[test]
fn client_prints_version_and_help_offline() {
    let laptop = Laptop::new();
    let version = env!("CARGO_PKG_VERSION");
    for shell in shells() {
        let piku = |words: &[&str], code| says(laptop.piku(shell, laptop.dir.path(), words), code);
        assert_eq!(piku(&["--version"], 0), format!("piku {version}\n"), "{shell:?}");
        let help = piku(&["--help"], 0);
        assert!(
            help.starts_with("usage: piku ") && help.contains("\n  rollback APP [N] "),
            "{shell:?}: {help}"
        );
        let rollback = piku(&["help", "rollback"], 0);
        assert!(rollback.starts_with("usage: piku rollback APP [N] "), "{shell:?}: {rollback}");
        assert_eq!(rollback.lines().count(), 1, "{shell:?}: {rollback}");
        assert_eq!(piku(&["rollback", "--help"], 0), rollback, "{shell:?}");
        let unknown = format!("piku: unknown verb 'frob'; 'piku help' lists those of this piku, {version}\n");
        assert_eq!(piku(&["frob"], 2), unknown, "{shell:?}");
        assert_eq!(piku(&["help", "frob"], 2), unknown, "{shell:?}");
        let lost = piku(&["ps"], 1);
        assert!(lost.contains("git remote add piku piku@HOST:APP"), "{shell:?}: {lost}");
    }
}

#[test]
fn client_shows_the_page_that_the_server_has() {
    let laptop = Laptop::new();
    let folder = laptop.dir.path();
    let git = |words: &[&str]| {
        assert!(Command::new("git").args(words).current_dir(folder).status().expect("git").success());
    };
    git(&["init", "-q"]);
    git(&["remote", "add", "staging", "piku@other:blog"]);
    for shell in shells() {
        for (words, answer, expected) in [
            ("--remote staging help ps:restart", "echo the whole page; :", "the whole page\n"),
            ("--remote staging help rollback", "exit 255; :", "usage: piku rollback APP [N] "),
            ("help rollback", "echo the whole page; :", "usage: piku rollback APP [N] "),
        ] {
            let mut asked = laptop.piku(shell, folder, &words.split(' ').collect::<Vec<_>>());
            asked.env("GIT_SSH_COMMAND", answer);
            assert!(says(asked, 0).starts_with(expected), "{shell:?}: {words}");
        }
    }
    let mut asked = laptop.piku(SHELLS[0], folder, &["restart", "--help", "--remote", "staging"]);
    asked.env("GIT_SSH_COMMAND", "printf '<%s>'");
    let line = "<-o><BatchMode=yes><-o><ConnectTimeout=3><-T><piku@other><'help' 'restart' >\n";
    assert_eq!(says(asked, 0), line);
}

#[test]
fn every_verb_has_help() {
    let laptop = Laptop::new();
    let help = says(laptop.piku(SHELLS[0], laptop.dir.path(), &["help"]), 0);
    let lines = help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let mut seen = 0;
    for verb in lines.filter_map(|line| line.split(' ').next()) {
        let text = says(laptop.piku(SHELLS[0], laptop.dir.path(), &["help", verb]), 0);
        assert!(text.starts_with(&format!("usage: piku {verb} ")), "{verb}: {text}");
        let told = text.trim_end().rsplit("  ").next().unwrap_or_default();
        assert!(told.len() > 5, "{verb} has no description: {text}");
        seen += 1;
    }
    assert!(seen > 25, "only {seen} verbs");
}

#[test]
fn client_works_in_each_shell() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("x\n").commit("One").push().succeeds();
    let laptop = Laptop::new();
    for shell in shells() {
        let piku = |words: &[&str]| {
            let mut command = laptop.piku(shell, repo.path(), words);
            command.env("GIT_SSH_COMMAND", world.git_ssh("laptop"));
            command
        };
        assert_eq!(says(piku(&["apps"]), 0), "blog\n", "{shell:?}");
        let value = "a  \"b\" $c `d` \\ it's *\nzwei ü\n\n";
        says(piku(&["config:set", "--no-restart", &format!("NAME={value}")]), 0);
        assert_eq!(says(piku(&["config:get", "NAME"]), 0), format!("{value}\n"), "{shell:?}");
        let words =
            ["run", "sh", "-c", r#"printf '<%s>' "$@"; exit 7"#, "sh", "", " ", "it's", "-n", "*", "\n"];
        assert_eq!(says(piku(&words), 7), "<>< ><it's><-n><*><\n>", "{shell:?}");
        says(piku(&["config:get", "NOTHING"]), 1);
        says(piku(&["rollback", "1", "2"]), 2);

        let file = laptop.dir.path().join("import");
        fs::write(&file, "OTHER=from a file\n").expect("a file");
        let mut import = piku(&["config:import", "--no-restart"]);
        import.stdin(fs::File::open(&file).expect("the file"));
        says(import, 0);
        assert_eq!(says(piku(&["config:get", "OTHER"]), 0), "from a file\n", "{shell:?}");

        let version = env!("CARGO_PKG_VERSION");
        let both = says(piku(&["--remote", "piku", "--version"]), 0);
        assert_eq!(
            both,
            format!("piku {version}\n{}@127.0.0.1: piku {version}\n", world.user()),
            "{shell:?}"
        );
        assert_eq!(says(piku(&["--version"]), 0), format!("piku {version}\n"), "no server is asked");
    }
}

#[test]
fn config_edit_removes_nothing_that_is_set_meanwhile() {
    let world = World::new();
    let repo = world.repo("blog");
    for line in ["create blog", "config:set blog --no-restart NAME='zwei ü'"] {
        assert!(world.ssh("laptop", line).status.success(), "{line}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = |name: &str, script: String| {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    };
    let ssh = world.git_ssh("laptop");
    // Another session comes first, when nothing but the server can tell any more.
    let set = "'config:set blog --no-restart LATER=1' </dev/null >&2";
    let late = program(
        "late",
        format!(
            "case \"$*\" in *config:import*) \
             if [ \"$1\" = -p ]; then {ssh} -p \"$2\" -T \"$4\" {set}; else {ssh} -T \"$2\" {set}; fi ;; esac\n\
             exec {ssh} \"$@\""
        ),
    );
    let editor = program("editor", "echo ADDED=1 >>\"$1\"".to_owned());
    let edit = |ssh: &str| {
        let mut command = Command::new("sh");
        command.arg(repository().join("scripts/piku")).args(["config:edit", "--no-restart"]);
        command.current_dir(repo.path()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", folder.path());
        command.env("TMPDIR", folder.path()).env("EDITOR", &editor).env("GIT_SSH_COMMAND", ssh);
        command.output().expect("sh")
    };
    let config = || text(&world.ssh("laptop", "config blog"));
    let is_kept = || {
        let mut names =
            fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("one").file_name());
        names.any(|name| name.to_string_lossy().starts_with("piku-config."))
    };
    let out = edit(late.to_str().expect("UTF-8"));
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(
        text(&out).contains("the settings of blog were changed meanwhile; nothing was stored"),
        "{out:?}"
    );
    assert!(config().contains("LATER=1") && !config().contains("ADDED"), "{}", config());
    assert!(is_kept(), "{out:?}");
    for entry in fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("one")) {
        if entry.file_name().to_string_lossy().starts_with("piku-config.") {
            fs::remove_file(entry.path()).expect("the text");
        }
    }

    let out = edit(&ssh);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(config().contains("LATER=1") && config().contains("ADDED=1"), "{}", config());
    assert!(!is_kept());

    // vi would wait for a person who is not there, such as in a job of cron.
    let mut alone = Command::new("sh");
    alone.arg(repository().join("scripts/piku")).arg("config:edit").current_dir(repo.path()).env_clear();
    alone.env("PATH", "/usr/bin:/bin").env("HOME", folder.path()).env("GIT_SSH_COMMAND", &ssh);
    let out = alone.stdin(Stdio::null()).output().expect("sh");
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(text(&out).contains("needs a terminal, or the name of an editor in EDITOR"), "{out:?}");
}

#[test]
fn client_warns_about_other_server_version() {
    let laptop = Laptop::new();
    let folder = laptop.dir.path();
    let git = |words: &[&str]| {
        assert!(Command::new("git").args(words).current_dir(folder).status().expect("git").success());
    };
    git(&["init", "-q"]);
    git(&["remote", "add", "piku", "piku@my-server:blog"]);
    for (code, answer, line) in [
        (1, "piku-receive: 'version' is not for this door", "piku: piku on piku@my-server is too old"),
        (255, "ssh: connect to host my-server port 22: Connection refused", "ssh: connect to host my-server"),
    ] {
        let mut asked = laptop.piku(SHELLS[0], folder, &["--remote=piku", "--version"]);
        asked.env("GIT_SSH_COMMAND", format!("echo \"{answer}\" >&2; exit {code}; :"));
        let out = asked.output().expect("a shell");
        said(&out, code, &asked);
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(err.starts_with(line) && err.lines().count() == 1, "{err}");
    }
    let mut asked = laptop.piku(SHELLS[0], folder, &["--remote=piku", "--version"]);
    asked.env("GIT_SSH_COMMAND", "echo 'piku 9.8.7'; exit 0; :");
    let told = says(asked, 0);
    assert!(told.ends_with("\npiku@my-server: piku 9.8.7\n"), "{told}");
}

#[test]
fn client_finds_app_among_words() {
    let laptop = Laptop::new();
    let folder = laptop.dir.path();
    let git = |words: &[&str]| {
        assert!(Command::new("git").args(words).current_dir(folder).status().expect("git").success());
    };
    git(&["init", "-q"]);
    git(&["remote", "add", "piku", "piku@my-server:blog"]);
    git(&["remote", "add", "staging", "piku@other:blog-2"]);
    for shell in shells() {
        for (words, server, line) in [
            ("restart", "piku@my-server", "restart 'blog'"),
            ("restart blog", "piku@my-server", "restart 'blog'"),
            ("restart worker", "piku@my-server", "restart 'blog' 'worker'"),
            ("restart blog worker", "piku@my-server", "restart 'blog' 'worker'"),
            ("ps shop", "piku@my-server", "ps 'shop'"),
            ("ps --format json", "piku@my-server", "ps 'blog' '--format' 'json'"),
            ("config:set A=1", "piku@my-server", "config:set 'blog' 'A=1'"),
            ("config:set shop A=1", "piku@my-server", "config:set 'shop' 'A=1'"),
            ("config:get blog A", "piku@my-server", "config:get 'blog' 'A'"),
            ("domains:add blog.example.org", "piku@my-server", "domains:add 'blog' 'blog.example.org'"),
            ("logs worker -f", "piku@my-server", "logs 'blog' 'worker' '-f'"),
            ("logs --tail", "piku@my-server", "logs 'blog' '-f'"),
            ("run blog ls --app x", "piku@my-server", "run 'blog' 'ls' '--app' 'x'"),
            ("run ls -a", "piku@my-server", "run 'blog' 'ls' '-a'"),
            ("--app shop restart", "piku@my-server", "restart 'shop'"),
            ("restart --app=shop worker", "piku@my-server", "restart 'shop' 'worker'"),
            ("--remote staging ps", "piku@other", "ps 'blog-2'"),
            ("ps:restart --remote staging", "piku@other", "restart 'blog-2'"),
            ("apps", "piku@my-server", "apps"),
        ] {
            let mut asked = laptop.piku(shell, folder, &words.split(' ').collect::<Vec<_>>());
            asked.env("GIT_SSH_COMMAND", "printf '<%s>'");
            assert_eq!(says(asked, 0), format!("<-T><{server}><{line}>"), "{shell:?}: {words}");
        }
    }
    let mut asked = laptop.piku(SHELLS[0], folder, &["restrat"]);
    asked.env("GIT_SSH_COMMAND", "false");
    assert!(says(asked, 2).ends_with("\nhint: did you mean 'restart'?\n"));
}

#[test]
fn commands_of_other_platforms_have_help() {
    let laptop = Laptop::new();
    let page = fs::read_to_string(repository().join("docs/coming-from.md")).expect("the page");
    // The other sections have tables of other things.
    let commands = page.split("\n## ").next().unwrap_or_default();
    let mut seen = 0;
    // The first is the row of headings.
    for row in commands.lines().filter(|line| line.starts_with("| ")).skip(1) {
        // What stands in italics is accepted as it is; the last column has piku's own.
        let own = row.rsplit('|').nth(1).unwrap_or_default();
        let cells = row.split('*').skip(1).step_by(2).chain(own.split(", "));
        for cell in cells {
            let command = cell.trim().trim_matches('`');
            let command = command.trim_start_matches("sudo ").trim_start_matches("piku ");
            let verb = command.split(' ').next().expect("a verb");
            if verb == "git" {
                continue;
            }
            let help = says(laptop.piku(SHELLS[0], laptop.dir.path(), &[verb, "--help"]), 0);
            assert!(help.starts_with("usage: piku "), "{verb}: {help}");
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} commands");
}
