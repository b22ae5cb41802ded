//! Settings of an app, read into a [`VirtualHost`]: every value checked, and what is wrong told with its place.

use std::path::Path;

use anyhow::anyhow;
use piku_report::diagnostic::{Diagnostic, word};
use piku_report::user_error::UserError;

use super::include::IncludeFile;
use super::places::{AppPath, PathPrefix, path, text_of};
use super::{
    CacheSettings, HostName, RenderSettings, SERVER_NAME, StaticFolder, TlsFiles, VirtualHost, cloudflare,
    host, users,
};
use crate::procfile::{self, ProcessKind, Procfile};
use crate::render::values::{AppValues, ValuesReader};
use crate::source;

const STATIC_PATHS: &str = "NGINX_STATIC_PATHS";
const CATCH_ALL: &str = "NGINX_CATCH_ALL";
const HTTPS_ONLY: &str = "NGINX_HTTPS_ONLY";
const CACHE_PREFIXES: &str = "NGINX_CACHE_PREFIXES";
const CACHE_PATH: &str = "NGINX_CACHE_PATH";
const INCLUDE_FILE: &str = "NGINX_INCLUDE_FILE";
const ALLOW_GIT: &str = "NGINX_ALLOW_GIT_FOLDERS";
const CLOUDFLARE: &str = "NGINX_CLOUDFLARE_ACL";

/// More names than this have no place in nginx's tables.
const MAX_NAMES: usize = 2000;

/// A year, in seconds.
const YEAR: u32 = 31_536_000;

impl VirtualHost {
    /// Reads what the app has set, and the file that it includes.
    ///
    /// # Errors
    /// When a setting of the caller's is no good; else with everything that is wrong with the app's, as a
    /// [`Diagnostics`](piku_report::diagnostic::Diagnostics).
    pub fn read(settings: &RenderSettings, procfile: &Procfile, values: &AppValues) -> anyhow::Result<Self> {
        let mut read = ValuesReader::new(values);
        let mut names: Vec<HostName> = read.parsed(SERVER_NAME, Some(host::HINT));
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        if read.text(SERVER_NAME).is_none() {
            read.refuse(SERVER_NAME, "no host name is set, so nginx has nothing to serve", Some(host::HINT));
        } else if names.len() > MAX_NAMES {
            read.refuse(SERVER_NAME, format!("more than {MAX_NAMES} host names"), None);
        }
        let (sockets, sockets_tls, ports_tls) = sockets(settings, &mut read)?;
        let tls = tls(settings, &mut read, &ports_tls)?;
        let folders = folders(settings, procfile, &mut read)?;
        let serves_root = folders.iter().any(|folder| folder.prefix.is_root());
        let listens = procfile.entries.iter().any(|entry| entry.kind.listens());
        let include = included(settings, &mut read);
        let connections = settings.connections.map(|connections| share(connections, include.buffered()));
        let site = Self {
            app: settings.app.clone(),
            names,
            sockets,
            sockets_tls: if tls.is_some() { sockets_tls } else { Vec::new() },
            http2: settings.http2,
            tls,
            acme_root: path(settings.acme_root.as_deref(), "--acme-root")?,
            catch_all: catch_all(&mut read, &folders, serves_root && !settings.upstreams.is_empty()),
            caching: caching(settings, &mut read, &folders)?,
            cloudflare: ranges(settings, &mut read)?,
            users: users::read(settings, &mut read)?,
            include,
            connections,
            git_reaches_app: git(&mut read, &folders),
            upstreams: settings.upstreams.clone(),
            folders,
            maintenance: settings.maintenance,
            warnings: Vec::new(),
        };
        let lacks_app = site.upstreams.is_empty() && (listens || !serves_root || site.include.proxies());
        let warnings = read.finish()?;
        if lacks_app && !site.maintenance {
            let what =
                if listens { "the app's own process answers" } else { "the app serves no files at '/'" };
            return Err(UserError::new(format!("no --upstream is given, and {what}"))
                .hint("name each instance, such as --upstream 127.0.0.1:5000, or use --maintenance")
                .into());
        }
        Ok(Self { warnings, ..site })
    }
}

/// Returns the number of requests that may be under way. What their answers take of nginx's memory is bounded: whoever wants
/// larger buffers gets fewer of them.
fn share(connections: u32, buffered: Option<u32>) -> u32 {
    /// Kilobytes for one request, nginx's own default with room to spare.
    const EACH: u64 = 64;
    let buffered = u64::from(buffered.unwrap_or(0)).max(EACH);
    let few = u64::from(connections) * EACH / buffered;
    u32::try_from(few).unwrap_or(connections).max(1)
}

/// Where it listens for HTTP and for HTTPS, and the ports of the latter.
fn sockets(
    settings: &RenderSettings,
    read: &mut ValuesReader<'_>,
) -> anyhow::Result<(Vec<String>, Vec<String>, Vec<u16>)> {
    let ipv6 = settings.ipv6 && !read.boolean("DISABLE_IPV6");
    let mut chosen = [settings.listen.clone(), settings.listen_tls.clone()];
    // An address of an app's own choice would take that address from all the others.
    for (name, is_v6) in [("NGINX_IPV4_ADDRESS", false), ("NGINX_IPV6_ADDRESS", true)] {
        let Some(text) = read.text(name) else { continue };
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let wanted = match bare.parse::<std::net::IpAddr>() {
            Ok(wanted) if wanted.is_ipv6() == is_v6 => wanted,
            _ => {
                read.refuse(name, format!("{} is no such address", word(text)), None);
                continue;
            }
        };
        if wanted.is_unspecified() {
            continue;
        }
        if !chosen.iter().flatten().any(|listen| listen.address == Some(wanted)) {
            let what = format!("{} is none of those that this machine's operator gives to apps", word(text));
            read.refuse(name, what, Some("leave it out, or have it added with --listen"));
            continue;
        }
        for listens in &mut chosen {
            listens.retain(|listen| match listen.address {
                Some(address) if address.is_ipv6() == is_v6 => address == wanted,
                _ => true,
            });
        }
    }
    let [plain, tls] = chosen.map(|listens| {
        let mut sockets: Vec<String> = listens.iter().flat_map(|listen| listen.sockets(ipv6)).collect();
        let mut seen = std::collections::HashSet::new();
        sockets.retain(|socket| seen.insert(socket.clone()));
        sockets
    });
    if plain.is_empty() && (tls.is_empty() || settings.certificate.is_none()) {
        return Err(UserError::new("nothing to listen on").hint("add --listen PORT").into());
    }
    Ok((plain, tls, settings.listen_tls.iter().map(|listen| listen.port).collect()))
}

fn tls(
    settings: &RenderSettings,
    read: &mut ValuesReader<'_>,
    ports: &[u16],
) -> anyhow::Result<Option<TlsFiles>> {
    let only = read.boolean(HTTPS_ONLY);
    let (Some((certificate, key)), Some(port)) = (&settings.certificate, ports.first()) else {
        if only {
            let hint = "--certificate and --key name one, which may be self-signed";
            read.refuse(HTTPS_ONLY, "there is no certificate for this app", Some(hint));
        }
        return Ok(None);
    };
    let text = |path: &Path, option| text_of(path, option).map_err(|message| anyhow!(message));
    Ok(Some(TlsFiles {
        certificate: text(certificate, "--certificate")?,
        key: text(key, "--key")?,
        only,
        port: *port,
    }))
}

/// `static:` of the Procfile and `NGINX_STATIC_PATHS`.
fn folders(
    settings: &RenderSettings,
    procfile: &Procfile,
    read: &mut ValuesReader<'_>,
) -> anyhow::Result<Vec<StaticFolder>> {
    let root = path(settings.root.as_deref(), "--root")?;
    let data = path(settings.data.as_deref(), "--data")?;
    let make = |prefix: &str, text: &str| -> Result<StaticFolder, String> {
        let prefix: PathPrefix = prefix.parse()?;
        let (top, option, below) = match text.parse()? {
            AppPath::Tree(below) => (&root, "--root", below),
            AppPath::Data(below) => (&data, "--data", below),
        };
        let Some(top) = top else { return Err(format!("{} needs {option}", word(text))) };
        let whole = below.as_os_str().is_empty() && option == "--root";
        // Both are text: one is the caller's that has been checked, the other has been parsed from text.
        let path = Path::new(top).join(&below).to_string_lossy().trim_end_matches('/').to_owned();
        Ok(StaticFolder { prefix, path, top: top.clone(), whole })
    };
    let mut folders: Vec<StaticFolder> = Vec::new();
    if let Some(entry) = procfile.entries.iter().find(|entry| entry.kind == ProcessKind::Static) {
        let (prefix, text) = match entry.command.split_once(':') {
            Some((prefix, text)) if prefix.starts_with('/') => (prefix, text),
            _ => ("/", entry.command.as_str()),
        };
        // The Python piku takes '/public' for 'public'.
        let own = ["/app", "/data"].iter().any(|own| Path::new(text).starts_with(own));
        let text = if own { text } else { text.trim_start_matches('/') };
        match make(prefix.trim(), if text.is_empty() { "." } else { text.trim() }) {
            Ok(folder) => folders.push(folder),
            Err(message) => {
                read.push(Diagnostic::error(procfile::FILE, entry.line, format!("static: {message}")));
            }
        }
    }
    let items = read.text(STATIC_PATHS).unwrap_or_default().split([',', '\n']).map(str::trim);
    for item in items.filter(|item| !item.is_empty()) {
        const HINT: Option<&str> = Some("an item is PREFIX:FOLDER, such as '/static:public'");
        let Some((prefix, text)) = item.split_once(':') else {
            read.refuse(STATIC_PATHS, format!("{} has no ':'", word(item)), HINT);
            continue;
        };
        match make(prefix.trim(), text.trim()) {
            Ok(folder) if folders.contains(&folder) => {}
            Ok(folder) if folders.iter().any(|other| other.prefix == folder.prefix) => {
                let what = format!("{} is given two folders", word(&folder.prefix.folder()));
                read.refuse(STATIC_PATHS, what, None);
            }
            Ok(folder) => folders.push(folder),
            Err(message) => read.refuse(STATIC_PATHS, message, HINT),
        }
    }
    Ok(folders)
}

/// The file, relative to its folder.
fn catch_all(read: &mut ValuesReader<'_>, folders: &[StaticFolder], app_answers: bool) -> Option<String> {
    let text = read.text(CATCH_ALL)?;
    let file = match text.trim_start_matches('/').parse() {
        Ok(AppPath::Tree(path)) if !path.as_os_str().is_empty() => path.to_string_lossy().into_owned(),
        Ok(_) => {
            read.refuse(CATCH_ALL, "no file is named", Some("name one, such as 'index.html'"));
            return None;
        }
        Err(message) => {
            read.refuse(CATCH_ALL, message, None);
            return None;
        }
    };
    if folders.is_empty() {
        let hint = "name the folder that it is in with 'static:' in the Procfile or with NGINX_STATIC_PATHS";
        read.refuse(CATCH_ALL, "no folder of files is served", Some(hint));
    } else if app_answers {
        let hint = "serve the files at a prefix of their own, or leave NGINX_CATCH_ALL out";
        let what =
            "the app's own process answers what is no file at '/'; with it nothing would reach the process";
        read.refuse(CATCH_ALL, what, Some(hint));
    }
    Some(file)
}

fn caching(
    settings: &RenderSettings,
    read: &mut ValuesReader<'_>,
    folders: &[StaticFolder],
) -> anyhow::Result<Option<CacheSettings>> {
    let mut prefixes: Vec<PathPrefix> = Vec::new();
    for item in read.items(CACHE_PREFIXES) {
        // The Python piku needs no slash.
        let with_slash = format!("/{}", item.strip_prefix('/').unwrap_or(item));
        match with_slash.parse() {
            Ok(prefix) if prefixes.contains(&prefix) => {}
            Ok(prefix) if folders.iter().any(|folder| folder.prefix == prefix) => {
                let what = format!("{} is a folder of files, which needs no cache", word(&prefix.folder()));
                read.refuse(CACHE_PREFIXES, what, None);
            }
            Ok(prefix) => prefixes.push(prefix),
            Err(message) => read.refuse(CACHE_PREFIXES, message, None),
        }
    }
    if read.text(CACHE_PATH).is_some() {
        read.warn(CACHE_PATH, "is not used: the cache lies where this machine's operator has it", None);
    }
    let size = read.number("NGINX_CACHE_SIZE", 1, 1..=1024, "GB");
    let mut time = |name, default| read.number(name, default, 0..=10 * YEAR, "seconds");
    let content = time("NGINX_CACHE_TIME", 3600);
    let redirects = time("NGINX_CACHE_REDIRECTS", 3600);
    let any = time("NGINX_CACHE_ANY", 3600);
    let control = time("NGINX_CACHE_CONTROL", 3600);
    let expiry = time("NGINX_CACHE_EXPIRY", 86400);
    if prefixes.is_empty() {
        return Ok(None);
    }
    if settings.upstreams.is_empty() && !settings.maintenance {
        read.warn(CACHE_PREFIXES, "no process answers HTTP, so nothing is cached", None);
        return Ok(None);
    }
    let Some(path) = path(settings.cache.as_deref(), "--cache")? else {
        read.refuse(CACHE_PREFIXES, "there is no cache on this machine", Some("--cache DIR gives it one"));
        return Ok(None);
    };
    let path = format!("{}/{}", path.trim_end_matches('/'), settings.app);
    Ok(Some(CacheSettings { prefixes, path, size, content, redirects, any, control, expiry }))
}

fn ranges(settings: &RenderSettings, read: &mut ValuesReader<'_>) -> anyhow::Result<Option<Vec<String>>> {
    let wanted = read.boolean(CLOUDFLARE);
    let ranges = match &settings.cloudflare {
        Some(text) => cloudflare::parse(text).map_err(|message| anyhow!("--cloudflare-ranges: {message}"))?,
        None => cloudflare::known(),
    };
    Ok(wanted.then_some(ranges))
}

fn included(settings: &RenderSettings, read: &mut ValuesReader<'_>) -> IncludeFile {
    let Some(text) = read.text(INCLUDE_FILE) else { return IncludeFile::default() };
    let below = match text.parse() {
        Ok(AppPath::Tree(below)) => below,
        Ok(AppPath::Data(_)) => {
            // It would change without a deploy.
            read.refuse(INCLUDE_FILE, format!("{} is not in the app's folder", word(text)), None);
            return IncludeFile::default();
        }
        Err(message) => {
            read.refuse(INCLUDE_FILE, message, None);
            return IncludeFile::default();
        }
    };
    let Some(root) = &settings.root else {
        read.refuse(INCLUDE_FILE, format!("{} needs --root", word(text)), None);
        return IncludeFile::default();
    };
    match source::read_below(root, &below) {
        Ok(Some(bytes)) if bytes.len() > 64 << 10 => {
            read.refuse(INCLUDE_FILE, format!("{} is longer than 64 KiB", word(text)), None);
        }
        Ok(Some(bytes)) => match IncludeFile::read(&bytes, &below.to_string_lossy()) {
            Ok(include) => return include,
            Err(errors) => errors.into_iter().for_each(|error| read.push(error)),
        },
        Ok(None) => read.refuse(INCLUDE_FILE, format!("there is no file {}", word(text)), None),
        Err(err) => read.refuse(INCLUDE_FILE, format!("{err:#}"), None),
    }
    IncludeFile::default()
}

/// Whether `.git` in an address reaches the app's process.
fn git(read: &mut ValuesReader<'_>, folders: &[StaticFolder]) -> bool {
    let allowed = read.boolean(ALLOW_GIT);
    if allowed && !folders.is_empty() {
        read.warn(
            ALLOW_GIT,
            "goes for what the app's process answers: from a folder '.git' is never served",
            None,
        );
    }
    allowed
}
