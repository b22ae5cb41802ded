//! Process types that start a compiler's tool, such as `go run main.go`: it needs the sources, which a
//! release does not have. Where it is clear which of the built programs is meant, that one is started.

use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use piku_layout::jail::APP;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::{ProcessKind, ProcfileEntry};

use crate::app::command_check::parse_entries;
use crate::app::started_programs::{StartedProgram, find_started};
use crate::errors;
use crate::plan::programs::{BuiltProgram, FOLDER};

/// The meaning of a tool's command in a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToolCommand {
    /// Its first words stand for this program; those behind them are its arguments.
    Runs { program: String, words: usize },
    /// No built program does the same; the text says why, if that is not obvious.
    NeedsSources(Option<&'static str>),
}

/// Replaces the commands of a tool in the process types by the programs that they would run. Returns a
/// warning for each. `interpret` returns `None` for commands that are not the tool's.
///
/// # Errors
/// Fails if a command has no such program, with the line to write.
pub(crate) fn replace_tool_commands(
    processes: &mut IndexMap<ProcessName, String>,
    programs: &[BuiltProgram],
    interpret: impl Fn(&StartedProgram) -> Option<ToolCommand>,
) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    for entry in running_entries(processes) {
        let mut replaced = None;
        let command = rewrite_command(&entry, |started| {
            let Some(meaning) = interpret(started) else { return Ok(None) };
            let refuse = |why| errors::needs_sources(&entry, &started.words, programs, why);
            let (program, words) = match meaning {
                ToolCommand::Runs { program, words } => (program, words),
                ToolCommand::NeedsSources(why) => return Err(refuse(why).into()),
            };
            if started.spans.is_empty() {
                return Err(refuse(None).into());
            }
            let path = program_from(started.folder.as_deref(), &program);
            replaced = Some(started.words[..words].join(" ").trim_end_matches(" --").to_owned());
            Ok(Some((words, shell_words::quote(&path.to_string_lossy()).into_owned())))
        })?;
        let Some((command, replaced)) = command.zip(replaced) else { continue };
        warnings.push(errors::tool_command_replaced(&entry, &replaced, &command));
        set_command(processes, &entry, &command);
    }
    Ok(warnings)
}

/// Returns the process types that start programs in a release.
pub(crate) fn running_entries(processes: &IndexMap<ProcessName, String>) -> Vec<ProcfileEntry> {
    let mut entries = parse_entries(processes);
    entries.retain(|entry| !matches!(entry.kind, ProcessKind::Preflight | ProcessKind::Static));
    entries
}

/// Replaces the first words of programs in a command. `rewrite` returns their number and the text in their
/// place, or `None` for a program that stays. Returns `None` if all stay.
///
/// # Errors
/// As `rewrite`. Programs whose place in the text is not known stay as they are.
pub(crate) fn rewrite_command(
    entry: &ProcfileEntry,
    mut rewrite: impl FnMut(&StartedProgram) -> anyhow::Result<Option<(usize, String)>>,
) -> anyhow::Result<Option<String>> {
    let mut command = entry.command.clone();
    // From behind, so that earlier positions stay right.
    for started in find_started(&entry.command).iter().rev() {
        let Some((words, text)) = rewrite(started)? else { continue };
        if let (Some(first), Some(last)) = (started.spans.first(), started.spans.get(words.saturating_sub(1)))
        {
            command.replace_range(first.start..last.end, &text);
        }
    }
    Ok((command != entry.command).then_some(command))
}

/// Gives a process type another command. A schedule stays in front.
pub(crate) fn set_command(
    processes: &mut IndexMap<ProcessName, String>,
    entry: &ProcfileEntry,
    command: &str,
) {
    if let Some(text) = processes.get_mut(&entry.name) {
        let schedule = text.len().saturating_sub(entry.command.len());
        text.replace_range(schedule.., command);
    }
}

/// Returns the path of a built program from a folder of the app; a bare name if the folder is not known.
fn program_from(folder: Option<&Path>, program: &str) -> PathBuf {
    match folder.filter(|folder| is_below(folder)) {
        Some(_) => path_from(folder, &Path::new(FOLDER).join(program)),
        None => program.into(),
    }
}

/// Returns a path of the app as seen from one of its folders; from `/` if the folder is not known.
pub(crate) fn path_from(folder: Option<&Path>, path: &Path) -> PathBuf {
    let Some(folder) = folder.filter(|folder| is_below(folder)) else { return Path::new(APP).join(path) };
    let below = folder.strip_prefix(APP).unwrap_or(folder);
    let up: PathBuf = below.components().map(|_| "..").collect();
    up.join(path)
}

fn is_below(folder: &Path) -> bool {
    let below = folder.strip_prefix(APP).unwrap_or(folder);
    below.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpret(started: &StartedProgram) -> Option<ToolCommand> {
        (started.name() == "go").then(|| match started.words.get(2).map(String::as_str) {
            Some("main.go") => ToolCommand::Runs { program: "shop".to_owned(), words: 3 },
            _ => ToolCommand::NeedsSources(None),
        })
    }

    fn replaced(command: &str) -> anyhow::Result<String> {
        let mut processes = IndexMap::from([("cron-web".parse().unwrap(), command.to_owned())]);
        let programs = [BuiltProgram { name: "shop".to_owned(), made: "bin/shop".into() }];
        replace_tool_commands(&mut processes, &programs, interpret)?;
        Ok(processes.swap_remove_index(0).unwrap().1)
    }

    #[test]
    fn only_the_tools_words_are_replaced() {
        for (command, expected) in [
            ("go run main.go --port $PORT", "bin/shop --port $PORT"),
            ("A='b c' exec go run main.go", "A='b c' exec bin/shop"),
            ("cd web/x && go run main.go; ./y", "cd web/x && ../../bin/shop; ./y"),
            ("cd $X && go run main.go", "cd $X && shop"),
            ("sh -c 'go run main.go $PORT'", "sh -c 'bin/shop $PORT'"),
            ("*/5 * * * * go run main.go; go run main.go -x", "*/5 * * * * bin/shop; bin/shop -x"),
            ("echo go run main.go", "echo go run main.go"),
        ] {
            assert_eq!(replaced(command).unwrap(), expected, "{command}");
        }
        for command in ["go run x.go", "sh -c \"go run main.go \\$PORT\""] {
            let err = replaced(command).unwrap_err();
            assert!(err.to_string().contains("bin/shop"), "{err}");
        }
    }
}
