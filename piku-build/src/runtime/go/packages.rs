//! The programs of Go modules: folders with a `package main` that takes part in the build.

use std::path::{Path, PathBuf};

use piku_files::FileKind;

use super::build_constraint::BuildTags;
use super::file_header::FileHeader;
use super::go_mod::GoModule;
use crate::app::app_source::AppSource;

/// The largest depth of folders that are searched.
const DEEPEST: usize = 20;

/// A folder whose package is a program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GoPackage {
    /// Path of the folder in the app; empty for its top.
    pub(super) dir: PathBuf,
    /// Go's name for the program.
    pub(super) name: String,
    /// Its import path: `example.org/shop/cmd/web`; empty without a module.
    pub(super) import: String,
    /// True if it belongs to a module that go.mod requires.
    pub(super) is_external: bool,
    /// Names of its files that take part in the build.
    pub(super) files: Vec<String>,
    /// The strings that the build sets, of `version` and `commit`.
    pub(super) stamps: Vec<&'static str>,
    /// Variables of these names with another type, which the linker refuses to set.
    pub(super) other_variables: Vec<&'static str>,
}

impl GoPackage {
    /// Returns a program of a module that go.mod requires, by its import path.
    pub(super) fn external(import: &str) -> Self {
        Self {
            dir: PathBuf::new(),
            name: super::go_mod::program_name(import).to_owned(),
            import: import.to_owned(),
            is_external: true,
            files: Vec::new(),
            stamps: Vec::new(),
            other_variables: Vec::new(),
        }
    }

    /// Returns the pattern for the go command: `.`, `./cmd/web`, an import path.
    pub(super) fn pattern(&self) -> String {
        if self.is_external {
            self.import.clone()
        } else if self.dir.as_os_str().is_empty() {
            ".".to_owned()
        } else {
            format!("./{}", self.dir.display())
        }
    }
}

/// Finds the programs of the module in `dir`, sorted. Nested modules are skipped.
pub(super) fn find_programs(
    source: &AppSource,
    dir: &Path,
    module: &GoModule,
    tags: &BuildTags,
) -> anyhow::Result<Vec<GoPackage>> {
    let mut found = Vec::new();
    walk_module(source, dir, DEEPEST, &mut |below| {
        if let Some(mut package) = read_package(source, below, tags)? {
            let own = below.file_name().map(|name| name.to_string_lossy().into_owned());
            package.name = match own {
                Some(own) if below != dir => own,
                own if module.path.is_empty() => own.unwrap_or_default(),
                _ => module.program_name().to_owned(),
            };
            let inner = below.strip_prefix(dir).unwrap_or(below);
            module.path.clone_into(&mut package.import);
            if !inner.as_os_str().is_empty() {
                package.import = Path::new(&module.path).join(inner).display().to_string();
            }
            found.push(package);
        }
        Ok(())
    })?;
    found.sort_by(|one, other| one.dir.cmp(&other.dir));
    Ok(found)
}

/// Returns whether a folder of the app holds Go files.
pub(super) fn has_folders(source: &AppSource) -> anyhow::Result<bool> {
    let mut found = false;
    walk_module(source, Path::new(""), DEEPEST, &mut |below| {
        if !found && !below.as_os_str().is_empty() {
            let names = list_names(source, below, |kind| kind != FileKind::Folder)?;
            found = names.iter().any(|name| super::is_go(Path::new(name)));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `visit` for the folder and those below it that belong to the same module.
fn walk_module(
    source: &AppSource,
    dir: &Path,
    deeper: usize,
    visit: &mut dyn FnMut(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    visit(dir)?;
    let Some(depth) = deeper.checked_sub(1) else { return Ok(()) };
    for name in list_names(source, dir, |kind| kind == FileKind::Folder)? {
        let below = dir.join(&name);
        let skipped =
            name.starts_with(['.', '_']) || ["vendor", "testdata", "node_modules"].contains(&name.as_str());
        // Go takes no other letters in an import path.
        let is_importable = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte);
        let skipped = skipped || !name.bytes().all(is_importable);
        if !skipped && !source.tree.is_file(below.join("go.mod")) {
            walk_module(source, &below, depth, visit)?;
        }
    }
    Ok(())
}

/// Returns the program in a folder, without its name; `None` if it has no `package main`.
pub(super) fn read_package(
    source: &AppSource,
    dir: &Path,
    tags: &BuildTags,
) -> anyhow::Result<Option<GoPackage>> {
    let mut package = GoPackage {
        dir: dir.to_owned(),
        name: String::new(),
        import: String::new(),
        is_external: false,
        files: Vec::new(),
        stamps: Vec::new(),
        other_variables: Vec::new(),
    };
    for name in list_names(source, dir, |kind| kind != FileKind::Folder)? {
        if !super::is_go(Path::new(&name)) || name.ends_with("_test.go") || name.starts_with(['.', '_']) {
            continue;
        }
        let Some(text) = source.read_bytes(dir.join(&name))? else { continue };
        let text = String::from_utf8_lossy(&text);
        let header = FileHeader::parse(&text);
        if header.package == Some("main") && tags.includes_file(&name, &header) {
            for (name, is_string) in find_stamps(&text) {
                if is_string { &mut package.stamps } else { &mut package.other_variables }.push(name);
            }
            package.files.push(name);
        }
    }
    Ok((!package.files.is_empty()).then_some(package))
}

/// Returns the UTF-8 names of a folder's entries of some kinds, sorted.
fn list_names(
    source: &AppSource,
    dir: &Path,
    takes: impl Fn(FileKind) -> bool,
) -> anyhow::Result<Vec<String>> {
    let entries = source.list(dir)?.into_iter().filter(|entry| takes(entry.kind));
    Ok(entries.filter_map(|entry| entry.name.into_string().ok()).collect())
}

/// Finds the variables that tell a program which commit it was built from, and whether they are strings.
fn find_stamps(text: &str) -> Vec<(&'static str, bool)> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let bare = line.trim();
        if line.starts_with("var (") {
            in_block = true;
        } else if line.starts_with(')') {
            in_block = false;
        } else if let Some(rest) = line.strip_prefix("var ").or(in_block.then_some(bare)) {
            let name = rest.split([' ', '\t', '=']).next().unwrap_or_default();
            let stamp = ["version", "commit"].into_iter().find(|stamp| *stamp == name);
            found.extend(stamp.map(|stamp| (stamp, is_string(rest[name.len()..].trim_start()))));
        }
    }
    found
}

/// Returns whether a declaration, behind the name, is that of a string: `string`, `= "dev"`.
fn is_string(declaration: &str) -> bool {
    match declaration.strip_prefix('=') {
        Some(value) => value.trim_start().starts_with(['"', '`']),
        None => declaration.split([' ', '\t', '=', '/']).next() == Some("string"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tags() -> BuildTags {
        BuildTags { architecture: "amd64".to_owned(), minor: 22, asked: Vec::new() }
    }

    #[test]
    fn programs_of_a_module() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "main.go",
                "/* package x\n*/\npackage main // hello\n\nvar (\n\tversion = \"dev\"\n\tdate string\n)\nvar commit string\n",
            ),
            ("main_test.go", "package main\n"),
            ("gen.go", "//go:build ignore\n\npackage main\n"),
            ("cmd/web/web.go", "package main\n"),
            ("cmd/win/win_windows.go", "package main\n"),
            ("cmd/tool/gen.go", "//go:build tools\npackage main\n"),
            ("lib/lib.go", "package lib\n"),
            ("vendor/x/main.go", "package main\n"),
            ("_old/main.go", "package main\n"),
            ("my dir/main.go", "package main\n"),
            ("other/go.mod", "module other\n"),
            ("other/main.go", "package main\n"),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let source = AppSource::read(dir.path(), None).unwrap();
        let module = GoModule::parse("module example.org/shop/v2\n");
        let found = find_programs(&source, Path::new(""), &module, &tags()).unwrap();
        let short: Vec<_> = found.iter().map(|one| (one.pattern(), one.name.as_str())).collect();
        assert_eq!(short, [(".".to_owned(), "shop"), ("./cmd/web".to_owned(), "web")]);
        assert_eq!(found[0].files, ["main.go"]);
        assert_eq!(found[0].stamps, ["version", "commit"]);
        let other =
            find_programs(&source, Path::new("other"), &GoModule::parse("module other.org/tool\n"), &tags())
                .unwrap();
        assert_eq!((other[0].pattern().as_str(), other[0].name.as_str()), ("./other", "tool"));
    }
    #[test]
    fn only_strings_are_set() {
        for (text, expected) in [
            ("var version string\n", &[("version", true)][..]),
            ("var version = \"dev\" // see build\n", &[("version", true)]),
            ("var (\n\tversion  = \"1\"\n\tcommit string = `x`\n)\n", &[("version", true), ("commit", true)]),
            (
                "var (\n\tport = 1\n\tversion = flag.String(\"version\", \"1.4\", \"\")\n)\n",
                &[("version", false)],
            ),
            ("var version *string\nvar commit int\n", &[("version", false), ("commit", false)]),
            ("const version = \"1\"\nvar versions []string\n", &[]),
        ] {
            assert_eq!(find_stamps(text), expected, "{text}");
        }
    }

    /// Each file alone in a folder: the folders that hold a program are those that `go list` names.
    #[test]
    fn a_program_is_where_go_list_finds_one() {
        let names = [
            "x.go",
            "_x.go",
            ".x.go",
            "x_test.go",
            "x_linux.go",
            "x_windows.go",
            "windows.go",
            "x_hurd.go",
            "x_arm64.go",
            "x_amd64.go",
            "x_windows_amd64.go",
            "x_linux_arm64.go",
            "x_amd64p32.go",
            "x_sparc.go",
            "x.pb_windows.go",
            "x_windows.pb.go",
            "x_windows_of.go",
            "x_unix.go",
            "x_linux_test_amd64.go",
        ];
        let constraints = [
            "ignore",
            "linux",
            "!linux",
            "unix && amd64",
            "arm64 || !windows",
            "!(linux || arm)",
            "cgo",
            "gc",
            "go1.18",
            "go1.99",
            "!go1.99",
            "amd64.v1",
            "web",
            "!web",
            "((linux))",
            "linux&&(amd64||arm)",
        ];
        let headers = [
            "",
            "// x\n",
            "/* x */ ",
            "/*\n//go:build ignore\n*/\n",
            "/* x */\n//go:build ignore\n",
            "\u{feff}",
            "// +build ignore\n",
            "\u{feff}//go:build ignore\n",
            "//go:build\tignore\n",
            " //go:build ignore\n",
            "//go:buildx ignore\n",
            "// go:build ignore\n",
            "/* x */ /*\n*/ //go:build ignore\n",
            "/* x */ /*\n*/\n//go:build ignore\n",
            "//go:build ignore\r\n",
            "/* x */\n// +build ignore\n\n",
            "// +build linux\n// +build arm64\n\n",
            "//go:build linux\n// +build ignore\n\n",
        ];
        let clauses = [
            "package main",
            "package\tmain;",
            "package/**/main // x",
            "package mains",
            "package lib",
            "package /*\n*/ main",
        ];
        let mut cases: Vec<(&str, String)> = Vec::new();
        cases.extend(names.map(|name| (name, "package main\n".to_owned())));
        cases.extend(constraints.map(|text| ("x.go", format!("//go:build {text}\npackage main\n"))));
        cases.extend(headers.map(|header| ("x.go", format!("{header}package main\n"))));
        cases.extend(clauses.map(|clause| ("x.go", format!("{clause}\n"))));

        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("go.mod"), "module example.org/x\n\ngo 1.18\n").unwrap();
        for (number, (name, text)) in cases.iter().enumerate() {
            let folder = dir.path().join(format!("c{number:03}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(name), text).unwrap();
        }
        let Some(expected) = go_list(dir.path()) else { return };
        let source = AppSource::read(dir.path(), None).unwrap();
        let tags = BuildTags { architecture: "amd64".to_owned(), minor: 22, asked: vec!["web".to_owned()] };
        let found =
            find_programs(&source, Path::new(""), &GoModule::parse("module example.org/x\n"), &tags).unwrap();
        let found: Vec<String> = found.iter().map(|one| one.dir.display().to_string()).collect();
        for (number, case) in cases.iter().enumerate() {
            let name = format!("c{number:03}");
            assert_eq!(found.contains(&name), expected.contains(&name), "{case:?}: ours, and Go's");
        }
    }

    /// Returns the folders with a program, by the go command.
    #[expect(clippy::print_stderr, reason = "a skipped test reports it")]
    fn go_list(dir: &Path) -> Option<Vec<String>> {
        let home = tempfile::tempdir().unwrap();
        let mut go = std::process::Command::new("go");
        go.args(["list", "-e", "-tags", "web", "-f", "{{if .GoFiles}}{{.Name}} {{.Dir}}{{end}}", "./..."])
            .current_dir(dir);
        go.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home.path());
        go.envs([
            ("GOTOOLCHAIN", "local"),
            ("GOPROXY", "off"),
            ("GOOS", "linux"),
            ("GOARCH", "amd64"),
            ("CGO_ENABLED", "1"),
        ]);
        let Ok(out) = go.output() else {
            eprintln!("skipped: go is not installed");
            assert!(std::env::var_os("CI").is_none(), "nothing may be skipped with CI set");
            return None;
        };
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let mains = said.lines().filter_map(|line| line.strip_prefix("main "));
        let found: Vec<String> =
            mains.filter_map(|path| path.rsplit('/').next()).map(str::to_owned).collect();
        assert!(!found.is_empty(), "{said}{}", String::from_utf8_lossy(&out.stderr));
        Some(found)
    }
}
