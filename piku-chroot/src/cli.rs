//! The command line. It becomes [`ChrootOptions`] once, and nothing else looks at it but `--check`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use piku_layout::settings::Protection;

use crate::limits::JailLimits;
use crate::options::{BindPair, ChrootOptions, ListenPort, NetworkOption, OomScore, TmpfsMount, TmpfsSize};

/// How it ends, as chroot(1) and env(1) do, and what a profile may hold.
pub(crate) const MANUAL: &str = "\
Exit status:
  125    piku-chroot itself failed, or its command line is wrong
  126    COMMAND is there and cannot be run
  127    there is no COMMAND in the jail
  128+n  COMMAND was ended by signal n
  else   what COMMAND ended with
  With --check: 0 when all that is required holds, 1 when not.

Profiles:
  A profile is a file in YAML whose keys are the names of options. What is typed beside it is added to its lists and
  wins over its single values. --profile build and --profile run name the two that piku uses; a file is named with a
  slash, ./run.yaml. Paths are absolute. --print-profile shows what a profile and the options beside it come to.
  Every key, none of which is required (root and root_from_host exclude each other):
    root_from_host: true                                  # true or false
    root: /srv/trixie                                     # an absolute path, as src, dst, app, data and chdir
    bind: [{src: /srv/cache, dst: /cache}]                # a list
    ro: [{src: /usr/share/games, dst: /games}]            # a list
    tmpfs: [{dst: /scratch, size: 64m}, {dst: /empty}]    # a list; a size is a number or text
    tmp_size: 64m                                         # a size
    app: /srv/app
    data: /srv/data
    net: shared                                           # as for --net
    listen: [8080]                                        # a list of ports
    env: {LANG: C.UTF-8, PORT: \"8080\"}                    # names and texts
    keep_env: [TERM]                                      # a list of names
    env_prefix: INSIDE_                                   # text
    hostname: jail                                        # text
    chdir: /app
    user: nobody                                          # text
    uid_range: blog                                       # text
    uid_registry: /srv/uid-ranges                         # an absolute path
    limit: {memory: 90%, pids: 4096, cpu: 1.5}            # as for --limit
    oom_score_adj: 500                                    # a number
    tty: true                                             # true or false
    strict: true                                          # true or false";

/// Takes a world apart and becomes COMMAND in what is left of it.
///
/// With no options almost nothing is let in: an empty read-only root with its own /proc, /dev and /tmp.
#[derive(Debug, Parser)]
#[command(name = "piku-chroot", version, max_term_width = 100, after_long_help = MANUAL)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct ChrootCli {
    /// Let in the host's programs and libraries (/usr and the like) read-only, and those files of /etc that programs need
    #[arg(long, conflicts_with = "root")]
    pub root_from_host: bool,
    /// The same from the tree in DIR instead of the host's own
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Show SRC at DST, writable; a colon in a path is written `\:`, a backslash `\\`
    #[arg(long, value_name = "SRC:DST", value_parser = OsStringValueParser::new().try_map(|word| BindPair::parse(&word)))]
    pub bind: Vec<BindPair>,
    /// Show SRC at DST, read-only
    #[arg(long, value_name = "SRC:DST", value_parser = OsStringValueParser::new().try_map(|word| BindPair::parse(&word)))]
    pub ro: Vec<BindPair>,
    /// An empty writable folder in memory, of at most 65536 files; SIZE in bytes, with k, m or g, or in percent of the memory
    #[arg(long, value_name = "DST[:SIZE]", value_parser = OsStringValueParser::new().try_map(|word| TmpfsMount::parse(&word)))]
    pub tmpfs: Vec<TmpfsMount>,
    /// The size of /tmp, where no other option puts anything there [default: 64m]
    ///
    /// With a limit on memory, /tmp, /dev/shm and each --tmpfs are at most as large as that.
    #[arg(long, value_name = "SIZE")]
    pub tmp_size: Option<TmpfsSize>,
    /// Show DIR read-only at /app, which becomes HOME and the working directory
    #[arg(long, value_name = "DIR")]
    pub app: Option<PathBuf>,
    /// Show DIR writable at /data
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The host's network, one of its own that leads nowhere but to itself, or none [default: shared]
    #[arg(long, value_enum)]
    pub net: Option<NetworkOption>,
    /// Let COMMAND bind TCP sockets to PORT, and to no port that is not named so; a port that the kernel picks is always allowed
    ///
    /// Without this option every port is allowed. Needs Landlock of Linux 6.7; where that is missing, --check and --report
    /// say so, and --strict refuses to start.
    #[arg(long, value_name = "PORT")]
    pub listen: Vec<ListenPort>,
    /// A variable for COMMAND
    #[arg(long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(|word| variable(&word)))]
    pub env: Vec<(OsString, OsString)>,
    /// A variable of the caller for COMMAND, when it is set
    #[arg(long, value_name = "NAME")]
    pub keep_env: Vec<OsString>,
    /// All variables of the caller that begin with PREFIX, without it
    #[arg(long, value_name = "PREFIX")]
    pub env_prefix: Option<OsString>,
    /// The name of the machine inside [default: jail]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<OsString>,
    /// The working directory inside [default: /app where there is one, else /]
    #[arg(long, value_name = "DIR")]
    pub chdir: Option<PathBuf>,
    /// Become this user first (only root can)
    #[arg(long, value_name = "NAME")]
    pub user: Option<OsString>,
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
    pub uid_range: Option<OsString>,
    /// Where it stands which name has which uid [default: ~/.local/state/piku-chroot/uid-ranges]
    ///
    /// The home is the one in the list of users; no variable moves the file, since two files would give one uid to two names.
    #[arg(long, value_name = "FILE")]
    pub uid_registry: Option<PathBuf>,
    /// Make DIR of --data the caller's again, with all in it that is NAME's, then run COMMAND as the caller
    ///
    /// The way back from --uid-range. Where NAME never had anything, nothing is done. COMMAND may be left out.
    #[arg(long)]
    pub give_back: bool,
    /// End the command with SIGKILL when this process, the caller, ends; without it the command stays
    ///
    /// In a caller with several threads it is the one that started piku-chroot: the kernel watches no more than that.
    #[arg(long, value_name = "PID")]
    pub die_with: Option<i32>,
    /// Give COMMAND a terminal of its own, and carry between it and stdin and stdout; what comes in counts as typed
    #[arg(long)]
    pub tty: bool,
    /// Take options from a profile: build, run, or a file in YAML
    #[arg(long, value_name = "NAME|FILE")]
    pub profile: Option<OsString>,
    /// Print what would be done as a profile, and do nothing
    #[arg(long, conflicts_with = "check")]
    pub print_profile: bool,
    /// At most so much for the whole jail: memory=SIZE (with k, m or g, or in percent of the machine's), pids=N, cpu=N.N
    /// (processors); and nofile=N (open files of each process). Held by a cgroup where one is delegated, else by rlimits
    #[arg(long, value_name = "NAME=VALUE,…")]
    pub limit: Vec<JailLimits>,
    /// When the machine runs out of memory, the kernel ends COMMAND before others of its size: from 0, no sooner, to 1000
    ///
    /// The caller's own score holds where it is higher.
    #[arg(long, value_name = "N")]
    pub oom_score_adj: Option<OomScore>,
    /// Write to FILE what holds when COMMAND runs, and how it ended, as one JSON object each on a line
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Refuse to start when a layer is missing that could be done without
    #[arg(long)]
    pub strict: bool,
    /// Refuse to start where this protection is missing: namespaces, seccomp, landlock, abstract-sockets or listen-ports
    #[arg(long, value_name = "NAME")]
    pub require: Vec<Protection>,
    /// Print which layers hold on this machine, why not, and what mends it; exit code 1 when a required one is missing
    #[arg(long)]
    pub check: bool,
    /// How --check prints
    #[arg(long, value_enum, default_value_t = PrintFormat::Text)]
    pub format: PrintFormat,
    /// With --check: print nothing
    #[arg(long)]
    pub quiet: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", required_unless_present_any = ["check", "give_back", "print_profile"])]
    pub command: Vec<OsString>,
}

impl From<ChrootCli> for ChrootOptions {
    /// Names every field, so that an option that was added cannot be forgotten here.
    fn from(cli: ChrootCli) -> Self {
        Self {
            root_from_host: cli.root_from_host,
            root: cli.root,
            bind: cli.bind,
            ro: cli.ro,
            tmpfs: cli.tmpfs,
            tmp_size: cli.tmp_size,
            app: cli.app,
            data: cli.data,
            net: cli.net,
            listen: cli.listen,
            env: cli.env,
            keep_env: cli.keep_env,
            env_prefix: cli.env_prefix,
            hostname: cli.hostname,
            chdir: cli.chdir,
            user: cli.user,
            uid_range: cli.uid_range,
            uid_registry: cli.uid_registry,
            give_back: cli.give_back,
            tty: cli.tty,
            die_with: cli.die_with,
            tell_memory: cli.report.is_none() && cli.limit.iter().any(|limits| limits.memory.is_some()),
            limit: cli.limit.into_iter().fold(JailLimits::default(), |before, limits| limits.over(before)),
            oom_score_adj: cli.oom_score_adj,
            report: cli.report,
            strict: cli.strict,
            require: cli.require,
            command: cli.command,
        }
    }
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrintFormat {
    /// For people.
    Text,
    /// One JSON array.
    Json,
    /// The same in YAML.
    Yaml,
}

/// `NAME=VALUE`.
fn variable(word: &OsStr) -> Result<(OsString, OsString), String> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = word.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at @ 1..) => {
            Ok((OsStr::from_bytes(&bytes[..at]).to_owned(), OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
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
