//! `NGINX_INCLUDE_FILE`: the app's own lines for its server. All apps share one nginx, which may read whatever piku may, so
//! only directives are taken that say how this app's requests are answered. What opens a file, a socket or a zone that
//! others share is refused by name, and what is taken is written anew from its words.

use piku_report::diagnostic::{Diagnostic, word};

use super::config::NginxConfigFile;
use super::pattern;
use super::syntax::{self, NginxDirective};

/// What a directive may have for arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArgumentRule {
    /// Any.
    Words,
    /// Any, and a block with more of these.
    Block,
    /// A condition, but none that asks for a file, and a block.
    If,
    /// `off` alone.
    Off,
    /// `http://app` alone, which stands for all instances.
    ToApp,
    /// A number of buffers and their size, within what one app may take of the memory.
    Buffers,
}

/// What is taken.
#[rustfmt::skip]
const TAKEN: &[(&str, ArgumentRule)] = &[
    ("access_log", ArgumentRule::Off), ("add_header", ArgumentRule::Words), ("allow", ArgumentRule::Words), ("auth_basic", ArgumentRule::Words),
    ("auth_request", ArgumentRule::Words), ("auth_request_set", ArgumentRule::Words), ("break", ArgumentRule::Words), ("charset", ArgumentRule::Words),
    ("client_body_timeout", ArgumentRule::Words), ("client_max_body_size", ArgumentRule::Words), ("default_type", ArgumentRule::Words),
    ("deny", ArgumentRule::Words), ("error_page", ArgumentRule::Words), ("etag", ArgumentRule::Words), ("expires", ArgumentRule::Words),
    ("gzip", ArgumentRule::Words), ("gzip_comp_level", ArgumentRule::Words), ("gzip_min_length", ArgumentRule::Words),
    ("gzip_proxied", ArgumentRule::Words), ("gzip_types", ArgumentRule::Words), ("gzip_vary", ArgumentRule::Words), ("if", ArgumentRule::If),
    ("if_modified_since", ArgumentRule::Words), ("internal", ArgumentRule::Words), ("keepalive_timeout", ArgumentRule::Words),
    ("limit_except", ArgumentRule::Block), ("limit_rate", ArgumentRule::Words), ("limit_rate_after", ArgumentRule::Words),
    ("location", ArgumentRule::Block), ("log_not_found", ArgumentRule::Words), ("proxy_buffer_size", ArgumentRule::Buffers),
    ("proxy_buffering", ArgumentRule::Words), ("proxy_buffers", ArgumentRule::Buffers), ("proxy_connect_timeout", ArgumentRule::Words),
    ("proxy_cookie_domain", ArgumentRule::Words), ("proxy_cookie_flags", ArgumentRule::Words), ("proxy_cookie_path", ArgumentRule::Words),
    ("proxy_hide_header", ArgumentRule::Words), ("proxy_intercept_errors", ArgumentRule::Words), ("proxy_pass", ArgumentRule::ToApp),
    ("proxy_pass_header", ArgumentRule::Words), ("proxy_read_timeout", ArgumentRule::Words), ("proxy_redirect", ArgumentRule::Words),
    ("proxy_request_buffering", ArgumentRule::Words), ("proxy_send_timeout", ArgumentRule::Words), ("proxy_set_header", ArgumentRule::Words),
    ("real_ip_header", ArgumentRule::Words), ("real_ip_recursive", ArgumentRule::Words), ("recursive_error_pages", ArgumentRule::Words),
    ("return", ArgumentRule::Words), ("rewrite", ArgumentRule::Words), ("satisfy", ArgumentRule::Words), ("send_timeout", ArgumentRule::Words),
    ("set", ArgumentRule::Words), ("set_real_ip_from", ArgumentRule::Words), ("sub_filter", ArgumentRule::Words),
    ("sub_filter_once", ArgumentRule::Words), ("sub_filter_types", ArgumentRule::Words),
];

/// Why some others are not, in the words of who asks for them.
#[rustfmt::skip]
const REFUSED: &[(&[&str], &str)] = &[
    (&["root", "alias", "try_files", "index", "autoindex"], "files are named by NGINX_STATIC_PATHS and NGINX_CATCH_ALL"),
    (&["include"], "write its lines here"),
    (&["server", "listen", "http", "upstream", "events", "stream"], "the file is the inside of the app's one server"),
    (&["server_name"], "host names are named by NGINX_SERVER_NAME"),
    (&["auth_basic_user_file"], "names and passwords are named by NGINX_BASIC_AUTH"),
    (&["proxy_cache", "proxy_cache_path", "proxy_cache_valid"], "what is cached is named by NGINX_CACHE_PREFIXES"),
    (&["error_log", "log_format"], "the logs are the operator's"),
    (&["ssl_certificate", "ssl_certificate_key"], "certificates are the operator's"),
    (&["fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass"], "the app's instances speak HTTP: 'proxy_pass http://app'"),
];

/// What `proxy_pass` says when it means the app's own instances.
const APP: &str = "http://app";

/// Names that the rendered file itself has, all beginning so: an app's own lines would change where its requests go.
const OWN: &str = "piku_";

/// The most buffers that one connection may have, and what they may take together, in kilobytes.
const MAX_BUFFERS: u32 = 32;
const MAX_BUFFERED: u32 = 1024;

/// The most regular expressions: nginx may try all of them on one request.
const MAX_PATTERNS: usize = 32;

/// A good file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct IncludeFile(Vec<NginxDirective>);

/// The names of all that is taken, for the manual.
pub(crate) fn taken() -> impl Iterator<Item = &'static str> {
    TAKEN.iter().map(|(name, _)| *name)
}

impl IncludeFile {
    /// Reads the file's text; diagnostics call it `file`.
    pub(super) fn read(text: &[u8], file: &str) -> Result<Self, Vec<Diagnostic>> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = std::str::from_utf8(text).map_err(|err| {
            let line = text[..err.valid_up_to()].split(|b| *b == b'\n').count();
            vec![Diagnostic::error(file, line, "this is not UTF-8")]
        })?;
        let directives =
            syntax::parse(text).map_err(|bad| vec![Diagnostic::error(file, bad.line, bad.message)])?;
        let mut errors = Vec::new();
        check(&directives, file, &mut errors);
        if let Some(line) = patterns(&directives).nth(MAX_PATTERNS) {
            let message = format!("more than {MAX_PATTERNS} regular expressions");
            let hint = "'location /x' and 'location = /x' need none";
            errors.push(Diagnostic::error(file, line, message).hint(hint));
        }
        if errors.is_empty() { Ok(Self(directives)) } else { Err(errors) }
    }

    /// Whether it wants the app's instances.
    pub(super) fn proxies(&self) -> bool {
        fn any(directives: &[NginxDirective]) -> bool {
            directives.iter().any(|directive| {
                directive.name() == "proxy_pass" || directive.block.as_ref().is_some_and(|block| any(block))
            })
        }
        any(&self.0)
    }

    /// Returns how many kilobytes of answers nginx may hold for one connection, where the file says so.
    pub(super) fn buffered(&self) -> Option<u32> {
        fn most(directives: &[NginxDirective], name: &str) -> Option<u32> {
            let below =
                |directive: &NginxDirective| directive.block.as_ref().and_then(|block| most(block, name));
            let own = |directive: &NginxDirective| {
                (directive.name() == name).then(|| kilobytes(&directive.words[1..])).flatten()
            };
            directives.iter().filter_map(|directive| own(directive).max(below(directive))).max()
        }
        let (many, first) = (most(&self.0, "proxy_buffers"), most(&self.0, "proxy_buffer_size"));
        Some(many.unwrap_or(0) + first.unwrap_or(0)).filter(|sum| *sum > 0)
    }

    /// Writes it; `app` is what `http://app` stands for.
    pub(super) fn write(&self, to: &mut NginxConfigFile, app: &str) {
        write(&self.0, to, app);
    }
}

fn write(directives: &[NginxDirective], to: &mut NginxConfigFile, app: &str) {
    for directive in directives {
        let mut words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
        if directive.name() == "proxy_pass" {
            words[1] = app;
        }
        // The file has been found good.
        let limited = pattern_in(directive).and_then(|found| Some((found.at, found.limited().ok()?)));
        if let Some((at, text)) = &limited {
            words[*at] = text;
        }
        match &directive.block {
            Some(block) => to.block(&words, |to| write(block, to, app)),
            None => to.put(&words),
        }
    }
}

fn check(directives: &[NginxDirective], file: &str, errors: &mut Vec<Diagnostic>) {
    for directive in directives {
        let name = directive.name();
        match check_one(directive) {
            Ok(()) => {}
            Err(message) => {
                let found = Diagnostic::error(file, directive.line, message);
                let hint = REFUSED.iter().find(|(names, _)| names.contains(&name)).map(|(_, hint)| *hint);
                errors.push(match hint {
                    Some(hint) => found.hint(hint),
                    None => found,
                });
                continue;
            }
        }
        if let Some(block) = &directive.block {
            check(block, file, errors);
        }
    }
}

fn check_one(directive: &NginxDirective) -> Result<(), String> {
    let name = directive.name();
    let shown = word(name);
    let Some((_, rule)) = TAKEN.iter().find(|(taken, _)| *taken == name) else {
        return Err(format!("{shown} is not taken from an app"));
    };
    let args = &directive.words[1..];
    let block = matches!(rule, ArgumentRule::Block | ArgumentRule::If);
    if block != directive.block.is_some() {
        return Err(format!("{shown} {} a block", if block { "needs" } else { "has no" }));
    }
    for arg in args {
        if arg.chars().any(char::is_control) {
            return Err(format!("{shown}: a control character in an argument"));
        }
        if arg.len() > 2048 {
            return Err(format!("{shown}: an argument longer than 2048 bytes"));
        }
        if arg.to_ascii_lowercase().contains(OWN) {
            return Err(format!("{shown}: names that begin with '{OWN}' are piku's own"));
        }
    }
    match rule {
        ArgumentRule::If => {
            let asks = |arg: &String| {
                let test = arg.trim_start_matches('(').trim_start_matches('!');
                matches!(test, "-f" | "-d" | "-e" | "-x")
            };
            if args.iter().any(asks) {
                return Err(format!("{shown}: a condition may not ask for a file"));
            }
        }
        ArgumentRule::Off if args != ["off"] => return Err(format!("{shown} takes 'off' alone from an app")),
        ArgumentRule::ToApp if args != [APP] => {
            return Err(format!("{shown} takes '{APP}' alone, which is the app itself"));
        }
        ArgumentRule::Buffers if kilobytes(args).is_none() => {
            return Err(format!(
                "{shown}: at most {MAX_BUFFERS} buffers of {MAX_BUFFERED}k together, such as '16 32k'"
            ));
        }
        _ => {}
    }
    match pattern_in(directive) {
        Some(found) => found.limited().map(drop).map_err(|message| format!("{shown}: {message}")),
        None => Ok(()),
    }
}

/// A regular expression among the words of a directive.
struct FoundPattern<'a> {
    /// The word's index.
    at: usize,
    /// The text before and behind it in that word.
    around: (&'a str, &'a str),
    pattern: &'a str,
}

impl FoundPattern<'_> {
    /// Returns the word with the pattern's cost bounded.
    fn limited(&self) -> Result<String, String> {
        let (before, behind) = self.around;
        Ok(format!("{before}{}{behind}", pattern::bounded(self.pattern)?))
    }
}

/// Returns the regular expression that nginx will read in a directive.
fn pattern_in(directive: &NginxDirective) -> Option<FoundPattern<'_>> {
    let words = &directive.words;
    let whole = |at: usize| Some(FoundPattern { at, around: ("", ""), pattern: words.get(at)? });
    // `~x` and `~*x` in one word.
    let marked = |at: usize| {
        let word = words.get(at)?;
        let length = if word.starts_with("~*") { 2 } else { usize::from(word.starts_with('~')) };
        let (mark, pattern) = word.split_at(length);
        (length > 0).then_some(FoundPattern { at, around: (mark, ""), pattern })
    };
    match directive.name() {
        "location" if matches!(words.get(1).map(String::as_str), Some("~" | "~*")) => whole(2),
        "location"
        | "proxy_redirect"
        | "proxy_cookie_domain"
        | "proxy_cookie_path"
        | "proxy_cookie_flags" => marked(1),
        "rewrite" => whole(1),
        "if" => {
            let is_operator = |word: &String| matches!(word.as_str(), "~" | "~*" | "!~" | "!~*");
            let at = 2 + words.get(1..)?.iter().position(is_operator)?;
            let word = words.get(at)?;
            // The condition's own bracket stands at its end, or is a word of its own.
            let end = if at + 1 == words.len() { ")" } else { "" };
            Some(FoundPattern { at, around: ("", end), pattern: word.strip_suffix(end)? })
        }
        _ => None,
    }
}

/// The lines that have a regular expression.
fn patterns(directives: &[NginxDirective]) -> Box<dyn Iterator<Item = usize> + '_> {
    Box::new(directives.iter().flat_map(|directive| {
        let own = pattern_in(directive).map(|_| directive.line);
        own.into_iter().chain(directive.block.as_deref().map(patterns).into_iter().flatten())
    }))
}

/// Returns what `SIZE`, or `NUMBER SIZE`, takes in all, in kilobytes; `None` when it is no such thing or too much.
fn kilobytes(args: &[String]) -> Option<u32> {
    let size = |text: &String| {
        let text = text.to_ascii_lowercase();
        match (text.strip_suffix('k'), text.strip_suffix('m')) {
            (Some(number), _) => number.parse().ok(),
            (_, Some(number)) => number.parse::<u32>().ok()?.checked_mul(1024),
            _ => text.parse::<u32>().ok().map(|bytes| bytes.div_ceil(1024)),
        }
    };
    let all = match args {
        [one] => size(one)?,
        [number, one] => {
            number.parse().ok().filter(|number: &u32| *number <= MAX_BUFFERS)?.checked_mul(size(one)?)?
        }
        _ => return None,
    };
    (all <= MAX_BUFFERED).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let include = IncludeFile::read(text.as_bytes(), "nginx.conf").expect(text);
        let mut config = NginxConfigFile::default();
        include.write(&mut config, "http://piku");
        config.finish()
    }

    #[test]
    fn what_is_taken_is_written_anew() {
        assert_eq!(
            written(
                "# mine\nlocation ~* \\.(js|css)$ { expires 1y; add_header Cache-Control 'public; x'; }\n\
                 location /api { proxy_read_timeout 1h; proxy_pass http://app; }\n\
                 if ($http_user_agent ~ \"bad (bot)\") { return 403; } proxy_buffers 8 16k;"
            ),
            "location ~* \"(*LIMIT_MATCH=200)\\\\.(js|css)$\" {
    expires 1y;
    add_header Cache-Control \"public; x\";
}
location /api {
    proxy_read_timeout 1h;
    proxy_pass http://piku;
}
if \"($http_user_agent\" ~ \"(*LIMIT_MATCH=200)bad (bot)\" \")\" {
    return 403;
}
proxy_buffers 8 16k;
"
        );
        assert!(written("").is_empty());
    }

    #[test]
    fn what_reaches_further_is_refused_by_name() {
        for (text, named) in [
            ("root /etc;", "'root'"),
            ("location / { alias /etc/; }", "'alias'"),
            ("location / { location /x { include /etc/passwd; } }", "'include'"),
            ("auth_basic_user_file /etc/shadow;", "'auth_basic_user_file'"),
            ("ssl_certificate_key /x;", "'ssl_certificate_key'"),
            ("access_log /tmp/x;", "'access_log'"),
            ("error_log /tmp/x;", "'error_log'"),
            ("try_files $uri /x;", "'try_files'"),
            ("content_by_lua_block { x; }", "'content_by_lua_block'"),
            ("proxy_pass http://127.0.0.1:9;", "'proxy_pass'"),
            ("proxy_pass http://unix:/run/x.sock;", "'proxy_pass'"),
            ("proxy_pass http://app/x;", "'proxy_pass'"),
            ("proxy_cache piku-other;", "'proxy_cache'"),
            ("proxy_store on;", "'proxy_store'"),
            ("client_body_in_file_only on;", "'client_body_in_file_only'"),
            ("if (-f /etc/shadow) { return 200; }", "'if'"),
            ("if ( !-e /etc/shadow ) { return 200; }", "'if'"),
            ("set $piku_blog_upstream http://unix:/x;", "'set'"),
            ("set $PIKU_blog_upstream x;", "'set'"),
            ("location ~ (?<piku_blog_upstream>.*) { return 200; }", "'location'"),
            ("rewrite ^(?P<piku_blog_upstream>.*)$ / last;", "'rewrite'"),
            ("auth_request_set $piku_x 1;", "'auth_request_set'"),
            ("add_header X 'a\r\nSet-Cookie: b';", "'add_header'"),
            ("add_header X \"a\\nb\";", "'add_header'"),
            ("proxy_buffers 99999 8m;", "'proxy_buffers'"),
            ("proxy_buffer_size 1g;", "'proxy_buffer_size'"),
            ("proxy_buffers 32 1024k;", "'proxy_buffers'"),
            ("proxy_buffers 2 4294967295m;", "'proxy_buffers'"),
            ("location / { proxy_buffer_size 2m; }", "'proxy_buffer_size'"),
            ("location ~ (a+)+$ { return 200; }", "'location'"),
            ("location ~*(a+)+$ { return 200; }", "'location'"),
            ("if ($uri ~ (a+)+$) { return 200; }", "'if'"),
            ("if ( $uri !~* (a+)+$ ) { return 200; }", "'if'"),
            ("rewrite (a+)+$ /;", "'rewrite'"),
            ("proxy_redirect ~(a+)+$ /;", "'proxy_redirect'"),
            ("proxy_cookie_domain ~*(a+)+$ /;", "'proxy_cookie_domain'"),
            ("proxy_cookie_path ~(a+)+$ /;", "'proxy_cookie_path'"),
            ("proxy_cookie_flags ~(a+)+$ secure;", "'proxy_cookie_flags'"),
            ("server { listen 80; }", "'server'"),
            ("lOcation / { }", "'lOcation'"),
            ("'' x;", "''"),
            ("location /;", "'location'"),
            ("return 200 { }", "'return'"),
        ] {
            let errors = IncludeFile::read(text.as_bytes(), "nginx.conf").expect_err(text);
            assert_eq!(errors.len(), 1, "{text}");
            assert!(errors[0].message.starts_with(named), "{text}: {}", errors[0]);
        }
        for text in ["}", "return 200; }", "location / {", "return 'a", "return 200", "\u{0}"] {
            assert!(IncludeFile::read(text.as_bytes(), "nginx.conf").is_err(), "{text:?}");
        }
        let errors = IncludeFile::read(b"gzip on;\n\xff;", "nginx.conf").unwrap_err();
        assert_eq!(errors[0].to_string(), "nginx.conf:2: this is not UTF-8");
    }

    #[test]
    fn regular_expressions_are_limited_wherever_they_stand() {
        assert_eq!(
            written(
                "rewrite ^/a/(.*)$ /$1 last; proxy_redirect ~^/x(.*) /$1; proxy_redirect off; proxy_cookie_path ~*^/y /;\n\
                 if ($uri ~ ^/(a|b)) { break; } if ($uri = /x) { break; } location ~*\\.php$ { return 404; } location ^~ /~x { }"
            )
            .lines()
            .filter(|line| !line.starts_with([' ', '}']))
            .collect::<Vec<_>>(),
            [
                "rewrite \"(*LIMIT_MATCH=10000)^/a/(.*)$\" /$1 last;",
                "proxy_redirect \"~(*LIMIT_MATCH=10000)^/x(.*)\" /$1;",
                "proxy_redirect off;",
                "proxy_cookie_path \"~*(*LIMIT_MATCH=10000)^/y\" /;",
                "if \"($uri\" ~ \"(*LIMIT_MATCH=10000)^/(a|b))\" {",
                "if \"($uri\" = \"/x)\" {",
                "location \"~*(*LIMIT_MATCH=200)\\\\.php$\" {",
                "location ^~ /~x {",
            ]
        );
        let many = "location ~ x { }\n".repeat(33);
        let errors = IncludeFile::read(many.as_bytes(), "nginx.conf").unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().starts_with("nginx.conf:33: more than 32 regular expressions\nhint: "));
    }

    #[test]
    fn buffers_are_summed_up() {
        let buffered = |text: &str| IncludeFile::read(text.as_bytes(), "nginx.conf").unwrap().buffered();
        assert_eq!(buffered("gzip on;"), None);
        assert_eq!(buffered("proxy_buffer_size 16k;"), Some(16));
        assert_eq!(
            buffered("proxy_buffers 8 16k; location /x { proxy_buffers 32 32k; proxy_buffer_size 1000; }"),
            Some(1025)
        );
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line() {
        let errors = IncludeFile::read(b"gzip on;\nroot /x;\nlocation / {\n alias /y;\n}\n", "nginx.conf")
            .unwrap_err();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "nginx.conf:2: 'root' is not taken from an app\n\
                 hint: files are named by NGINX_STATIC_PATHS and NGINX_CATCH_ALL",
                "nginx.conf:4: 'alias' is not taken from an app\n\
                 hint: files are named by NGINX_STATIC_PATHS and NGINX_CATCH_ALL",
            ]
        );
    }
}
