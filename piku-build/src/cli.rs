//! The command line, as plain values.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use piku_layout::name::AppName;
use piku_layout::settings::SandboxMode;
use piku_report::caller;
use piku_report::number_arg::number_arg;
use piku_report::output::OutputFormat;

use crate::build::build_job::{self, BuildJob, ReleaseFacts, ReusePolicy, SourceUse};
use crate::build::host_paths::HostPaths;
use crate::pack::cli::PackArgs;
use crate::pack::{self, FitQuestion, UnpackRequest};
use crate::plan::print_plan;
use crate::plan::target_machines::MachineList;
use crate::rebuild::cli::{self as rebuild, RebuildArgs};
use piku_release::layers::TOOLS;
use piku_release::target::{self, AskedArchitecture};

/// Exit codes, as the manual lists them.
const EXIT_STATUS: &str = "\
Exit status:
  0      done; for detect and plan: the app can be built as it is
  1      failed, or no runtime fits; the last lines say why, nothing is left at OUTPUT
  2      the command line is wrong
  128+n  ended by signal n (130 Ctrl-C, 143 SIGTERM); nothing is left at OUTPUT";

/// From a work tree to a release
///
/// A build finds out which runtime the app is of, installs its dependencies into a layer that later builds
/// share, checks that what the Procfile starts is there, and puts the release at OUTPUT whole, or not at all.
/// Each step runs in the jail where there is one. Data goes to stdout, talk and errors to stderr.
#[derive(Parser)]
#[command(name = "piku-build", version, max_term_width = 100, after_long_help = EXIT_STATUS)]
struct BuildCli {
    #[command(subcommand)]
    verb: BuildVerb,
}

#[derive(Subcommand)]
enum BuildVerb {
    /// Say which runtime an app is of, why, and why the others lost
    Detect {
        /// The app's folder
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Say what a build would do: versions, layers, steps, process types; run nothing
    Plan {
        /// The app's folder
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Where package managers keep their caches
        #[arg(long, value_name = "DIR")]
        cache: Option<PathBuf>,
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        host: HostArgs,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Build a release: OUTPUT/release.yaml and the tree in OUTPUT/app
    #[command(after_long_help = EXIT_STATUS)]
    Build(BuildArgs),
    /// Build what apps have deployed again, and deploy it where something outside it has changed
    #[command(after_long_help = rebuild::EXIT_STATUS)]
    Rebuild(RebuildArgs),
    /// Write a release with its layers to stdout as one stream, for another machine; or as a container image
    ///
    /// The stream is a tar archive compressed by zstd, with the hash of its content at its end. With
    /// '--format oci' it is an image instead: an OCI layout and an archive of 'docker save' in one tar
    /// archive, with layers for the base, for each dependency layer and for the app. The same release gives
    /// the same bytes.
    Pack(PackArgs),
    /// Read a packed release from stdin: its layers into LAYERS, the release to OUTPUT, whole, or not at all
    ///
    /// Refused are a release for another architecture, a newer C library or programs that this machine has
    /// not, what leads out of the release, and what its hash does not vouch for.
    #[command(after_long_help = EXIT_STATUS)]
    Unpack(UnpackArgs),
    /// Print what this machine is, for those who build for it: architecture, C library, Pythons
    Machine {
        /// This machine's settings
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Say whether a release would run here, its head on stdin ('pack --part head'), and print the layers
    /// that are not here
    Fits {
        /// The app that it has to be of
        #[arg(long, value_name = "NAME")]
        app: Option<AppName>,
        #[command(flatten)]
        host: HostArgs,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
}

#[derive(Args)]
struct UnpackArgs {
    /// The release's folder, which must not be there yet
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    host: HostArgs,
    /// The app that it has to be of
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// The number that it gets here [default: its own]
    #[arg(long, value_name = "N", value_parser = number_arg("a number from 1", 1..=u64::MAX))]
    number: Option<u64>,
    /// Name of the key that sent it, recorded after the name of the pusher
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, value_parser = any_bytes())]
    via: Option<String>,
    /// The release before it, whose files it shares where they are the same
    #[arg(long, value_name = "DIR")]
    before: Option<PathBuf>,
}

#[derive(Args)]
struct HostArgs {
    /// Where dependency layers are kept; for a build CACHE/layers by default
    #[arg(long, value_name = "DIR")]
    layers: Option<PathBuf>,
    /// Where the tools are kept that build layers of all apps: uv, Node, Go's standard library; for a build
    /// CACHE/tools by default, which are the app's own
    #[arg(long, value_name = "DIR")]
    tools: Option<PathBuf>,
    /// This machine's settings
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// File with the settings that `config set` stored for the app
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The operator's buildpacks, a folder each [default: the folder buildpacks beside the settings]
    #[arg(long, value_name = "DIR")]
    buildpacks: Option<PathBuf>,
    /// Use of the jail for build steps [default: from the settings]
    #[arg(long, value_enum, value_name = "WHEN")]
    sandbox: Option<SandboxWhen>,
}

#[derive(Args)]
pub(crate) struct TargetArgs {
    /// The architecture of the machine that will run it, by uname's or Debian's name: amd64, arm64, armhf,
    /// armv6l [default: this machine's]
    #[arg(long, value_name = "NAME", value_parser = AskedArchitecture::parse)]
    pub(crate) architecture: Option<AskedArchitecture>,
    /// The machines that will run it, as 'piku-receive targets' has asked them: what they lack is refused before
    /// anything is built
    #[arg(long, value_name = "FILE")]
    pub(crate) machines: Option<PathBuf>,
}

/// When the jail is used.
#[derive(Clone, Copy, ValueEnum)]
enum SandboxWhen {
    /// Refuse to build without it
    Require,
    /// Use it where it works, say where it does not
    Prefer,
    /// Never
    Off,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Args)]
struct BuildArgs {
    /// The app's folder; it is copied and stays as it is
    dir: PathBuf,
    /// Take the folder itself instead of a copy: it is used up, whether the build succeeds or not
    #[arg(long = "move")]
    take: bool,
    /// The folder is one that 'piku-receive export --update' keeps, and whose files no program writes to: the release shares
    /// them by hard links, where no step of the build could write to them
    #[arg(long, conflicts_with = "take")]
    link: bool,
    /// The folder of the app's old releases: the tree of one that waits for its removal becomes that of this one, with what
    /// differs changed, where all of its files are such links
    #[arg(long, value_name = "RELEASES", requires = "link")]
    recycle: Option<PathBuf>,
    /// Where package managers keep their caches
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,
    /// The folder of the release before this one: files that are the same are shared with it
    #[arg(long, value_name = "DIR")]
    before: Option<PathBuf>,
    /// Begin with empty caches and build every layer anew
    #[arg(long)]
    no_cache: bool,
    /// Build every layer anew that no lock determines; when all comes to what the release before is, there is
    /// no OUTPUT
    #[arg(long, requires = "before", conflicts_with = "no_cache")]
    rebuild: bool,
    /// The release's folder, which must not be there yet
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    host: HostArgs,
    /// Name of the app [default: name of the directory]
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// The release's number
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number_arg("a number from 1", 1..=u64::MAX))]
    number: u64,
    /// The commit it is built from
    #[arg(long, value_name = "SHA", default_value = "", hide_default_value = true)]
    commit: String,
    /// The first line of the commit's message
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, allow_hyphen_values = true, value_parser = any_bytes())]
    subject: String,
    /// Name of the pusher's key
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, allow_hyphen_values = true, value_parser = any_bytes())]
    by: String,
}

impl From<SandboxWhen> for SandboxMode {
    fn from(when: SandboxWhen) -> Self {
        match when {
            SandboxWhen::Require => Self::Require,
            SandboxWhen::Prefer => Self::Prefer,
            SandboxWhen::Off => Self::Off,
        }
    }
}

impl HostArgs {
    fn place(self, cache: Option<&PathBuf>) -> HostPaths {
        HostPaths {
            layers: self.layers.or_else(|| cache.map(|cache| cache.join("layers"))),
            tools: cache.map(|cache| cache.join(TOOLS)),
            shared_tools: self.tools,
            buildpacks: self
                .buildpacks
                .or_else(|| self.settings.as_ref().map(|settings| settings.with_file_name("buildpacks"))),
            settings: self.settings,
            config: self.config,
            sandbox: self.sandbox.map(SandboxMode::from),
        }
    }
}

/// Parses text that others wrote, such as a commit's message: invalid UTF-8 does not stop a build.
fn any_bytes() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|text| text.to_string_lossy().into_owned())
}

/// Returns the command line.
pub(crate) fn command() -> clap::Command {
    BuildCli::command()
}

/// Does what the command line says.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let matches = caller::parse_arguments(command(), std::env::args_os())?;
    match BuildCli::from_arg_matches(&matches).unwrap_or_else(|err| err.exit()).verb {
        BuildVerb::Rebuild(typed) => return typed.run(),
        BuildVerb::Detect { dir, format } => print_plan::detect(&dir, format),
        BuildVerb::Plan { dir, cache, target, host, format } => print_plan::plan(
            &dir,
            &host.place(cache.as_ref()),
            target.architecture.and_then(|asked| asked.0),
            MachineList::read(target.machines.as_ref())?.as_ref(),
            format,
        ),
        BuildVerb::Build(typed) => build_job::run_build(&BuildJob {
            place: typed.host.place(Some(&typed.cache)),
            dir: typed.dir,
            source: match (typed.take, typed.link) {
                (true, _) => SourceUse::Move,
                (_, true) => SourceUse::Link,
                _ => SourceUse::Copy,
            },
            cache: typed.cache,
            before: typed.before,
            recycle: typed.recycle,
            reuse: match (typed.no_cache, typed.rebuild) {
                (true, _) => ReusePolicy::Nothing,
                (_, true) => ReusePolicy::Caches,
                _ => ReusePolicy::All,
            },
            output: typed.output,
            machines: MachineList::read(typed.target.machines.as_ref())?,
            architecture: typed.target.architecture.and_then(|asked| asked.0),
            facts: ReleaseFacts {
                app: typed.app,
                number: typed.number,
                commit: typed.commit,
                subject: typed.subject,
                by: typed.by,
            },
        }),
        BuildVerb::Pack(typed) => typed.run(),
        BuildVerb::Unpack(typed) => {
            let place = typed.host.place(None);
            let machine = target::this_machine(&place.read_settings()?)?;
            let asked = FitQuestion { place, app: typed.app, machine };
            let (output, before) = (typed.output, typed.before);
            pack::unpack(&UnpackRequest { asked, output, number: typed.number, via: typed.via, before })
        }
        BuildVerb::Machine { settings, format } => pack::machine(settings.as_deref(), format),
        BuildVerb::Fits { app, host, format } => {
            let place = host.place(None);
            let machine = target::this_machine(&place.read_settings()?)?;
            pack::fits(&FitQuestion { place, app, machine }, format)
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
