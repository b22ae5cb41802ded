//! The sets of options that piku itself uses: `piku-chroot --profile run` makes the jail that piku makes for
//! a worker.

use clap::ValueEnum;

use crate::limits::{CountLimit, JailLimits, MemoryAmount};

/// A built-in set of options (`--profile NAME`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BuiltinProfile {
    /// A build step. piku adds the app at /app, a directory for HOME and temporary files, caches and layers.
    Build,
    /// A process of an app: a worker, a release task, a cron job or an operator's command. piku adds the app,
    /// its data, its layers, its environment and its host name.
    Run,
}

impl BuiltinProfile {
    /// Returns the name that `--profile` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Run => "run",
        }
    }

    /// Returns the values that hold where the command line sets none.
    pub(crate) fn defaults(self) -> OptionDefaults {
        match self {
            Self::Build => BUILD,
            Self::Run => RUN,
        }
    }
}

/// Values of options that the command line does not set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionDefaults {
    pub(crate) root_from_host: bool,
    pub(crate) hostname: &'static str,
    /// `None` for `/app` in a jail with an app, else `/`.
    pub(crate) chdir: Option<&'static str>,
    pub(crate) tmp_size: MemoryAmount,
    pub(crate) limits: JailLimits,
    pub(crate) oom_score_adj: Option<u16>,
}

/// The defaults without a profile.
pub(crate) const PLAIN: OptionDefaults = OptionDefaults {
    root_from_host: false,
    hostname: "jail",
    chdir: None,
    tmp_size: MemoryAmount::Bytes(64 << 20),
    limits: JailLimits { memory: None, pids: None, cpu: None, nofile: None },
    oom_score_adj: None,
};

const RUN: OptionDefaults = OptionDefaults {
    root_from_host: true,
    hostname: "app",
    // One app must not exhaust the machine.
    limits: JailLimits {
        memory: Some(MemoryAmount::Percent(90)),
        pids: Some(CountLimit(4096)),
        ..PLAIN.limits
    },
    ..PLAIN
};

const BUILD: OptionDefaults = OptionDefaults {
    hostname: "build",
    chdir: Some(piku_layout::jail::APP),
    // For programs that ignore TMPDIR, such as compilers and the JVM.
    tmp_size: MemoryAmount::Percent(25),
    // When the machine runs out of memory, the kernel kills a build before an app that serves.
    oom_score_adj: Some(500),
    ..RUN
};
