//! Checks of the app's Python files. A file that a process type starts, or that such a file imports, must
//! compile; any other broken file is a warning, because templates and tests of parsers are broken on
//! purpose.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use piku_files::TreeHandle;
use piku_procfile::procfile::ProcessKind;
use piku_report::progress;

use super::bytecode;
use crate::app::command_check::{find_script, is_python, parse_entries};
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::step::build_step::StepOutcome;
use crate::tree::found::FilePlace;
use crate::tree::root_view::RootView;

/// The largest number of broken files that are listed.
const SHOWN: usize = 5;
/// The length of the part of a file that is searched for imports, in bytes.
const MOST: u64 = 1024 * 1024;

/// Rejects, or warns of, files that did not compile.
pub(super) fn check_step(ended: &StepOutcome, plan: &BuildPlan, view: &RootView) -> anyhow::Result<()> {
    if ended.succeeded() {
        return Ok(());
    }
    let broken = bytecode::parse_output(&ended.lines);
    if broken.is_empty() {
        return Err(super::failures::explain_pip(
            bytecode::NAME,
            ended,
            &view.tree,
            crate::runtime::python::dependency_files::requirements::FILE,
        )
        .into());
    }
    for (process, start) in started_files(plan, &view.tree) {
        for (file, from) in reachable_files(&view.tree, &start) {
            let Some(found) = broken.iter().find(|broken| broken.file == file) else { continue };
            let how = match from {
                Some(from) => format!("{} imports it, with which '{process}' starts", from.display()),
                None => format!("'{process}' starts with it"),
            };
            return Err(errors::python::syntax_error(
                &file.to_string_lossy(),
                found.line,
                &found.message,
                &how,
            )
            .into());
        }
    }
    for file in broken.iter().take(SHOWN) {
        progress::warning(&errors::python::syntax_warning(
            &file.file.to_string_lossy(),
            file.line,
            &file.message,
        ));
    }
    if broken.len() > SHOWN {
        progress::warning(&format!("and {} more files that do not compile", broken.len() - SHOWN));
    }
    Ok(())
}

/// Checks that the modules which are served exist.
pub(super) fn check_modules(plan: &BuildPlan, view: &RootView) -> anyhow::Result<()> {
    for entry in parse_entries(&plan.processes) {
        let Some(words) = crate::app::command_check::split_simple(&entry.command) else { continue };
        let elsewhere = ["--chdir", "--pythonpath", "--app-dir", "--config", "-c"];
        if words.iter().any(|word| elsewhere.iter().any(|option| word.starts_with(option))) {
            continue;
        }
        let Some(module) = words[1..].iter().find(|word| is_callable(word) && word.contains(':')) else {
            continue;
        };
        let module = module.split(':').next().unwrap_or_default();
        let top = module.split('.').next().unwrap_or_default();
        if module_path(&view.tree, module).is_some() || is_installed(view, top) || view.tree.is_dir(top) {
            continue;
        }
        if entry.kind == ProcessKind::Wsgi {
            return Err(errors::python::missing_module(entry.name.as_str(), module).into());
        }
        progress::warning(&format!("{}: module '{module}' not found", entry.name));
    }
    Ok(())
}

/// Returns whether a layer or Python itself has a module of this name.
fn is_installed(view: &RootView, top: &str) -> bool {
    let libraries = view.mounts().map(|(_, place)| place.join("lib"));
    libraries.chain([FilePlace::Host("/usr/lib".into())]).any(|library| {
        library.list_names().iter().filter(|name| name.starts_with("python3")).any(|name| {
            let python = library.join(name);
            ["", "site-packages"].iter().any(|folder| has_module(&python.join(folder), top))
                || is_in_place(view, &python.join("site-packages"), top)
        })
    })
}

fn has_module(folder: &FilePlace, top: &str) -> bool {
    folder.join(top).is_dir() || folder.join(format!("{top}.py")).is_file()
}

/// Returns whether an editable package of the app has the module: in a folder that a `.pth` file names, or
/// in the text of a finder, which only Python can evaluate.
fn is_in_place(view: &RootView, packages: &FilePlace, top: &str) -> bool {
    packages.list_names().iter().any(|name| {
        let file = packages.join(name);
        let is_path = Path::new(name).extension().is_some_and(|extension| extension == "pth");
        if name.starts_with("__editable__") && !is_path {
            return String::from_utf8_lossy(&file.read_start(MOST)).contains(top);
        }
        let text = if is_path { file.read_start(MOST) } else { Vec::new() };
        let text = String::from_utf8_lossy(&text);
        let folders = text.lines().filter(|line| line.starts_with('/'));
        folders.filter_map(|folder| view.find(Path::new(folder))).any(|found| has_module(&found.place, top))
    })
}

/// Returns whether a word is `module`, `package.module:callable` or `module:factory()`.
pub(super) fn is_callable(text: &str) -> bool {
    let (module, callable) = text.split_once(':').unwrap_or((text, "application"));
    let callable = callable.strip_suffix("()").unwrap_or(callable);
    [module, callable].iter().all(|dotted| dotted.split('.').all(is_identifier))
}

fn is_identifier(word: &str) -> bool {
    let inner = |c: char| c == '_' || c.is_alphanumeric();
    word.chars().all(inner) && word.starts_with(|c: char| c == '_' || c.is_alphabetic())
}

/// Returns the files that the process types start, each with its process type.
fn started_files(plan: &BuildPlan, tree: &TreeHandle) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in parse_entries(&plan.processes) {
        let Ok(words) = shell_words::split(&entry.command) else { continue };
        let program = words.first().map(String::as_str).unwrap_or_default();
        let files = [find_script(&words), Some(program)].into_iter().flatten().filter_map(|file| {
            let file = file.strip_prefix("./").unwrap_or(file);
            super::is_python_file(file).then(|| PathBuf::from(file))
        });
        let mut modules: Vec<&str> = words
            .iter()
            .filter(|word| word.contains(':') && is_callable(word))
            .map(|word| word.split(':').next().unwrap_or_default())
            .collect();
        for pair in words.windows(2) {
            let of_python = pair[0] == "-m"
                && is_python(Path::new(program).file_name().unwrap_or_default().to_str().unwrap_or_default());
            if of_python || ["-A", "--app"].contains(&pair[0].as_str()) {
                modules.push(pair[1].split(':').next().unwrap_or_default());
            }
        }
        if program == super::default_command::WSGI {
            modules.extend(words.last().filter(|word| is_callable(word)).map(String::as_str));
        }
        let files = files.chain(modules.into_iter().filter_map(|module| module_path(tree, module)));
        found.extend(files.map(|file| (entry.name.to_string(), file)));
    }
    found
}

fn module_path(tree: &TreeHandle, module: &str) -> Option<PathBuf> {
    if module.is_empty() || !module.split('.').all(is_identifier) {
        return None;
    }
    let path = module.replace('.', "/");
    ["", "src/"]
        .into_iter()
        .flat_map(|root| {
            ["{}.py", "{}/__init__.py", "{}/__main__.py"]
                .map(|form| format!("{root}{}", form.replace("{}", &path)))
        })
        .map(PathBuf::from)
        .find(|file| tree.is_file(file))
}

/// Returns `start` and all files of the app that it imports, each with the file that imports it. Only
/// unindented imports count: one inside a `try` or a function may fail on purpose.
fn reachable_files(tree: &TreeHandle, start: &Path) -> Vec<(PathBuf, Option<PathBuf>)> {
    let mut all = vec![(start.to_owned(), None)];
    let mut seen = BTreeSet::from([start.to_owned()]);
    let mut at = 0;
    while at < all.len() {
        let file = all[at].0.clone();
        at += 1;
        let text = FilePlace::Tree(tree.clone(), file.clone()).read_start(MOST);
        for module in String::from_utf8_lossy(&text).lines().flat_map(|line| parse_imports(line, &file)) {
            // `import a.b` runs `a` too.
            let parents = module.match_indices('.').map(|(end, _)| &module[..end]);
            for name in parents.chain([module.as_str()]) {
                if let Some(next) = module_path(tree, name).filter(|next| seen.insert(next.clone())) {
                    all.push((next, Some(file.clone())));
                }
            }
        }
    }
    all
}

/// Returns the full names of the modules that a line imports.
fn parse_imports(line: &str, file: &Path) -> Vec<String> {
    let line = line.split('#').next().unwrap_or_default();
    let names = |list: &str| -> Vec<String> {
        let list = list.trim_matches(|c: char| c.is_whitespace() || c == '(' || c == ')' || c == '\\');
        list.split(',').filter_map(|name| name.split_whitespace().next().map(str::to_owned)).collect()
    };
    if let Some(list) = line.strip_prefix("import ") {
        return names(list);
    }
    let Some((from, list)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import")) else {
        return Vec::new();
    };
    let from = from.trim();
    let rest = from.trim_start_matches('.');
    let up = from.len() - rest.len();
    let mut base: Vec<String> = Vec::new();
    if up > 0 {
        let folders = file.ancestors().nth(up).unwrap_or(Path::new(""));
        base.extend(folders.components().map(|part| part.as_os_str().to_string_lossy().into_owned()));
    }
    base.extend(rest.split('.').filter(|part| !part.is_empty()).map(str::to_owned));
    let base = base.join(".");
    let join = |name: String| if base.is_empty() { name } else { format!("{base}.{name}") };
    let mut all: Vec<String> = names(list).into_iter().map(join).collect();
    if !base.is_empty() {
        all.insert(0, base.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn follows_imports_through_the_app() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "app.py",
                "import os, views as v\nfrom pkg import (models,\n  x)\ntry:\n    import optional\nexcept: pass\n",
            ),
            ("views.py", "from pkg.deep.leaf import f  # c\n"),
            ("optional.py", ""),
            ("pkg/__init__.py", ""),
            ("pkg/models.py", "from . import sibling\nfrom .deep import other\n"),
            ("pkg/sibling.py", "import app\n"),
            ("pkg/deep/__init__.py", ""),
            ("pkg/deep/leaf.py", ""),
            ("pkg/deep/other.py", "from ..up import x\n"),
            ("pkg/up.py", ""),
            ("unused.py", ""),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut found: Vec<_> = reachable_files(&TreeHandle::open(dir.path()).unwrap(), Path::new("app.py"))
            .into_iter()
            .map(|(file, _)| file.display().to_string())
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                "app.py",
                "pkg/__init__.py",
                "pkg/deep/__init__.py",
                "pkg/deep/leaf.py",
                "pkg/deep/other.py",
                "pkg/models.py",
                "pkg/sibling.py",
                "pkg/up.py",
                "views.py"
            ]
        );
    }

    #[test]
    fn callables() {
        for good in ["app:app", "pkg.wsgi:application", "wsgi", "app:create_app()", "a_b.c"] {
            assert!(is_callable(good), "{good}");
        }
        for bad in ["", "app.py", "app:app --workers 2", "app:", ":app", "127.0.0.1:80", "a-b:c"] {
            assert_eq!(is_callable(bad), bad == "app.py", "{bad}");
        }
    }
}
