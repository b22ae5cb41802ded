//! No value of an app changes the structure of its rendered file.

use indexmap::IndexMap;
use proptest::collection::vec;
use proptest::prelude::*;

use super::include::IncludeFile;
use super::include::syntax::{NginxDirective, parse_directives};
use super::{OperatorPages, RenderSettings, SiteCertificate, VirtualHost, source_of_line};
use crate::env::EnvFile;
use crate::procfile::{ParseOptions, Procfile};
use crate::render::app_values::AppValues;

fn settings() -> RenderSettings {
    RenderSettings {
        app: "my-blog".parse().unwrap(),
        upstreams: vec!["127.0.0.1:5000".parse().unwrap()],
        root: Some("/srv/app".into()),
        data: Some("/srv/data".into()),
        listen: vec!["8080".parse().unwrap(), "10.0.0.1:8080".parse().unwrap()],
        listen_tls: vec!["8443".parse().unwrap()],
        ipv6: true,
        certificate: Some(SiteCertificate::Files {
            certificate: "/srv/c.pem".into(),
            key: "/srv/k.pem".into(),
        }),
        acme_root: Some("/srv/acme".into()),
        cache: Some("/srv/cache".into()),
        passwords: Some("/srv/passwords".into()),
        logs: Some("/srv/logs".into()),
        cloudflare: None,
        http2: super::Http2Syntax::Listen,
        closure: None,
        pages: OperatorPages::default(),
        connections: Some(100),
        trusted_proxies: Vec::new(),
        front: None,
        machines: None,
        shares_settings: false,
    }
}

fn site(procfile: &str, values: &AppValues) -> anyhow::Result<VirtualHost> {
    let procfile = Procfile::parse(procfile.as_bytes(), ParseOptions::default())?;
    VirtualHost::read(&settings(), &procfile, values)
}

fn site_with_env(text: &str) -> anyhow::Result<VirtualHost> {
    let env = EnvFile::parse(text.as_bytes(), &IndexMap::new(), ParseOptions::default())?;
    site("web: a", &AppValues::from_env(&env, "ENV"))
}

/// Returns the names of all directives, blocks in brackets. Entries of a table begin with a value: they are counted.
fn shape(directives: &[NginxDirective]) -> String {
    let mut text = String::new();
    for directive in directives {
        text.push_str(directive.name());
        text.push(' ');
        if let Some(block) = &directive.block {
            let inside =
                if directive.name() == "geo" { format!("{} entries", block.len()) } else { shape(block) };
            text.extend(["[", &inside, "]"]);
        }
    }
    text
}

fn shape_of(site: &VirtualHost) -> String {
    let text = site.server_file();
    assert!(!text.contains('\u{0}'));
    shape(&parse_directives(&text).expect("a file that can be read"))
}

#[test]
fn all_errors_are_reported_with_their_lines() {
    let env = "NGINX_SERVER_NAME=münchen.de,*\nNGINX_HTTPS_ONLY=maybe\n\nNGINX_STATIC_PATHS=/x:/etc,y\n\
               NGINX_CACHE_PREFIXES=/a;b\nNGINX_CACHE_TIME=1h\nNGINX_CACHE_SIZE=-1\nNGINX_BASIC_AUTH=hunter2\n\
               NGINX_IPV4_ADDRESS=10.0.0.9\nNGINX_IPV6_ADDRESS=10.0.0.1\nNGINX_CATCH_ALL=../x\n\
               NGINX_INCLUDE_FILE=/etc/passwd\nDISABLE_IPV6=x\n";
    let message = site_with_env(env).unwrap_err().to_string();
    let firsts: Vec<&str> = message.lines().filter(|line| !line.starts_with("hint")).collect();
    assert_eq!(
        firsts,
        [
            "ENV:1: NGINX_SERVER_NAME: 'münchen.de' is not ASCII: use the DNS form, such as 'xn--mnchen-3ya.de' for 'münchen.de'",
            "ENV:1: NGINX_SERVER_NAME: '*' is not a host name: '_' gets the requests for names that no app has",
            "ENV:2: NGINX_HTTPS_ONLY: 'maybe' is neither 'true' nor 'false'",
            "ENV:4: NGINX_STATIC_PATHS: '/etc' is not a path of the app: use a relative path, or one below '/app' or '/data'",
            "ENV:4: NGINX_STATIC_PATHS: 'y' has no ':'",
            "ENV:5: NGINX_CACHE_PREFIXES: '/a;b': ';' is not allowed in a URL path",
            "ENV:6: NGINX_CACHE_TIME: '1h' is not a whole number of seconds from 0 to 315360000",
            "ENV:7: NGINX_CACHE_SIZE: '-1' is not a whole number of GB from 1 to 1024",
            "ENV:8: NGINX_BASIC_AUTH: item 1: it has no ':'",
            "ENV:10: NGINX_IPV6_ADDRESS: '10.0.0.1' is not such an address",
            "ENV:11: NGINX_CATCH_ALL: '../x': '..' is not allowed",
            "ENV:12: NGINX_INCLUDE_FILE: '/etc/passwd' is not a path of the app: use a relative path, or one below '/app' or '/data'",
            "ENV:13: DISABLE_IPV6: 'x' is neither 'true' nor 'false'",
        ]
    );
    assert!(!message.contains("hunter2"));
}

#[test]
fn an_address_of_another_host_is_ignored_with_a_warning() {
    let env = "NGINX_SERVER_NAME=a.b\nNGINX_IPV4_ADDRESS=10.9.9.9\n";
    let site = site_with_env(env).unwrap();
    let warnings: Vec<String> = site.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings[0].contains("ENV:2: warning: NGINX_IPV4_ADDRESS: '10.9.9.9' is not one of the addresses"),
        "{warnings:?}"
    );
    assert_eq!(site.server_file(), site_with_env("NGINX_SERVER_NAME=a.b\n").unwrap().server_file());
}

#[test]
fn empty_values_are_unset() {
    let message = site_with_env("NGINX_SERVER_NAME=\n").unwrap_err().to_string();
    assert!(message.starts_with("ENV:1: NGINX_SERVER_NAME: no host name is set"), "{message}");
    assert!(site_with_env("").unwrap_err().to_string().starts_with("ENV: NGINX_SERVER_NAME: no host name"));
    let names = [
        "STATIC_PATHS",
        "CATCH_ALL",
        "HTTPS_ONLY",
        "CACHE_PREFIXES",
        "CACHE_TIME",
        "CACHE_PATH",
        "BASIC_AUTH",
        "INCLUDE_FILE",
        "CLOUDFLARE_ACL",
        "ALLOW_GIT_FOLDERS",
        "IPV4_ADDRESS",
        "IPV6_ADDRESS",
    ];
    let env: String = names.iter().flat_map(|name| ["NGINX_", name, "=\n"]).collect();
    let (plain, empty) =
        (site_with_env("NGINX_SERVER_NAME=a.b\n"), site_with_env(&format!("NGINX_SERVER_NAME=a.b\n{env}")));
    assert_eq!(plain.unwrap().server_file(), empty.unwrap().server_file());
}

#[test]
fn a_stored_setting_takes_precedence_and_errors_name_its_source() {
    let env = EnvFile::parse(b"NGINX_SERVER_NAME=a.b", &IndexMap::new(), ParseOptions::default()).unwrap();
    let mut values = AppValues::from_env(&env, "ENV");
    values.set("NGINX_SERVER_NAME", "c.d", "the configuration");
    assert_eq!(site("web: a", &values).unwrap().names()[0].as_str(), "c.d");
    values.set("NGINX_CACHE_TIME", "x", "the configuration");
    let message = site("web: a", &values).unwrap_err().to_string();
    assert!(
        message.starts_with("the configuration: NGINX_CACHE_TIME: 'x' is not a whole number"),
        "{message}"
    );
}

#[test]
fn kept_folders_are_served_from_the_data() {
    let env = "NGINX_SERVER_NAME=a.test\nWRITABLE_PATHS=media,public/up\n\
               NGINX_STATIC_PATHS=/m:media,/s:public,/u:/app/public/up/big,/d:/data/x\n";
    let dirs = site_with_env(env).expect("good settings").static_dirs;
    let paths: Vec<&str> = dirs.iter().map(|dir| dir.path.as_str()).collect();
    let root = settings().root.expect("a root").display().to_string();
    let expected =
        ["/srv/data/app/media", &format!("{root}/public"), "/srv/data/app/public/up/big", "/srv/data/x"];
    assert_eq!(paths, expected);
    assert_eq!(dirs[0].top, "/srv/data");
}

#[test]
fn the_location_for_other_ones_is_there_if_any_can_refer_to_it() {
    let has_location = |env: &str| site_with_env(env).unwrap().server_file().contains("location @app {");
    assert!(!has_location("NGINX_SERVER_NAME=blog.test\n"));
    assert!(has_location("NGINX_SERVER_NAME=blog.test\nNGINX_STATIC_PATHS=/:public\n"));
}

#[test]
fn an_app_can_choose_among_the_listen_addresses() {
    let file = site_with_env("NGINX_SERVER_NAME=a.b\nNGINX_IPV4_ADDRESS=10.0.0.1\nDISABLE_IPV6=1")
        .unwrap()
        .server_file();
    assert!(
        file.contains("listen 8080;") && file.contains("listen 10.0.0.1:8080;") && !file.contains("[::]")
    );
    assert!(
        site_with_env("NGINX_SERVER_NAME=a.b\nNGINX_IPV4_ADDRESS=0.0.0.0\nNGINX_IPV6_ADDRESS=[::]").is_ok()
    );
}

/// Generates texts with the special characters of nginx.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-z0-9./:,-]{0,6}",
        1 => "[^\0]{0,4}",
        1 => prop::sample::select(vec![
            ";", "{", "}", "\"", "'", "\\", "$", "$host", "${host}", "#", "\n", "\r\n", " ", "\t", "..", "/", "/data", "*.",
            "; root /etc", "} server {", "\"; }", "\\\"", ":", "=", "~", "%2e", "\u{202e}", "é",
        ]).prop_map(str::to_owned),
    ];
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// A machine ends a slow request before its front does, and some slow ones close no machine to the others.
#[test]
fn a_front_waits_longer_than_its_machines() {
    let key = piku_layout::front_key::FrontKey::from_bytes([7; 16]);
    let settings = RenderSettings { machines: Some(key), ..settings() };
    let procfile = Procfile::parse(b"web: a", ParseOptions::default()).unwrap();
    for (timeout, at_front) in [(None, "305s"), (Some("1500ms"), "7s"), (Some("1h"), "3605s")] {
        let mut values = AppValues::default();
        values.set("NGINX_SERVER_NAME", "a.test", "ENV");
        if let Some(timeout) = timeout {
            values.set("NGINX_PROXY_READ_TIMEOUT", timeout, "ENV");
        }
        let text = VirtualHost::read(&settings, &procfile, &values).unwrap().server_file();
        assert!(text.contains(&format!("proxy_read_timeout {at_front};\n")), "{text}");
        assert!(
            text.contains("server 127.0.0.1:5000 max_fails=0;\n") && !text.contains("fail_timeout"),
            "{text}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Each value is rejected, or the file has the same directives as with a plain value.
    #[test]
    fn no_value_adds_directives(text in texts(), whole in any::<bool>()) {
        for (name, front, plain) in [
            ("NGINX_STATIC_PATHS", "/x:", "/x:y"),
            ("NGINX_STATIC_PATHS", "/", "/x:y"),
            ("NGINX_CATCH_ALL", "", "y"),
            ("NGINX_CACHE_PREFIXES", "/", "/y"),
            ("NGINX_CACHE_TIME", "", "1"),
            ("NGINX_CACHE_SIZE", "1", "1"),
            ("NGINX_BASIC_AUTH", "a:", "a:b"),
            ("NGINX_IPV4_ADDRESS", "", "10.0.0.1"),
            ("NGINX_SERVER_NAME", "", "y"),
            ("NGINX_REDIRECTS", "x.test:", "x.test:y.test"),
            ("NGINX_TRUSTED_PROXIES", "", "10.0.0.1"),
            ("NGINX_CLIENT_MAX_BODY_SIZE", "1", "1"),
            ("NGINX_PROXY_READ_TIMEOUT", "1", "1"),
            ("NGINX_PROXY_BUFFERS", "8 8", "8 8k"),
            ("NGINX_PROXY_KEEPALIVE", "1", "1"),
            ("NGINX_HSTS_MAX_AGE", "1", "1"),
            ("NGINX_GRPC_PREFIXES", "/", "/y"),
            ("NGINX_WEBSOCKET_TIMEOUT", "", "1"),
            ("NGINX_ACCESS_LOG", "", "on"),
            ("NGINX_PROXY_BUFFERING", "", "on"),
        ] {
            let with = |text: &str| {
                let mut values = AppValues::default();
                values.set("NGINX_SERVER_NAME", "a.test", "ENV");
                if name == "NGINX_CATCH_ALL" {
                    values.set("NGINX_STATIC_PATHS", "/x:y", "ENV");
                }
                values.set("NGINX_HSTS", "1", "ENV");
                values.set(name, text, "ENV");
                site("web: a", &values)
            };
            let given = if whole { text.clone() } else { format!("{front}{text}") };
            let Ok(site) = with(&given) else { continue };
            // Each item adds the same directives: compare files with one item.
            let counts = [site.static_dirs.len(), site.names.len(), site.caching.as_ref().map_or(0, |c| c.prefixes.len())];
            let is_one = match name {
                "NGINX_STATIC_PATHS" => {
                    counts[0] == 1 && !site.static_dirs[0].prefix.is_root() && !site.static_dirs[0].is_app_tree
                }
                "NGINX_SERVER_NAME" => counts[1] == 1,
                "NGINX_CACHE_PREFIXES" => {
                    counts[2] == 1 && !site.caching.as_ref().unwrap().prefixes[0].is_root()
                }
                "NGINX_GRPC_PREFIXES" => site.streams.grpc.len() == 1 && !site.streams.is_all_grpc(),
                "NGINX_CATCH_ALL" => site.catch_all.is_some(),
                "NGINX_BASIC_AUTH" => site.basic_auth.is_some(),
                "NGINX_PROXY_KEEPALIVE" => site.keepalive > 0,
                "NGINX_REDIRECTS" => site.redirects.len() == 1,
                "NGINX_TRUSTED_PROXIES" => site.trusted.as_ref().is_some_and(|proxies| proxies.ranges.len() == 1),
                _ => !given.trim().is_empty(),
            };
            let found = shape_of(&site);
            if is_one {
                prop_assert_eq!(found, shape_of(&with(plain).unwrap()), "{} {:?}", name, given);
            }
            if let Some(passwords) = site.password_file() {
                prop_assert_eq!(passwords.lines().count(), given.split_whitespace().count());
            }
        }
    }

    /// The parser reads the words that the writer wrote.
    #[test]
    fn written_words_are_parsed_back(words in vec("[^\0]{1,12}", 1..4)) {
        let mut config = super::config_writer::NginxConfigFile::default();
        let all: Vec<&str> = words.iter().map(String::as_str).collect();
        config.add_block(&all, |to| to.add(&all));
        let read = parse_directives(&config.finish()).unwrap();
        prop_assert_eq!(&read[0].words, &words);
        prop_assert_eq!(&read[0].block.as_ref().unwrap()[0].words, &words);
    }

    /// An include file is rejected, or all its directives are in the app's server block, which keeps what
    /// separates it from other apps.
    #[test]
    fn include_files_are_rejected_or_kept(
        text in "((location|return|add_header|if|set|root|charset|proxy_set_header|#|[ ;{}\"'\\\\$~()@=a-z/.]){0,4}[ ;{}\n]){0,6}",
        is_static in any::<bool>(),
    ) {
        let Ok(include) = IncludeFile::parse(text.as_bytes(), "nginx.conf") else { return Ok(()) };
        let procfile = if is_static { "static: public" } else { "web: a" };
        let mut values = AppValues::default();
        values.set("NGINX_SERVER_NAME", "a.test", "ENV");
        let plain = site(procfile, &values).unwrap();
        let own = VirtualHost { include, ..plain.clone() };
        let (before, after) = (parse_directives(&plain.server_file()), parse_directives(&own.server_file()));
        let (before, after) = (before.unwrap(), after.unwrap());
        let names = |all: &[NginxDirective]| all.iter().map(|one| one.name().to_owned()).collect::<Vec<_>>();
        prop_assert_eq!(names(&before), names(&after));
        let inside = |all: &[NginxDirective]| {
            let block = all.last().unwrap().block.clone().unwrap();
            let fixed = |one: &NginxDirective| matches!(one.name(), "listen" | "server_name" | "root" | "limit_conn");
            block.into_iter().filter(fixed).map(|one| one.words).collect::<Vec<_>>()
        };
        prop_assert_eq!(inside(&before), inside(&after));
        let count = own.server_file().lines().filter(|line| source_of_line(line).is_some()).count();
        prop_assert_eq!(count, count_directives(&parse_directives(&text).unwrap()));
    }
}

fn count_directives(all: &[NginxDirective]) -> usize {
    all.iter().map(|one| 1 + count_directives(one.block.as_deref().unwrap_or_default())).sum()
}
