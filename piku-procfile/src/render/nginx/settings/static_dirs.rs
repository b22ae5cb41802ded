//! The directories whose files nginx serves, and the file for paths that none of them has.

use std::path::Path;

use piku_layout::jail::KEPT_IN_DATA;
use piku_report::diagnostic::{Diagnostic, quote_word};

use crate::procfile::static_entry::StaticEntry;
use crate::procfile::{self, ProcessKind, Procfile};
use crate::render::app_values::ValuesReader;
use crate::render::nginx::paths::{AppPath, MAX_PREFIXES, PathPrefix, to_nginx_path};
use crate::render::nginx::{RenderSettings, StaticDir};
use crate::writable_paths::{self, parse_writable_paths};

const STATIC_PATHS: &str = "NGINX_STATIC_PATHS";
const CATCH_ALL: &str = "NGINX_CATCH_ALL";
const PATH_HINT: Option<&str> = Some("write PREFIX:DIRECTORY, such as '/static:public'");

/// Returns the directories of `static:` in the Procfile and of `NGINX_STATIC_PATHS`.
pub(super) fn static_dirs(
    settings: &RenderSettings,
    procfile: &Procfile,
    read: &mut ValuesReader<'_>,
) -> anyhow::Result<Vec<StaticDir>> {
    let root = to_nginx_path(settings.root.as_deref(), "--root")?;
    let data = to_nginx_path(settings.data.as_deref(), "--data")?;
    // A bad value is reported where it is used.
    let kept = parse_writable_paths(read.text(writable_paths::VARIABLE)).unwrap_or_default();
    let is_kept = |path: &Path| kept.iter().any(|kept| path.starts_with(kept.path()));
    let parse_dir = |prefix: &str, text: &str| -> Result<StaticDir, String> {
        let prefix: PathPrefix = prefix.parse()?;
        let (top, option, below) = match text.parse()? {
            AppPath::Tree(below) if is_kept(&below) => (&data, "--data", Path::new(KEPT_IN_DATA).join(below)),
            AppPath::Tree(below) => (&root, "--root", below),
            AppPath::Data(below) => (&data, "--data", below),
        };
        let Some(top) = top else { return Err(format!("{} needs {option}", quote_word(text))) };
        let is_in_tree = option == "--root";
        let is_app_tree = below.as_os_str().is_empty() && is_in_tree;
        // Nothing is lost: both parts are UTF-8.
        let path = Path::new(top).join(&below).to_string_lossy().trim_end_matches('/').to_owned();
        Ok(StaticDir { prefix, path, top: top.clone(), is_in_tree, is_app_tree })
    };
    let mut dirs: Vec<StaticDir> = Vec::new();
    if let Some(entry) = procfile.entries.iter().find(|entry| entry.kind == ProcessKind::Static) {
        let given = StaticEntry::split(&entry.command);
        match parse_dir(given.prefix, given.directory) {
            Ok(dir) => dirs.push(dir),
            Err(message) => {
                read.add_diagnostic(Diagnostic::error(
                    procfile::FILE,
                    entry.line,
                    format!("static: {message}"),
                ));
            }
        }
    }
    let items = read.text(STATIC_PATHS).unwrap_or_default().split([',', '\n']).map(str::trim);
    for (at, item) in items.filter(|item| !item.is_empty()).enumerate() {
        if at == MAX_PREFIXES {
            read.add_error(STATIC_PATHS, format!("more than {MAX_PREFIXES} items"), None);
            break;
        }
        let Some((prefix, text)) = item.split_once(':') else {
            read.add_error(STATIC_PATHS, format!("{} has no ':'", quote_word(item)), PATH_HINT);
            continue;
        };
        match parse_dir(prefix.trim(), text.trim()) {
            Ok(dir) if dirs.contains(&dir) => {}
            Ok(dir) if dirs.iter().any(|other| other.prefix == dir.prefix) => {
                let what = format!("{} has two directories", quote_word(&dir.prefix.with_slash()));
                read.add_error(STATIC_PATHS, what, None);
            }
            Ok(dir) => dirs.push(dir),
            Err(message) => read.add_error(STATIC_PATHS, message, PATH_HINT),
        }
    }
    Ok(dirs)
}

/// Returns the path of the catch-all file, relative to its directory.
pub(super) fn catch_all_file(
    read: &mut ValuesReader<'_>,
    dirs: &[StaticDir],
    app_answers: bool,
) -> Option<String> {
    let text = read.text(CATCH_ALL)?;
    let file = match text.trim_start_matches('/').parse() {
        Ok(AppPath::Tree(path)) if !path.as_os_str().is_empty() => path.to_string_lossy().into_owned(),
        Ok(_) => {
            read.add_error(CATCH_ALL, "no file is named", Some("name one, such as 'index.html'"));
            return None;
        }
        Err(message) => {
            read.add_error(CATCH_ALL, message, None);
            return None;
        }
    };
    if dirs.is_empty() {
        let hint = "name its directory with 'static:' in the Procfile or with NGINX_STATIC_PATHS";
        read.add_error(CATCH_ALL, "the app serves no directory", Some(hint));
    } else if app_answers {
        let hint = "serve the files at another prefix, or remove NGINX_CATCH_ALL";
        let what = "the app's web process handles requests at '/' that match no file, and would get none";
        read.add_error(CATCH_ALL, what, Some(hint));
    }
    Some(file)
}
