//! The command line, from which [`crate::plan`] makes what is to be done.

mod bind_arg;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::builder::{OsStringValueParser, TypedValueParser};

use piku_layout::settings::Protection;

pub(crate) use self::bind_arg::join;
pub(crate) use self::values::{BindPair, NetworkOption, PrintFormat, TmpfsMount};
use self::values::{parse_oom_score, parse_port, parse_variable};
use crate::limits::{JailLimits, MemoryAmount};
use crate::profile::{BuiltinProfile, OptionDefaults, PLAIN};

/// The exit codes are those of chroot(1) and env(1).
const EXIT_CODES: &str = "\
Exit status:
  125    piku-chroot itself failed, or its command line is wrong
  126    COMMAND is there and cannot be run
  127    there is no COMMAND in the jail
  128+n  COMMAND was ended by signal n
  else   what COMMAND ended with
  With --check: 0 when all that is required holds, 1 when not.";

/// Takes a world apart and becomes COMMAND in what is left of it.
///
/// With no options almost nothing is let in: an empty read-only root with its own /proc, /dev and /tmp.
#[derive(Debug, Parser)]
#[command(name = "piku-chroot", version, max_term_width = 100, after_long_help = EXIT_CODES)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct ChrootCli {
    /// Let in the host's programs and libraries (/usr and the like) read-only, and those files of /etc that programs need
    #[arg(long, conflicts_with = "root")]
    pub(crate) root_from_host: bool,
    /// The same from the tree in DIR instead of the host's own
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Show SRC at DST, writable; a colon in a path is written `\:`, a backslash `\\`
    #[arg(long, value_name = "SRC:DST", value_parser = OsStringValueParser::new().try_map(|word| BindPair::parse(&word)))]
    pub(crate) bind: Vec<BindPair>,
    /// Show SRC at DST, read-only
    #[arg(long, value_name = "SRC:DST", value_parser = OsStringValueParser::new().try_map(|word| BindPair::parse(&word)))]
    pub(crate) ro: Vec<BindPair>,
    /// An empty writable folder in memory, of at most 65536 files; SIZE in bytes, with k, m or g, or in percent of the memory
    #[arg(long, value_name = "DST[:SIZE]", value_parser = OsStringValueParser::new().try_map(|word| TmpfsMount::parse(&word)))]
    pub(crate) tmpfs: Vec<TmpfsMount>,
    /// The size of /tmp, where no other option puts anything there [default: 64m]
    ///
    /// With a limit on memory, /tmp, /dev/shm and each --tmpfs are at most as large as that.
    #[arg(long, value_name = "SIZE")]
    pub(crate) tmp_size: Option<MemoryAmount>,
    /// Show DIR read-only at /app, which becomes HOME and the working directory
    #[arg(long, value_name = "DIR")]
    pub(crate) app: Option<PathBuf>,
    /// Show DIR writable at /data
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The host's network, one of its own that leads nowhere but to itself, or none [default: shared]
    #[arg(long, value_enum)]
    pub(crate) net: Option<NetworkOption>,
    /// Let COMMAND bind TCP sockets to PORT, and to no port that is not named so; a port that the kernel picks is always allowed
    ///
    /// Without this option every port is allowed. Needs Landlock of Linux 6.7; where that is missing, --check and --report
    /// say so, and --strict refuses to start.
    #[arg(long, value_name = "PORT", value_parser = parse_port)]
    pub(crate) listen: Vec<u16>,
    /// A variable for COMMAND
    #[arg(long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(|word| parse_variable(&word)))]
    pub(crate) env: Vec<(OsString, OsString)>,
    /// A variable of the caller for COMMAND, when it is set
    #[arg(long, value_name = "NAME")]
    pub(crate) keep_env: Vec<OsString>,
    /// All variables of the caller that begin with PREFIX, without it
    #[arg(long, value_name = "PREFIX")]
    pub(crate) env_prefix: Option<OsString>,
    /// The name of the machine inside [default: jail]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<OsString>,
    /// The working directory inside [default: /app where there is one, else /]
    #[arg(long, value_name = "DIR")]
    pub(crate) chdir: Option<PathBuf>,
    /// Become this user first (only root can)
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<OsString>,
    /// Run COMMAND as a user of its own: NAME has one of the caller's subordinate uids and gids, the same one at each start
    ///
    /// The caller needs a range in /etc/subuid and /etc/subgid, and newuidmap and newgidmap. NAME is given one uid and one gid of
    /// them at its first start and keeps them; no other name gets the same. To the kernel, commands with different names are
    /// different users, none of them the caller. The caller's groups are gone.
    ///
    /// DIR of --data becomes that user's, with all in it that is the caller's: once, at the first start. What belongs to
    /// anybody else stays as it is, and so does a file with a hard link that is not in DIR. What --app, --ro and --bind show
    /// changes hands never: COMMAND has the rights of "others" there.
    ///
    /// What COMMAND makes cannot be read or removed by the caller directly, but through another jail of the same NAME:
    ///
    ///   piku-chroot --root-from-host --uid-range NAME --data DIR -- tar -c -C /data . > backup.tar
    ///
    ///   piku-chroot --root-from-host --uid-range NAME --data DIR -- find /data -mindepth 1 -delete
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub(crate) uid_range: Option<OsString>,
    /// Where it stands which name has which uid [default: ~/.local/state/piku-chroot/uid-ranges]
    ///
    /// The home is the one in the list of users; no variable moves the file, since two files would give one uid to two names.
    #[arg(long, value_name = "FILE")]
    pub(crate) uid_registry: Option<PathBuf>,
    /// Make DIR of --data the caller's again, with all in it that is NAME's, then run COMMAND as the caller
    ///
    /// The way back from --uid-range. Where NAME never had anything, nothing is done. COMMAND may be left out.
    #[arg(long)]
    pub(crate) give_back: bool,
    /// End the command with SIGKILL when this process, the caller, ends; without it the command stays
    ///
    /// In a caller with several threads it is the one that started piku-chroot: the kernel watches no more than that.
    #[arg(long, value_name = "PID")]
    pub(crate) die_with: Option<i32>,
    /// Give COMMAND a terminal of its own, and carry between it and stdin and stdout; what comes in counts as typed
    #[arg(long)]
    pub(crate) tty: bool,
    /// Set the options that piku sets for a build step or for a process of an app; other options win over them
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) profile: Option<BuiltinProfile>,
    /// At most so much for the whole jail: memory=SIZE (with k, m or g, or in percent of the machine's), pids=N, cpu=N.N
    /// (processors); and nofile=N (open files of each process). Held by a cgroup where one is delegated, else by rlimits
    #[arg(long, value_name = "NAME=VALUE,…")]
    pub(crate) limit: Vec<JailLimits>,
    /// When the machine runs out of memory, the kernel ends COMMAND before others of its size: from 0, no sooner, to 1000
    ///
    /// The caller's own score holds where it is higher.
    #[arg(long, value_name = "N", value_parser = parse_oom_score)]
    pub(crate) oom_score_adj: Option<u16>,
    /// Write to FILE what holds when COMMAND runs, and how it ended, as one JSON object each on a line
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Refuse to start when a layer is missing that could be done without
    #[arg(long)]
    pub(crate) strict: bool,
    /// Refuse to start where this protection is missing: namespaces, seccomp, landlock, abstract-sockets or listen-ports
    #[arg(long, value_name = "NAME")]
    pub(crate) require: Vec<Protection>,
    /// Print which layers hold on this machine, why not, and what mends it; exit code 1 when a required one is missing
    #[arg(long)]
    pub(crate) check: bool,
    /// How --check prints
    #[arg(long, value_enum, default_value_t = PrintFormat::Text)]
    pub(crate) format: PrintFormat,
    /// With --check: print nothing
    #[arg(long)]
    pub(crate) quiet: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", required_unless_present_any = ["check", "give_back"])]
    pub(crate) command: Vec<OsString>,
}

impl ChrootCli {
    /// Returns the profile's values, or those that hold without one.
    pub(crate) fn defaults(&self) -> OptionDefaults {
        self.profile.map_or(PLAIN, BuiltinProfile::defaults)
    }

    /// Returns the limits of the profile, each replaced by the last `--limit` that names it.
    pub(crate) fn limits(&self) -> JailLimits {
        self.limit.iter().fold(self.defaults().limits, |before, limits| limits.over(before))
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
