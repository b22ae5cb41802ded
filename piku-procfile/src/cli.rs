//! What was typed, and what it means.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use piku_report::output::OutputFormat;

use crate::procfile::ParseOptions;
use crate::render::cli::{RenderTarget, RenderVerb};

/// What the tool's end means.
const EXIT_STATUS: &str = "\
Exit status:
  0  all is well, warnings included
  1  the file is no good or cannot be read, or there is no such process type
  2  the command line is wrong";

/// Reads what an app says about itself: its Procfile and its ENV.
///
/// Data goes to stdout, errors and warnings to stderr, each with its file and line.
#[derive(Debug, Parser)]
#[command(name = "piku-procfile", version, max_term_width = 100, after_long_help = EXIT_STATUS)]
struct ProcfileCli {
    #[command(subcommand)]
    verb: ProcfileVerb,
}

#[derive(Debug, Subcommand)]
enum ProcfileVerb {
    /// Checks a Procfile; prints nothing when all is well
    Check {
        #[command(flatten)]
        procfile: ProcfileArgs,
    },
    /// Prints the process types of a Procfile
    List {
        #[command(flatten)]
        procfile: ProcfileArgs,
        /// The form of the output; text is a Procfile again
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Prints the command of one process type
    Show {
        /// The process type, such as 'web'
        name: String,
        #[command(flatten)]
        procfile: ProcfileArgs,
    },
    /// Prints the variables of an ENV file with their values
    ///
    /// '$NAME' stands for a name set earlier in the file, or else for what the platform sets, such as PORT, which is taken
    /// from the environment of this program.
    Env {
        /// The ENV file; '-' is stdin
        #[arg(default_value = crate::env::FILE, value_name = "FILE")]
        file: PathBuf,
        /// The form of the output; text is quoted for a shell
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
        /// Only check the file; print nothing when all is well
        #[arg(long)]
        check: bool,
        /// Keep the quotes around a value, as the Python piku does
        #[arg(long)]
        piku_compat: bool,
    },
    /// Prints an app's Procfile and ENV in the form that another program reads
    #[command(subcommand)]
    Render(Box<RenderVerb>),
}

#[derive(Debug, Args)]
struct ProcfileArgs {
    /// The Procfile; '-' is stdin
    #[arg(default_value = crate::procfile::FILE, value_name = "FILE")]
    file: PathBuf,
    /// Refuse names of process types that are not DNS labels
    #[arg(long)]
    strict: bool,
    /// Take duplicate names, bad names and garbage lines with a warning, as the Python piku does
    #[arg(long)]
    piku_compat: bool,
}

/// A file, or stdin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileOrStdin {
    /// `-`.
    Stdin,
    /// Anything else.
    File(PathBuf),
}

impl From<PathBuf> for FileOrStdin {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }
}

/// What is to be done.
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

/// Parses the command line; ends the process where it is wrong, or asks for help.
pub(crate) fn parse() -> ProcfileAction {
    ProcfileCli::parse().into()
}

/// The command line, for manuals and completions.
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
