//! The command line of `piku-procfile`: its arguments, what they mean, and how they are carried out.

mod container_args;
pub(crate) mod input;
mod render_args;
pub(crate) mod run;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use piku_report::output::OutputFormat;

use crate::procfile::ParseOptions;
use render_args::{RenderTarget, RenderVerb};

/// Exit codes of every command. The manual of each one has this table.
const EXIT_STATUS: &str = "\
Exit status:
  0  the file is good; there may be warnings
  1  the file is bad or cannot be read, or it has no such process type
  2  the command line is wrong";

/// Check, print and convert the Procfile and the ENV file of an app
///
/// Data goes to stdout. Errors and warnings go to stderr, each with its file and line.
#[derive(Debug, Parser)]
#[command(name = "piku-procfile", version, max_term_width = 100, after_long_help = EXIT_STATUS)]
struct ProcfileCli {
    #[command(subcommand)]
    verb: ProcfileVerb,
}

#[derive(Debug, Subcommand)]
enum ProcfileVerb {
    /// Check a Procfile; a good one prints nothing
    #[command(after_long_help = EXIT_STATUS)]
    Check {
        #[command(flatten)]
        procfile: ProcfileArgs,
    },
    /// List the process types of a Procfile
    #[command(after_long_help = EXIT_STATUS)]
    List {
        #[command(flatten)]
        procfile: ProcfileArgs,
        /// Output format; 'text' is a Procfile again
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Print the command of a process type
    #[command(after_long_help = EXIT_STATUS)]
    Show {
        /// Process type, such as 'web'
        name: String,
        #[command(flatten)]
        procfile: ProcfileArgs,
    },
    /// Print the variables of an ENV file
    ///
    /// '$NAME' is replaced by the value that an earlier line of the file sets, or else by the value of a
    /// platform variable such as PORT, which is read from this program's environment.
    #[command(after_long_help = EXIT_STATUS)]
    Env {
        /// ENV file, or '-' for stdin
        #[arg(default_value = crate::env::FILE, value_name = "FILE")]
        file: PathBuf,
        /// Output format; 'text' is quoted for a shell
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
        /// Only check the file; a good one prints nothing
        #[arg(long)]
        check: bool,
        /// Keep the quotes around values, as the Python piku does
        #[arg(long)]
        piku_compat: bool,
    },
    /// Convert a Procfile and an ENV file to the configuration of nginx, systemd, cron or a container engine
    #[command(subcommand, after_long_help = EXIT_STATUS)]
    Render(Box<RenderVerb>),
}

#[derive(Debug, Args)]
struct ProcfileArgs {
    /// Procfile, or '-' for stdin
    #[arg(default_value = crate::procfile::FILE, value_name = "FILE")]
    file: PathBuf,
    /// Reject process types that are not DNS labels
    #[arg(long)]
    strict: bool,
    /// Accept duplicate names, bad names and malformed lines with a warning, as the Python piku does
    #[arg(long)]
    piku_compat: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileOrStdin {
    Stdin,
    File(PathBuf),
}

impl From<PathBuf> for FileOrStdin {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }
}

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ProcfileAction {
    Check { input: FileOrStdin, options: ParseOptions },
    List { input: FileOrStdin, options: ParseOptions, format: OutputFormat },
    Show { input: FileOrStdin, options: ParseOptions, name: String },
    PrintEnv { input: FileOrStdin, options: ParseOptions, format: OutputFormat },
    CheckEnv { input: FileOrStdin, options: ParseOptions },
    Render(Box<RenderTarget>),
}

impl From<ProcfileCli> for ProcfileAction {
    fn from(cli: ProcfileCli) -> Self {
        let split = |args: ProcfileArgs| {
            (args.file.into(), ParseOptions { strict: args.strict, piku_compat: args.piku_compat })
        };
        match cli.verb {
            ProcfileVerb::Check { procfile } => {
                let (input, options) = split(procfile);
                Self::Check { input, options }
            }
            ProcfileVerb::List { procfile, format } => {
                let (input, options) = split(procfile);
                Self::List { input, options, format }
            }
            ProcfileVerb::Show { name, procfile } => {
                let (input, options) = split(procfile);
                Self::Show { input, options, name }
            }
            ProcfileVerb::Env { file, format, check, piku_compat } => {
                let (input, options) = (file.into(), ParseOptions { strict: false, piku_compat });
                if check {
                    Self::CheckEnv { input, options }
                } else {
                    Self::PrintEnv { input, options, format }
                }
            }
            ProcfileVerb::Render(what) => Self::Render(Box::new((*what).into())),
        }
    }
}

/// Parses the command line. Exits if it is wrong or asks for help.
pub(crate) fn parse() -> ProcfileAction {
    ProcfileCli::parse().into()
}

/// Returns the command line for manuals and completions.
pub(crate) fn command() -> clap::Command {
    ProcfileCli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(args: &[&str]) -> ProcfileAction {
        ProcfileCli::try_parse_from(std::iter::once(&"piku-procfile").chain(args))
            .expect("a good line")
            .into()
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn files_have_defaults_and_a_dash_is_stdin() {
        let options = ParseOptions::default();
        assert_eq!(
            action(&["check"]),
            ProcfileAction::Check { input: FileOrStdin::File("Procfile".into()), options }
        );
        assert_eq!(action(&["check", "-"]), ProcfileAction::Check { input: FileOrStdin::Stdin, options });
        assert_eq!(
            action(&["env", "--check"]),
            ProcfileAction::CheckEnv { input: FileOrStdin::File("ENV".into()), options }
        );
        assert_eq!(
            action(&["show", "web", "x/P", "--strict"]),
            ProcfileAction::Show {
                input: FileOrStdin::File("x/P".into()),
                options: ParseOptions { strict: true, ..options },
                name: "web".into()
            }
        );
    }
}
