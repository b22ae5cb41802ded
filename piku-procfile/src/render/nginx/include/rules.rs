//! Rules for `NGINX_INCLUDE_FILE`: the directives that an app may use, and their arguments.

use piku_report::diagnostic::{Diagnostic, quote_word};

use super::pattern::find_pattern;
use super::syntax::NginxDirective;
use crate::render::nginx::shared_settings::ACME_PATH;

/// Arguments that a directive accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArgumentRule {
    /// Any arguments.
    Words,
    /// Any arguments, then a block of allowed directives.
    Block,
    /// A condition that does not test files, then a block.
    If,
    /// Only `off`.
    Off,
    /// Only `http://app`, which stands for all instances.
    App,
    /// Sizes of buffers, which [`super::ProxyBuffers`] checks.
    Buffers,
}

/// The directives that an app may use.
#[rustfmt::skip]
const ALLOWED: &[(&str, ArgumentRule)] = {
    use ArgumentRule::{App, Block, Buffers, If, Off, Words};
    &[
        ("access_log", Off), ("add_header", Words), ("allow", Words), ("auth_basic", Words),
        ("auth_request", Words), ("auth_request_set", Words), ("break", Words), ("charset", Words),
        ("client_body_timeout", Words), ("client_max_body_size", Words), ("default_type", Words),
        ("deny", Words), ("error_page", Words), ("etag", Words), ("expires", Words), ("gzip", Words),
        ("gzip_comp_level", Words), ("gzip_min_length", Words), ("gzip_proxied", Words),
        ("gzip_types", Words), ("gzip_vary", Words), ("if", If), ("if_modified_since", Words),
        ("internal", Words), ("keepalive_timeout", Words), ("limit_except", Block), ("limit_rate", Words),
        ("limit_rate_after", Words), ("location", Block), ("log_not_found", Words),
        ("proxy_buffer_size", Buffers), ("proxy_buffering", Words), ("proxy_buffers", Buffers),
        ("proxy_busy_buffers_size", Buffers), ("proxy_connect_timeout", Words), ("proxy_cookie_domain", Words), ("proxy_cookie_flags", Words),
        ("proxy_cookie_path", Words), ("proxy_hide_header", Words), ("proxy_intercept_errors", Words),
        ("proxy_pass", App), ("proxy_pass_header", Words), ("proxy_read_timeout", Words),
        ("proxy_redirect", Words), ("proxy_request_buffering", Words), ("proxy_send_timeout", Words),
        ("proxy_set_header", Words), ("real_ip_header", Words), ("real_ip_recursive", Words),
        ("recursive_error_pages", Words), ("return", Words), ("rewrite", Words), ("satisfy", Words),
        ("send_timeout", Words), ("set", Words), ("set_real_ip_from", Words), ("sub_filter", Words),
        ("sub_filter_once", Words), ("sub_filter_types", Words),
    ]
};

/// Hints for directives that an app may not use.
#[rustfmt::skip]
const DENIED_HINTS: &[(&[&str], &str)] = &[
    (&["root", "alias", "try_files", "index", "autoindex"], "use NGINX_STATIC_PATHS and NGINX_CATCH_ALL to serve files"),
    (&["include"], "copy the lines of that file into this one"),
    (&["server", "listen", "http", "upstream", "events", "stream"], "the file is the inside of the app's server block"),
    (&["server_name"], "use NGINX_SERVER_NAME to set host names"),
    (&["auth_basic_user_file"], "use NGINX_BASIC_AUTH to set names and passwords"),
    (&["proxy_cache", "proxy_cache_path", "proxy_cache_valid"], "use NGINX_CACHE_PREFIXES to cache responses"),
    (&["error_log", "log_format"], "the operator configures logs"),
    (&["ssl_certificate", "ssl_certificate_key"], "the operator configures certificates"),
    (&["fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass"], "instances speak HTTP: use 'proxy_pass http://app'"),
];

/// Stands for the app's instances in `proxy_pass`.
const APP: &str = "http://app";

/// Prefix of all names that the rendered file defines. An app that used them could change where its
/// requests go.
const RESERVED_PREFIX: &str = "piku_";

/// Directives that nginx accepts in a `location` only.
const LOCATION_ONLY: [(&str, &str); 3] = [
    ("internal", "put it into the location that clients must not request"),
    ("limit_except", "put it into 'location / { … }'"),
    ("proxy_pass", "requests that no location matches reach the app anyway"),
];

/// Returns the names of the directives that an app may use.
pub(crate) fn allowed_directives() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().map(|(name, _)| *name)
}

/// Adds an error for each directive that is allowed, but not outside of a `location`.
pub(super) fn check_top_level(directives: &[NginxDirective], file: &str, errors: &mut Vec<Diagnostic>) {
    for directive in directives {
        let found = LOCATION_ONLY.iter().find(|(name, _)| *name == directive.name());
        if let Some((name, hint)) = found {
            let what = format!("'{name}' must be inside a location");
            errors.push(Diagnostic::error(file, directive.line, what).hint(*hint));
        }
    }
}

/// Adds an error for each directive that an app may not use, in blocks too.
pub(super) fn check_directives(directives: &[NginxDirective], file: &str, errors: &mut Vec<Diagnostic>) {
    for directive in directives {
        let name = directive.name();
        match check_directive(directive) {
            Ok(()) => {}
            Err(message) => {
                let found = Diagnostic::error(file, directive.line, message);
                let hint =
                    DENIED_HINTS.iter().find(|(names, _)| names.contains(&name)).map(|(_, hint)| *hint);
                errors.push(match hint {
                    Some(hint) => found.hint(hint),
                    None => found,
                });
                continue;
            }
        }
        if let Some(block) = &directive.block {
            check_directives(block, file, errors);
        }
    }
}

fn check_directive(directive: &NginxDirective) -> Result<(), String> {
    let name = directive.name();
    let shown = quote_word(name);
    let Some((_, rule)) = ALLOWED.iter().find(|(allowed, _)| *allowed == name) else {
        return Err(format!("{shown} is not allowed in an app's file"));
    };
    let args = &directive.words[1..];
    let block = matches!(rule, ArgumentRule::Block | ArgumentRule::If);
    if block != directive.block.is_some() {
        return Err(format!("{shown} {} a block", if block { "needs" } else { "does not take" }));
    }
    for arg in args {
        if arg.chars().any(char::is_control) {
            return Err(format!("{shown}: a control character in an argument"));
        }
        if arg.len() > 2048 {
            return Err(format!("{shown}: an argument longer than 2048 bytes"));
        }
        if arg.to_ascii_lowercase().contains(RESERVED_PREFIX) {
            return Err(format!("{shown}: names that begin with '{RESERVED_PREFIX}' are reserved"));
        }
    }
    match rule {
        ArgumentRule::If => {
            let tests_file = |arg: &String| {
                let test = arg.trim_start_matches('(').trim_start_matches('!');
                matches!(test, "-f" | "-d" | "-e" | "-x")
            };
            if args.iter().any(tests_file) {
                return Err(format!("{shown}: a condition cannot test files"));
            }
        }
        ArgumentRule::Off if args != ["off"] => {
            return Err(format!("{shown} can only be 'off' in an app's file"));
        }
        ArgumentRule::App if args != [APP] => {
            return Err(format!("{shown} can only be '{APP}', which stands for the app's instances"));
        }
        _ => {}
    }
    if name == "location" && args.iter().any(|arg| arg.contains(ACME_PATH)) {
        return Err(format!("{shown}: '{ACME_PATH}' is reserved for certificate requests"));
    }
    match find_pattern(directive) {
        Some(found) => found.with_limit().map(drop).map_err(|message| format!("{shown}: {message}")),
        None => Ok(()),
    }
}
