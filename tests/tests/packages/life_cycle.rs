//! The shell scripts on throw-away Debian systems. Each story in `life_cycle` runs in a tree of Debian that is made once and kept in
//! `target/install`, with a network and processes of its own: the life of the package from its installation to its purge; scripts that
//! are killed; an installation from source; units and the nginx of the machine; what doctor finds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use piku_tests::account::Account;
use piku_tests::snapshot::text;
use piku_tests::tools::{reachable_by, repository};

/// Packages that the package depends on and recommends, so that dpkg finds them.
const PACKAGES: &str = "git,openssh-server,openssh-client,uidmap,ca-certificates,mount,nginx-light,openssl,python3,python3-venv,procps";

/// Reports that the test is skipped, or fails where nothing may be.
fn skip(why: &str) {
    piku_tests::skip(&format!("the package's scripts in a tree of Debian: {why}"));
}

/// The standard output of a shell's command line, trimmed.
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().expect("sh runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// `target`, where cargo builds these tests.
fn target() -> PathBuf {
    let me = std::env::current_exe().expect("the test's own path");
    me.ancestors()
        .find(|path| path.ends_with("debug"))
        .and_then(Path::parent)
        .expect("a target folder")
        .to_owned()
}

/// The newest package that `scripts/package` has made for this machine. Its programs run on each release of Debian.
fn made_package() -> Option<PathBuf> {
    let architecture = shell("dpkg --print-architecture");
    let folder = std::env::var_os("PIKU_PACKAGES").map_or_else(|| target().join("packages"), PathBuf::from);
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let packages = files.filter(|path| path.to_string_lossy().ends_with(&format!("_{architecture}.deb")));
    packages.max_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

/// A command with mounts and processes of its own, which are gone when it or this test has ended, in whatever way.
fn alone(args: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]).args(args);
    command
}

/// A tree of this release of Debian, made if it is not there; or why there is none.
fn tree(suite: &str) -> Result<PathBuf, String> {
    static BUSY: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
    let place = target().join("install");
    let (tree, aside) = (place.join(suite), place.join(format!("{suite}.new")));
    fs::create_dir_all(&place).expect("target/install");
    if tree.exists() {
        return Ok(tree);
    }
    let mirror = shell(
        "apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == \"Debian\" && $2 !~ /-/ { print $3; exit }'",
    );
    if mirror.is_empty() {
        return Err("apt has no mirror of Debian".to_owned());
    }
    let settings = place.join(format!("{suite}.conf"));
    let found = shell("apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries)'");
    fs::write(&settings, format!("{found}\nAcquire::Languages \"none\";\n")).expect("settings of apt");
    drop(fs::remove_dir_all(&aside));
    let mut make = alone(&["--mount-proc", "mmdebstrap", "--mode=root", "--variant=apt"]);
    make.args(["--dpkgopt=force-unsafe-io", "--include", PACKAGES])
        .arg(format!("--aptopt={}", settings.display()))
        .args(["man", "doc", "locale"].map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*")))
        .arg(suite)
        .arg(&aside)
        .arg(mirror);
    let output = make.output().map_err(|err| format!("setpriv: {err}"))?;
    if !output.status.success() {
        return Err(text(&output));
    }
    fs::rename(&aside, &tree).expect("the tree");
    Ok(tree)
}

/// Runs this story of a package with these tools on this release of Debian.
fn tell(name: &str, suite: &str, tools: &Path) {
    let tree = match tree(suite) {
        Ok(tree) => tree,
        Err(why) => return skip(&why),
    };
    let stories = repository().join("tests/tests/packages/life_cycle");
    let dir = tempfile::tempdir().expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let package = Command::new("sh")
        .arg(stories.join("package.sh"))
        .args([repository(), tools, dir.path()])
        .output()
        .expect("sh runs");
    assert!(package.status.success(), "{}", text(&package));
    let story = format!("{name}.sh");
    for file in [&story, "parts.sh", "load.py", "kill.py"] {
        fs::copy(stories.join(file), dir.path().join(file)).expect(file);
    }
    let output = alone(&["--net", "sh"])
        .arg(stories.join("enter.sh"))
        .args([&tree, dir.path()])
        .args(["sh", &format!("/files/{story}")])
        .output()
        .expect("unshare runs");
    assert!(output.status.success(), "{suite}: {}", text(&output));
    assert!(
        text(&output).ends_with("== done\n") || text(&output).contains("\n== done\n"),
        "{}",
        text(&output)
    );
}

fn run_story(name: &str, suite: &str) {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    match made_package() {
        Some(package) => tell(name, suite, &package),
        // Dynamic programs run where they were built.
        None if suite == shell(". /etc/os-release; echo \"$VERSION_CODENAME\"") => {
            let dir = tempfile::tempdir().expect("a folder");
            tell(name, suite, &reachable_by(&Account::for_tests(), dir.path()));
        }
        None => skip("no package in target/packages, and this is another release"),
    }
}

#[test]
fn package_life_cycle_on_debian_12() {
    run_story("life", "bookworm");
}

#[test]
fn package_life_cycle_on_debian_13() {
    run_story("life", "trixie");
}

#[test]
fn next_run_finishes_killed_scripts() {
    run_story("killed", "trixie");
}

#[test]
fn source_installation_survives_odd_machines() {
    run_story("source", "bookworm");
}

#[test]
fn setup_decides_about_units() {
    run_story("units", "trixie");
}

#[test]
fn doctor_reports_each_fault() {
    run_story("doctor", "bookworm");
}
