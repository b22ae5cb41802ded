//! Byte-compilation of the app's Python files in the tree, because a release is read-only at run time.
//! Compiled files are reused from the previous release if their sources are the same.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use piku_files::{FileKind, FolderEntry, TreeHandle};

use crate::step::build_step::BuildStep;
use crate::step::interrupt;
use crate::tree::tree_comparison;

pub(super) const NAME: &str = "compile";
/// Folders without code of the app.
const SKIPPED: [&str; 4] = ["node_modules", ".git", ".venv", "venv"];
/// Folder for compiled files.
const CACHE: &str = "__pycache__";
/// The largest file that is reused, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Compiles what is not compiled yet, and prints a line for each broken file: the line number if known, the
/// error, the path. `compileall` takes longer to start than most apps take to compile.
const COMPILE: &str = "\
import os, sys
from importlib.machinery import SourceFileLoader
broken = False
for top, folders, names in os.walk('.'):
    folders[:] = sorted(set(folders) - set(sys.argv[1:]))
    for name in sorted(names):
        path = top + '/' + name
        if not name.endswith('.py') or not os.path.isfile(path):
            continue
        try:
            SourceFileLoader('app', path).get_code('app')
        except Exception as why:
            broken = True
            line, text = getattr(why, 'lineno', None), str(getattr(why, 'msg', None) or why)
            told = (str(line or ''), type(why).__name__ + ': ' + ' '.join(text.split()), path)
            sys.stdout.buffer.write(os.fsencode('\\t'.join(told)) + b'\\n')
sys.exit(broken)
";

/// A source file that does not compile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BrokenSource {
    pub(super) file: PathBuf,
    pub(super) line: Option<u32>,
    pub(super) message: String,
}

/// Returns the step that compiles all files of the tree.
pub(super) fn compile_step(python: &str) -> BuildStep {
    let mut run: Vec<String> = [python, "-I", "-S", "-W", "ignore", "-c", COMPILE].map(str::to_owned).into();
    run.extend(SKIPPED.iter().chain(&[CACHE]).map(ToString::to_string));
    BuildStep { name: NAME, run, quiet: true }
}

/// Parses the output of the step.
pub(super) fn parse_output(lines: &[String]) -> Vec<BrokenSource> {
    let broken = |line: &String| {
        let mut parts = line.splitn(3, '\t');
        let (line, message, file) = (parts.next()?, parts.next()?, parts.next()?);
        let file = Path::new(file.strip_prefix("./").unwrap_or(file)).to_owned();
        Some(BrokenSource { file, line: line.parse().ok(), message: message.to_owned() })
    };
    lines.iter().filter_map(broken).collect()
}

/// Gives files that are equal in `tree` and in the tree `before` the date that they have there, by which
/// Python recognises its compiled files, and copies those.
pub(super) fn reuse_compiled(version: &str, before: &TreeHandle, tree: &TreeHandle) -> anyhow::Result<()> {
    // `part.cpython-311.pyc`
    let line: String = version.splitn(3, '.').take(2).collect();
    reuse_folder(&format!(".cpython-{line}.pyc"), before, tree)
}

/// Follows no links: a former folder may be a link now.
fn reuse_folder(end: &str, before: &TreeHandle, tree: &TreeHandle) -> anyhow::Result<()> {
    interrupt::check()?;
    let compiled = before.subtree(CACHE).ok();
    for FolderEntry { name, kind } in tree.read_dir("")? {
        if kind == FileKind::Folder && name != CACHE && SKIPPED.iter().all(|skipped| name != *skipped) {
            if let (Ok(before), Ok(tree)) = (before.subtree(&name), tree.subtree(&name)) {
                reuse_folder(end, &before, &tree)?;
            }
        }
        let stem = name.to_str().and_then(|name| name.strip_suffix(".py"));
        let Some(stem) = stem.filter(|_| kind == FileKind::Regular) else { continue };
        let Some(date) = date_of_same(before, tree, Path::new(&name)) else { continue };
        tree.set_modified(&name, date)?;
        let file = format!("{stem}{end}");
        let Some(compiled) = compiled.as_ref().filter(|compiled| is_plain(compiled, &file)) else { continue };
        if tree.find(CACHE)?.is_none() {
            tree.create_dir(CACHE)?;
        }
        // Compiled files in the repository stay.
        if let Ok(cache) = tree.subtree(CACHE) {
            if cache.find(&file)?.is_none() {
                compiled.copy_file(&file, &cache, &file, LARGEST)?;
            }
        }
    }
    Ok(())
}

/// Returns the date of a file in `before` if `tree` has an equal one.
fn date_of_same(before: &TreeHandle, tree: &TreeHandle, name: &Path) -> Option<SystemTime> {
    let (old, new) = (before.open_file_nofollow(name).ok()?, tree.open_file_nofollow(name).ok()?);
    if old.stat.len != new.stat.len || old.stat.len > LARGEST {
        return None;
    }
    let same = tree_comparison::same_bytes(&old.file, &new.file).ok()?;
    same.then_some(old.stat.modified)
}

/// Returns whether a compiled file is regular and not too large.
fn is_plain(folder: &TreeHandle, file: &str) -> bool {
    folder.symlink_metadata(file).is_ok_and(|stat| stat.is_file() && stat.len <= LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::process::Command;

    fn compile(tree: &Path) -> (bool, Vec<String>) {
        let step = compile_step("/usr/bin/python3");
        let out = Command::new(&step.run[0]).args(&step.run[1..]).current_dir(tree).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        (out.status.success(), text.lines().map(str::to_owned).collect())
    }

    fn write(top: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn what_does_not_compile_is_told_and_the_rest_is_compiled() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("good.py", "x = 1\n"),
                ("bad.py", "x = 1\ndef f(:\n"),
                ("a b/tab.py", "if x:\n\n\n"),
                ("nul.py", "x = '\0'\n"),
                ("bytes.py", "x = 1\n"),
                ("venv/bad.py", "def\n"),
                ("x/node_modules/bad.py", "def\n"),
            ],
        );
        fs::write(dir.path().join("bytes.py"), b"x = '\xff'\n").unwrap();
        symlink("nowhere.py", dir.path().join("gone.py")).unwrap();
        let (good, lines) = compile(dir.path());
        let broken = parse_output(&lines);
        let told: Vec<_> = broken.iter().map(|one| (one.file.to_str().unwrap(), one.line)).collect();
        assert!(!good && dir.path().join("__pycache__").is_dir());
        assert_eq!(
            told.iter().map(|one| one.0).collect::<Vec<_>>(),
            ["bad.py", "bytes.py", "nul.py", "a b/tab.py"]
        );
        assert_eq!((told[0].1, broken[0].message.as_str()), (Some(2), "SyntaxError: invalid syntax"));
        assert!(broken[2].message.contains("null bytes"), "{broken:?}");
        assert!(broken[3].message.starts_with("IndentationError: "), "{broken:?}");
    }

    #[test]
    fn no_link_of_either_release_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new, outside) =
            (dir.path().join("old"), dir.path().join("new"), dir.path().join("outside"));
        let compiled = "x.cpython-311.pyc";
        write(&outside, &[(compiled, "of another"), ("x.py", "x = 1\n")]);
        write(
            &old,
            &[("x.py", "x = 1\n"), ("y/x.py", "x = 1\n"), ("y/__pycache__/x.cpython-311.pyc", "own")],
        );
        write(&new, &[("x.py", "x = 1\n"), ("y/x.py", "x = 1\n"), ("z/x.py", "x = 1\n"), ("w/x.py", "")]);
        symlink(&outside, old.join(CACHE)).unwrap();
        symlink(&outside, old.join("z")).unwrap();
        symlink(&outside, new.join("y").join(CACHE)).unwrap();
        let before = fs::metadata(outside.join("x.py")).unwrap().modified().unwrap();
        let tree = |path: &Path| TreeHandle::open(path).unwrap();
        reuse_compiled("3.11.2", &tree(&old), &tree(&new)).unwrap();
        assert!(!new.join(CACHE).exists() && !new.join("z").join(CACHE).exists());
        assert_eq!(fs::read_to_string(outside.join(compiled)).unwrap(), "of another");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
        assert_eq!(fs::metadata(outside.join("x.py")).unwrap().modified().unwrap(), before);
    }

    #[test]
    fn what_is_the_same_is_not_compiled_again() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let files =
            [("same.py", "x = 1\n"), ("pkg/same.py", "x = 2\n"), ("other.py", "x = 3\n"), ("gone.py", "")];
        write(&old, &files);
        write(&old, &[("real/linked.py", "x = 4\n")]);
        symlink("real", old.join("link")).unwrap();
        // As long ago as a release before.
        for (name, _) in files {
            File::open(old.join(name)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        assert_eq!(compile(&old), (true, Vec::new()));

        write(&new, &[("same.py", "x = 1\n"), ("pkg/same.py", "x = 2\n"), ("other.py", "x = 9\n")]);
        write(&new, &[("link/linked.py", "x = 4\n")]);
        let python = Command::new("/usr/bin/python3").arg("--version").output().unwrap().stdout;
        let version = String::from_utf8(python).unwrap().trim().trim_start_matches("Python ").to_owned();
        let tree = |path: &Path| TreeHandle::open(path).unwrap();
        reuse_compiled(&version, &tree(&old), &tree(&new)).unwrap();
        let names = |folder: &str| fs::read_dir(new.join(folder).join(CACHE)).map_or(0, Iterator::count);
        assert_eq!(["", "pkg", "link"].map(names), [1, 1, 0]);
        assert_eq!(compile(&new), (true, Vec::new()));
        assert_eq!(["", "pkg", "link"].map(names), [2, 1, 1]);
        // Python has taken it as it was, and so can the release before and this one share it.
        for folder in ["", "pkg"] {
            let line: String = version.splitn(3, '.').take(2).collect();
            let file = Path::new(folder).join(CACHE).join(format!("same.cpython-{line}.pyc"));
            assert_eq!(fs::read(old.join(&file)).unwrap(), fs::read(new.join(&file)).unwrap());
        }
        reuse_compiled("3.1.1", &tree(&old), &tree(&new)).unwrap();
        assert_eq!(names(""), 2);
    }
}
