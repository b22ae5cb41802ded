//! `NGINX_INCLUDE_FILE`: each directive that the help lists, at each level, beside piku's own values.

use std::process::Command;

use crate::app::{ServedApp, header};
use crate::server::World;

/// All of piku's own values and locations that an app's directive could collide with.
const ENV: &str = "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.inc\nNGINX_BASIC_AUTH=ann:secret\n\
    NGINX_CLOUDFLARE_ACL=1\nNGINX_STATIC_PATHS=/static:public\nNGINX_CACHE_PREFIXES=/thumb\n";

const LOCATION_ONLY: [&str; 3] = ["internal", "limit_except", "proxy_pass"];

/// Directives of an include file, each used once.
const EXAMPLES: &[&str] = &[
    "access_log off;",
    "add_header X-Own 'it; is' always;",
    "allow 127.0.0.1;",
    "auth_basic 'Members only';",
    "auth_request /auth;",
    "auth_request_set $own_user $upstream_http_x_user;",
    "break;",
    "charset utf-8;",
    "client_body_timeout 30s;",
    "client_max_body_size 200m;",
    "default_type text/plain;",
    "deny 192.0.2.0/24;",
    "error_page 404 502 /oops.html;",
    "etag off;",
    "expires 1h;",
    "gzip off;",
    "gzip_comp_level 5;",
    "gzip_min_length 100;",
    "gzip_proxied any;",
    "gzip_types text/css;",
    "gzip_vary off;",
    "if ($arg_x = y) { return 403; }",
    "if_modified_since before;",
    "internal;",
    "keepalive_timeout 10s;",
    "limit_except GET { deny all; }",
    "limit_rate 100k;",
    "limit_rate_after 1m;",
    "location /own/place { expires 1y; }",
    "log_not_found off;",
    "proxy_buffer_size 16k;",
    "proxy_buffering off;",
    "proxy_buffers 8 16k;",
    "proxy_busy_buffers_size 40k;",
    "proxy_connect_timeout 9s;",
    "proxy_cookie_domain one.test two.test;",
    "proxy_cookie_flags one secure;",
    "proxy_cookie_path /one/ /;",
    "proxy_hide_header X-Secret;",
    "proxy_intercept_errors on;",
    "proxy_pass http://app;",
    "proxy_pass_header Server;",
    "proxy_read_timeout 3600s;",
    "proxy_redirect off;",
    "proxy_request_buffering off;",
    "proxy_send_timeout 3600s;",
    "proxy_set_header Host own.test;",
    "real_ip_header X-Real-IP;",
    "real_ip_recursive on;",
    "recursive_error_pages on;",
    "return 204;",
    "rewrite ^/old/(.*)$ /new/$1 last;",
    "satisfy any;",
    "send_timeout 30s;",
    "set $own 1;",
    "set_real_ip_from 192.0.2.0/24;",
    "sub_filter one two;",
    "sub_filter_once off;",
    "sub_filter_types text/css;",
];

fn name(example: &str) -> &str {
    example.split([' ', ';']).next().unwrap_or_default()
}

/// Returns the world with the app's file, not yet tested.
fn with_include(world: World, include: &str) -> World {
    world.file("app/ENV", ENV).file("app/own.inc", include).site(&["--upstream", "127.0.0.1:9"])
}

#[test]
fn every_listed_directive_is_accepted_at_every_level() {
    let Some(mut world) = World::new() else { return };
    let help = Command::new(env!("CARGO_BIN_EXE_piku-procfile"))
        .args(["render", "nginx", "--help"])
        .output()
        .expect("the tool");
    let help = String::from_utf8(help.stdout).expect("text");
    let (_, list) = help.split_once("'access_log' can only be 'off':\n").expect("the list");
    let (list, _) = list.split_once("\n\n").expect("its end");
    let listed: Vec<&str> = list.split_whitespace().collect();
    assert_eq!(listed, EXAMPLES.iter().map(|example| name(example)).collect::<Vec<_>>());

    let is_top = |example: &&&str| !LOCATION_ONLY.contains(&name(example));
    let top: String = EXAMPLES.iter().filter(is_top).flat_map(|example| [*example, "\n"]).collect();
    let mut files = vec![top];
    for place in ["/", "/static/", "= /static", "/thumb/", "= /thumb", "@app", "~ \\.js$", "/api"] {
        // nginx accepts no location in one that is exact or named, and piku no condition where files are.
        let is_files = place.ends_with("/static") || place == "/static/";
        let lines = EXAMPLES.iter().filter(|example| match name(example) {
            "location" => place == "/api",
            "if" | "rewrite" | "return" | "proxy_pass" => !is_files,
            "internal" => place != "@app",
            _ => true,
        });
        let lines: String = lines.map(|line| line.replace("/own/place", "/api/place") + "\n").collect();
        files.push(format!("location {place} {{\n{lines}}}\n"));
    }
    for example in EXAMPLES.iter().filter(is_top) {
        files.push((*example).to_owned());
    }
    for example in EXAMPLES {
        files.push(format!("location /own {{ {example} }}\n"));
    }
    for file in files {
        world = with_include(world, &file);
        assert_eq!(world.tested(), Ok(()), "{file}");
    }
}

#[test]
fn the_apps_values_take_precedence() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let upstream = format!("127.0.0.1:{}", app.port);
    let world = world
        .file(
            "app/ENV",
            "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.inc\nNGINX_CACHE_PREFIXES=/thumb\n",
        )
        .file(
            "app/own.inc",
            "client_max_body_size 10;\n\
             proxy_set_header host own.test;\n\
             add_header X-Top 1;\n\
             location / { add_header X-Root 2; }\n\
             location /api { proxy_set_header X-Api yes; }\n\
             location /thumb/ { expires 1d; }\n\
             location = /closed { deny all; }\n\
             location /open { allow all; }\n",
        )
        .site(&["--upstream", &upstream])
        .start();
    let post = |length: usize| {
        let body = "x".repeat(length);
        let head = "POST /up HTTP/1.1\r\nHost: blog.test\r\nConnection: close\r\n";
        world.send(&format!("{head}Content-Length: {length}\r\n\r\n{body}")).status
    };
    assert_eq!([post(10), post(11)], [200, 413]);
    let root = world.get("blog.test", "/");
    assert_eq!(header(&root.body, "host").as_deref(), Some("own.test"));
    assert_eq!(root.body.to_ascii_lowercase().matches("\nhost:").count(), 1, "{root:?}");
    assert_eq!([root.header("x-top").as_deref(), root.header("x-root").as_deref()], [Some("1"), Some("2")]);
    // A header of its own takes no header of piku's away.
    let api = world.get("blog.test", "/api/1").body;
    assert_eq!(header(&api, "x-api").as_deref(), Some("yes"));
    assert_eq!(header(&api, "host").as_deref(), Some("own.test"));
    assert_eq!(header(&api, "x-forwarded-proto").as_deref(), Some("http"));
    let thumb = world.get("blog.test", "/thumb/1");
    assert!(thumb.header("expires").is_some() && thumb.header("x-cache").is_some(), "{thumb:?}");
    assert_eq!(thumb.header("x-top").as_deref(), Some("1"));
    assert_eq!([world.status("/closed"), world.status("/open/door")], [403, 200]);
}

#[test]
fn locations_of_the_app_serve_its_files_and_no_other() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/Procfile", "static: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.inc\n")
        .file(
            "app/own.inc",
            "rewrite ^/up1 /../../secret last;\n\
             location / { add_header X-Own 1; }\n\
             location ~* \\.(js|css)$ { expires 1y; }\n\
             location = /one { default_type text/plain; }\n\
             location = /.env { }\n\
             location /assets { if ($arg_x) { return 403; } }\n\
             location /up2 { rewrite ^ /../../secret break; }\n\
             location /up3 { error_page 404 @up; }\n\
             location @up { }\n\
             location /up4 { rewrite ^ /../../secret.js last; }\n",
        )
        .file("app/public/a.js", "js")
        .file("app/public/one", "one")
        .file("app/public/.env", "secret")
        .file("app/public/assets/x", "x")
        .file("secret", "secret")
        .file("secret.js", "secret")
        .site(&[])
        .start();
    let script = world.get("blog.test", "/a.js");
    assert_eq!((script.status, script.body.as_str()), (200, "js"));
    assert!(script.header("expires").is_some(), "{script:?}");
    assert_eq!(world.get("blog.test", "/one").body, "one");
    for path in ["/up1", "/up2", "/up3/x", "/up4", "/.env", "/x/../.env", "/none.js"] {
        let answer = world.get("blog.test", path);
        assert!(answer.status >= 400 && !answer.body.contains("secret"), "{path}: {answer:?}");
    }
    // The whole tree, with the files that nginx never serves.
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/Procfile", "static: .\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.inc\n")
        .file("app/own.inc", "location = /ENV { }\nlocation ~ E { }\nlocation /Pro { }\n")
        .site(&[])
        .start();
    assert_eq!([world.status("/ENV"), world.status("/Procfile"), world.status("/own.inc")], [404, 404, 200]);
}

#[test]
fn what_cannot_be_is_refused_with_its_line() {
    let Some(mut world) = World::new() else { return };
    let site = "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.inc\n";
    for (procfile, include, message) in [
        (
            "web: serve",
            "\nauth_basic 'Members';",
            "own.inc:2: 'auth_basic' needs names and passwords\nhint: set NGINX_BASIC_AUTH\n",
        ),
        ("web: serve", "\n\nproxy_pass http://app;", "own.inc:3: 'proxy_pass' must be inside a location\n"),
        (
            "web: serve",
            "proxy_buffers 2 4k;\nproxy_buffer_size 64k;",
            "own.inc:1: 'proxy_buffer_size' must not be larger",
        ),
        (
            "static: public",
            "location / {\n if ($arg_x) { return 403; }\n}",
            "own.inc:2: 'if' cannot be inside a location whose files",
        ),
        (
            "static: public",
            "location / {\n rewrite ^ /../../secret break;\n}",
            "own.inc:2: 'rewrite' cannot be inside a location whose",
        ),
        (
            "static: public",
            "location / {\n location /x { }\n}",
            "own.inc:2: 'location' cannot be inside a location whose files",
        ),
        (
            "web: serve",
            "location ^~ /.well-known/acme-challenge/ { }",
            "own.inc:1: 'location': '/.well-known/acme-challenge/' is reserved",
        ),
    ] {
        world = world.file("app/Procfile", procfile).file("app/ENV", site).file("app/own.inc", include);
        let told = world.refused(&["--upstream", "127.0.0.1:9"]);
        assert!(told.contains(message), "{include}: {told}");
    }
    // nginx itself refuses the rest, and the rendered line names that of the app's file.
    for (include, source) in [
        ("\nlocation /a { }\nlocation /a { }", "own.inc:3"),
        ("gzip on;\ngzip off;", "own.inc:2"),
        ("location / { }\nlocation / { }", "own.inc:2"),
        ("\nclient_max_body_size lots;", "own.inc:2"),
        ("if ($arg_x) {\n proxy_buffering off;\n}", "own.inc:2"),
    ] {
        world = world.file("app/Procfile", "web: serve").file("app/own.inc", include);
        world = world.site(&["--upstream", "127.0.0.1:9"]);
        let told = world.tested().expect_err(include);
        let number = told.split("blog.conf:").nth(1).and_then(|rest| rest.lines().next());
        let number: usize = number.and_then(|number| number.trim().parse().ok()).expect(&told);
        let text = std::fs::read_to_string(world.path("nginx/apps/blog.conf")).expect("the file");
        assert!(text.lines().nth(number - 1).expect("its line").ends_with(&format!(" # {source}")), "{told}");
    }
}
