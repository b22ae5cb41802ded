//! `NGINX_INCLUDE_FILE`: an app's own directives for the inside of its server block.
//!
//! All apps share one nginx, which can read whatever piku can. Therefore an app may only use directives
//! that say how its own requests are answered. Directives that open a file, a socket or a shared zone are
//! errors, and the allowed ones are written anew, word by word.

mod pattern;
mod rules;
pub(super) mod syntax;

use piku_report::diagnostic::Diagnostic;

use super::proxy_buffers::ProxyBuffers;
use pattern::{find_pattern, pattern_lines};
pub(crate) use rules::allowed_directives;
use syntax::NginxDirective;

/// nginx needs about 20 KiB of memory for each block.
const MAX_BLOCKS: usize = 200;
/// nginx may try all regular expressions on one request.
const MAX_PATTERNS: usize = 32;

/// A checked include file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct IncludeFile {
    /// Its name in the app's tree.
    file: String,
    directives: Vec<NginxDirective>,
}

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
        if errors.is_empty() {
            rules::check_top_level(&directives, file, &mut errors);
        }
        if let Some(line) = pattern_lines(&directives).nth(MAX_PATTERNS) {
            let message = format!("more than {MAX_PATTERNS} regular expressions");
            let hint = "'location /x' and 'location = /x' need none";
            errors.push(Diagnostic::error(file, line, message).hint(hint));
        }
        if let Some(line) = syntax::block_lines(&directives).nth(MAX_BLOCKS) {
            errors.push(Diagnostic::error(file, line, format!("more than {MAX_BLOCKS} blocks")));
        }
        if errors.is_empty() { Ok(Self { file: file.to_owned(), directives }) } else { Err(errors) }
    }

    /// Returns the directives outside of any block.
    pub(super) fn directives(&self) -> &[NginxDirective] {
        &self.directives
    }

    /// Returns true if the directive is set outside of any block.
    pub(super) fn sets(&self, name: &str) -> bool {
        self.top_level(name).next().is_some()
    }

    /// Returns the words of each directive with this name outside of any block.
    pub(super) fn top_level<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
        let found = self.directives.iter().filter(move |directive| directive.name() == name);
        found.map(|directive| directive.words.iter().map(String::as_str).collect())
    }

    /// Returns the place of a directive, `FILE:LINE`.
    pub(super) fn source(&self, directive: &NginxDirective) -> String {
        format!("{}:{}", self.file, directive.line)
    }

    /// Returns an error about a line of the file.
    pub(super) fn error(&self, line: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.file, line, message)
    }

    /// Returns true if a directive passes requests to the app's instances.
    pub(super) fn uses_proxy(&self) -> bool {
        self.find(&|directive| directive.name() == "proxy_pass").is_some()
    }

    /// Returns the first directive that `is_wanted`, in blocks too.
    pub(super) fn find(&self, is_wanted: &dyn Fn(&NginxDirective) -> bool) -> Option<&NginxDirective> {
        find_directive(&self.directives, is_wanted)
    }

    /// Returns the sizes of buffers at the top of the file, and the largest that any block sets, in
    /// kilobytes. Fails with the line of a size that does not fit.
    pub(super) fn buffers(&self, piku: ProxyBuffers) -> Result<(ProxyBuffers, u32), (usize, String)> {
        let top = piku.in_block(&self.directives)?;
        let most = largest_buffers(&self.directives, top)?;
        Ok((top, most.max(top.kilobytes())))
    }
}

/// Returns the words of a checked directive as they are rendered: `http://app` is `app`, and regular
/// expressions have a limit.
pub(super) fn written_words(directive: &NginxDirective, app: &str) -> Vec<String> {
    let mut words = directive.words.clone();
    if directive.name() == "proxy_pass" {
        app.clone_into(&mut words[1]);
    }
    // The pattern has been checked: `with_limit` succeeds.
    let limited = find_pattern(directive).and_then(|found| Some((found.at, found.with_limit().ok()?)));
    if let Some((at, text)) = limited {
        words[at] = text;
    }
    words
}

fn find_directive<'a>(
    directives: &'a [NginxDirective],
    is_wanted: &dyn Fn(&NginxDirective) -> bool,
) -> Option<&'a NginxDirective> {
    directives.iter().find_map(|directive| {
        let below = || find_directive(directive.block.as_ref()?, is_wanted);
        if is_wanted(directive) { Some(directive) } else { below() }
    })
}

/// Returns the kilobytes of the largest buffers in any of the blocks.
fn largest_buffers(directives: &[NginxDirective], outer: ProxyBuffers) -> Result<u32, (usize, String)> {
    let mut most = 0;
    for block in directives.iter().filter_map(|directive| directive.block.as_ref()) {
        let inner = outer.in_block(block)?;
        most = most.max(inner.kilobytes()).max(largest_buffers(block, inner)?);
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the rendered words of all directives, a line each.
    fn written(text: &str) -> Vec<String> {
        fn add(all: &[NginxDirective], to: &mut Vec<String>) {
            for directive in all {
                to.push(written_words(directive, "http://piku").join(" "));
                add(directive.block.as_deref().unwrap_or_default(), to);
            }
        }
        let include = IncludeFile::parse(text.as_bytes(), "nginx.conf").expect(text);
        let mut lines = Vec::new();
        add(include.directives(), &mut lines);
        lines
    }

    fn check(text: &str) -> Result<(), Vec<Diagnostic>> {
        let include = IncludeFile::parse(text.as_bytes(), "nginx.conf")?;
        let fail = |(line, message)| vec![include.error(line, message)];
        include.buffers(ProxyBuffers::default()).map(drop).map_err(fail)
    }

    #[test]
    fn allowed_directives_are_written_anew() {
        assert_eq!(
            written(
                "# mine\nlocation ~* \\.(js|css)$ { expires 1y; add_header Cache-Control 'public; x'; }\n\
                 location /api { proxy_read_timeout 1h; proxy_pass http://app; }\n\
                 if ($http_user_agent ~ \"bad (bot)\") { return 403; } proxy_buffers 8 16k;"
            ),
            [
                "location ~* (*LIMIT_MATCH=200)\\.(js|css)$",
                "expires 1y",
                "add_header Cache-Control public; x",
                "location /api",
                "proxy_read_timeout 1h",
                "proxy_pass http://piku",
                "if ($http_user_agent ~ (*LIMIT_MATCH=200)bad (bot) )",
                "return 403",
                "proxy_buffers 8 16k",
            ]
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
            let errors = check(text).expect_err(text);
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
            ),
            [
                "rewrite (*LIMIT_MATCH=10000)^/a/(.*)$ /$1 last",
                "proxy_redirect ~(*LIMIT_MATCH=10000)^/x(.*) /$1",
                "proxy_redirect off",
                "proxy_cookie_path ~*(*LIMIT_MATCH=10000)^/y /",
                "if ($uri ~ (*LIMIT_MATCH=10000)^/(a|b))",
                "break",
                "if ($uri = /x)",
                "break",
                "location ~*(*LIMIT_MATCH=200)\\.php$",
                "return 404",
                "location ^~ /~x",
            ]
        );
        let many = "location ~ x { }\n".repeat(33);
        let errors = IncludeFile::parse(many.as_bytes(), "nginx.conf").unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().starts_with("nginx.conf:33: more than 32 regular expressions\nhint: "));
    }

    #[test]
    fn buffer_sizes_are_added() {
        let buffered = |text: &str| {
            let include = IncludeFile::parse(text.as_bytes(), "nginx.conf").unwrap();
            include.buffers(ProxyBuffers::default()).unwrap().1
        };
        assert_eq!(buffered("gzip on;"), 96);
        assert_eq!(buffered("proxy_buffer_size 16k;"), 80);
        assert_eq!(
            buffered("proxy_buffers 8 16k; location /x { proxy_buffers 32 32k; proxy_buffer_size 1024; }"),
            1025
        );
    }

    #[test]
    fn directives_outside_of_a_location_that_need_one_are_errors() {
        for text in ["\ninternal;", "gzip on;\nproxy_pass http://app;", "\nlimit_except GET { deny all; }"] {
            let errors = check(text).unwrap_err();
            let message = errors[0].to_string();
            assert!(
                message.starts_with("nginx.conf:2: '")
                    && message.contains("' must be inside a location\nhint: ")
            );
        }
        assert!(
            check("location /x { internal; proxy_pass http://app; limit_except GET { deny all; } }").is_ok()
        );
        for text in
            ["location ^~ /.well-known/acme-challenge/ { }", "location = /.well-known/acme-challenge/x { }"]
        {
            assert!(check(text).unwrap_err()[0].message.contains("is reserved for certificate requests"));
        }
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
