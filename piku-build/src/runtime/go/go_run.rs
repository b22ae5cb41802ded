//! `go run` in a Procfile: the program that it would build and start.

use std::path::{Path, PathBuf};

use piku_layout::jail::APP;

use super::is_go;
use super::packages::GoPackage;
use crate::app::app_source::normalize_path;
use crate::app::started_programs::StartedProgram;
use crate::plan::tool_commands::ToolCommand;

/// Options of `go run` without a value.
const WITHOUT_VALUE: [&str; 13] = [
    "a",
    "asan",
    "cover",
    "linkshared",
    "modcacherw",
    "msan",
    "n",
    "race",
    "trimpath",
    "v",
    "work",
    "x",
    "json",
];

/// Interprets a command of Go for a release; `None` for other commands.
pub(super) fn interpret(started: &StartedProgram, packages: &[GoPackage]) -> Option<ToolCommand> {
    if started.name() != "go" {
        return None;
    }
    Some(match find_package(started, packages) {
        Some((package, words)) => ToolCommand::Runs { program: package.name.clone(), words },
        None => ToolCommand::NeedsSources(None),
    })
}

/// Returns the program of `go run`, and the number of words in front of its arguments.
fn find_package<'a>(started: &StartedProgram, packages: &'a [GoPackage]) -> Option<(&'a GoPackage, usize)> {
    let words: Vec<&str> = started.words.iter().map(String::as_str).collect();
    if words.get(1) != Some(&"run") {
        return None;
    }
    let mut at = 2;
    while let Some(option) = words.get(at).and_then(|word| word.strip_prefix('-')) {
        let option = option.trim_start_matches('-');
        at += if option.contains('=') || WITHOUT_VALUE.contains(&option) { 1 } else { 2 };
    }
    let first = *words.get(at)?;
    let files = words[at..].iter().take_while(|word| is_go(Path::new(word))).count();
    let (dir, words) = if files > 0 {
        // `*.go` too is of one folder.
        (Path::new(first).parent().map_or_else(PathBuf::new, Path::to_owned), at + files)
    } else {
        (PathBuf::from(first), at + 1)
    };
    let below = normalize_path(&started.folder.as_ref()?.join(&dir));
    let below = below.strip_prefix(APP).unwrap_or(&below);
    let is_local = files > 0 || first.starts_with('.') || first.starts_with('/');
    let is_meant = |package: &&GoPackage| {
        if is_local { !package.is_external && package.dir == below } else { package.import == first }
    };
    Some((packages.iter().find(is_meant)?, words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::started_programs::find_started;

    #[test]
    fn the_program_that_go_would_run() {
        let package = |name: &str, dir: &str| GoPackage {
            dir: dir.into(),
            import: Path::new("example.org/shop").join(dir).display().to_string(),
            ..GoPackage::external(name)
        };
        let own = |name, dir| GoPackage { is_external: false, ..package(name, dir) };
        let packages = [own("shop", ""), own("web", "cmd/web"), GoPackage::external("example.org/x/migrate")];
        for (command, expected) in [
            ("go run main.go", "shop "),
            ("go run . serve -x", "shop serve -x"),
            ("go run ./ ", "shop "),
            ("go run *.go --port $PORT", "shop --port $PORT"),
            ("go run main.go routes.go x", "shop x"),
            ("go run -race -tags prod -ldflags=-s ./cmd/web/ a", "web a"),
            ("go run cmd/web/main.go", "web "),
            ("cd cmd/web && go run .", "web "),
            ("cd /app/cmd && /usr/local/go/bin/go run ./web", "web "),
            ("go run example.org/shop/cmd/web", "web "),
            ("go run example.org/x/migrate up", "migrate up"),
            ("go run ./cmd/none", "refused"),
            ("go run example.org/x/y@latest", "refused"),
            ("go run", "refused"),
            ("cd $X && go run .", "refused"),
            ("go build -o web", "refused"),
            ("goose up", "none"),
        ] {
            let started = find_started(command).pop().unwrap();
            let meant = match interpret(&started, &packages) {
                Some(ToolCommand::Runs { program, words }) => {
                    format!("{program} {}", started.words[words..].join(" "))
                }
                Some(ToolCommand::NeedsSources(_)) => "refused".to_owned(),
                None => "none".to_owned(),
            };
            assert_eq!(meant, expected, "{command}");
        }
    }
}
