//! The nginx of this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use nix::unistd::geteuid;
use piku_nss::UserAccount;
use piku_procfile::render::nginx::Http2Syntax;
use piku_report::user_error::UserError;

/// Where programs are that are not on everybody's PATH.
const BEYOND_PATH: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// A program on PATH, or where those of the system are.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&path).chain(BEYOND_PATH.map(PathBuf::from));
    all.map(|dir| dir.join(name))
        .find(|program| nix::unistd::access(program, nix::unistd::AccessFlags::X_OK).is_ok())
}

/// nginx as it is installed.
#[derive(Debug, Clone)]
pub(super) struct NginxProgram {
    program: PathBuf,
    build: NginxBuild,
}

impl NginxProgram {
    /// Looks for it, and asks it how it was built.
    pub(super) fn find() -> Option<Self> {
        let program = find("nginx")?;
        let out = Command::new(&program).arg("-V").env_clear().stdin(Stdio::null()).output();
        let said = out.map(|out| String::from_utf8_lossy(&out.stderr).into_owned()).unwrap_or_default();
        Some(Self { program, build: NginxBuild::of(&said) })
    }

    /// The same, where nothing can be done without.
    pub(super) fn needed() -> anyhow::Result<Self> {
        let hint = "sudo apt-get install nginx-light";
        Ok(Self::find().ok_or_else(|| UserError::new("nginx is not installed").hint(hint))?)
    }

    /// `nginx -c FILE`, with nothing of ours in its environment. The file comes first: of a long command line its title has the
    /// beginning.
    pub(super) fn command(&self, file: &Path) -> Command {
        let mut nginx = Command::new(&self.program);
        nginx.arg("-c").arg(file);
        if self.build.takes_error_log {
            nginx.args(["-e", "stderr"]);
        }
        nginx.env_clear().current_dir("/").stdin(Stdio::null());
        // nginx writes its title where its arguments and its environment were, and cuts off what does not fit there.
        nginx.env("TITLE", "room for the words: nginx: master process");
        nginx
    }

    /// What root's has to be told: its workers are root's too, who alone can read the apps' files.
    pub(super) fn globals(rest: &str) -> String {
        if !geteuid().is_root() {
            return rest.to_owned();
        }
        let root =
            UserAccount::of(geteuid()).ok().flatten().map_or_else(|| "root".to_owned(), |user| user.name);
        format!("user {root}; {rest}")
    }

    /// Tests a file and those it includes; what nginx says against them.
    pub(super) fn test(&self, file: &Path) -> anyhow::Result<Result<(), String>> {
        let mut nginx = self.command(file);
        nginx.args(["-t", "-q", "-g", &Self::globals("")]);
        let out = nginx.output().with_context(|| format!("cannot run '{}'", self.program.display()))?;
        if out.status.success() {
            return Ok(Ok(()));
        }
        Ok(Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()))
    }

    /// Returns how it was built.
    pub(super) fn build(&self) -> NginxBuild {
        self.build
    }
}

/// The features that an nginx was built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NginxBuild {
    /// How it is told to speak HTTP/2.
    pub(super) http2: Http2Syntax,
    /// True if it has `limit_conn`, which older nginx-light packages leave out.
    pub(super) counts_connections: bool,
    /// True if it can refuse a TLS handshake (`ssl_reject_handshake`, 1.19.4). Ubuntu 22.04 has 1.18.
    pub(super) rejects_handshakes: bool,
    /// True if `-e` names the log of its start (1.19.5). Without, it tries its own in /var/log too, and says that it cannot.
    pub(super) takes_error_log: bool,
}

impl NginxBuild {
    /// Of what `nginx -V` says.
    fn of(said: &str) -> Self {
        let version = version(said);
        let http2 = match version {
            Some(version) if version >= [1, 25, 1] => Http2Syntax::On,
            _ => Http2Syntax::Listen,
        };
        // What says no version is taken for one of the last years.
        let since = |first: [u32; 3]| version.is_none_or(|version| version >= first);
        Self {
            http2,
            counts_connections: !said.contains("--without-http_limit_conn_module"),
            rejects_handshakes: since([1, 19, 4]),
            takes_error_log: since([1, 19, 5]),
        }
    }
}

/// Of `nginx version: nginx/1.22.1 (…)`.
fn version(said: &str) -> Option<[u32; 3]> {
    let number = said.split_once("nginx/")?.1.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
    let mut parts = number.split('.').map(str::parse);
    Some([parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("nginx version: nginx/1.22.1"), Some([1, 22, 1]));
        assert_eq!(version("nginx version: nginx/1.26.3 (Debian)\n"), Some([1, 26, 3]));
        assert_eq!(version("openresty"), None);
        let light =
            "nginx version: nginx/1.18.0 (Ubuntu)\nconfigure arguments: --without-http_limit_conn_module";
        let old = NginxBuild {
            http2: Http2Syntax::Listen,
            counts_connections: false,
            rejects_handshakes: false,
            takes_error_log: false,
        };
        assert_eq!(NginxBuild::of(light), old);
        let new = NginxBuild {
            http2: Http2Syntax::On,
            counts_connections: true,
            rejects_handshakes: true,
            takes_error_log: true,
        };
        assert_eq!(NginxBuild::of("nginx version: nginx/1.26.3\n"), new);
        assert!(!NginxBuild::of("nginx version: nginx/1.19.4\n").takes_error_log);
        assert!(NginxBuild::of("nginx version: nginx/1.19.4\n").rejects_handshakes);
        let other = NginxBuild { http2: Http2Syntax::Listen, ..new };
        assert_eq!(NginxBuild::of("nginx version: openresty/1.21.4.1\n"), other);
        assert!(find("sh").is_some() && find("no-such-program").is_none());
    }
}
