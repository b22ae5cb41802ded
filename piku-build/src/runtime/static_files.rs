//! The runtime `static`: files that nginx serves, without a process. Either a `static:` line in the
//! Procfile, a `Staticfile`, or a page at the top, in `public/`, or where front ends are built.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use piku_files::source_index::IndexFolder;
use piku_files::{FolderEntry, TreeError, TreeHandle, WalkStep};
use piku_procfile::procfile::ProcessKind;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::{AppSource, decode};
use crate::errors::{self, files as told};
use crate::plan::build_plan::BuildPlan;
use crate::tree::root_view::RootView;
use piku_layout::jail::PATH;

/// The page that makes a folder servable.
const PAGE: &str = "index.html";
/// File of Cloud Foundry that marks a site, and may name its folder: `root: public`.
const STATICFILE: &str = "Staticfile";
/// The page of a PHP app, which the web server would show as text.
const PHP_PAGE: &str = "index.php";
/// Folders that are searched for a page, the commonest first.
const FOLDERS: [&str; 6] = ["public", "dist", "build", "_site", "out", "www"];
/// Folder to which the files at the top are moved, so that settings beside them are not served.
const SITE: &str = "site";
/// The only name with a leading dot that is served.
const SERVED: &str = ".well-known";

pub(super) struct StaticRuntime;

impl Runtime for StaticRuntime {
    fn name(&self) -> &'static str {
        "static"
    }

    fn writes_tree(&self) -> bool {
        false
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        if let Some(procfile) = &source.procfile {
            let only =
                |kind| matches!(kind, ProcessKind::Static | ProcessKind::Release | ProcessKind::Preflight);
            let is_static =
                procfile.get("static").is_some() && procfile.entries.iter().all(|entry| only(entry.kind));
            return Ok(if is_static {
                DetectResult::Match("the Procfile has a line 'static' and nothing that runs".to_owned())
            } else {
                DetectResult::NoMatch(format!(
                    "a Procfile with a line 'static' alone, or {PAGE} without a Procfile"
                ))
            });
        }
        if source.has_entry(PHP_PAGE) {
            return Ok(DetectResult::Unsupported(errors::detection::php(PHP_PAGE)));
        }
        if source.has_entry(STATICFILE) {
            return Ok(DetectResult::Match(format!("there is a {STATICFILE}")));
        }
        if let Some(name) =
            ["index.htm", "Index.html", "INDEX.HTML", "index.HTML"].iter().find(|name| source.has_entry(name))
        {
            return Ok(DetectResult::Unsupported(told::misspelt(name)));
        }
        let folder = served_folder(source)?;
        Ok(match (folder, find_source_script(source)?) {
            (Some(folder), None) => DetectResult::Match(format!("there is {}", page_path(folder))),
            (Some(folder), Some(_)) if folder != SITE => {
                DetectResult::Match(format!("there is {}", page_path(folder)))
            }
            (_, Some(part)) => DetectResult::Unsupported(told::is_source(&part)),
            (None, None) => DetectResult::NoMatch(format!(
                "{PAGE} at the top or in {}, or a {STATICFILE}, is missing",
                FOLDERS.join(", ")
            )),
        })
    }

    fn plan(&self, source: &AppSource, _site: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let (processes, from) = if let Some(processes) = super::procfile_processes(source) {
            (processes, None)
        } else if source.has_entry(STATICFILE) {
            let root = read_root(source)?;
            let folder = match &root {
                Some(root) if !matches!(root.as_str(), "" | ".") => root.as_str(),
                Some(_) => SITE,
                None => served_folder(source)?.unwrap_or(SITE),
            };
            (IndexMap::from([("static".parse()?, folder.to_owned())]), Some(STATICFILE.to_owned()))
        } else {
            let folder = served_folder(source)?.ok_or_else(told::no_page)?;
            (IndexMap::from([("static".parse()?, folder.to_owned())]), Some(page_path(folder)))
        };
        let folder =
            processes.get("static").filter(|folder| *folder != SITE || source.has_entry(&format!("{SITE}/")));
        let scripts = source.names_ending(&["php"]).map(|name| told::shown_source(name));
        let warnings = scripts.chain(warn_of_links(source, folder.map_or("", String::as_str))).collect();
        Ok(BuildPlan {
            runtime: self.name(),
            processes,
            processes_from: from,
            env: BTreeMap::from([
                ("PATH".to_owned(), PATH.to_owned()),
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ]),
            warnings,
            ..BuildPlan::default()
        })
    }

    /// Moves the served files away from the top, where the app's settings are.
    fn complete_plan(&self, plan: &mut BuildPlan, view: &RootView) -> anyhow::Result<()> {
        let tree = &view.tree;
        let at_top = plan.processes.get("static").is_some_and(|folder| folder == SITE)
            && match plan.processes_from.as_deref() {
                Some(PAGE) => tree.is_file(PAGE),
                from => from == Some(STATICFILE),
            };
        if !at_top {
            return Ok(());
        }
        let aside = format!(".{SITE}");
        tree.remove_all(&aside)?;
        let entries = tree.read_dir("")?;
        tree.create_dir(&aside)?;
        let folder = tree.subtree(&aside)?;
        for FolderEntry { name, .. } in entries {
            let text = name.to_string_lossy();
            if (!text.starts_with('.') || text == SERVED) && text != "ENV" && text != STATICFILE {
                tree.rename(&name, &folder, &name)?;
            }
        }
        Ok(tree.rename(&aside, tree, SITE)?)
    }
}

/// Returns a warning if there are symlinks in a folder whose files are served.
fn warn_of_links(source: &AppSource, folder: &str) -> Option<String> {
    let served = source
        .tree
        .subtree(folder.trim_start_matches("/app").trim_start_matches("./").trim_matches('/'))
        .ok()?;
    let mut links = Vec::new();
    let walked = served.walk(|entry| -> Result<WalkStep, TreeError> {
        let is_hidden = entry.name().to_string_lossy().starts_with('.');
        if entry.stat().is_symlink() && !is_hidden {
            links.push(entry.path().to_string_lossy().into_owned());
        }
        Ok(if is_hidden { WalkStep::Over } else { WalkStep::Into })
    });
    links.sort();
    // What cannot be read is reported when the tree is built.
    walked.ok().and(links.first()).map(|first| told::unserved_links(first, links.len() - 1))
}

/// Moves the served files of an older release back to the top, before its tree becomes that of the source with this index.
/// Entries that cannot be moved stay.
pub(crate) fn move_back(tree: &TreeHandle, index: &IndexFolder) -> Result<(), TreeError> {
    // An app of another kind may have a folder of this name.
    if index.find(Path::new(SITE)).is_some() {
        return Ok(());
    }
    let folder = tree.subtree(SITE)?;
    for FolderEntry { name, .. } in folder.read_dir("")? {
        // The app may have an entry of that name at its top.
        let _ = folder.rename(&name, tree, &name);
    }
    Ok(())
}

/// Returns the folder that the Staticfile names; `None` if it names none.
fn read_root(source: &AppSource) -> anyhow::Result<Option<String>> {
    let text = decode(&source.read_bytes(STATICFILE)?.unwrap_or_default());
    let line = text.lines().find_map(|line| line.trim().strip_prefix("root:"));
    let value = line.map(|value| value.split(" #").next().unwrap_or_default().trim());
    let value = value.map(|value| value.trim_matches(['"', '\'']).trim_matches('/'));
    Ok(value.map(|value| value.trim_start_matches("./").to_owned()))
}

fn served_folder(source: &AppSource) -> anyhow::Result<Option<&'static str>> {
    let is_there = |folder: &str| -> anyhow::Result<bool> {
        Ok(source.find(Path::new(folder).join(PAGE))?.is_some_and(|page| page.is_file()))
    };
    if source.has_entry(PAGE)
        && (find_source_script(source)?.is_none()
            || !FOLDERS.iter().any(|folder| source.has_entry(&format!("{folder}/"))))
    {
        return Ok(Some(SITE));
    }
    for folder in FOLDERS {
        if source.has_entry(&format!("{folder}/")) && is_there(folder)? {
            return Ok(Some(folder));
        }
    }
    Ok(source.has_entry(PAGE).then_some(SITE))
}

fn page_path(folder: &str) -> String {
    if folder == SITE { PAGE.to_owned() } else { format!("{folder}/{PAGE}") }
}

/// Returns a script of the page at the top that no browser runs, which makes it the source of a front end.
fn find_source_script(source: &AppSource) -> anyhow::Result<Option<String>> {
    if !source.has_entry(PAGE) {
        return Ok(None);
    }
    let text = decode(&source.read_bytes(PAGE)?.unwrap_or_default());
    let parts = text.split("src=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        rest[1..].split(quote).next()
    });
    let compiled = [".ts", ".tsx", ".jsx", ".vue", ".svelte"];
    let is_source = |part: &&str| compiled.iter().any(|end| part.ends_with(end));
    Ok(parts.into_iter().find(is_source).map(str::to_owned))
}
