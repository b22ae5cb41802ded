//! What a build of a Python app costs beside the bare tools, as ratios in one run: `cargo bench -p piku-build --bench python`.
//! Needs the package index.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the app needs.
const REQUIREMENTS: &str = "flask==3.1.2\ngunicorn==23.0.0\nrequests==2.32.5\n";
/// Redeploys and installs into an existing virtualenv, in turn; the fastest of each counts.
const ROUNDS: u32 = 7;
/// First builds, each with cold caches.
const FIRST: u32 = 3;

fn main() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let app = dir.path().join("app");
    fs::create_dir(&app)?;
    fs::write(app.join("requirements.txt"), REQUIREMENTS)?;
    fs::write(app.join("Procfile"), "wsgi: app:app\n")?;
    fs::write(app.join("app.py"), "import flask\napp = flask.Flask(__name__)\n")?;

    let (mut bare, mut first) = (Duration::MAX, Duration::MAX);
    for round in 0..FIRST {
        bare = bare.min(install(dir.path(), &format!("bare{round}"))?);
        first = first.min(build(dir.path(), &format!("cache{round}"), &format!("first{round}"))?);
    }
    tell("first build, cold caches, beside python -m venv and pip install", first, bare)?;

    let (mut pip, mut again) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        pip = pip.min(install(dir.path(), "bare0")?);
        fs::write(app.join("app.py"), format!("import flask\napp = flask.Flask(__name__)\n# {round}\n"))?;
        again = again.min(build(dir.path(), "cache0", &format!("again{round}"))?);
    }
    tell("redeploy, same dependencies, beside pip install into the virtualenv", again, pip)
}

/// `python -m venv` where there is none yet, and `pip install`, with a cache of its own.
fn install(dir: &Path, name: &str) -> io::Result<Duration> {
    let venv = dir.join(name);
    let begin = Instant::now();
    if !venv.exists() {
        run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--disable-pip-version-check", "--requirement"])
        .arg(dir.join("app/requirements.txt"));
    run(pip.env("PIP_CACHE_DIR", dir.join(format!("{name}-cache"))))?;
    Ok(begin.elapsed())
}

fn build(dir: &Path, cache: &str, name: &str) -> io::Result<Duration> {
    let begin = Instant::now();
    let mut build = Command::new(env!("CARGO_BIN_EXE_piku-build"));
    build
        .arg("build")
        .arg(dir.join("app"))
        .arg("--cache")
        .arg(dir.join(cache))
        .arg("--output")
        .arg(dir.join(name));
    run(&mut build)?;
    Ok(begin.elapsed())
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    io::stderr().write_all(&output.stderr)?;
    Err(io::Error::other(format!("{command:?}: {}", output.status)))
}

fn tell(what: &str, ours: Duration, theirs: Duration) -> io::Result<()> {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    writeln!(io::stdout(), "{what}: {ratio:.3} ({:.3} s, {:.3} s)", ours.as_secs_f64(), theirs.as_secs_f64())
}
