//! Process types that start a compiler's tool, such as `go run main.go`: it needs the sources, which a release
//! does not have. Where it is clear which of the built programs is meant, that one is started.

use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use piku_layout::jail::APP;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::ProcessKind;

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

/// Replaces the commands of a tool in the process types by the programs that they would run. Returns a warning for
/// each. `interpret` returns `None` for commands that are not the tool's.
///
/// # Errors
/// Fails if a command has no such program, with the line to write.
pub(crate) fn replace_tool_commands(
    processes: &mut IndexMap<ProcessName, String>,
    programs: &[BuiltProgram],
    interpret: impl Fn(&StartedProgram) -> Option<ToolCommand>,
) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    let entries = parse_entries(processes);
    for entry in
        entries.iter().filter(|entry| !matches!(entry.kind, ProcessKind::Preflight | ProcessKind::Static))
    {
        let mut command = entry.command.clone();
        let mut replaced = None;
        // From behind, so that earlier positions stay right.
        for started in find_started(&entry.command).iter().rev() {
            let Some(meaning) = interpret(started) else { continue };
            let refuse = |why| errors::needs_sources(entry, &started.words, programs, why);
            let (program, words) = match meaning {
                ToolCommand::Runs { program, words } => (program, words),
                ToolCommand::NeedsSources(why) => return Err(refuse(why).into()),
            };
            let (Some(first), Some(last)) =
                (started.spans.first(), started.spans.get(words.saturating_sub(1)))
            else {
                return Err(refuse(None).into());
            };
            let path = path_from(started.folder.as_deref(), &program);
            command.replace_range(first.start..last.end, &shell_words::quote(&path.to_string_lossy()));
            replaced = Some(started.words[..words].join(" ").trim_end_matches(" --").to_owned());
        }
        let Some(replaced) = replaced else { continue };
        warnings.push(errors::tool_command_replaced(entry, &replaced, &command));
        if let Some(text) = processes.get_mut(&entry.name) {
            // A schedule stays in front.
            let schedule = text.len().saturating_sub(entry.command.len());
            text.replace_range(schedule.., &command);
        }
    }
    Ok(warnings)
}

/// Returns the path of a built program from a folder of the app; a bare name if the folder is not known.
fn path_from(folder: Option<&Path>, program: &str) -> PathBuf {
    let Some(folder) = folder else { return program.into() };
    let below = folder.strip_prefix(APP).unwrap_or(folder);
    if !below.components().all(|part| matches!(part, Component::Normal(_))) {
        return program.into();
    }
    let up: PathBuf = below.components().map(|_| "..").collect();
    up.join(FOLDER).join(program)
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
