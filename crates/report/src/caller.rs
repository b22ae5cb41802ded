//! The name under which the user has called a tool: messages name what was typed. `piku` sets `PIKU_VERB` for
//! the tool behind a verb.

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;

use clap::error::{ContextKind, ErrorKind};
use clap::{ArgMatches, Command};

use crate::output;
use crate::user_error::{self, TALK, USAGE, UserError};

/// Environment variable with the verb of `piku` that runs the tool.
pub const VERB: &str = "PIKU_VERB";

/// Environment variable with the options of the verb, separated by blanks, when its help is asked for.
const VERB_OPTIONS: &str = "PIKU_VERB_OPTIONS";

/// Returns the verb of `piku` that runs this tool, if one does.
#[must_use]
pub fn typed_verb() -> Option<String> {
    let is_plain = |verb: &String| {
        !verb.is_empty()
            && verb.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b":-".contains(&c))
    };
    env::var(VERB).ok().filter(is_plain)
}

/// Returns what the user called: `piku VERB`, or the tool.
#[must_use]
pub(crate) fn called_name(tool: &str) -> Cow<'_, str> {
    typed_verb().map_or(Cow::Borrowed(tool), |verb| format!("piku {verb}").into())
}

/// Returns the beginning of a message, `NAME: `; nothing in the hook of a push, whose lines have a mark.
pub(crate) fn message_prefix(tool: &str) -> String {
    if is_push() { String::new() } else { format!("{}: ", called_name(tool)) }
}

/// Returns whether a push shows the messages.
pub(crate) fn is_push() -> bool {
    env::var_os(TALK).is_some_and(|talk| talk == "deploy")
}

/// Parses the command line of a tool. Help is printed, and the process ends, as clap does it; behind a verb
/// both name the verb.
///
/// # Errors
/// Fails for a wrong command line behind a verb.
pub fn parse_arguments(
    command: Command,
    words: impl IntoIterator<Item = OsString>,
) -> anyhow::Result<ArgMatches> {
    let Some(verb) = typed_verb() else { return Ok(command.get_matches_from(words)) };
    let own = env::var(VERB_OPTIONS).ok();
    let command = hide_options(command, own.as_deref()).disable_version_flag(true);
    match command.try_get_matches_from(words) {
        Ok(matches) => Ok(matches),
        Err(err) if err.kind() == ErrorKind::DisplayHelp => {
            output::write(verb_help(&err.render().to_string()).as_bytes())?;
            std::process::exit(0);
        }
        Err(err) => Err(usage_error(&verb, &err).into()),
    }
}

/// Hides in the help the options for paths of this machine, and those that are not among `own`, if it is known: the verb
/// does not pass them on.
fn hide_options(command: Command, own: Option<&str>) -> Command {
    let is_own =
        |long: &str| own.is_none_or(|own| own.split(' ').any(|one| one.trim_start_matches('-') == long));
    command
        .mut_args(|arg| {
            let hides = ["root", "scripts", "by", "authorized-keys"];
            let is_hidden = arg.get_long().is_some_and(|long| hides.contains(&long) || !is_own(long));
            let arg = if is_hidden { arg.hide(true) } else { arg };
            if arg.get_action().takes_values() { arg.hide_env(true) } else { arg }
        })
        .mut_subcommands(|command| hide_options(command, own))
}

/// Returns the help of a tool without its usage, for which `piku` has its own.
fn verb_help(help: &str) -> String {
    let mut text = String::new();
    let mut is_left_out = false;
    for line in help.lines() {
        // Subcommands of a tool are verbs of their own.
        let begins = line.starts_with("Usage:") || line.starts_with("Commands:");
        is_left_out = begins || is_left_out && !line.is_empty();
        let is_second_empty = line.is_empty() && text.ends_with("\n\n");
        if !is_left_out && !is_second_empty {
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// Returns an error of clap as the verb's own.
fn usage_error(verb: &str, err: &clap::Error) -> UserError {
    let rendered = err.render().to_string();
    let mut lines = rendered.lines().take_while(|line| !line.starts_with("Usage:"));
    let mut what = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    // Names of missing arguments and possible values follow, indented.
    let more: Vec<&str> = lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("tip:") && !line.starts_with("For more"))
        .collect();
    if !more.is_empty() {
        what = format!("{} {}", what.trim_end_matches(':').to_owned() + ":", more.join(" "));
    }
    let mut error = UserError::new(what).code(USAGE);
    if let Some(near) = err.get(ContextKind::SuggestedArg) {
        error = error.hint(format!("did you mean '{near}'?"));
    }
    error.hint(format!("piku help {verb}"))
}

/// Prints a message of the tool on stderr, with the name that the user called.
pub fn tell(tool: &str, text: &str) {
    user_error::tell(&format!("{}{text}", message_prefix(tool)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn command() -> Command {
        Command::new("piku-run").subcommand(
            Command::new("scale")
                .arg(Arg::new("app").required(true).value_name("APP"))
                .arg(Arg::new("no-restart").long("no-restart"))
                .arg(Arg::new("format").long("format").value_parser(["text", "json"])),
        )
    }

    fn told(words: &[&str]) -> String {
        let err = command().try_get_matches_from(["piku-run", "scale"].iter().chain(words)).unwrap_err();
        let error: anyhow::Error = usage_error("ps:scale", &err).into();
        let (hints, code) = user_error::advice(&error);
        assert_eq!(code, USAGE);
        format!("{error}; {}", hints.join("; "))
    }

    #[test]
    fn a_wrong_command_line_names_the_verb_alone() {
        // clap adds a suggestion if its crate is built with them.
        let unknown = told(&["a", "--no-restrat"]);
        assert!(unknown.starts_with("unexpected argument '--no-restrat' found; "), "{unknown}");
        assert!(unknown.ends_with("; piku help ps:scale"), "{unknown}");
        assert_eq!(
            told(&[]),
            "the following required arguments were not provided: <APP>; piku help ps:scale"
        );
        assert_eq!(
            told(&["a", "--format", "xml"]),
            "invalid value 'xml' for '--format <format>': [possible values: text, json]; piku help ps:scale"
        );
    }

    #[test]
    fn help_of_a_verb_has_no_usage_of_the_tool() {
        let help = "About\n\nUsage: piku-run scale [OPTIONS] <APP>\n       more\n\nCommands:\n  get  X\n\nArguments:\n  <APP>  \n";
        assert_eq!(verb_help(help), "About\n\nArguments:\n  <APP>\n");
    }
}
