//! The command line, which [`crate::plan`] turns into checked values.

mod bind_arg;
mod plain_line;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::Parser;
use clap::builder::{OsStringValueParser, TypedValueParser};

use piku_layout::settings::Protection;
use piku_layout::writable_path::WritablePath;
use piku_report::number_arg::number_arg;

pub(crate) use self::bind_arg::{escape_path, join_pair};
pub(crate) use self::values::{BindPair, NetworkOption, PrintFormat, TmpfsMount};
use self::values::{parse_kept_path, parse_oom_score, parse_port, parse_variable};
use crate::limits::{JailLimits, MemoryAmount};
use crate::profile::{BuiltinProfile, OptionDefaults, PLAIN};

/// Exit codes, as those of chroot(1) and env(1).
const EXIT_CODES: &str = "\
Exit status:
  125    piku-chroot itself failed, or its command line is wrong
  126    COMMAND exists and cannot be run
  127    COMMAND does not exist in the jail
  128+n  signal n killed COMMAND
  else   the exit code of COMMAND
  With --check: 0 if every required layer holds, 1 if not.";

/// Run a command in a jail
///
/// Makes a jail of namespaces, without root, and runs COMMAND in it. The options say what the jail contains;
/// without any it has an empty read-only root with its own /proc, /dev and /tmp, no capabilities and no
/// variables of the caller.
#[derive(Debug, Default, PartialEq, Eq, Parser)]
#[command(name = "piku-chroot", version, max_term_width = 100, after_long_help = EXIT_CODES)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct ChrootCli {
    /// Show the host's programs and libraries (/usr and the like) read-only, and the files of /etc that
    /// programs need
    #[arg(long, conflicts_with = "root")]
    pub(crate) root_from_host: bool,
    /// Show the programs and libraries of the tree in DIR instead of the host's
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Mount SRC at DST, writable; write a colon in a path as `\:`, a backslash as `\\`
    #[arg(long, value_name = "SRC:DST", value_parser = os_value(BindPair::parse))]
    pub(crate) bind: Vec<BindPair>,
    /// Mount SRC at DST, read-only
    #[arg(long, value_name = "SRC:DST", value_parser = os_value(BindPair::parse))]
    pub(crate) ro: Vec<BindPair>,
    /// Mount SRC of the host at DST, writable, as an operator grants it: a socket, a file or a directory; no
    /// part of SRC may be a symlink
    #[arg(long, value_name = "SRC:DST", value_parser = os_value(BindPair::parse))]
    pub(crate) grant: Vec<BindPair>,
    /// The same, read-only
    #[arg(long, value_name = "SRC:DST", value_parser = os_value(BindPair::parse))]
    pub(crate) grant_ro: Vec<BindPair>,
    /// The same for a device, or a directory of devices, which work in the jail
    #[arg(long, value_name = "SRC:DST", value_parser = os_value(BindPair::parse))]
    pub(crate) grant_device: Vec<BindPair>,
    /// Put COMMAND into the group GID of the host; needs --uid-range, and a line for GID in /etc/subgid
    #[arg(long, value_name = "GID", requires = "uid_range", value_parser = number_arg("the number of a group", 0..=u32::MAX))]
    pub(crate) group: Vec<u32>,
    /// Mount an empty writable tmpfs for at most 65536 files at DST; SIZE in bytes, with k, m or g, or in
    /// percent of the memory
    #[arg(long, value_name = "DST[:SIZE]", value_parser = os_value(TmpfsMount::parse))]
    pub(crate) tmpfs: Vec<TmpfsMount>,
    /// Size of /tmp, unless another option mounts something there [default: 64m]
    ///
    /// A limit on memory also bounds /tmp, /dev/shm and each --tmpfs.
    #[arg(long, value_name = "SIZE")]
    pub(crate) tmp_size: Option<MemoryAmount>,
    /// Mount DIR read-only at /app, which becomes HOME and the working directory
    #[arg(long, value_name = "DIR")]
    pub(crate) app: Option<PathBuf>,
    /// Mount DIR writable at /data
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Make /app writable: keep what COMMAND changes there in DIR, which must not be in a tree that an app
    /// can write, and remove it when COMMAND has ended
    ///
    /// DIR may be shared by several jails of one app: each has its own folder in it. DIR of --app, and the
    /// directories of --ro below /app, are never changed. Uses overlayfs, which needs Linux 5.11; where the
    /// kernel does not mount one, /app stays read-only, which --report prints.
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// Keep PATH of /app in the directory of --data, as /data/app/PATH; may be given several times
    ///
    /// PATH is relative to /app. Where the data does not have it, it is copied from DIR of --app first. A
    /// PATH that neither has is a directory if it ends with a slash or its name has no extension.
    #[arg(long, value_name = "PATH", value_parser = os_value(parse_kept_path), requires = "scratch", requires = "app", requires = "data")]
    pub(crate) keep: Vec<WritablePath>,
    /// Leave /app read-only, except the paths of --keep
    #[arg(long, requires = "keep")]
    pub(crate) keep_only: bool,
    /// Print at the end which files of COMMAND in /app are removed with --scratch, except caches and the
    /// like, and that SETTING keeps them
    #[arg(long, value_name = "SETTING", requires = "scratch")]
    pub(crate) tell_discarded: Option<String>,
    /// Exit before the folder of --scratch is removed, which another process does
    #[arg(long, requires = "scratch")]
    pub(crate) remove_in_background: bool,
    /// Network of the jail [default: shared]
    #[arg(long, value_enum)]
    pub(crate) net: Option<NetworkOption>,
    /// Let COMMAND bind TCP sockets only to PORT and to ports that the kernel picks; may be given several
    /// times
    ///
    /// Without this option COMMAND may bind every port. Needs Landlock of Linux 6.7; without it --check and
    /// --report name the missing layer, and --strict refuses to start.
    #[arg(long, value_name = "PORT", value_parser = parse_port)]
    pub(crate) listen: Vec<u16>,
    /// With --net own: lead connections of COMMAND to 127.0.0.1:PORT to the same address of the host; may be given
    /// several times
    #[arg(long, value_name = "PORT", value_parser = parse_port)]
    pub(crate) connect: Vec<u16>,
    /// Set a variable for COMMAND
    #[arg(long, value_name = "NAME=VALUE", value_parser = os_value(parse_variable))]
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Pass on a variable of the caller if it is set
    #[arg(long, value_name = "NAME")]
    pub(crate) keep_env: Vec<OsString>,
    /// Pass on all variables of the caller that begin with PREFIX, without the prefix
    #[arg(long, value_name = "PREFIX")]
    pub(crate) env_prefix: Option<OsString>,
    /// Host name in the jail [default: jail]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<OsString>,
    /// Working directory in the jail [default: /app with --app, else /]
    #[arg(long, value_name = "DIR")]
    pub(crate) chdir: Option<PathBuf>,
    /// Become this user first; only root can
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<OsString>,
    /// Run COMMAND as its own user: NAME keeps one of the caller's subordinate uids and gids
    ///
    /// The caller needs a range in /etc/subuid and /etc/subgid, and newuidmap and newgidmap. At its first
    /// start NAME gets one uid and one gid, which no other name gets, and keeps them. To the kernel, commands
    /// with different names are different users, and none of them is the caller. They are in none of the
    /// caller's groups.
    ///
    /// At the first start that user becomes the owner of DIR of --data and of everything of the caller's in
    /// it. Files of other users keep their owner, and so do files with a hard link outside of DIR. Owners
    /// never change in the directories of --app, --ro and --bind: COMMAND has the rights of "others" there.
    ///
    /// The caller can read and remove the files of COMMAND only through another jail of the same NAME:
    ///
    ///   piku-chroot --root-from-host --uid-range NAME --data DIR -- tar -c -C /data . > backup.tar
    ///
    ///   piku-chroot --root-from-host --uid-range NAME --data DIR -- find /data -mindepth 1 -delete
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub(crate) uid_range: Option<OsString>,
    /// File that records the uid and gid of each NAME [default: ~/.local/state/piku-chroot/uid-ranges]
    ///
    /// The home directory is the one in the list of users, not HOME: with two files, two names could get the
    /// same uid.
    #[arg(long, value_name = "FILE")]
    pub(crate) uid_registry: Option<PathBuf>,
    /// Make the caller the owner of DIR of --data again, and of everything of NAME's in it, then run COMMAND
    /// as the caller
    ///
    /// Reverses --uid-range. Does nothing if NAME has no uid yet. COMMAND may be left out.
    #[arg(long)]
    pub(crate) give_back: bool,
    /// Make what jails with the same options have in common, their user namespace and a root with the programs,
    /// /etc and /dev, send its descriptor on the Unix socket that is stdin, and end
    #[arg(long, conflicts_with_all = ["give_back", "check", "prepared", "command"])]
    pub(crate) prepare: bool,
    /// Take a copy of what --prepare has made and sent as the open descriptor FD instead of making it, which saves
    /// time
    ///
    /// The options that concern users, groups, the host name, the network and the mounts outside of /app must be
    /// the same, and so must HOME. Mounts of the host, and changes of its /etc except for the files about names and
    /// the time, appear only in what is prepared later. The jail makes its own all the same where no cgroup enforces
    /// a limit on processes, since the limit would count the processes of all jails together, and where the system
    /// refuses to join one.
    #[arg(long, value_name = "FD", conflicts_with_all = ["give_back", "check"],
        value_parser = number_arg("the number of a descriptor from 3 on", 3..=i32::MAX))]
    pub(crate) prepared: Option<i32>,
    /// Kill COMMAND when the caller, the process PID, ends; otherwise COMMAND keeps running
    ///
    /// In a caller with several threads, the end of the thread that started piku-chroot counts.
    #[arg(long, value_name = "PID", value_parser = number_arg("the number of a process", 1..=i32::MAX))]
    pub(crate) die_with: Option<i32>,
    /// Wait for a byte on stdin before anything is made, and make nothing if stdin ends first; stdin of COMMAND is
    /// /dev/null
    ///
    /// The process then leads a new session. A caller has time to note its number.
    #[arg(long, conflicts_with_all = ["tty", "check"])]
    pub(crate) gate: bool,
    /// Give COMMAND its own terminal, connected to stdin and stdout; input counts as typed
    #[arg(long)]
    pub(crate) tty: bool,
    /// Set the options of a built-in profile; other options override them
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) profile: Option<BuiltinProfile>,
    /// Limit memory=SIZE (with k, m or g, or in percent), pids=N and cpu=N.N (processors) of the whole jail,
    /// and nofile=N (open files) of each process. A cgroup enforces them if one is delegated, else rlimits do
    #[arg(long, value_name = "NAME=VALUE,…")]
    pub(crate) limit: Vec<JailLimits>,
    /// Let the kernel kill COMMAND before other processes of its size when the machine runs out of memory:
    /// from 0, no sooner, to 1000
    ///
    /// The caller's own score holds if it is higher.
    #[arg(long, value_name = "N", value_parser = parse_oom_score)]
    pub(crate) oom_score_adj: Option<u16>,
    /// Write to FILE which layers hold once COMMAND runs and how it ended, each as a JSON object on a line
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Refuse to start if any layer is missing, even one that is not required
    #[arg(long)]
    pub(crate) strict: bool,
    /// Refuse to start if this protection is missing: namespaces, seccomp, landlock, abstract-sockets or
    /// listen-ports
    #[arg(long, value_name = "NAME")]
    pub(crate) require: Vec<Protection>,
    /// Print which layers hold on this machine, and for a missing one the cause and the fix; exit code 1 if a
    /// required one is missing
    #[arg(long)]
    pub(crate) check: bool,
    /// Output format of --check
    #[arg(long, value_enum, default_value_t = PrintFormat::Text)]
    pub(crate) format: PrintFormat,
    /// With --check: print nothing
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Command and its arguments
    #[arg(last = true, value_name = "COMMAND", required_unless_present_any = ["check", "give_back", "prepare"])]
    pub(crate) command: Vec<OsString>,
}

/// Returns a parser of values that need not be UTF-8.
fn os_value<T: Clone + Send + Sync + 'static>(
    parse: fn(&OsStr) -> Result<T, String>,
) -> impl TypedValueParser<Value = T> {
    OsStringValueParser::new().try_map(move |word| parse(&word))
}

impl ChrootCli {
    /// Parses the words of this process.
    pub(crate) fn from_process() -> Result<Self, clap::Error> {
        let words: Vec<OsString> = std::env::args_os().collect();
        match plain_line::parse(words.get(1..).unwrap_or_default()) {
            Some(cli) => Ok(cli),
            None => Self::try_parse_from(words),
        }
    }

    /// Returns the values of the profile, or those that hold without one.
    pub(crate) fn defaults(&self) -> OptionDefaults {
        self.profile.map_or(PLAIN, BuiltinProfile::defaults)
    }

    /// Returns the limits of the profile, each replaced by the last `--limit` that names it.
    pub(crate) fn limits(&self) -> JailLimits {
        self.limit.iter().fold(self.defaults().limits, |before, limits| limits.or(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<ChrootCli, clap::Error> {
        ChrootCli::try_parse_from(["piku-chroot"].iter().chain(args))
    }

    #[test]
    fn the_command_is_data() {
        let cli = parse(&["--ro", "/a:/b", "--", "--check", "--", "-x"]).unwrap();
        assert_eq!(cli.command, ["--check", "--", "-x"]);
        assert!(!cli.check);
        assert!(parse(&[]).is_err());
        assert!(parse(&["true"]).is_err());
        assert!(parse(&["--check"]).unwrap().check);
    }

    #[test]
    fn values_that_look_like_options() {
        let cli = parse(&["--app=--weird", r"--bind=--a\:b:/c", "--", "true"]).unwrap();
        assert_eq!(cli.app.unwrap(), PathBuf::from("--weird"));
        assert_eq!(cli.bind, [BindPair { src: "--a:b".into(), dst: "/c".into() }]);
    }

    #[test]
    fn bad_pairs_sizes_and_variables() {
        for bad in [
            ["--bind", "/a"],
            ["--bind", ":/b"],
            ["--ro", "/a:"],
            ["--ro", "/a:/b:/c"],
            ["--tmpfs", "/a:x"],
            ["--tmpfs", "/a:0"],
            ["--tmpfs", "/a:+5"],
            ["--tmpfs", "/a:5,mode=777"],
            ["--env", "NAME"],
            ["--env", "=x"],
            ["--net", "bridge"],
            ["--listen", "65536"],
            ["--tmp-size", "0"],
            ["--tmp-size", "many"],
            ["--oom-score-adj", "1001"],
            ["--oom-score-adj", "+5"],
        ] {
            assert!(parse(&[&bad[..], &["--", "true"]].concat()).is_err(), "{bad:?}");
        }
        assert!(parse(&["--root-from-host", "--root", "/x", "--", "true"]).is_err());
    }
}
