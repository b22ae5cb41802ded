//! The options as checked values. Nothing here asks the system for anything.

mod mounts;

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Pid};

pub use self::mounts::BASE_DIRECTORIES;
pub(crate) use self::mounts::{GrantAccess, JailMount, MountContent};
use self::mounts::{collect_mounts, normalize_path};
pub use piku_layout::jail::PATH as DEFAULT_PATH;
pub(crate) use piku_layout::jail::{APP, DATA};
use piku_layout::settings::Protection;
use piku_layout::writable_path::WritablePath;

use crate::cli::{ChrootCli, NetworkOption};
use crate::errors::quoted;
use crate::limits::JailLimits;

/// A jail to be made and the command to be run in it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct JailPlan {
    /// Tree of the programs and libraries; `None` for an empty root.
    pub(crate) base: Option<PathBuf>,
    /// Mounts, each after the mount that contains it.
    pub(crate) mounts: Vec<JailMount>,
    /// Directory for changes to /app.
    pub(crate) scratch: Option<PathBuf>,
    /// Paths of /app that are kept in the data; none contains another.
    pub(crate) keep: Vec<WritablePath>,
    /// Only the kept paths are writable in /app.
    pub(crate) keep_only: bool,
    /// Name of the caller's setting that keeps paths, to be named with what the command loses.
    pub(crate) tell_discarded: Option<String>,
    /// Do not wait until `scratch` is removed.
    pub(crate) remove_in_background: bool,
    pub(crate) net: NetworkOption,
    /// TCP ports that the command may bind; empty for all.
    pub(crate) listen: Vec<u16>,
    /// TCP ports of the host's loopback that a command with its own network reaches.
    pub(crate) connect: Vec<u16>,
    pub(crate) hostname: OsString,
    /// Working directory in the jail.
    pub(crate) chdir: PathBuf,
    /// Home directory in the jail's passwd.
    pub(crate) home: PathBuf,
    /// The whole environment of the command, as `NAME=VALUE`.
    pub(crate) env: Vec<CString>,
    /// The command's PATH, in which it is searched for.
    pub(crate) search: OsString,
    /// The command and its arguments; empty only with `--check` and `--give-back`.
    pub(crate) argv: Vec<CString>,
    /// The user to become first.
    pub(crate) user: Option<OsString>,
    /// The command's own user, if it is not the caller.
    pub(crate) uid_range: Option<UidRange>,
    /// Groups of the host that the command's own user is in.
    pub(crate) groups: Vec<Gid>,
    /// Descriptor of the prepared root to be used.
    pub(crate) prepared: Option<RawFd>,
    /// Only make a prepared root and send it to the caller.
    pub(crate) prepare: bool,
    /// Give the command its own terminal.
    pub(crate) tty: bool,
    /// Refuse to start if any layer is missing.
    pub(crate) strict: bool,
    /// Protections that must hold.
    pub(crate) require: Vec<Protection>,
    /// Make nothing before the caller writes to stdin.
    pub(crate) gate: bool,
    /// The caller, if the jail is to end with it.
    pub(crate) die_with: Option<Pid>,
    pub(crate) limits: JailLimits,
    /// The lowest `oom_score_adj` that the command may have.
    pub(crate) oom_score_adj: Option<u16>,
    /// File for the report.
    pub(crate) report: Option<PathBuf>,
    /// Print the memory used at the end: for a caller who sets a limit on memory and asks for no report.
    pub(crate) tell_memory: bool,
}

/// A subordinate user for the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UidRange {
    pub(crate) name: String,
    /// File that records the ids, if it is not the caller's own.
    pub(crate) registry: Option<PathBuf>,
    /// Make the caller the owner of the data again, and run the command as the caller.
    pub(crate) give_back: bool,
}

impl JailPlan {
    /// Checks the options. `caller` is the caller's environment.
    pub(crate) fn new(
        options: &ChrootCli,
        caller: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self> {
        let home = PathBuf::from(if options.app.is_some() { APP } else { "/tmp" });
        let env = command_environment(options, caller, &home)?;
        let home = env.get(OsStr::new("HOME")).and_then(|own| passwd_home(own)).unwrap_or(home);
        let search = env.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        let defaults = options.defaults();
        let chdir = match options.chdir.as_deref().or(defaults.chdir.map(Path::new)) {
            Some(dir) => normalize_path(dir).context("--chdir")?,
            None if options.app.is_some() => APP.into(),
            None => "/".into(),
        };
        for (needs, option) in
            [(options.give_back, "--give-back"), (options.uid_registry.is_some(), "--uid-registry")]
        {
            ensure!(!needs || options.uid_range.is_some(), "{option} needs --uid-range");
        }
        ensure!(!options.give_back || options.data.is_some(), "--give-back needs --data");
        let hostname = options.hostname.clone().unwrap_or_else(|| defaults.hostname.into());
        ensure!(
            (1..=64).contains(&hostname.len()) && !hostname.as_bytes().iter().any(u8::is_ascii_control),
            "--hostname: bad host name {}: expected 1 to 64 bytes without control characters",
            quoted(Path::new(&hostname))
        );
        let host = (options.root_from_host || defaults.root_from_host).then(|| PathBuf::from("/"));
        let base = options.root.clone().or(host);
        let env = env.into_iter().map(|(name, value)| c_string([name.as_os_str(), "=".as_ref(), &value]));
        Ok(Self {
            mounts: collect_mounts(options, base.is_some())?,
            base,
            scratch: options.scratch.clone(),
            keep: outermost_paths(&options.keep),
            keep_only: options.keep_only,
            tell_discarded: options.tell_discarded.clone(),
            remove_in_background: options.remove_in_background,
            net: options.net.unwrap_or(NetworkOption::Shared),
            listen: options.listen.clone(),
            connect: options.connect.iter().copied().filter(|port| *port != 0).collect(),
            hostname,
            chdir,
            home,
            env: env.collect::<Result<_>>()?,
            search,
            argv: options.command.iter().map(|arg| c_string([arg.as_os_str()])).collect::<Result<_>>()?,
            user: options.user.clone(),
            uid_range: options.uid_range.as_deref().map(|name| uid_range(name, options)).transpose()?,
            groups: options.group.iter().copied().map(Gid::from_raw).collect(),
            prepared: options.prepared,
            prepare: options.prepare,
            tty: options.tty,
            strict: options.strict,
            require: options.require.clone(),
            gate: options.gate,
            die_with: options.die_with.map(Pid::from_raw),
            limits: options.limits(),
            oom_score_adj: options.oom_score_adj.or(defaults.oom_score_adj),
            report: options.report.clone(),
            tell_memory: options.report.is_none()
                && options.limit.iter().any(|limits| limits.memory.is_some()),
        })
    }

    /// Returns the source of `--app`.
    #[must_use]
    pub(crate) fn app_source(&self) -> Option<&Path> {
        self.source_of("--app")
    }

    /// Returns the source of `--data`.
    #[must_use]
    pub(crate) fn data_source(&self) -> Option<&Path> {
        self.source_of("--data")
    }

    fn source_of(&self, option: &str) -> Option<&Path> {
        self.mounts.iter().find_map(|mount| match &mount.content {
            MountContent::Tree { src, .. } if mount.option == option => Some(src.as_path()),
            _ => None,
        })
    }

    /// Returns whether a mount becomes an overlay by `--scratch`: the app's tree, and the read-only trees in
    /// it.
    #[must_use]
    pub(crate) fn is_overlaid(&self, mount: &JailMount) -> bool {
        let is_part = mount.option == "--ro" && mount.dst.starts_with(APP);
        self.scratch.is_some() && (mount.option == "--app" || is_part)
    }

    /// Returns the paths in the jail that the command can write to. Where no overlay could be mounted, the
    /// mount of an overlaid tree is read-only all the same.
    #[must_use]
    pub(crate) fn writable_places(&self) -> Vec<PathBuf> {
        let is_writable = |mount: &&JailMount| match mount.content {
            MountContent::Tree { writable, .. } => writable || self.is_overlaid(mount) && !self.keep_only,
            MountContent::Granted { access, .. } => access == GrantAccess::Write,
            MountContent::Memory { .. } => true,
        };
        let mounts = self.mounts.iter().filter(is_writable).map(|mount| mount.dst.clone());
        mounts.chain(self.keep.iter().map(|kept| Path::new(APP).join(kept.path()))).collect()
    }

    /// Returns whether the mount point of a mount is in the root itself, in no other mount.
    #[must_use]
    pub(crate) fn is_mounted_on_root(&self, mount: &JailMount) -> bool {
        mount.inside.is_none() && !self.mounts.iter().any(|other| other.is_memory_around(mount))
    }

    /// Returns whether an option mounts something at this path of the new root.
    #[must_use]
    pub(crate) fn is_mount_point(&self, path: &Path) -> bool {
        self.mounts.iter().any(|mount| mount.dst == path)
    }
}

/// Returns the paths that are not below another one.
fn outermost_paths(paths: &[WritablePath]) -> Vec<WritablePath> {
    let mut outermost: Vec<WritablePath> = Vec::new();
    let mut sorted = paths.to_vec();
    sorted.sort();
    for path in sorted {
        if !outermost.iter().any(|above| path.path().starts_with(above.path())) {
            outermost.push(path);
        }
    }
    outermost
}

/// Checks the name, which must be one word of a line in the registry.
fn uid_range(name: &OsStr, options: &ChrootCli) -> Result<UidRange> {
    let good = |name: &str| {
        (1..=255).contains(&name.len())
            && !name.starts_with('#')
            && !name.chars().any(|c| c.is_whitespace() || c.is_control())
    };
    let known = name.to_str().filter(|name| good(name));
    let known = known.with_context(|| {
        format!(
            "--uid-range: bad name {}: expected one word that does not begin with '#'",
            quoted(Path::new(name))
        )
    })?;
    Ok(UidRange {
        name: known.to_owned(),
        registry: options.uid_registry.clone(),
        give_back: options.give_back,
    })
}

/// Returns the declared variables, and PATH and HOME if they are not declared.
fn command_environment(
    options: &ChrootCli,
    caller: impl IntoIterator<Item = (OsString, OsString)>,
    home: &Path,
) -> Result<BTreeMap<OsString, OsString>> {
    let mut env: BTreeMap<OsString, OsString> =
        [("PATH".into(), DEFAULT_PATH.into()), ("HOME".into(), home.into())].into();
    let mut kept = BTreeMap::new();
    for (name, value) in caller {
        if options.keep_env.contains(&name) {
            kept.insert(name.clone(), value.clone());
        }
        if let Some(prefix) = &options.env_prefix {
            let own = name.as_bytes().strip_prefix(prefix.as_bytes()).filter(|own| !own.is_empty());
            if let Some(own) = own {
                env.insert(OsStr::from_bytes(own).to_owned(), value);
            }
        }
    }
    env.extend(kept);
    for (name, value) in &options.env {
        env.insert(name.clone(), value.clone());
    }
    for name in &options.keep_env {
        ensure!(
            !name.is_empty() && !name.as_bytes().contains(&b'='),
            "--keep-env: bad variable name {}",
            quoted(Path::new(name))
        );
    }
    Ok(env)
}

/// Returns a HOME that passwd can hold. Both have to agree: the JVM asks passwd, most programs ask the
/// variable.
fn passwd_home(home: &OsStr) -> Option<PathBuf> {
    let fits = |home: &&str| home.starts_with('/') && !home.contains(|c: char| c == ':' || c.is_control());
    home.to_str().filter(fits).map(PathBuf::from)
}

/// Joins the parts into a string for the kernel.
fn c_string<const N: usize>(parts: [&OsStr; N]) -> Result<CString> {
    let mut whole = OsString::new();
    for part in parts {
        whole.push(part);
    }
    CString::new(whole.into_vec()).context("an argument contains a NUL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn plan(args: &[&str]) -> Result<JailPlan> {
        let cli =
            ChrootCli::try_parse_from(["piku-chroot"].iter().chain(args).chain(&["--", "true"])).unwrap();
        let caller = [("SECRET", "s"), ("LANG", "C"), ("IN_A", "1"), ("IN_PATH", "/p"), ("IN_", "x")];
        JailPlan::new(&cli, caller.map(|(name, value)| (name.into(), value.into())))
    }

    fn error(args: &[&str]) -> String {
        format!("{:#}", plan(args).unwrap_err())
    }

    fn env(args: &[&str]) -> Vec<String> {
        plan(args).unwrap().env.into_iter().map(|var| var.into_string().unwrap()).collect()
    }

    #[test]
    fn only_what_was_declared() {
        assert_eq!(env(&[]), ["HOME=/tmp".to_owned(), format!("PATH={DEFAULT_PATH}")]);
        let both = ["--env", "HOME=/h", "--env", "X=a=b", "--keep-env", "LANG", "--keep-env", "NOT_THERE"];
        assert_eq!(env(&both), ["HOME=/h", "LANG=C", &format!("PATH={DEFAULT_PATH}"), "X=a=b"]);
        assert_eq!(env(&["--env-prefix", "IN_", "--app", "/a"]), ["A=1", "HOME=/app", "PATH=/p"]);
    }

    #[test]
    fn passwd_has_the_home_of_the_environment() {
        let home = |args: &[&str]| plan(args).unwrap().home.into_os_string().into_string().unwrap();
        assert_eq!(home(&[]), "/tmp");
        assert_eq!(home(&["--app", "/a"]), "/app");
        assert_eq!(home(&["--app", "/a", "--env", "HOME=/h"]), "/h");
        for bad in ["HOME=", "HOME=h", "HOME=/a:0", "HOME=/a\nroot::0:0:::"] {
            assert_eq!(home(&["--env", bad]), "/tmp", "{bad}");
        }
    }

    #[test]
    fn parents_first_and_each_knows_its_tree() {
        let plan = plan(&[
            "--root-from-host",
            "--ro",
            "/m:/app/a/b",
            "--bind",
            "/x:/cache",
            "--app",
            "/a",
            "--ro",
            "/j:/usr/lib/jvm",
        ]);
        let seen: Vec<_> = plan.unwrap().mounts.into_iter().map(|mount| (mount.dst, mount.inside)).collect();
        let expected: [(&str, Option<&str>); 6] = [
            ("/app", None),
            ("/cache", None),
            ("/tmp", None),
            ("/dev/shm", None),
            ("/app/a/b", Some("/app")),
            ("/usr/lib/jvm", Some("/usr")),
        ];
        for want in expected {
            let want = (PathBuf::from(want.0), want.1.map(PathBuf::from));
            assert!(seen.contains(&want), "{want:?} in {seen:?}");
        }
        assert!(seen.iter().map(|(dst, _)| dst.components().count()).is_sorted());
    }

    #[test]
    fn places_that_are_refused() {
        assert!(error(&["--bind", "/a:b"]).starts_with("--bind: 'b' is not an absolute path"));
        assert!(error(&["--ro", "/a:/x/../y"]).contains("'..'"));
        assert!(error(&["--ro", "/a:/"]).contains("the root itself"));
        assert!(error(&["--ro", "/a:/./"]).contains("the root itself"));
        assert!(error(&["--bind", "/a:/proc/sys"]).contains("piku-chroot makes /proc"));
        assert!(error(&["--ro", "/dev:/dev/"]).starts_with("--ro: cannot mount at '/dev'"));
        assert!(error(&["--tmpfs", "/dev"]).starts_with("--tmpfs: cannot mount at '/dev'"));
        assert!(error(&["--app", "/a", "--bind", "/b:/app/"]).contains("'/app' is taken by --app"));
        assert!(error(&["--hostname", ""]).contains("--hostname"));
        assert!(error(&["--keep-env", "A=B"]).contains("--keep-env"));
        assert!(error(&["--chdir", "app"]).contains("--chdir"));
        assert!(error(&["--give-back", "--uid-range", "a"]).contains("--give-back needs --data"));
        assert!(error(&["--give-back", "--data", "/a"]).contains("--give-back needs --uid-range"));
        for bad in ["", "a b", "a\nb", "#a", "a\u{a0}b"] {
            assert!(error(&["--uid-range", bad]).contains("--uid-range"), "{bad:?}");
        }
    }

    #[test]
    fn tmp_can_be_replaced() {
        let plan = plan(&["--tmpfs", "/tmp:5m", "--bind", "/s:/dev/shm"]).unwrap();
        assert_eq!(plan.mounts.len(), 2);
        assert!(plan.is_mount_point(Path::new("/tmp")));
    }
}
