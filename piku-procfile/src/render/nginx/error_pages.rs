//! Pages that nginx itself shows: for an app that is stopped, in maintenance or does not answer, and for host
//! names that no app has. The operator and the app can replace them.

use std::path::{Component, Path, PathBuf};

use piku_files::TreeHandle;

use super::config_writer::NginxConfigFile;
use super::paths::to_nginx_path;
use super::{RenderSettings, StaticDir};
use crate::render::app_values::ValuesReader;

/// URL under which nginx redirects to the page internally; clients get 404 for it.
const PAGE_URL: &str = "/.piku-page";
/// The same for the page of a missing file.
const MISSING_URL: &str = "/.piku-missing";

/// In seconds.
const RETRY_AFTER: &str = "120";

/// Directory of the app's tree with its own pages, as Kamal's `error_pages_path`.
pub(super) const ERROR_PAGES: &str = "NGINX_ERROR_PAGES";
/// URLs of pages for maintenance and for errors, as Heroku has them.
pub(super) const PAGE_URLS: [&str; 2] = ["MAINTENANCE_PAGE_URL", "ERROR_PAGE_URL"];

macro_rules! page {
    ($title:literal, $text:literal) => {
        concat!(
            "<!doctype html><html lang=en><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width,initial-scale=1'><title>",
            $title,
            "</title><style>:root{color-scheme:light dark}body{font:1.1rem/1.6 system-ui,sans-serif;",
            "margin:20vh auto;max-width:34rem;padding:0 1.5rem}h1{font-size:1.7rem;line-height:1.25}",
            "</style><main><h1>",
            $title,
            "</h1><p>",
            $text,
            "</p></main></html>\n"
        )
    };
}

const MAINTENANCE: &str =
    page!("Be right back", "This site is down for maintenance. Please try again in a moment.");
const STOPPED: &str = page!("This site is stopped", "It was stopped on its server. Please come back later.");
const UNAVAILABLE: &str =
    page!("This site does not answer", "Something went wrong on the server. Please try again in a moment.");
const MISSING: &str = page!("Page not found", "This site has no page at this address.");
const UNKNOWN_HOST: &str = page!(
    "No app has this host name.",
    "This is a server of piku. Check the spelling of the address; the names of an app are listed by \
     <code>piku domains APP</code>."
);

/// Reason for which no request reaches the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteClosure {
    /// The operator has asked for the maintenance page.
    Maintenance,
    /// The operator has stopped the app.
    Stopped,
    /// No instance can answer, for now or because none is wanted.
    Unavailable,
}

/// The operator's pages, as absolute paths of HTML files; piku's own where one is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorPages {
    /// Shown during maintenance.
    pub maintenance: Option<PathBuf>,
    /// Shown by a stopped app.
    pub stopped: Option<PathBuf>,
    /// Shown if an app does not answer.
    pub unavailable: Option<PathBuf>,
    /// Shown for files that a site does not have.
    pub missing: Option<PathBuf>,
    /// Shown for host names that no app has.
    pub unknown_host: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PageContent {
    Text(String),
    /// A file, and the directory below which nginx follows no symlinks.
    File {
        path: String,
        top: Option<String>,
    },
}

/// The page of a site while it is closed, the one for errors of the connection to the app, and the one for missing
/// files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ErrorPages {
    closed: PageContent,
    unavailable: PageContent,
    missing: PageContent,
    /// The files at `/` have a `404.html`, or may have one.
    site_has_missing: bool,
}

impl ErrorPages {
    /// Chooses the app's own page before the operator's and piku's.
    pub(super) fn read(
        settings: &RenderSettings,
        dirs: &[StaticDir],
        read: &mut ValuesReader<'_>,
    ) -> anyhow::Result<Self> {
        let folder = app_folder(settings, read);
        let own = |files: &[&str]| {
            let (path, top) = folder.as_ref()?;
            let tree = TreeHandle::open_following(top).ok()?;
            let is_file = |file: &PathBuf| tree.symlink_metadata(file).is_ok_and(|stat| stat.is_file());
            let file = files.iter().map(|file| path.join(file)).find(is_file)?;
            Some((top.join(file), top.clone()))
        };
        let [maintenance_url, error_url] = PAGE_URLS.map(|name| framed_url(name, read));
        let operator = &settings.pages;
        let unavailable = choose(
            own(&["502.html", "503.html", "500.html"]),
            error_url.clone(),
            operator.unavailable.as_ref(),
            UNAVAILABLE,
        )?;
        let closed = match settings.closure {
            None | Some(SiteClosure::Unavailable) => unavailable.clone(),
            Some(SiteClosure::Stopped) => {
                choose(own(&["stopped.html", "503.html"]), error_url, operator.stopped.as_ref(), STOPPED)?
            }
            Some(SiteClosure::Maintenance) => {
                let own = own(&["maintenance.html", "503.html"]);
                choose(own, maintenance_url, operator.maintenance.as_ref(), MAINTENANCE)?
            }
        };
        let missing = choose(own(&["404.html"]), None, operator.missing.as_ref(), MISSING)?;
        let root = dirs.iter().find(|dir| dir.prefix.is_root());
        Ok(Self { closed, unavailable, missing, site_has_missing: root.is_some_and(may_have_missing_page) })
    }

    /// Adds a server's answer of a site that is closed: 503 and the page.
    pub(super) fn add_closed(&self, to: &mut NginxConfigFile<'_>) {
        to.add(&["error_page", "503", PAGE_URL]);
        to.add_block(&["location", "/"], |to| to.add(&["return", "503"]));
        add_page(PAGE_URL, &self.closed, "503", to);
    }

    /// Adds the page for an app that does not answer.
    pub(super) fn add_unavailable(&self, to: &mut NginxConfigFile<'_>) {
        to.add(&["error_page", "502", "503", "504", PAGE_URL]);
        add_page(PAGE_URL, &self.unavailable, "502", to);
    }

    /// Adds the page for missing files: `404.html` of a site of files alone, or the one that stands in for it.
    pub(super) fn add_missing(&self, is_site: bool, to: &mut NginxConfigFile<'_>) {
        if is_site && self.site_has_missing {
            return to.add(&["error_page", "404", "/404.html"]);
        }
        to.add(&["error_page", "404", MISSING_URL]);
        add_page(MISSING_URL, &self.missing, "404", to);
    }
}

/// Adds the answer for host names that no app has.
pub(super) fn add_unknown_host(page: Option<&str>, to: &mut NginxConfigFile<'_>) {
    let content = match page {
        Some(path) => PageContent::File { path: path.to_owned(), top: None },
        None => PageContent::Text(UNKNOWN_HOST.to_owned()),
    };
    to.add(&["error_page", "404", PAGE_URL]);
    to.add_block(&["location", "/"], |to| to.add(&["return", "404"]));
    add_page(PAGE_URL, &content, "404", to);
}

/// Adds the location of the page. The response keeps the code of the error that led there.
fn add_page(url: &str, page: &PageContent, code: &str, to: &mut NginxConfigFile<'_>) {
    to.add_block(&["location", "=", url], |to| {
        to.add(&["internal"]);
        to.add(&["auth_basic", "off"]);
        to.add(&["default_type", "text/html"]);
        // With a header of its own, a location has none of the server's, such as those of a site.
        if url != MISSING_URL {
            to.add(&["add_header", "Cache-Control", "no-store", "always"]);
        }
        if code == "503" {
            to.add(&["add_header", "Retry-After", RETRY_AFTER, "always"]);
        }
        match page {
            PageContent::Text(text) => to.add(&["return", code, text]),
            PageContent::File { path, top } => {
                if let Some(top) = top {
                    to.add(&["disable_symlinks", "on", &format!("from={top}")]);
                }
                to.add(&["alias", path]);
            }
        }
    });
}

/// Returns true if the directory has a `404.html`, or an app may write one there later.
fn may_have_missing_page(dir: &StaticDir) -> bool {
    let Ok(below) = Path::new(&dir.path).strip_prefix(&dir.top) else { return true };
    let Ok(tree) = TreeHandle::open_following(Path::new(&dir.top)) else { return true };
    !dir.is_in_tree || tree.symlink_metadata(below.join("404.html")).is_ok_and(|stat| stat.is_file())
}

fn choose(
    own: Option<(PathBuf, PathBuf)>,
    framed: Option<String>,
    operator: Option<&PathBuf>,
    built_in: &str,
) -> anyhow::Result<PageContent> {
    if let Some((path, top)) = own {
        let path = to_nginx_path(Some(&path), ERROR_PAGES)?.unwrap_or_default();
        return Ok(PageContent::File { path, top: to_nginx_path(Some(&top), ERROR_PAGES)? });
    }
    if let Some(text) = framed {
        return Ok(PageContent::Text(text));
    }
    Ok(match to_nginx_path(operator.map(PathBuf::as_path), "the page")? {
        Some(path) => PageContent::File { path, top: None },
        None => PageContent::Text(built_in.to_owned()),
    })
}

/// Returns the directory of the app's own pages, below the app's tree, and the top of that tree.
fn app_folder(settings: &RenderSettings, read: &mut ValuesReader<'_>) -> Option<(PathBuf, PathBuf)> {
    let (Some(given), Some(root)) = (read.text(ERROR_PAGES), &settings.root) else { return None };
    let path = Path::new(given);
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        let what = format!("'{given}' is not a directory in the app's tree");
        read.add_error(ERROR_PAGES, what, Some("write a relative path, such as 'public'"));
        return None;
    }
    Some((path.to_owned(), root.clone()))
}

/// Returns a page that shows the page at the URL of the setting.
fn framed_url(name: &str, read: &mut ValuesReader<'_>) -> Option<String> {
    let url = read.text(name)?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#@!&()*+,;=%".contains(&byte);
    let is_url = url.starts_with("https://") || url.starts_with("http://");
    // nginx reads a page of less than 4096 bytes.
    let escaped = url.replace('&', "&amp;");
    if !is_url || escaped.len() > 2000 || !url.bytes().all(good) {
        read.add_error(name, "it is not a URL", Some("write one such as 'https://example.org/down.html'"));
        return None;
    }
    Some(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Unavailable</title><style>html,body,iframe\
         {{border:0;height:100%;margin:0;width:100%}}</style><iframe src=\"{escaped}\" title=Unavailable></iframe>\
         </html>\n"
    ))
}
