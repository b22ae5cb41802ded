//! The installed nginx: its path, its build options and its command line.

#![expect(clippy::disallowed_methods, reason = "the installed program, and a file that only piku writes")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use nix::unistd::geteuid;
use piku_files::atomic_file;
use piku_nss::UserAccount;
use piku_procfile::render::nginx::Http2Syntax;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use super::nginx_dir::NginxDir;
use crate::process::installed_program::find_program;

#[derive(Debug, Clone)]
pub(super) struct NginxProgram {
    program: PathBuf,
    /// Identifies the installed file.
    identity: String,
    build: NginxBuild,
}

/// The output of `nginx -V`, stored until another nginx is installed.
#[derive(Debug, Serialize, Deserialize)]
struct CachedVersion {
    identity: String,
    text: String,
}

impl CachedVersion {
    fn read(path: &Path, identity: &str) -> Option<Self> {
        let cached: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (cached.identity == identity).then_some(cached)
    }

    /// Stores it, if nginx's directory exists already.
    fn write(&self, path: &Path) {
        // Without it, nginx is asked again.
        let _ = serde_json::to_vec(self).map(|json| atomic_file::write_passing(path, &json, 0o600));
    }
}

/// Returns the place of a file on the disk and the time of its last change.
fn file_identity(path: &Path) -> Option<String> {
    let about = fs::metadata(path).ok()?;
    let (dev, inode, length) = (about.dev(), about.ino(), about.len());
    Some(format!("{} {dev} {inode} {length} {}.{:09}", path.display(), about.ctime(), about.ctime_nsec()))
}

impl NginxProgram {
    /// Finds nginx and its build options, from `nginx -V` once for each installed version.
    pub(super) fn find(dir: &NginxDir) -> Option<Self> {
        let program = find_program("nginx")?;
        let identity = file_identity(&program)?;
        let path = dir.version_cache();
        let cached = CachedVersion::read(&path, &identity).unwrap_or_else(|| {
            let out = Command::new(&program).arg("-V").env_clear().stdin(Stdio::null()).output();
            let text = out.map(|out| String::from_utf8_lossy(&out.stderr).into_owned()).unwrap_or_default();
            let asked = CachedVersion { identity, text };
            if parse_version(&asked.text).is_some() {
                asked.write(&path);
            }
            asked
        });
        let build = NginxBuild::parse(&cached.text);
        Some(Self { program, identity: cached.identity, build })
    }

    /// Finds nginx as [`NginxProgram::find`] does, but fails if it is not installed.
    pub(super) fn require(dir: &NginxDir) -> anyhow::Result<Self> {
        let hint = "sudo apt-get install nginx-light";
        Ok(Self::find(dir).ok_or_else(|| UserError::new("nginx is not installed").hint(hint))?)
    }

    /// Returns a text that differs for each installed file.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns `nginx -c FILE` with an empty environment. The file comes first because the process title
    /// shows only the start of a long command line, and
    /// [`NginxMaster::find`](super::master::NginxMaster::find) looks for the file there.
    pub(super) fn command(&self, file: &Path) -> Command {
        let mut nginx = Command::new(&self.program);
        nginx.arg("-c").arg(file);
        if self.build.takes_error_log {
            nginx.args(["-e", "stderr"]);
        }
        nginx.env_clear().current_dir("/").stdin(Stdio::null());
        // nginx writes its title over its arguments and environment, and truncates it to their length.
        nginx.env("TITLE", "room for the words: nginx: master process");
        nginx
    }

    /// Returns the value of `-g`. If root starts nginx, its workers run as root too: only root can read the
    /// apps' files.
    pub(super) fn global_directives(rest: &str) -> String {
        if !geteuid().is_root() {
            return rest.to_owned();
        }
        let root = UserAccount::find_by_uid(geteuid())
            .ok()
            .flatten()
            .map_or_else(|| "root".to_owned(), |user| user.name);
        format!("user {root}; {rest}")
    }

    /// Tests a file and the files that it includes. The inner error is nginx's own message.
    pub(super) fn test_config(&self, file: &Path) -> anyhow::Result<Result<(), String>> {
        let mut nginx = self.command(file);
        nginx.args(["-t", "-q", "-g", &Self::global_directives("")]);
        let out = nginx.output().with_context(|| format!("cannot run '{}'", self.program.display()))?;
        if out.status.success() {
            return Ok(Ok(()));
        }
        Ok(Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()))
    }

    pub(super) fn build(&self) -> NginxBuild {
        self.build
    }
}

/// The features that an nginx was built with.
#[expect(clippy::struct_excessive_bools, reason = "features that do not depend on one another")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NginxBuild {
    pub(super) http2: Http2Syntax,
    /// True if it has `limit_conn`, which older nginx-light packages leave out.
    pub(super) counts_connections: bool,
    /// True if it has `limit_req`.
    pub(super) counts_requests: bool,
    /// True if it can refuse a TLS handshake (`ssl_reject_handshake`, 1.19.4). Ubuntu 22.04 has 1.18.
    pub(super) rejects_handshakes: bool,
    /// True if `-e` sets the log used at startup (1.19.5). Older ones also try the one in /var/log and
    /// complain.
    pub(super) takes_error_log: bool,
}

impl NginxBuild {
    /// Parses the output of `nginx -V`.
    fn parse(text: &str) -> Self {
        let version = parse_version(text);
        let http2 = match version {
            Some(version) if version >= [1, 25, 1] => Http2Syntax::On,
            _ => Http2Syntax::Listen,
        };
        // An unknown version, such as a fork's, counts as recent.
        let since = |first: [u32; 3]| version.is_none_or(|version| version >= first);
        Self {
            http2,
            counts_requests: !text.contains("--without-http_limit_req_module"),
            counts_connections: !text.contains("--without-http_limit_conn_module"),
            rejects_handshakes: since([1, 19, 4]),
            takes_error_log: since([1, 19, 5]),
        }
    }
}

/// Parses the version in `nginx version: nginx/1.22.1 (…)`.
fn parse_version(text: &str) -> Option<[u32; 3]> {
    let number = text.split_once("nginx/")?.1.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
    let mut parts = number.split('.').map(str::parse);
    Some([parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_parsed() {
        assert_eq!(parse_version("nginx version: nginx/1.22.1"), Some([1, 22, 1]));
        assert_eq!(parse_version("nginx version: nginx/1.26.3 (Debian)\n"), Some([1, 26, 3]));
        assert_eq!(parse_version("openresty"), None);
        let light =
            "nginx version: nginx/1.18.0 (Ubuntu)\nconfigure arguments: --without-http_limit_conn_module";
        let old = NginxBuild {
            http2: Http2Syntax::Listen,
            counts_connections: false,
            counts_requests: true,
            rejects_handshakes: false,
            takes_error_log: false,
        };
        assert_eq!(NginxBuild::parse(light), old);
        let new = NginxBuild {
            http2: Http2Syntax::On,
            counts_connections: true,
            counts_requests: true,
            rejects_handshakes: true,
            takes_error_log: true,
        };
        assert_eq!(NginxBuild::parse("nginx version: nginx/1.26.3\n"), new);
        assert!(!NginxBuild::parse("nginx version: nginx/1.19.4\n").takes_error_log);
        assert!(NginxBuild::parse("nginx version: nginx/1.19.4\n").rejects_handshakes);
        let other = NginxBuild { http2: Http2Syntax::Listen, ..new };
        assert_eq!(NginxBuild::parse("nginx version: openresty/1.21.4.1\n"), other);
    }
}
