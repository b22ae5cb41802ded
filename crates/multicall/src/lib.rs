//! Four of the tools in one program, which runs the tool by whose name it was started.
//!
//! Packages install the names as hard links, so that each tool finds itself and the others by its own path.
//! Shared code is on the disk and in memory once. `piku-chroot` stays a program of its own, a tenth as large: most of a jail's start
//! is spent on pages of its program.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

/// Entry point of a tool, which parses the command line itself.
type ToolMain = fn() -> ExitCode;

/// Names of the tools and their entry points.
pub const TOOLS: [(&str, ToolMain); 4] = [
    ("piku-build", piku_build::main),
    ("piku-procfile", piku_procfile::main),
    ("piku-receive", piku_receive::main),
    ("piku-run", piku_run::main),
];

/// Runs the tool by whose name the program was started.
#[must_use]
#[expect(clippy::print_stderr, reason = "no tool is chosen yet that could print it")]
pub fn main() -> ExitCode {
    let called = env::args_os().next().unwrap_or_default();
    if let Some(tool) = find_tool(&called) {
        return tool();
    }
    let names: Vec<_> = TOOLS.iter().map(|(name, _)| *name).collect();
    eprintln!("piku-multicall: unknown tool '{}'", Path::new(&called).display());
    eprintln!("hint: start this program by one of its names: {}", names.join(", "));
    ExitCode::from(2)
}

/// Returns the tool for the first word of a command line, a name or a path.
fn find_tool(called: &OsStr) -> Option<ToolMain> {
    let name = Path::new(called).file_name()?;
    TOOLS.iter().find(|(tool, _)| name == *tool).map(|(_, main)| *main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_found_by_the_end_of_its_path() {
        for called in ["piku-run", "/usr/bin/piku-run", "./piku-run"] {
            assert!(find_tool(OsStr::new(called)).is_some(), "{called}");
        }
        for called in ["", "piku", "piku-chroot", "piku-run2", "/usr/bin/", "/"] {
            assert!(find_tool(OsStr::new(called)).is_none(), "{called}");
        }
    }
}
