//! Whatever an app sets, its file has the shape of an app that has set nothing odd.

use indexmap::IndexMap;
use proptest::collection::vec;
use proptest::prelude::*;

use super::syntax::{self, NginxDirective};
use super::{RenderSettings, VirtualHost};
use crate::env::EnvFile;
use crate::procfile::{ParseOptions, Procfile};
use crate::render::values::AppValues;

fn settings() -> RenderSettings {
    RenderSettings {
        app: "my-blog".parse().unwrap(),
        upstreams: vec!["127.0.0.1:5000".parse().unwrap()],
        root: Some("/srv/app".into()),
        data: Some("/srv/data".into()),
        listen: vec!["8080".parse().unwrap(), "10.0.0.1:8080".parse().unwrap()],
        listen_tls: vec!["8443".parse().unwrap()],
        ipv6: true,
        certificate: Some(("/srv/c.pem".into(), "/srv/k.pem".into())),
        acme_root: Some("/srv/acme".into()),
        cache: Some("/srv/cache".into()),
        passwords: Some("/srv/passwords".into()),
        cloudflare: None,
        http2: super::Http2Syntax::Listen,
        maintenance: false,
        connections: Some(100),
    }
}

fn site(procfile: &str, values: &AppValues) -> anyhow::Result<VirtualHost> {
    let procfile = Procfile::parse(procfile.as_bytes(), ParseOptions::default())?;
    VirtualHost::read(&settings(), &procfile, values)
}

fn of_env(text: &str) -> anyhow::Result<VirtualHost> {
    let env = EnvFile::parse(text.as_bytes(), &IndexMap::new(), ParseOptions::default())?;
    site("web: a", &AppValues::of(&env, "ENV"))
}

/// Each directive's name, blocks in brackets: what a value has no part in.
fn shape(directives: &[NginxDirective]) -> String {
    let mut text = String::new();
    for directive in directives {
        text.push_str(directive.name());
        text.push(' ');
        if let Some(block) = &directive.block {
            text.extend(["[", &shape(block), "]"]);
        }
    }
    text
}

fn shape_of(site: &VirtualHost) -> String {
    let text = site.server_file();
    assert!(!text.contains('\u{0}'));
    shape(&syntax::parse(&text).expect("a file that can be read"))
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_line() {
    let env = "NGINX_SERVER_NAME=münchen.de,_\nNGINX_HTTPS_ONLY=maybe\n\nNGINX_STATIC_PATHS=/x:/etc,y\n\
               NGINX_CACHE_PREFIXES=/a;b\nNGINX_CACHE_TIME=1h\nNGINX_CACHE_SIZE=-1\nNGINX_BASIC_AUTH=hunter2\n\
               NGINX_IPV4_ADDRESS=10.0.0.9\nNGINX_IPV6_ADDRESS=10.0.0.1\nNGINX_CATCH_ALL=../x\n\
               NGINX_INCLUDE_FILE=/etc/passwd\nDISABLE_IPV6=x\n";
    let told = of_env(env).unwrap_err().to_string();
    let firsts: Vec<&str> = told.lines().filter(|line| !line.starts_with("hint")).collect();
    assert_eq!(
        firsts,
        [
            "ENV:1: NGINX_SERVER_NAME: 'münchen.de' is not ASCII: write the form that DNS has, such as 'xn--mnchen-3ya.de' for 'münchen.de'",
            "ENV:1: NGINX_SERVER_NAME: '_' is no host name: an app gets the requests for its own names only",
            "ENV:2: NGINX_HTTPS_ONLY: 'maybe' is neither 'true' nor 'false'",
            "ENV:4: NGINX_STATIC_PATHS: '/etc' is not the app's own: a path begins in its folder, at '/app' or at '/data'",
            "ENV:4: NGINX_STATIC_PATHS: 'y' has no ':'",
            "ENV:5: NGINX_CACHE_PREFIXES: '/a;b': ';' cannot be in an address here",
            "ENV:6: NGINX_CACHE_TIME: '1h' is no whole number of seconds from 0 to 315360000",
            "ENV:7: NGINX_CACHE_SIZE: '-1' is no whole number of GB from 1 to 1024",
            "ENV:8: NGINX_BASIC_AUTH: item 1: it has no ':'",
            "ENV:9: NGINX_IPV4_ADDRESS: '10.0.0.9' is none of those that this machine's operator gives to apps",
            "ENV:10: NGINX_IPV6_ADDRESS: '10.0.0.1' is no such address",
            "ENV:11: NGINX_CATCH_ALL: '../x' leads out of the app with '..'",
            "ENV:12: NGINX_INCLUDE_FILE: '/etc/passwd' is not the app's own: a path begins in its folder, at '/app' or at '/data'",
            "ENV:13: DISABLE_IPV6: 'x' is neither 'true' nor 'false'",
        ]
    );
    assert!(!told.contains("hunter2"));
}

#[test]
fn empty_values_are_none() {
    let told = of_env("NGINX_SERVER_NAME=\n").unwrap_err().to_string();
    assert!(told.starts_with("ENV:1: NGINX_SERVER_NAME: no host name is set"), "{told}");
    assert!(of_env("").unwrap_err().to_string().starts_with("ENV: NGINX_SERVER_NAME: no host name"));
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
        (of_env("NGINX_SERVER_NAME=a.b\n"), of_env(&format!("NGINX_SERVER_NAME=a.b\n{env}")));
    assert_eq!(plain.unwrap().server_file(), empty.unwrap().server_file());
}

#[test]
fn the_operators_setting_wins_and_is_told_by_its_place() {
    let env = EnvFile::parse(b"NGINX_SERVER_NAME=a.b", &IndexMap::new(), ParseOptions::default()).unwrap();
    let mut values = AppValues::of(&env, "ENV");
    values.set("NGINX_SERVER_NAME", "c.d", "the configuration");
    assert_eq!(site("web: a", &values).unwrap().names()[0].as_str(), "c.d");
    values.set("NGINX_CACHE_TIME", "x", "the configuration");
    let told = site("web: a", &values).unwrap_err().to_string();
    assert!(told.starts_with("the configuration: NGINX_CACHE_TIME: 'x' is no whole number"), "{told}");
}

#[test]
fn addresses_are_chosen_among_those_of_the_operator() {
    let file =
        of_env("NGINX_SERVER_NAME=a.b\nNGINX_IPV4_ADDRESS=10.0.0.1\nDISABLE_IPV6=1").unwrap().server_file();
    assert!(
        file.contains("listen 8080;") && file.contains("listen 10.0.0.1:8080;") && !file.contains("[::]")
    );
    assert!(of_env("NGINX_SERVER_NAME=a.b\nNGINX_IPV4_ADDRESS=0.0.0.0\nNGINX_IPV6_ADDRESS=[::]").is_ok());
}

/// Texts with all that means something to nginx.
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// One value at a time: the file is refused, or has as many directives as with a plain value.
    #[test]
    fn no_value_breaks_out_of_its_place(text in texts(), whole in any::<bool>()) {
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
        ] {
            let with = |text: &str| {
                let mut values = AppValues::default();
                values.set("NGINX_SERVER_NAME", "a.test", "ENV");
                if name == "NGINX_CATCH_ALL" {
                    values.set("NGINX_STATIC_PATHS", "/x:y", "ENV");
                }
                values.set(name, text, "ENV");
                site("web: a", &values)
            };
            let given = if whole { text.clone() } else { format!("{front}{text}") };
            let Ok(site) = with(&given) else { continue };
            // Several, one or none of them; each adds the same.
            let counts = [site.folders.len(), site.names.len(), site.caching.as_ref().map_or(0, |c| c.prefixes.len())];
            let is_one = match name {
                "NGINX_STATIC_PATHS" => {
                    counts[0] == 1 && !site.folders[0].prefix.is_root() && !site.folders[0].whole
                }
                "NGINX_SERVER_NAME" => counts[1] == 1,
                "NGINX_CACHE_PREFIXES" => {
                    counts[2] == 1 && !site.caching.as_ref().unwrap().prefixes[0].is_root()
                }
                "NGINX_CATCH_ALL" => site.catch_all.is_some(),
                "NGINX_BASIC_AUTH" => site.users.is_some(),
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

    /// What the writer writes is what the reader reads.
    #[test]
    fn words_are_read_as_they_were_written(words in vec("[^\0]{1,12}", 1..4)) {
        let mut config = super::config::NginxConfigFile::default();
        let all: Vec<&str> = words.iter().map(String::as_str).collect();
        config.block(&all, |to| to.put(&all));
        let read = syntax::parse(&config.finish()).unwrap();
        prop_assert_eq!(&read[0].words, &words);
        prop_assert_eq!(&read[0].block.as_ref().unwrap()[0].words, &words);
    }

    /// What is taken from the app's own lines is the same when it is read again.
    #[test]
    fn the_apps_own_lines_are_refused_or_kept(text in "((location|return|add_header|if|set|root|#|[ ;{}\"'\\\\$~()a-z/.]){0,4}[ ;{}\n]){0,6}") {
        if let Ok(include) = super::include::IncludeFile::read(text.as_bytes(), "nginx.conf") {
            let mut config = super::config::NginxConfigFile::default();
            include.write(&mut config, "http://app");
            let again = config.finish();
            let read = syntax::parse(&again).unwrap();
            prop_assert_eq!(shape(&read), shape(&syntax::parse(&text).unwrap()));
        }
    }
}
