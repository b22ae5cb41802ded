//! The command line of `rebuild`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use piku_layout::name::AppName;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};
use piku_report::output::OutputFormat;

use super::RebuildRequest;

/// Exit codes of `rebuild`, for its help.
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0   each app is as it was, or runs what was built anew
  1   some app could not be built or deployed, and runs on as it was; with --verify: two builds differ
  2   the command line is wrong
  75  another change of an app took too long: try again";

/// Arguments of `rebuild`.
#[derive(Args)]
pub(crate) struct RebuildArgs {
    /// The apps
    #[arg(required_unless_present = "all", value_name = "APP")]
    apps: Vec<AppName>,
    /// All apps that run
    #[arg(long, conflicts_with = "apps")]
    all: bool,
    /// Build each of them twice from nothing and compare what comes of it; deploy nothing
    #[arg(long)]
    verify: bool,
    /// Wait up to so many seconds first, so that many machines do not all ask at once
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    jitter: u64,
    /// Seconds to wait for another change of an app
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
    /// The folder with everything that piku keeps [default: ~/.piku]
    #[arg(long, env = ROOT_VARIABLE, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Output format; the text lists only apps that changed or failed
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

impl RebuildArgs {
    /// Runs the command.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let root = PikuRoot::absolute(self.root).context("cannot tell where the root is")?;
        root.check_exists()?;
        super::run(&RebuildRequest {
            root,
            apps: self.apps,
            verify: self.verify,
            jitter: Duration::from_secs(self.jitter),
            wait: self.wait,
            format: self.format,
        })
    }
}
