//! Keys and settings that a fetch of a submodule may use: those of the app alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use piku_tests::sshd::{self, Sshd};

use crate::place::Place;
use crate::submodules::Daemon;

/// An agent of ssh with one key, ended with the test.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(socket: PathBuf, key: &Path) -> Self {
        let process =
            Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { process, socket };
        let end = Instant::now() + Duration::from_secs(30);
        while !agent.add(key) {
            assert!(Instant::now() < end, "the agent takes no key");
            std::thread::sleep(Duration::from_millis(20));
        }
        agent
    }

    fn add(&self, key: &Path) -> bool {
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).stdin(Stdio::null()).stderr(Stdio::null());
        add.status().unwrap().success()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn private_submodule_is_fetched_with_the_key_of_the_app_alone() {
    let (place, lib) = (Place::new(), Place::new());
    let inner = lib.file("lib.txt", "lib").commit();
    let keys = tempfile::tempdir().unwrap();
    let [machine, own] = ["machine", "own"].map(|name| sshd::key_pair(keys.path(), name));
    let authorized = keys.path().join("authorized_keys");
    let public = |key: &Path| fs::read_to_string(key.with_extension("pub")).unwrap();
    fs::write(&authorized, public(&machine) + &public(&own)).unwrap();
    let sshd = Sshd::start(&keys.path().join("sshd"), &authorized);
    let agent = Agent::start(keys.path().join("agent"), &machine);
    let lib_path = lib.work().join(".git").display().to_string();
    let url = sshd.url(lib_path.trim_start_matches('/'));
    place.submodule("lib", &url, &inner);
    let commit = place.commit_index();

    let export = |config: Option<&Path>| -> Output {
        let mut tool = place.tool(&commit);
        tool.env("SSH_AUTH_SOCK", &agent.socket);
        tool.args(config.map(|_| "--config")).args(config);
        tool.output().unwrap()
    };
    // The agent opens the server, but not to a submodule.
    let options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"];
    let mut ssh = Command::new("ssh");
    ssh.args(options).args(["-o", "BatchMode=yes", "-p", &sshd.port().to_string()]);
    ssh.arg(format!("{}@127.0.0.1", sshd.user())).arg("true").env("SSH_AUTH_SOCK", &agent.socket);
    assert!(ssh.output().unwrap().status.success(), "{}", sshd.log());
    let config = place.path("config.json");
    fs::write(&config, "{}").unwrap();
    for config in [None, Some(config.as_path())] {
        let out = export(config);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot fetch the submodule 'lib'"), "{said}");
        assert!(said.contains("config:set APP DEPLOY_KEY="), "{said}");
        place.nothing_is_left();
    }

    let value = fs::read_to_string(&own).unwrap().trim().replace('\n', "\\n");
    fs::write(&config, serde_json::json!({ "DEPLOY_KEY": value }).to_string()).unwrap();
    let out = export(Some(&config));
    assert!(out.status.success(), "{out:?}");
    assert_eq!(fs::read_to_string(place.path("out/lib/lib.txt")).unwrap(), "lib");
    let modules = place.work().join(".git/modules");
    assert!(!modules.join("deploy-key").exists(), "the key is on the disk for the time of a fetch");
    assert!(fs::read_to_string(modules.join("known_hosts")).unwrap().contains("127.0.0.1"));
}

#[test]
fn settings_and_passwords_of_the_user_have_no_part_in_a_fetch() {
    let (place, lib) = (Place::new(), Place::new());
    let inner = lib.file("lib.txt", "lib").commit();
    let served = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(lib.work().join(".git"), served.path().join("lib.git")).unwrap();
    let daemon = Daemon::start(served.path());
    let settings = format!("[url \"{}\"]\n\tinsteadOf = http://private.invalid/\n", daemon.url(""));
    for file in [".gitconfig", ".config/git/config"] {
        let path = place.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &settings).unwrap();
    }
    let outside = ["ls-remote", "http://private.invalid/lib.git"];
    assert!(place.git(&outside, place.dir.path()).contains(&inner), "the user's git reads the settings");
    place.submodule("lib", "http://private.invalid/lib.git", &inner);
    place.refused(&place.commit_index(), "cannot fetch the submodule 'lib'");
}
