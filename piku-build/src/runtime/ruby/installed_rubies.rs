//! The installed Rubies: the system's, and those of rbenv, ruby-install and similar tools.

#![expect(clippy::disallowed_methods, reason = "Rubies of the machine")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::{BuildTarget, operator_path};
use super::requirement::parse_version;
use crate::runtime::version::RuntimeVersion;
use crate::tree::root_view::is_executable;

/// Directories of the system's Rubies. PATH does not count: the jail shows /usr alone.
const FOLDERS: [&str; 2] = ["/usr/local/bin", "/usr/bin"];
/// Directories that hold several versions, each with a `bin`.
const SIDE_BY_SIDE: [&str; 3] = ["/usr/local/rbenv/versions", "/usr/local/rvm/rubies", "/opt/rubies"];
/// The same below the home of the user who builds: of ruby-install, asdf, mise, RVM.
const AT_HOME: [&str; 4] =
    [".rubies", ".asdf/installs/ruby", ".local/share/mise/installs/ruby", ".rvm/rubies"];
/// Code that prints engine, versions and architecture. Bundler may be in a separate package.
const ASK: &str = "begin; require 'bundler/version'; bundler = Bundler::VERSION; rescue LoadError; bundler = ''; end\n\
                   puts RUBY_ENGINE, RUBY_VERSION, RbConfig::CONFIG['ruby_version'], RbConfig::CONFIG['arch'], bundler";

/// A Ruby of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstalledRuby {
    /// Directory with `ruby` and `bundle`.
    pub(super) bin: PathBuf,
    pub(super) version: RuntimeVersion,
    /// Version in the paths of its gems: `3.1.0`.
    pub(super) api: String,
    /// Architecture of its compiled gems: `x86_64-linux-gnu`.
    pub(super) arch: String,
    /// Version of Bundler; empty if it is not installed.
    pub(super) bundler: String,
    /// Its home, if no jail shows that by itself.
    pub(super) home: Option<PathBuf>,
}

/// Lists the installed Rubies: the system's first, then the others, the newest first.
pub(super) fn list_installed(target: &BuildTarget) -> Vec<InstalledRuby> {
    let system = FOLDERS.iter().filter_map(|folder| {
        let bin = PathBuf::from(folder);
        target.find_tool(bin.join("ruby").to_str()?)?;
        inspect(&bin, None)
    });
    let own = list_homes(target.operator_env).into_iter().filter_map(|home| {
        let hidden = (!home.starts_with("/usr")).then(|| home.clone());
        inspect(&home.join("bin"), hidden)
    });
    let mut own: Vec<_> = own.collect();
    own.sort_by_key(|ruby| std::cmp::Reverse(ruby.version));
    system.chain(own).collect()
}

/// Returns the homes of those that no jail shows by itself.
pub(crate) fn list_hidden_homes(build_env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let all = list_homes(build_env).into_iter();
    all.filter(|home| !home.starts_with("/usr") && is_executable(&home.join("bin/ruby"))).collect()
}

/// Lists the homes of those outside of the system's directories, with links resolved.
fn list_homes(build_env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let home = operator_path(build_env, "HOME");
    let root = operator_path(build_env, "RBENV_ROOT").or_else(|| Some(home.as_ref()?.join(".rbenv")));
    let folders = root.map(|root| root.join("versions")).into_iter();
    let folders = folders.chain(home.iter().flat_map(|home| AT_HOME.map(|below| home.join(below))));
    let mut homes: Vec<PathBuf> = folders
        .chain(SIDE_BY_SIDE.map(PathBuf::from))
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| fs::canonicalize(entry.path()).ok())
        .collect();
    homes.sort();
    homes.dedup();
    homes
}

fn inspect(bin: &Path, home: Option<PathBuf>) -> Option<InstalledRuby> {
    let program = bin.join("ruby");
    if !is_executable(&program) {
        return None;
    }
    let output = Command::new(&program)
        .args(["-e", ASK])
        .env_clear()
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    parse_output(&String::from_utf8_lossy(&output.stdout), bin, home)
}

fn parse_output(said: &str, bin: &Path, home: Option<PathBuf>) -> Option<InstalledRuby> {
    let mut lines = said.lines();
    let (engine, version) = (lines.next()?, parse_version(lines.next()?)?.version);
    let (api, arch, bundler) = (lines.next()?.to_owned(), lines.next()?.to_owned(), lines.next()?.to_owned());
    (engine == "ruby").then_some(InstalledRuby { bin: bin.to_owned(), version, api, arch, bundler, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_ruby_says() {
        let read = |said| parse_output(said, Path::new("/usr/bin"), None);
        let ruby = read("ruby\n3.1.2\n3.1.0\nx86_64-linux-gnu\n2.3.15\n").unwrap();
        assert_eq!((ruby.version, ruby.api.as_str()), (RuntimeVersion([3, 1, 2]), "3.1.0"));
        assert_eq!(read("ruby\n3.1.2\n3.1.0\nx\n\n").unwrap().bundler, "");
        assert_eq!(read("jruby\n2.6.8\n2.6.0\nx\n\n"), None);
        assert_eq!(read(""), None);
    }
}
