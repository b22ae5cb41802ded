//! The help of all five tools, as their users read it: one file a tool.

use std::path::Path;

use clap::Command;
use piku_tests::snapshot::{Data, assert_snapshot};
use piku_tests::tools::repository;

/// Appends the long help of a command and of each command below it that is not hidden.
fn append_help(command: &mut Command, text: &mut String) {
    let help = command.render_long_help().to_string();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    text.extend(["$ ", name, " --help\n"]);
    // clap leaves blanks at the end of lines.
    text.extend(help.lines().flat_map(|line| [line.trim_end(), "\n"]));
    *text += "\n";
    for below in command.get_subcommands_mut() {
        if !below.is_hide_set() && below.get_name() != "help" {
            append_help(below, text);
        }
    }
}

#[test]
fn help_of_each_tool() {
    let tools = [
        piku_build::command(),
        piku_chroot::command(),
        piku_procfile::command(),
        piku_receive::command(),
        piku_run::command(),
    ];
    for tool in tools {
        let name = tool.get_name().to_owned();
        // What the variables hold is this machine's own.
        let mut tool = hide_env_values(tool);
        tool.build();
        let mut text = String::new();
        append_help(&mut tool, &mut text);
        let path = Path::new("tests/tests/manuals/help").join(name).with_extension("txt");
        assert_snapshot(&text, Data::read_from(&repository().join(path), None));
    }
}

fn hide_env_values(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(hide_env_values)
}
