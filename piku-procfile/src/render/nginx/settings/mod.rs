//! Parses the variables of an app into a [`VirtualHost`].

pub(super) mod basic_auth;
mod cloudflare;
pub(super) mod directives;
pub(super) mod known;
mod listen_sockets;
pub(super) mod path_redirects;
pub(super) mod redirects;
pub(super) mod site_headers;
mod static_dirs;
pub(super) mod trusted_proxies;

use std::path::Path;

use anyhow::anyhow;
use indexmap::IndexSet;
use piku_files::TreeHandle;
use piku_report::diagnostic::{Diagnostic, quote_word};
use piku_report::user_error::UserError;

use super::error_pages::ErrorPages;
use super::include::IncludeFile;
use super::include::syntax::NginxDirective;
use super::paths::{AppPath, MAX_PREFIXES, PathPrefix, to_nginx_path};
use super::proxy_buffers::{self, ProxyBuffers};
use super::streaming::StreamSettings;
use super::{
    CacheSettings, HostName, RenderSettings, SERVER_NAME, SiteLogs, StaticDir, VirtualHost, host_name,
};
use crate::procfile::Procfile;
use crate::read_file;
use crate::render::app_values::{AppValues, ValuesReader};
pub(in crate::render::nginx) use listen_sockets::unique_sockets;

use listen_sockets::{listen_sockets, tls_files};
use path_redirects::RedirectsFile;

const HTTPS_ONLY: &str = "NGINX_HTTPS_ONLY";
const CACHE_PREFIXES: &str = "NGINX_CACHE_PREFIXES";
const INCLUDE_FILE: &str = "NGINX_INCLUDE_FILE";
const ALLOW_GIT: &str = "NGINX_ALLOW_GIT_FOLDERS";
const ACCESS_LOG: &str = "NGINX_ACCESS_LOG";
const CLOUDFLARE: &str = "NGINX_CLOUDFLARE_ACL";

/// nginx's hash tables have space for this number of names.
const MAX_NAMES: usize = 2000;

const TEN_YEARS: u32 = 10 * 31_536_000;

impl VirtualHost {
    /// Parses the variables of an app and reads its include file.
    ///
    /// # Errors
    /// Fails if a setting of the caller is bad, or with a
    /// [`Diagnostics`](piku_report::diagnostic::Diagnostics) that has all errors of the app.
    pub fn read(settings: &RenderSettings, procfile: &Procfile, values: &AppValues) -> anyhow::Result<Self> {
        let mut read = ValuesReader::new(values);
        let names: IndexSet<HostName> =
            read.parse_items(SERVER_NAME, Some(host_name::HINT)).into_iter().collect();
        if read.text(SERVER_NAME).is_none() {
            read.add_error(
                SERVER_NAME,
                "no host name is set, so nginx cannot serve the app",
                Some(host_name::HINT),
            );
        } else if names.len() > MAX_NAMES {
            read.add_error(SERVER_NAME, format!("more than {MAX_NAMES} host names"), None);
        }
        let (sockets, sockets_tls) = listen_sockets(settings, &mut read)?;
        let tls = tls_files(settings, &mut read)?;
        let dirs = static_dirs::static_dirs(settings, procfile, &mut read)?;
        let serves_root = dirs.iter().any(|dir| dir.prefix.is_root());
        let has_web = procfile.entries.iter().any(|entry| entry.kind.has_port());
        let caching = cache_settings(settings, &mut read, &dirs)?;
        let include = include_file(settings, &mut read);
        let app_answers = serves_root && !settings.upstreams.is_empty();
        let mut site_file = |name| read_site_file(name, settings, &dirs, has_web, &mut read);
        let rules = site_file(path_redirects::FILE);
        let rules = rules.map(|(bytes, shown)| RedirectsFile::parse(&bytes, &shown)).unwrap_or_default();
        let headers = site_file(site_headers::FILE);
        let headers = headers.map(|(bytes, shown)| site_headers::parse(&bytes, &shown)).unwrap_or_default();
        rules.warnings.into_iter().chain(headers.1).for_each(|warning| read.add_found_warning(warning));
        let (buffers, most) = include.buffers(proxy_buffers(&mut read)).unwrap_or_else(|(line, message)| {
            read.add_diagnostic(include.error(line, message));
            (ProxyBuffers::default(), 0)
        });
        let connections = settings.connections.map(|connections| limit_connections(connections, most));
        let names: Vec<HostName> = names.into_iter().collect();
        let cloudflare = cloudflare_ranges(settings, &mut read)?;
        known::warn_of_unknown_names(values, &mut read);
        let pages = ErrorPages::read(settings, &dirs, &mut read)?;
        let host = Self {
            app: settings.app.clone(),
            redirects: redirects::parse_redirects(&names, &mut read),
            directives: directives::parse_directives(&mut read, settings.machines.is_some()),
            trusted: trusted_proxies::parse_trusted_proxies(
                &settings.trusted_proxies,
                cloudflare.as_deref(),
                &mut read,
            ),
            hsts: parse_hsts(&mut read),
            keepalive: match settings.machines {
                None => read.parse_number("NGINX_PROXY_KEEPALIVE", 16, 0..=256, "connections"),
                // A request on a kept connection to a machine that is lost gets no answer, and no error.
                Some(_) => 0,
            },
            names,
            sockets,
            sockets_tls: if tls.is_some() { sockets_tls } else { Vec::new() },
            http2: settings.http2,
            tls,
            acme_root: to_nginx_path(settings.acme_root.as_deref(), "--acme-root")?,
            catch_all: static_dirs::catch_all_file(&mut read, &dirs, app_answers).or(rules.catch_all),
            path_redirects: rules.redirects,
            site_headers: headers.0,
            streams: StreamSettings::read(&mut read, &dirs, caching.as_ref()),
            caching,
            cloudflare,
            basic_auth: basic_auth::parse_basic_auth(settings, &mut read)?,
            include,
            buffers,
            connections,
            logs: site_logs(settings, &mut read)?,
            git_reaches_app: git_reaches_app(&mut read, &dirs),
            upstreams: settings.upstreams.clone(),
            static_dirs: dirs,
            is_closed: settings.closure.is_some(),
            pages,
            front: settings.front.clone(),
            machines: settings.machines.clone(),
            shares_settings: settings.shares_settings,
            warnings: Vec::new(),
        };
        host.find_unsafe_locations().into_iter().for_each(|error| read.add_diagnostic(error));
        host.check_passwords(&mut read);
        let warnings = read.finish()?;
        host.check_answers(has_web, serves_root)?;
        Ok(Self { warnings, ..host })
    }

    /// Adds an error if the include file asks for passwords that nothing sets: nginx would let everyone in.
    fn check_passwords(&self, read: &mut ValuesReader<'_>) {
        let asks = |own: &NginxDirective| {
            own.name() == "auth_basic" && own.words.get(1).is_none_or(|text| text != "off")
        };
        if let Some(own) = self.include.find(&asks).filter(|_| self.basic_auth.is_none()) {
            let error = self.include.error(own.line, "'auth_basic' needs names and passwords");
            read.add_diagnostic(error.hint("set NGINX_BASIC_AUTH"));
        }
    }

    /// Fails if nothing would answer a request.
    fn check_answers(&self, has_web: bool, serves_root: bool) -> Result<(), UserError> {
        let needs_app = has_web || !serves_root || self.include.uses_proxy();
        if !needs_app || !self.upstreams.is_empty() || self.is_closed {
            return Ok(());
        }
        // piku itself always names the instances of a web process.
        let (what, hint) = if has_web {
            let what = "the app has a web process, and no address of it is given";
            (what, "add --upstream 127.0.0.1:5000 for each instance, or --maintenance")
        } else if serves_root {
            let what = "the include file passes requests to the app, which has no web process";
            (what, "add a line 'web: …' to the Procfile, or remove them from the include file")
        } else {
            let what = "nothing answers requests for '/': the app has no web process, and no files there";
            (
                what,
                "add a line 'web: …' or 'static: FOLDER' to the Procfile, or '/:FOLDER' to NGINX_STATIC_PATHS",
            )
        };
        Err(UserError::new(what).hint(hint))
    }
}

/// Returns the maximum number of concurrent requests. An app that sets larger buffers, in kilobytes per
/// request, gets fewer requests, so that the memory for its responses stays the same.
fn limit_connections(connections: u32, buffered: u32) -> u32 {
    let usual = u64::from(ProxyBuffers::default().kilobytes());
    let buffered = u64::from(buffered).max(usual);
    u32::try_from(u64::from(connections) * usual / buffered).unwrap_or(connections).max(1)
}

/// Reads the file `name` of the settings of a site of files alone, and its path as messages show it.
fn read_site_file(
    name: &str,
    settings: &RenderSettings,
    dirs: &[StaticDir],
    has_web: bool,
    read: &mut ValuesReader<'_>,
) -> Option<(Vec<u8>, String)> {
    let root = settings.root.as_ref()?;
    let dir = dirs.iter().find(|dir| dir.prefix.is_root())?;
    // A file in the data directory could change without a deploy.
    let below = Path::new(&dir.path).strip_prefix(&dir.top).ok().filter(|_| !has_web && dir.is_in_tree)?;
    if TreeHandle::open_following(root).is_err_and(|err| err.is_missing()) {
        return None;
    }
    let path = below.join(name);
    let shown = path.to_string_lossy().into_owned();
    let message = match read_file::read_tree_file(root, &path) {
        Ok(Some(bytes)) if bytes.len() > 256 << 10 => "the file is longer than 256 KiB".to_owned(),
        Ok(bytes) => return bytes.map(|bytes| (bytes, shown)),
        Err(err) => format!("{err:#}"),
    };
    read.add_diagnostic(Diagnostic::error(&shown, 0, message));
    None
}

/// Returns the buffers that the variables set.
fn proxy_buffers(read: &mut ValuesReader<'_>) -> ProxyBuffers {
    let mut set = Vec::new();
    for name in proxy_buffers::DIRECTIVES {
        let variable = format!("NGINX_{}", name.to_ascii_uppercase());
        let Some(text) = read.text(&variable) else { continue };
        let words = std::iter::once(name).chain(text.split_whitespace()).map(str::to_owned).collect();
        let one = NginxDirective { line: set.len(), words, block: None };
        set.push((variable, one));
    }
    let (variables, directives): (Vec<String>, Vec<NginxDirective>) = set.into_iter().unzip();
    ProxyBuffers::default().in_block(&directives).unwrap_or_else(|(at, message)| {
        read.add_error(&variables[at], message, None);
        ProxyBuffers::default()
    })
}

/// Returns the value of `Strict-Transport-Security`, if the app wants one.
fn parse_hsts(read: &mut ValuesReader<'_>) -> Option<String> {
    let is_wanted = read.parse_bool("NGINX_HSTS");
    let age = read.parse_number("NGINX_HSTS_MAX_AGE", 15_724_800, 0..=TEN_YEARS, "seconds");
    let mut value = format!("max-age={age}");
    for (variable, word) in
        [("NGINX_HSTS_INCLUDE_SUBDOMAINS", "; includeSubDomains"), ("NGINX_HSTS_PRELOAD", "; preload")]
    {
        if read.parse_bool(variable) {
            value.push_str(word);
        }
    }
    is_wanted.then_some(value)
}

fn cache_settings(
    settings: &RenderSettings,
    read: &mut ValuesReader<'_>,
    dirs: &[StaticDir],
) -> anyhow::Result<Option<CacheSettings>> {
    let mut prefixes: Vec<PathPrefix> = Vec::new();
    for item in read.bounded_items(CACHE_PREFIXES, MAX_PREFIXES) {
        // The Python piku accepts a prefix without a slash.
        let with_slash = format!("/{}", item.strip_prefix('/').unwrap_or(item));
        match with_slash.parse() {
            Ok(prefix) if prefixes.contains(&prefix) => {}
            Ok(prefix) if dirs.iter().any(|dir| dir.prefix == prefix) => {
                let what = format!(
                    "{} is a static directory, which needs no cache",
                    quote_word(&prefix.with_slash())
                );
                read.add_error(CACHE_PREFIXES, what, None);
            }
            Ok(prefix) => prefixes.push(prefix),
            Err(message) => read.add_error(CACHE_PREFIXES, message, None),
        }
    }
    let size = read.parse_number("NGINX_CACHE_SIZE", 1, 1..=1024, "GB");
    let mut time = |name, default| read.parse_number(name, default, 0..=TEN_YEARS, "seconds");
    let content = time("NGINX_CACHE_TIME", 3600);
    let redirects = time("NGINX_CACHE_REDIRECTS", 3600);
    let any = time("NGINX_CACHE_ANY", 3600);
    let control = time("NGINX_CACHE_CONTROL", 3600);
    let expiry = time("NGINX_CACHE_EXPIRY", 86400);
    if prefixes.is_empty() {
        return Ok(None);
    }
    if settings.upstreams.is_empty() && settings.closure.is_none() {
        read.add_warning(CACHE_PREFIXES, "no process serves HTTP, so nothing is cached", None);
        return Ok(None);
    }
    let Some(path) = to_nginx_path(settings.cache.as_deref(), "--cache")? else {
        read.add_error(
            CACHE_PREFIXES,
            "this machine has no cache directory",
            Some("name one with --cache DIR"),
        );
        return Ok(None);
    };
    let path = format!("{}/{}", path.trim_end_matches('/'), settings.app);
    Ok(Some(CacheSettings { prefixes, path, size, content, redirects, any, control, expiry }))
}

/// Returns the paths of the app's logs.
fn site_logs(settings: &RenderSettings, read: &mut ValuesReader<'_>) -> anyhow::Result<Option<SiteLogs>> {
    let is_off = read.text(ACCESS_LOG).is_some() && !read.parse_bool(ACCESS_LOG);
    let Some(dir) = to_nginx_path(settings.logs.as_deref(), "--logs")? else { return Ok(None) };
    let at = |kind: &str| format!("{}/{}.{kind}.log", dir.trim_end_matches('/'), settings.app);
    Ok(Some(SiteLogs { access: (!is_off).then(|| at("access")), error: at("error") }))
}

fn cloudflare_ranges(
    settings: &RenderSettings,
    read: &mut ValuesReader<'_>,
) -> anyhow::Result<Option<Vec<String>>> {
    let wanted = read.parse_bool(CLOUDFLARE);
    let ranges = match &settings.cloudflare {
        Some(text) => {
            cloudflare::parse_ranges(text).map_err(|message| anyhow!("--cloudflare-ranges: {message}"))?
        }
        None => cloudflare::builtin_ranges(),
    };
    Ok(wanted.then_some(ranges))
}

fn include_file(settings: &RenderSettings, read: &mut ValuesReader<'_>) -> IncludeFile {
    let Some(text) = read.text(INCLUDE_FILE) else { return IncludeFile::default() };
    let below = match text.parse() {
        Ok(AppPath::Tree(below)) => below,
        Ok(AppPath::Data(_)) => {
            // A file in the data directory could change without a deploy.
            read.add_error(INCLUDE_FILE, format!("{} is not in the app tree", quote_word(text)), None);
            return IncludeFile::default();
        }
        Err(message) => {
            read.add_error(INCLUDE_FILE, message, None);
            return IncludeFile::default();
        }
    };
    let Some(root) = &settings.root else {
        read.add_error(INCLUDE_FILE, format!("{} needs --root", quote_word(text)), None);
        return IncludeFile::default();
    };
    match read_file::read_tree_file(root, &below) {
        Ok(Some(bytes)) if bytes.len() > 64 << 10 => {
            read.add_error(INCLUDE_FILE, format!("{} is longer than 64 KiB", quote_word(text)), None);
        }
        Ok(Some(bytes)) => match IncludeFile::parse(&bytes, &below.to_string_lossy()) {
            Ok(include) => return include,
            Err(errors) => errors.into_iter().for_each(|error| read.add_diagnostic(error)),
        },
        Ok(None) => read.add_error(INCLUDE_FILE, format!("there is no file {}", quote_word(text)), None),
        Err(err) => read.add_error(INCLUDE_FILE, format!("{err:#}"), None),
    }
    IncludeFile::default()
}

/// Returns true if requests for `.git` are passed to the app's process.
fn git_reaches_app(read: &mut ValuesReader<'_>, dirs: &[StaticDir]) -> bool {
    let allowed = read.parse_bool(ALLOW_GIT);
    if allowed && !dirs.is_empty() {
        read.add_warning(
            ALLOW_GIT,
            "applies to the app's process only: nginx never serves files in '.git'",
            None,
        );
    }
    allowed
}
