//! The other tools of piku.

use std::process::Command;

/// Returns the command that runs another tool of piku, from the directory of this one.
#[expect(clippy::disallowed_methods, reason = "looks for the tool beside this one")]
pub(crate) fn sibling_tool(name: &str) -> Command {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(name));
    Command::new(beside.filter(|path| path.is_file()).unwrap_or_else(|| name.into()))
}
