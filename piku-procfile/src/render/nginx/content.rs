//! Writes how the requests to an app are answered: by its instances, from its files, from the cache, and by
//! the app's own directives, which take precedence over piku's.

use std::fmt::Write;

use super::config_writer::NginxConfigFile;
use super::include::syntax::NginxDirective;
use super::include::written_words;
use super::moved_paths::add_moved_paths;
use super::proxy_buffers::{DIRECTIVES, ProxyBuffers};
use super::settings::directives::DirectiveScope;
use super::shared_settings::{HTTP_VERSION, NEXT_UPSTREAM, NO_PROXY_REDIRECT};
use super::site_location::{LocationPath, answers_itself, find_unsafe, own_path};
use super::{CacheSettings, PathPrefix, StaticDir, VirtualHost};

/// Matches requests for dotfiles, and `..` that a rewrite has produced.
const DOTFILE: &str = r"/\.(?!well-known/)";

/// Adds the locations of the app and the directives that apply to all of them.
pub(super) fn add_content<'a>(site: &'a VirtualHost, to: &mut NginxConfigFile<'a>) {
    to.share_block(site.include.directives(), |to| {
        if let Some(file) = &site.basic_auth {
            to.add(&["auth_basic", site.app.as_str()]);
            to.add(&["auth_basic_user_file", &file.path]);
        }
        site.add_client_address(to);
        add_setting_directives(site, DirectiveScope::Server, to);
        for words in site.piku_response_headers() {
            to.add(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let own_page = site.include.top_level("error_page").any(|words| words.contains(&"404"));
        if !site.static_dirs.is_empty() && !own_page {
            site.pages.add_missing(site.static_root().is_some() && !site.uses_proxy(), to);
        }
        add_moved_paths(site, to);
        if site.uses_proxy() {
            add_proxy_settings(site, to);
        }
        if !(site.git_reaches_app && site.uses_proxy()) {
            site.hide_git_folders(to);
        }
        for dir in &site.static_dirs {
            add_static_dir(site, dir, to);
        }
        if let (Some(caching), true) = (&site.caching, site.uses_proxy()) {
            add_cached_prefixes(site, caching, to);
        }
        if site.uses_proxy() {
            let is_root = |prefix: &PathPrefix| prefix.is_root();
            let cached = site.caching.as_ref().is_some_and(|caching| caching.prefixes.iter().any(is_root));
            if !cached && site.static_root().is_none() && !site.streams.is_all_grpc() {
                site.add_app_location(&["location", "/"], to);
            }
            if site.static_root().is_some() || !site.include.directives().is_empty() {
                site.add_app_location(&["location", "@app"], to);
            }
            site.add_websocket_location(to);
            for prefix in &site.streams.grpc {
                let words = ["location", &prefix.with_slash()];
                site.add_location(&words, to, |to| site.add_grpc_pass(to));
            }
        }
        let rest = site.include.directives().iter().filter(|own| !site.is_shared(own));
        site.add_own_directives(rest, site.buffers, to);
    });
}

/// Adds the directives for all requests that are passed to the app.
fn add_proxy_settings(site: &VirtualHost, to: &mut NginxConfigFile<'_>) {
    to.add_to_server(&HTTP_VERSION);
    site.add_server_headers(to);
    for words in site.buffers.directives() {
        to.add_to_server(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    add_setting_directives(site, DirectiveScope::Proxy, to);
    if site.machines.is_some() {
        // A machine that is lost refuses nothing: connections to it time out.
        to.add(&["proxy_next_upstream", "error", "timeout"]);
        to.add(&["proxy_next_upstream_timeout", "30s"]);
    } else {
        to.add_to_server(&NEXT_UPSTREAM);
    }
    to.add_to_server(&NO_PROXY_REDIRECT);
}

/// Adds the directives that have variables of their own.
fn add_setting_directives(site: &VirtualHost, scope: DirectiveScope, to: &mut NginxConfigFile<'_>) {
    for (_, directive, value) in site.directives.iter().filter(|(other, _, _)| *other == scope) {
        to.add_to_server(&[directive, value]);
    }
}

impl VirtualHost {
    /// Returns the directory whose files are served at `/`.
    pub(super) fn static_root(&self) -> Option<&StaticDir> {
        self.static_dirs.iter().find(|dir| dir.prefix.is_root())
    }

    /// Adds a location of piku's, together with the app's of the same path.
    fn add_location<'a>(
        &'a self,
        words: &[&str],
        to: &mut NginxConfigFile<'a>,
        fill: impl FnOnce(&mut NginxConfigFile<'a>),
    ) {
        let path = LocationPath::read(words.iter().copied());
        let same = self.include.directives().iter().find(|own| path.is_some() && own_path(own) == path);
        let Some((own, block)) = same.and_then(|own| Some((own, own.block.as_ref()?))) else {
            return to.add_block(words, fill);
        };
        if self.is_shared(own) {
            to.add_shared_block(words, &self.include.source(own), block, |to| {
                fill(to);
                self.add_block_content(block, self.buffers, to);
            });
        }
    }

    /// Adds a location whose requests are passed to the app. The app's own directives for it, such as `deny`,
    /// apply to websockets too.
    fn add_app_location<'a>(&'a self, words: &[&str], to: &mut NginxConfigFile<'a>) {
        let path = LocationPath::read(words.iter().copied());
        let is_own = self.include.directives().iter().any(|own| path.is_some() && own_path(own) == path);
        self.add_location(words, to, |to| {
            if is_own {
                to.add(&["proxy_pass", &self.app_url()]);
            } else {
                self.add_proxy_pass(to);
            }
        });
    }

    /// Adds directives of the app's file.
    fn add_own_directives<'a>(
        &'a self,
        all: impl Iterator<Item = &'a NginxDirective>,
        buffers: ProxyBuffers,
        to: &mut NginxConfigFile<'a>,
    ) {
        for own in all {
            let words = written_words(own, &self.app_url());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let source = self.include.source(own);
            let Some(block) = &own.block else {
                to.add_own(&words, &source);
                continue;
            };
            to.add_shared_block(&words, &source, block, |to| {
                if own.name() == "location" && !answers_itself(block) {
                    self.add_usual_answer(own_path(own).as_ref(), block, to);
                }
                self.add_block_content(block, buffers, to);
            });
        }
    }

    /// Adds what the app has set in a block, and what nginx does not inherit once the block sets one of its
    /// kind.
    fn add_block_content<'a>(
        &'a self,
        block: &'a [NginxDirective],
        buffers: ProxyBuffers,
        to: &mut NginxConfigFile<'a>,
    ) {
        let sets = |name: &str| block.iter().any(|own| own.name() == name);
        // The sizes have been checked.
        let buffers = buffers.in_block(block).unwrap_or(buffers);
        if DIRECTIVES.iter().any(|name| sets(name)) {
            buffers.write(to);
        }
        if sets("proxy_set_header") {
            self.add_inherited_headers(to);
        }
        if sets("add_header") {
            self.add_response_headers(to);
        }
        self.add_own_directives(block.iter(), buffers, to);
    }

    /// Adds the headers for the app, of piku and of the top of the app's file.
    fn add_inherited_headers(&self, to: &mut NginxConfigFile<'_>) {
        if !self.uses_proxy() {
            return;
        }
        let top: Vec<Vec<&str>> = self.include.top_level("proxy_set_header").collect();
        let is_own =
            |name: &str| top.iter().any(|own| own.get(1).is_some_and(|own| own.eq_ignore_ascii_case(name)));
        for [name, value] in self.proxy_headers().rows().into_iter().filter(|[name, _]| !is_own(name)) {
            to.add(&["proxy_set_header", name, value]);
        }
        for words in &top {
            to.add(words);
        }
    }

    /// Returns the words of the headers for clients that are not in the app's include file.
    fn piku_response_headers(&self) -> Vec<Vec<String>> {
        let is_strict = self.hsts.is_some() && self.tls.is_some();
        let strict = ("Strict-Transport-Security", self.variable("hsts"));
        let of_files =
            self.site_headers.iter().map(|header| header.name.as_str()).zip(self.header_variables());
        let all = is_strict.then_some(strict).into_iter().chain(of_files);
        all.map(|(name, value)| ["add_header", name, &value, "always"].map(str::to_owned).to_vec()).collect()
    }

    /// Adds the headers for clients, of piku and of the top of the app's file.
    fn add_response_headers(&self, to: &mut NginxConfigFile<'_>) {
        let top: Vec<Vec<&str>> = self.include.top_level("add_header").collect();
        let is_own =
            |name: &str| top.iter().any(|own| own.get(1).is_some_and(|own| own.eq_ignore_ascii_case(name)));
        for words in self.piku_response_headers().iter().filter(|words| !is_own(&words[1])) {
            to.add(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for words in &top {
            to.add(words);
        }
    }

    /// Adds an answer for a location of the app whose block has none: the same as for requests to
    /// `/`.
    fn add_usual_answer<'a>(
        &'a self,
        path: Option<&LocationPath>,
        block: &[NginxDirective],
        to: &mut NginxConfigFile<'a>,
    ) {
        let is_named = path.is_some_and(LocationPath::is_named);
        let is_exact = path.is_some_and(LocationPath::is_exact);
        // An exact path has no inner locations that would hide files.
        let is_hidden =
            |dir: &StaticDir| is_exact && (dir.is_app_tree || path.is_some_and(LocationPath::has_dotfile));
        let may_serve = |dir: &StaticDir| !is_named && find_unsafe(block).is_none() && !is_hidden(dir);
        match self.static_root() {
            Some(dir) if may_serve(dir) => self.add_root_files(dir, is_exact, to),
            _ if self.uses_proxy() => to.add(&["proxy_pass", &self.app_url()]),
            _ => {}
        }
    }

    /// Adds the directives for files. The caller guards them with [`hide_files`].
    fn add_file_settings(&self, dir: &StaticDir, to: &mut NginxConfigFile<'_>) {
        // The app may write there: a symlink could point to the secrets of another app.
        to.add(&["disable_symlinks", "on", &format!("from={}", dir.top)]);
        if !self.include.sets("charset") {
            to.add(&["charset", "utf-8"]);
        }
    }

    /// Adds the files of the directory for `/`. nginx accepts no inner location in an exact one, whose only
    /// path is known.
    fn add_root_files<'a>(&'a self, dir: &StaticDir, is_exact: bool, to: &mut NginxConfigFile<'a>) {
        to.add(&["root", &dir.path]);
        self.add_file_settings(dir, to);
        if !is_exact {
            hide_files(dir, to);
        }
        match &self.catch_all {
            // Not `$uri/`, which would match a directory without an index.
            _ if self.uses_proxy() => {
                to.add(&["try_files", "$uri", "$uri.html", "$uri/index.html", "@app"]);
            }
            catch_all => {
                let page = format!("{}.html", self.variable("page"));
                let file = catch_all.as_ref().map(|file| format!("/{file}"));
                let mut words = vec!["try_files", "$uri", "$uri.html", "$uri/index.html", &page];
                words.extend(file.as_deref());
                words.push("=404");
                to.add(&words);
            }
        }
    }
}

/// Hides dotfiles, and the app's own files if its whole tree is served.
fn hide_files(dir: &StaticDir, to: &mut NginxConfigFile<'_>) {
    to.add(&["index", "index.html", "index.htm"]);
    to.add_block(&["location", "~", DOTFILE], |to| to.add(&["return", "404"]));
    if dir.is_app_tree {
        let own = format!("^{}/(?:ENV|Procfile)$", escape_regex(dir.prefix.without_slash()));
        to.add_block(&["location", "~", &own], |to| to.add(&["return", "404"]));
    }
}

fn add_static_dir<'a>(site: &'a VirtualHost, dir: &StaticDir, to: &mut NginxConfigFile<'a>) {
    if dir.prefix.is_root() {
        return site.add_location(&["location", "/"], to, |to| site.add_root_files(dir, false, to));
    }
    // A file with exactly this name, or the directory, to which nginx adds the slash.
    site.add_location(&["location", "=", dir.prefix.without_slash()], to, |to| {
        to.add(&["alias", &dir.path]);
        site.add_file_settings(dir, to);
    });
    let prefix = dir.prefix.with_slash();
    // Both end in a slash: otherwise '/static../x' would become '../x'.
    site.add_location(&["location", "^~", &prefix], to, |to| {
        to.add(&["alias", &format!("{}/", dir.path)]);
        site.add_file_settings(dir, to);
        hide_files(dir, to);
        // With `alias`, a name without a variable is relative to it.
        if let Some(file) = &site.catch_all {
            to.add(&["try_files", "$uri", "$uri.html", "$uri/index.html", &format!("/{file}"), "=404"]);
        }
    });
}

fn add_cached_prefixes<'a>(site: &'a VirtualHost, caching: &CacheSettings, to: &mut NginxConfigFile<'a>) {
    for prefix in &caching.prefixes {
        let with_slash = prefix.with_slash();
        let exact = ["location", "=", prefix.without_slash()];
        let below = ["location", with_slash.as_str()];
        let all: &[&[&str]] = if prefix.is_root() { &[&below] } else { &[&exact, &below] };
        for words in all {
            site.add_location(words, to, |to| {
                add_cache(site, caching, to);
                // If the app's own block sets headers, these are added with them.
                if !to.is_set_by_app("add_header") {
                    site.add_response_headers(to);
                }
            });
        }
    }
}

fn add_cache(site: &VirtualHost, caching: &CacheSettings, to: &mut NginxConfigFile<'_>) {
    to.add(&["proxy_pass", &site.app_url()]);
    // nginx caches only what it buffers.
    to.add(&["proxy_buffering", "on"]);
    to.add(&["proxy_cache", &site.zone("")]);
    to.add(&["proxy_cache_key", &site.cache_key()]);
    to.add(&["proxy_cache_lock", "on"]);
    to.add(&["proxy_cache_use_stale", "error", "timeout", "updating"]);
    let valid = |to: &mut NginxConfigFile<'_>, codes: &[&str], time: u32| {
        let time = format!("{time}s");
        let words: Vec<&str> =
            std::iter::once(&"proxy_cache_valid").chain(codes).copied().chain([time.as_str()]).collect();
        to.add(&words);
    };
    valid(to, &["200", "304"], caching.content);
    valid(to, &["301", "302", "307", "308"], caching.redirects);
    valid(to, &["203", "204", "300", "303"], caching.any);
    if site.basic_auth.is_none() {
        // A response to an authenticated request is for one client.
        to.add(&["proxy_cache_bypass", "$http_authorization"]);
        to.add(&["proxy_no_cache", "$http_authorization"]);
    }
    to.add(&["add_header", "Cache-Control", &site.variable("age")]);
    to.add(&["add_header", "X-Cache", "$upstream_cache_status"]);
}

/// Returns a regular expression that matches exactly this text.
pub(super) fn escape_regex(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_ascii_control() {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\x{:02x}", u32::from(c));
        } else {
            if c.is_ascii_punctuation() && c != '/' {
                escaped.push('\\');
            }
            escaped.push(c);
        }
    }
    escaped
}
