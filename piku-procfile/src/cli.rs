//! What was typed, and what it means.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::output::Format;
use crate::procfile::Options;
use crate::render::cli::{RenderVerb, Rendering};

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
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
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
        format: Format,
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
        format: Format,
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
pub(crate) enum Input {
    /// `-`.
    Stdin,
    /// Anything else.
    File(PathBuf),
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Check { input: Input, options: Options },
    List { input: Input, options: Options, format: Format },
    Show { input: Input, options: Options, name: String },
    PrintEnv { input: Input, options: Options, format: Format },
    CheckEnv { input: Input, options: Options },
    Render(Box<Rendering>),
}

impl From<Cli> for Action {
    fn from(cli: Cli) -> Self {
        let split = |args: ProcfileArgs| {
            (args.file.into(), Options { strict: args.strict, piku_compat: args.piku_compat })
        };
        match cli.verb {
            Verb::Check { procfile } => {
                let (input, options) = split(procfile);
                Self::Check { input, options }
            }
            Verb::List { procfile, format } => {
                let (input, options) = split(procfile);
                Self::List { input, options, format }
            }
            Verb::Show { name, procfile } => {
                let (input, options) = split(procfile);
                Self::Show { input, options, name }
            }
            Verb::Env { file, format, check, piku_compat } => {
                let (input, options) = (file.into(), Options { strict: false, piku_compat });
                if check {
                    Self::CheckEnv { input, options }
                } else {
                    Self::PrintEnv { input, options, format }
                }
            }
            Verb::Render(what) => Self::Render(Box::new((*what).into())),
        }
    }
}

/// Parses the command line; ends the process where it is wrong, or asks for help.
pub(crate) fn parse() -> Action {
    Cli::parse().into()
}

/// The command line, for manuals and completions.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(args: &[&str]) -> Action {
        Cli::try_parse_from(std::iter::once(&"piku-procfile").chain(args)).expect("a good line").into()
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn files_have_defaults_and_a_dash_is_stdin() {
        let options = Options::default();
        assert_eq!(action(&["check"]), Action::Check { input: Input::File("Procfile".into()), options });
        assert_eq!(action(&["check", "-"]), Action::Check { input: Input::Stdin, options });
        assert_eq!(
            action(&["env", "--check"]),
            Action::CheckEnv { input: Input::File("ENV".into()), options }
        );
        assert_eq!(
            action(&["show", "web", "x/P", "--strict"]),
            Action::Show {
                input: Input::File("x/P".into()),
                options: Options { strict: true, ..options },
                name: "web".into()
            }
        );
    }
}
