//! Parses the variables of an app into a [`VirtualHost`].

use std::path::Path;

use anyhow::anyhow;
use indexmap::IndexSet;
use piku_layout::jail::{APP, DATA};
use piku_layout::settings::ListenAddress;
use piku_report::diagnostic::{Diagnostic, quote_word};
use piku_report::user_error::UserError;

use super::include::IncludeFile;
use super::paths::{AppPath, PathPrefix, to_nginx_path};
use super::{
    CacheSettings, HostName, RenderSettings, SERVER_NAME, StaticDir, TlsFiles, VirtualHost, basic_auth,
    cloudflare, host_name,
};
use crate::procfile::{self, ProcessKind, Procfile};
use crate::read_file;
use crate::render::app_values::{AppValues, ValuesReader};

const STATIC_PATHS: &str = "NGINX_STATIC_PATHS";
const CATCH_ALL: &str = "NGINX_CATCH_ALL";
const HTTPS_ONLY: &str = "NGINX_HTTPS_ONLY";
const CACHE_PREFIXES: &str = "NGINX_CACHE_PREFIXES";
const CACHE_PATH: &str = "NGINX_CACHE_PATH";
const INCLUDE_FILE: &str = "NGINX_INCLUDE_FILE";
const ALLOW_GIT: &str = "NGINX_ALLOW_GIT_FOLDERS";
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
        let dirs = static_dirs(settings, procfile, &mut read)?;
        let serves_root = dirs.iter().any(|dir| dir.prefix.is_root());
        let has_web = procfile.entries.iter().any(|entry| entry.kind.has_port());
        let include = include_file(settings, &mut read);
        let connections = settings
            .connections
            .map(|connections| limit_connections(connections, include.buffered_kilobytes()));
        let host = Self {
            app: settings.app.clone(),
            names: names.into_iter().collect(),
            sockets,
            sockets_tls: if tls.is_some() { sockets_tls } else { Vec::new() },
            http2: settings.http2,
            tls,
            acme_root: to_nginx_path(settings.acme_root.as_deref(), "--acme-root")?,
            catch_all: catch_all_file(&mut read, &dirs, serves_root && !settings.upstreams.is_empty()),
            caching: cache_settings(settings, &mut read, &dirs)?,
            cloudflare: cloudflare_ranges(settings, &mut read)?,
            basic_auth: basic_auth::parse_basic_auth(settings, &mut read)?,
            include,
            connections,
            git_reaches_app: git_reaches_app(&mut read, &dirs),
            upstreams: settings.upstreams.clone(),
            static_dirs: dirs,
            maintenance: settings.maintenance,
            warnings: Vec::new(),
        };
        let lacks_app = host.upstreams.is_empty() && (has_web || !serves_root || host.include.uses_proxy());
        let warnings = read.finish()?;
        if lacks_app && !host.maintenance {
            let why = if has_web { "the app has a web process" } else { "the app serves no files at '/'" };
            return Err(UserError::new(format!("--upstream is missing: {why}"))
                .hint("name each instance, such as --upstream 127.0.0.1:5000, or use --maintenance")
                .into());
        }
        Ok(Self { warnings, ..host })
    }
}

/// Returns the maximum number of concurrent requests. An app that sets larger buffers gets fewer requests,
/// so that the memory for its responses stays the same.
fn limit_connections(connections: u32, buffered: Option<u32>) -> u32 {
    /// Kilobytes per request: more than nginx's default.
    const PER_REQUEST: u64 = 64;
    let buffered = u64::from(buffered.unwrap_or(0)).max(PER_REQUEST);
    u32::try_from(u64::from(connections) * PER_REQUEST / buffered).unwrap_or(connections).max(1)
}

/// Returns the arguments of `listen` for HTTP and for HTTPS.
fn listen_sockets(
    settings: &RenderSettings,
    read: &mut ValuesReader<'_>,
) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let ipv6 = settings.ipv6 && !read.parse_bool("DISABLE_IPV6");
    let mut chosen = [settings.listen.clone(), settings.listen_tls.clone()];
    // An app can only choose among the operator's addresses: any other would not be available to the other
    // apps.
    for (name, is_v6) in [("NGINX_IPV4_ADDRESS", false), ("NGINX_IPV6_ADDRESS", true)] {
        let Some(text) = read.text(name) else { continue };
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let wanted = match bare.parse::<std::net::IpAddr>() {
            Ok(wanted) if wanted.is_ipv6() == is_v6 => wanted,
            _ => {
                read.add_error(name, format!("{} is not such an address", quote_word(text)), None);
                continue;
            }
        };
        if wanted.is_unspecified() {
            continue;
        }
        if !chosen.iter().flatten().any(|listen| listen.address == Some(wanted)) {
            let what = format!(
                "{} is not one of the addresses that the operator has chosen for apps",
                quote_word(text)
            );
            read.add_error(name, what, Some("remove the variable, or ask the operator to add the address"));
            continue;
        }
        for listens in &mut chosen {
            listens.retain(|listen| match listen.address {
                Some(address) if address.is_ipv6() == is_v6 => address == wanted,
                _ => true,
            });
        }
    }
    let [plain, tls] = chosen.map(|listens| unique_sockets(&listens, ipv6));
    if plain.is_empty() && (tls.is_empty() || settings.certificate.is_none()) {
        return Err(UserError::new("there is no address to listen on").hint("add --listen PORT").into());
    }
    Ok((plain, tls))
}

/// Returns the arguments of `listen` for these addresses, each one once.
pub(super) fn unique_sockets(listens: &[ListenAddress], ipv6: bool) -> Vec<String> {
    let sockets: IndexSet<String> = listens.iter().flat_map(|listen| listen.sockets(ipv6)).collect();
    sockets.into_iter().collect()
}

fn tls_files(settings: &RenderSettings, read: &mut ValuesReader<'_>) -> anyhow::Result<Option<TlsFiles>> {
    let is_required = read.parse_bool(HTTPS_ONLY);
    let (Some((certificate, key)), Some(listen)) = (&settings.certificate, settings.listen_tls.first())
    else {
        if is_required {
            let hint = "--certificate and --key name one, which may be self-signed";
            read.add_error(HTTPS_ONLY, "there is no certificate for this app", Some(hint));
        }
        return Ok(None);
    };
    let certificate = to_nginx_path(Some(certificate), "--certificate")?;
    let files = certificate.zip(to_nginx_path(Some(key), "--key")?);
    Ok(files.map(|(certificate, key)| TlsFiles { certificate, key, is_required, port: listen.port }))
}

/// Returns the directories of `static:` in the Procfile and of `NGINX_STATIC_PATHS`.
fn static_dirs(
    settings: &RenderSettings,
    procfile: &Procfile,
    read: &mut ValuesReader<'_>,
) -> anyhow::Result<Vec<StaticDir>> {
    let root = to_nginx_path(settings.root.as_deref(), "--root")?;
    let data = to_nginx_path(settings.data.as_deref(), "--data")?;
    let parse_dir = |prefix: &str, text: &str| -> Result<StaticDir, String> {
        let prefix: PathPrefix = prefix.parse()?;
        let (top, option, below) = match text.parse()? {
            AppPath::Tree(below) => (&root, "--root", below),
            AppPath::Data(below) => (&data, "--data", below),
        };
        let Some(top) = top else { return Err(format!("{} needs {option}", quote_word(text))) };
        let is_app_tree = below.as_os_str().is_empty() && option == "--root";
        // Nothing is lost: both parts are UTF-8.
        let path = Path::new(top).join(&below).to_string_lossy().trim_end_matches('/').to_owned();
        Ok(StaticDir { prefix, path, top: top.clone(), is_app_tree })
    };
    let mut dirs: Vec<StaticDir> = Vec::new();
    if let Some(entry) = procfile.entries.iter().find(|entry| entry.kind == ProcessKind::Static) {
        let (prefix, text) = match entry.command.split_once(':') {
            Some((prefix, text)) if prefix.starts_with('/') => (prefix, text),
            _ => ("/", entry.command.as_str()),
        };
        // The Python piku reads '/public' as 'public'.
        let is_absolute = [APP, DATA].iter().any(|top| Path::new(text).starts_with(top));
        let text = if is_absolute { text } else { text.trim_start_matches('/') };
        match parse_dir(prefix.trim(), if text.is_empty() { "." } else { text.trim() }) {
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
    for item in items.filter(|item| !item.is_empty()) {
        const HINT: Option<&str> = Some("write PREFIX:DIRECTORY, such as '/static:public'");
        let Some((prefix, text)) = item.split_once(':') else {
            read.add_error(STATIC_PATHS, format!("{} has no ':'", quote_word(item)), HINT);
            continue;
        };
        match parse_dir(prefix.trim(), text.trim()) {
            Ok(dir) if dirs.contains(&dir) => {}
            Ok(dir) if dirs.iter().any(|other| other.prefix == dir.prefix) => {
                let what = format!("{} has two directories", quote_word(&dir.prefix.with_slash()));
                read.add_error(STATIC_PATHS, what, None);
            }
            Ok(dir) => dirs.push(dir),
            Err(message) => read.add_error(STATIC_PATHS, message, HINT),
        }
    }
    Ok(dirs)
}

/// Returns the path of the catch-all file, relative to its directory.
fn catch_all_file(read: &mut ValuesReader<'_>, dirs: &[StaticDir], app_answers: bool) -> Option<String> {
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

fn cache_settings(
    settings: &RenderSettings,
    read: &mut ValuesReader<'_>,
    dirs: &[StaticDir],
) -> anyhow::Result<Option<CacheSettings>> {
    let mut prefixes: Vec<PathPrefix> = Vec::new();
    for item in read.items(CACHE_PREFIXES) {
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
    if read.text(CACHE_PATH).is_some() {
        read.add_warning(CACHE_PATH, "is ignored: the operator chooses the cache directory", None);
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
    if settings.upstreams.is_empty() && !settings.maintenance {
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
