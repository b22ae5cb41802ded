//! `NGINX_INCLUDE_FILE`: an app's own directives for the inside of its server block.
//!
//! All apps share one nginx, which can read whatever piku can. Therefore an app may only use directives
//! that say how its own requests are answered. Directives that open a file, a socket or a shared zone are
//! errors, and the allowed ones are written anew, word by word.

mod pattern;
mod rules;
pub(super) mod syntax;

use piku_report::diagnostic::Diagnostic;

use super::config_writer::NginxConfigFile;
use pattern::{find_pattern, pattern_lines};
pub(crate) use rules::allowed_directives;
use syntax::NginxDirective;

/// nginx may try all regular expressions on one request.
const MAX_PATTERNS: usize = 32;

/// A checked include file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct IncludeFile(Vec<NginxDirective>);

impl IncludeFile {
    /// Parses and checks the text, which diagnostics call `file`.
    pub(super) fn parse(text: &[u8], file: &str) -> Result<Self, Vec<Diagnostic>> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = std::str::from_utf8(text).map_err(|err| {
            let line = text[..err.valid_up_to()].split(|b| *b == b'\n').count();
            vec![Diagnostic::error(file, line, "this is not UTF-8")]
        })?;
        let directives = syntax::parse_directives(text)
            .map_err(|bad| vec![Diagnostic::error(file, bad.line, bad.message)])?;
        let mut errors = Vec::new();
        rules::check_directives(&directives, file, &mut errors);
        if let Some(line) = pattern_lines(&directives).nth(MAX_PATTERNS) {
            let message = format!("more than {MAX_PATTERNS} regular expressions");
            let hint = "'location /x' and 'location = /x' need none";
            errors.push(Diagnostic::error(file, line, message).hint(hint));
        }
        if errors.is_empty() { Ok(Self(directives)) } else { Err(errors) }
    }

    /// Returns true if a directive passes requests to the app's instances.
    pub(super) fn uses_proxy(&self) -> bool {
        fn any(directives: &[NginxDirective]) -> bool {
            directives.iter().any(|directive| {
                directive.name() == "proxy_pass" || directive.block.as_ref().is_some_and(|block| any(block))
            })
        }
        any(&self.0)
    }

    /// Returns the kilobytes of a response that nginx may buffer per connection, if the file sets them.
    pub(super) fn buffered_kilobytes(&self) -> Option<u32> {
        fn largest(directives: &[NginxDirective], name: &str) -> Option<u32> {
            let below =
                |directive: &NginxDirective| directive.block.as_ref().and_then(|block| largest(block, name));
            let own = |directive: &NginxDirective| {
                (directive.name() == name).then(|| rules::kilobytes(&directive.words[1..])).flatten()
            };
            directives.iter().filter_map(|directive| own(directive).max(below(directive))).max()
        }
        let (buffers, first) = (largest(&self.0, "proxy_buffers"), largest(&self.0, "proxy_buffer_size"));
        Some(buffers.unwrap_or(0) + first.unwrap_or(0)).filter(|sum| *sum > 0)
    }

    /// Writes the directives, with `app` in place of `http://app`.
    pub(super) fn write(&self, to: &mut NginxConfigFile, app: &str) {
        write_directives(&self.0, to, app);
    }
}

fn write_directives(directives: &[NginxDirective], to: &mut NginxConfigFile, app: &str) {
    for directive in directives {
        let mut words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
        if directive.name() == "proxy_pass" {
            words[1] = app;
        }
        // The pattern has been checked: `with_limit` succeeds.
        let limited = find_pattern(directive).and_then(|found| Some((found.at, found.with_limit().ok()?)));
        if let Some((at, text)) = &limited {
            words[*at] = text;
        }
        match &directive.block {
            Some(block) => to.add_block(&words, |to| write_directives(block, to, app)),
            None => to.add(&words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let include = IncludeFile::parse(text.as_bytes(), "nginx.conf").expect(text);
        let mut config = NginxConfigFile::default();
        include.write(&mut config, "http://piku");
        config.finish()
    }

    #[test]
    fn allowed_directives_are_written_anew() {
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
    fn other_directives_are_errors_that_name_them() {
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
            let errors = IncludeFile::parse(text.as_bytes(), "nginx.conf").expect_err(text);
            assert_eq!(errors.len(), 1, "{text}");
            assert!(errors[0].message.starts_with(named), "{text}: {}", errors[0]);
        }
        for text in ["}", "return 200; }", "location / {", "return 'a", "return 200", "\u{0}"] {
            assert!(IncludeFile::parse(text.as_bytes(), "nginx.conf").is_err(), "{text:?}");
        }
        let errors = IncludeFile::parse(b"gzip on;\n\xff;", "nginx.conf").unwrap_err();
        assert_eq!(errors[0].to_string(), "nginx.conf:2: this is not UTF-8");
    }

    #[test]
    fn regular_expressions_are_limited_in_every_directive() {
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
        let errors = IncludeFile::parse(many.as_bytes(), "nginx.conf").unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().starts_with("nginx.conf:33: more than 32 regular expressions\nhint: "));
    }

    #[test]
    fn buffer_sizes_are_added() {
        let buffered =
            |text: &str| IncludeFile::parse(text.as_bytes(), "nginx.conf").unwrap().buffered_kilobytes();
        assert_eq!(buffered("gzip on;"), None);
        assert_eq!(buffered("proxy_buffer_size 16k;"), Some(16));
        assert_eq!(
            buffered("proxy_buffers 8 16k; location /x { proxy_buffers 32 32k; proxy_buffer_size 1000; }"),
            Some(1025)
        );
    }

    #[test]
    fn every_error_names_its_line() {
        let errors = IncludeFile::parse(b"gzip on;\nroot /x;\nlocation / {\n alias /y;\n}\n", "nginx.conf")
            .unwrap_err();
        let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "nginx.conf:2: 'root' is not allowed in an app's file\n\
                 hint: use NGINX_STATIC_PATHS and NGINX_CATCH_ALL to serve files",
                "nginx.conf:4: 'alias' is not allowed in an app's file\n\
                 hint: use NGINX_STATIC_PATHS and NGINX_CATCH_ALL to serve files",
            ]
        );
    }
}
