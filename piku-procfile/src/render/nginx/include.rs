//! `NGINX_INCLUDE_FILE`: the app's own lines for its server. All apps share one nginx, which may read whatever piku may, so
//! only directives are taken that say how this app's requests are answered. What opens a file, a socket or a zone that
//! others share is refused by name, and what is taken is written anew from its words.

use super::config::Config;
use super::syntax::{self, Directive};
use crate::diagnostic::{Diagnostic, word};

/// What a directive may have for arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
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
const TAKEN: &[(&str, Rule)] = &[
    ("access_log", Rule::Off), ("add_header", Rule::Words), ("allow", Rule::Words), ("auth_basic", Rule::Words),
    ("auth_request", Rule::Words), ("auth_request_set", Rule::Words), ("break", Rule::Words), ("charset", Rule::Words),
    ("client_body_timeout", Rule::Words), ("client_max_body_size", Rule::Words), ("default_type", Rule::Words),
    ("deny", Rule::Words), ("error_page", Rule::Words), ("etag", Rule::Words), ("expires", Rule::Words),
    ("gzip", Rule::Words), ("gzip_comp_level", Rule::Words), ("gzip_min_length", Rule::Words),
    ("gzip_proxied", Rule::Words), ("gzip_types", Rule::Words), ("gzip_vary", Rule::Words), ("if", Rule::If),
    ("if_modified_since", Rule::Words), ("internal", Rule::Words), ("keepalive_timeout", Rule::Words),
    ("limit_except", Rule::Block), ("limit_rate", Rule::Words), ("limit_rate_after", Rule::Words),
    ("location", Rule::Block), ("log_not_found", Rule::Words), ("proxy_buffer_size", Rule::Buffers),
    ("proxy_buffering", Rule::Words), ("proxy_buffers", Rule::Buffers), ("proxy_connect_timeout", Rule::Words),
    ("proxy_cookie_domain", Rule::Words), ("proxy_cookie_flags", Rule::Words), ("proxy_cookie_path", Rule::Words),
    ("proxy_hide_header", Rule::Words), ("proxy_intercept_errors", Rule::Words), ("proxy_pass", Rule::ToApp),
    ("proxy_pass_header", Rule::Words), ("proxy_read_timeout", Rule::Words), ("proxy_redirect", Rule::Words),
    ("proxy_request_buffering", Rule::Words), ("proxy_send_timeout", Rule::Words), ("proxy_set_header", Rule::Words),
    ("real_ip_header", Rule::Words), ("real_ip_recursive", Rule::Words), ("recursive_error_pages", Rule::Words),
    ("return", Rule::Words), ("rewrite", Rule::Words), ("satisfy", Rule::Words), ("send_timeout", Rule::Words),
    ("set", Rule::Words), ("set_real_ip_from", Rule::Words), ("sub_filter", Rule::Words),
    ("sub_filter_once", Rule::Words), ("sub_filter_types", Rule::Words),
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

/// The most buffers that one connection may have, and their size in kilobytes.
const MAX_BUFFERS: u32 = 32;
const MAX_BUFFER: u32 = 1024;

/// A good file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Include(Vec<Directive>);

/// The names of all that is taken, for the manual.
pub(crate) fn taken() -> impl Iterator<Item = &'static str> {
    TAKEN.iter().map(|(name, _)| *name)
}

impl Include {
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
        if errors.is_empty() { Ok(Self(directives)) } else { Err(errors) }
    }

    /// Whether it wants the app's instances.
    pub(super) fn proxies(&self) -> bool {
        fn any(directives: &[Directive]) -> bool {
            directives.iter().any(|directive| {
                directive.name() == "proxy_pass" || directive.block.as_ref().is_some_and(|block| any(block))
            })
        }
        any(&self.0)
    }

    /// Writes it; `app` is what `http://app` stands for.
    pub(super) fn write(&self, to: &mut Config, app: &str) {
        write(&self.0, to, app);
    }
}

fn write(directives: &[Directive], to: &mut Config, app: &str) {
    for directive in directives {
        let mut words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
        if directive.name() == "proxy_pass" {
            words[1] = app;
        }
        match &directive.block {
            Some(block) => to.block(&words, |to| write(block, to, app)),
            None => to.put(&words),
        }
    }
}

fn check(directives: &[Directive], file: &str, errors: &mut Vec<Diagnostic>) {
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

fn check_one(directive: &Directive) -> Result<(), String> {
    let name = directive.name();
    let shown = word(name);
    let Some((_, rule)) = TAKEN.iter().find(|(taken, _)| *taken == name) else {
        return Err(format!("{shown} is not taken from an app"));
    };
    let args = &directive.words[1..];
    let block = matches!(rule, Rule::Block | Rule::If);
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
        Rule::If => {
            let asks = |arg: &String| {
                let test = arg.trim_start_matches('(').trim_start_matches('!');
                matches!(test, "-f" | "-d" | "-e" | "-x")
            };
            if args.iter().any(asks) {
                return Err(format!("{shown}: a condition may not ask for a file"));
            }
        }
        Rule::Off if args != ["off"] => return Err(format!("{shown} takes 'off' alone from an app")),
        Rule::ToApp if args != [APP] => {
            return Err(format!("{shown} takes '{APP}' alone, which is the app itself"));
        }
        Rule::Buffers if !few_buffers(args) => {
            return Err(format!("{shown}: at most {MAX_BUFFERS} buffers of at most {MAX_BUFFER}k"));
        }
        _ => {}
    }
    Ok(())
}

/// `SIZE`, or `NUMBER SIZE`.
fn few_buffers(args: &[String]) -> bool {
    let few = |text: &String| text.parse().is_ok_and(|number: u32| number <= MAX_BUFFERS);
    let small = |text: &String| {
        let text = text.to_ascii_lowercase();
        let kilobytes = match (text.strip_suffix('k'), text.strip_suffix('m')) {
            (Some(number), _) => number.parse().ok(),
            (_, Some(number)) => number.parse().ok().and_then(|number: u32| number.checked_mul(1024)),
            _ => text.parse().ok().map(|bytes: u32| bytes.div_ceil(1024)),
        };
        kilobytes.is_some_and(|kilobytes| kilobytes <= MAX_BUFFER)
    };
    match args {
        [size] => small(size),
        [number, size] => few(number) && small(size),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let include = Include::read(text.as_bytes(), "nginx.conf").expect(text);
        let mut config = Config::default();
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
            "location ~* \"\\\\.(js|css)$\" {
    expires 1y;
    add_header Cache-Control \"public; x\";
}
location /api {
    proxy_read_timeout 1h;
    proxy_pass http://piku;
}
if \"($http_user_agent\" ~ \"bad (bot)\" \")\" {
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
            ("server { listen 80; }", "'server'"),
            ("lOcation / { }", "'lOcation'"),
            ("'' x;", "''"),
            ("location /;", "'location'"),
            ("return 200 { }", "'return'"),
        ] {
            let errors = Include::read(text.as_bytes(), "nginx.conf").expect_err(text);
            assert_eq!(errors.len(), 1, "{text}");
            assert!(errors[0].message.starts_with(named), "{text}: {}", errors[0]);
        }
        for text in ["}", "return 200; }", "location / {", "return 'a", "return 200", "\u{0}"] {
            assert!(Include::read(text.as_bytes(), "nginx.conf").is_err(), "{text:?}");
        }
        let errors = Include::read(b"gzip on;\n\xff;", "nginx.conf").unwrap_err();
        assert_eq!(errors[0].to_string(), "nginx.conf:2: this is not UTF-8");
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line() {
        let errors =
            Include::read(b"gzip on;\nroot /x;\nlocation / {\n alias /y;\n}\n", "nginx.conf").unwrap_err();
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
