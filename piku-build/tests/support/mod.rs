//! A world for each test: an app's folder, a cache, a place for releases, and the real `piku-build` with a
//! cleared environment.

#![allow(dead_code, reason = "each suite uses its part")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use piku_chroot::jail;
use piku_release::manifest::BuiltRelease;
use piku_tests::snapshot::{IntoData, assert_redacted};
use piku_tests::tools::chroot;

/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(180);

pub(crate) struct World {
    dir: tempfile::TempDir,
    sandbox: &'static str,
    cache: PathBuf,
    tools: PathBuf,
    settings: Option<String>,
    env: Vec<(String, String)>,
}

/// Exit code and output of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// A world with these files in its app; where there are jails, builds have to use them.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("piku-build-test-").tempdir().expect("a temporary folder");
        let sandbox = if has_jail() { "require" } else { "off" };
        let world = Self {
            dir,
            sandbox,
            cache: "cache".into(),
            tools: shared_cache().join("shared-tools"),
            settings: None,
            env: Vec::new(),
        };
        fs::create_dir(world.app()).expect("the app's folder");
        for (name, text) in files {
            world.write(name, text);
        }
        world
    }

    /// Downloads and tools are those of all such worlds; layers are this one's own.
    pub(crate) fn sharing_caches(mut self) -> Self {
        self.cache = shared_cache();
        self
    }

    /// Tools that no earlier build has made, in the directory `tools`.
    pub(crate) fn with_own_tools(mut self) -> Self {
        self.tools = self.path("tools");
        self
    }

    /// The tools of another world.
    pub(crate) fn with_tools_of(mut self, other: &Self) -> Self {
        self.tools.clone_from(&other.tools);
        self
    }

    pub(crate) fn without_jail(mut self) -> Self {
        self.sandbox = "off";
        self
    }

    /// The text of `host.yaml`.
    pub(crate) fn settings(&mut self, text: &str) {
        self.settings = Some(text.to_owned());
    }

    /// A variable in the environment of piku-build itself.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn app(&self) -> PathBuf {
        self.path("app")
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.app().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, text).expect("a file");
    }

    pub(crate) fn executable(&self, name: &str, text: impl AsRef<[u8]>) {
        self.write(name, text);
        fs::set_permissions(self.app().join(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// A command of piku-build in this world.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piku-build"));
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin").current_dir(self.dir.path());
        if let Some(program) = chroot() {
            command.env("PIKU_CHROOT", program);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("piku-build runs"))
    }

    /// The arguments of `build app` into `out/NAME`.
    fn build_args(&self, name: &str, more: &[&str]) -> Vec<String> {
        let cache = self.cache.to_str().expect("UTF-8");
        let tools = self.tools.to_str().expect("UTF-8");
        let mut args = vec!["build", "app", "--cache", cache, "--layers", "cache/layers", "--tools", tools];
        args.extend(["--sandbox", self.sandbox]);
        args.extend(more);
        let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        args.extend(["--output".to_owned(), format!("out/{name}")]);
        if let Some(text) = &self.settings {
            fs::write(self.path("host.yaml"), text).expect("the settings");
            args.extend(["--settings".to_owned(), "host.yaml".to_owned()]);
        }
        args
    }

    pub(crate) fn build_command(&self, name: &str, more: &[&str]) -> Command {
        let args = self.build_args(name, more);
        self.command(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn build(&self, name: &str) -> Ran {
        self.build_with(name, &[])
    }

    pub(crate) fn build_with(&self, name: &str, more: &[&str]) -> Ran {
        Ran::of(self.build_command(name, more).output().expect("piku-build runs"))
    }

    pub(crate) fn release(&self, name: &str) -> BuiltRelease {
        BuiltRelease::read(&self.path("out").join(name)).expect("a release")
    }

    /// Everything in `out`: releases, and what should not be there.
    pub(crate) fn outputs(&self) -> Vec<String> {
        names(&self.path("out"))
    }

    pub(crate) fn layers(&self) -> Vec<String> {
        names(&self.path("cache/layers"))
    }

    pub(crate) fn content(&self, layer: &str) -> PathBuf {
        self.path("cache/layers").join(layer).join("content")
    }

    /// Runs a command as a worker of a release is run: release and layers read-only, the release's
    /// environment alone.
    pub(crate) fn work(&self, name: &str, argv: &[&str]) -> Ran {
        let release = self.release(name);
        let tree = self.path("out").join(name).join("app");
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let mut command = if release.jailed {
            let mut jail = jail::JailSpec::new().app(&tree).chdir(Path::new("/app"));
            for layer in &release.layers {
                jail = jail.ro(&self.content(&layer.key), &layer.mount);
            }
            for folder in &release.host {
                jail = jail.ro(folder, folder);
            }
            jail.command(&release.env, &argv)
        } else {
            let program = find(&release.env["PATH"], &argv[0]);
            let mut command = Command::new(program);
            command.args(&argv[1..]).env_clear().envs(&release.env).current_dir(tree);
            command
        };
        Ran::of(command.stdin(Stdio::null()).output().expect("a worker"))
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// It worked, and said all of this on stderr.
    #[track_caller]
    pub(crate) fn good(&self, said: &[&str]) -> &Self {
        assert_eq!(self.code, Some(0), "{self}");
        self.said(said)
    }

    /// It failed with exit code 1, and these are all its warnings and errors.
    #[track_caller]
    pub(crate) fn fails(&self, snapshot: impl IntoData) -> &Self {
        assert_redacted(&self.failure(), &[], snapshot);
        self
    }

    /// Returns the warnings and errors of a run that failed with exit code 1, without the progress before
    /// them.
    #[track_caller]
    pub(crate) fn failure(&self) -> String {
        assert_eq!(self.code, Some(1), "{self}");
        // Errors in the Procfile and in ENV, which come before any progress, begin with the name of the file.
        let error = self.stderr.find("piku-build: ").unwrap_or_default();
        let error = self.stderr[..error].rfind('\n').map_or(0, |end| end + 1);
        let (progress, error) = self.stderr.split_at(error);
        let warnings = progress.lines().filter(|line| line.contains("warning: "));
        warnings.fold(String::new(), |text, line| text + line + "\n") + error
    }

    #[track_caller]
    pub(crate) fn said(&self, said: &[&str]) -> &Self {
        for text in said {
            assert!(self.stderr.contains(text), "not said: {text}\n{self}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn not_said(&self, text: &str) -> &Self {
        assert!(!self.stderr.contains(text), "said: {text}\n{self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.map_or("by a signal".to_owned(), |code| code.to_string());
        let printed = [("stdout", &self.stdout), ("stderr", &self.stderr)]
            .map(|(name, text)| if text.is_empty() { String::new() } else { format!("--- {name}\n{text}") });
        write!(f, "exit {code}\n{}", printed.concat())
    }
}

/// A folder for caches that stays from one run to the next.
pub(crate) fn shared_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// A process that ends with its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.spawn().expect("a process"))
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < BOUND, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .map(|entries| {
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

/// Returns whether jails can be made here. Reports if not: the tests then run without.
pub(crate) fn has_jail() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        chroot();
        let answer = jail::available();
        if let Err(err) = &answer {
            skipped(&format!("builds in the jail, they run without: {err:#}"));
        }
        answer.is_ok()
    })
}

/// Says aloud what is not tested here; what goes through `eprintln!` is only seen when a test fails.
pub(crate) fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}

fn find(path: &str, name: &str) -> PathBuf {
    std::env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| name.into())
}
