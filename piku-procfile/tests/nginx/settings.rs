//! Names, passwords, HTTPS, maintenance, an app's own lines, and many apps at once.

use std::process::Command;

use crate::app::{ServedApp, header};
use crate::server::World;

#[test]
fn names_and_passwords_are_asked_for_except_by_acme() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    // 'openssl passwd -6 -salt ab secret'
    let hash = "$6$ab$";
    let made =
        Command::new("openssl").args(["passwd", "-6", "-salt", "ab", "secret"]).output().expect("openssl");
    let made = String::from_utf8(made.stdout).unwrap();
    assert!(made.starts_with(hash), "{made}");
    let world = world
        .file(
            "app/ENV",
            format!("NGINX_SERVER_NAME=blog.test\nNGINX_BASIC_AUTH='ann:{} bob:pa,ss'\n", made.trim()),
        )
        .file("acme/.well-known/acme-challenge/token", "proof")
        .site(&["--upstream", &format!("127.0.0.1:{}", app.port)])
        .start();
    let with = |proof: &str| {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: blog.test\r\nAuthorization: Basic {proof}\r\nConnection: close\r\n\r\n"
        );
        world.send(&request).status
    };
    assert_eq!(world.status("/"), 401);
    // ann:secret, bob:pa,ss, bob:secret
    assert_eq!([with("YW5uOnNlY3JldA=="), with("Ym9iOnBhLHNz"), with("Ym9iOnNlY3JldA==")], [200, 200, 401]);
    assert_eq!(world.get("blog.test", "/.well-known/acme-challenge/token").body, "proof");
}

#[test]
fn maintenance_is_503_with_a_time_to_come_back() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_CACHE_PREFIXES=/x\nNGINX_CATCH_ALL=i.html\nNGINX_STATIC_PATHS=/:public")
        .file("acme/.well-known/acme-challenge/token", "proof")
        .site(&["--maintenance"])
        .start();
    let answer = world.get("blog.test", "/any/where");
    assert_eq!((answer.status, answer.header("retry-after").as_deref()), (503, Some("120")), "{answer:?}");
    assert!(answer.body.contains("maintenance"));
    let posted =
        world.send("POST /x HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(posted.status, 503);
    assert_eq!(world.get("blog.test", "/.well-known/acme-challenge/token").body, "proof");
}

#[test]
fn https_is_served_and_redirected_to_and_strangers_get_no_certificate() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let (certificate, key) = world.make_certificate();
    let upstream = format!("127.0.0.1:{}", app.port);
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_HTTPS_ONLY=true\n")
        .file("acme/.well-known/acme-challenge/token", "proof")
        .site(&["--upstream", &upstream, "--certificate", &certificate, "--key", &key])
        .start();
    let answer = world.get("blog.test", "/a?b=c");
    assert_eq!(answer.status, 301);
    let wanted = format!("https://blog.test:{}/a?b=c", world.tls);
    assert_eq!(answer.header("location"), Some(wanted.clone()));
    assert_eq!(world.get("blog.test", "/.well-known/acme-challenge/token").body, "proof");
    let curl = |host: &str| {
        let resolve = format!("{host}:{}:127.0.0.1", world.tls);
        let url = wanted.replace("blog.test", host);
        let out =
            Command::new("curl").args(["-s", "-k", "--noproxy", "*", "--resolve", &resolve, &url]).output();
        out.expect("curl")
    };
    let answer = curl("blog.test");
    let body = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert_eq!(header(&body, "x-forwarded-proto").as_deref(), Some("https"), "{body}");
    assert_eq!(header(&body, "host"), Some(format!("blog.test:{}", world.tls)));
    assert!(!curl("other.test").status.success());
}

#[test]
fn only_cloudflare_and_this_machine_get_an_answer() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_CLOUDFLARE_ACL=1\n")
        .file("ranges", "127.0.0.3/32\n2400:cb00::/32\n");
    let ranges = world.path("ranges").to_str().unwrap().to_owned();
    let upstream = format!("127.0.0.1:{}", app.port);
    let world = world.site(&["--upstream", &upstream, "--cloudflare-ranges", &ranges]).start();
    assert_eq!(world.status("/"), 200);
    assert_eq!(world.send_from("127.0.0.2", "Host: blog.test").status, 403);
    assert_eq!(world.send_from("127.0.0.3", "Host: blog.test").status, 200);
}

#[test]
fn the_apps_own_lines_are_served_and_cannot_climb_out() {
    [World::new(), World::shared()].into_iter().flatten().for_each(own_lines_cannot_climb_out);
}

fn own_lines_cannot_climb_out(world: World) {
    let app = ServedApp::start();
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=conf/nginx.conf\nNGINX_STATIC_PATHS=/static:public\n")
        .file("app/public/a.css", "a {}")
        .file("secret", "secret")
        .file(
            "app/conf/nginx.conf",
            "add_header X-Own 'it; is' always;\n\
             location = /old { return 302 /new; }\n\
             location /api { proxy_set_header X-Api yes; proxy_pass http://app; }\n\
             location /up1 { rewrite ^ /static/../../secret last; }\n\
             location /up2 { rewrite ^ /static/../../secret break; }\n\
             location /up3 { rewrite ^ /.well-known/acme-challenge/../../../secret last; }\n\
             location /up4 { rewrite ^ /static/$arg_p last; }\n\
             location /up5 { error_page 418 /static/../../secret; return 418; }\n\
             location /up6 { }\n",
        )
        .site(&["--upstream", &format!("127.0.0.1:{}", app.port)])
        .start();
    assert_eq!(world.get("blog.test", "/").header("x-own").as_deref(), Some("it; is"));
    assert_eq!(world.get("blog.test", "/old").header("location").as_deref(), Some("/new"));
    assert_eq!(header(&world.get("blog.test", "/api/1").body, "x-api").as_deref(), Some("yes"));
    for path in ["/up1", "/up2", "/up3", "/up4?p=../../secret", "/up5", "/up6/etc/passwd", "/up6../secret"] {
        let answer = world.get("blog.test", path);
        // The app's answer names the path that it was asked for.
        let is_answer = answer.body.starts_with("answer ");
        assert!(is_answer || answer.status >= 400 && !answer.body.contains("secret"), "{path}: {answer:?}");
    }
    assert_eq!(world.get("blog.test", "/up4?p=a.css").body, "a {}");
}

#[test]
fn a_thousand_names_and_the_longest_ones() {
    let Some(world) = World::new() else { return };
    let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    let names: Vec<String> =
        (0..1000).map(|n| format!("host-{n}.blog.test")).chain([longest.clone()]).collect();
    let world = world
        .file("app/Procfile", "static: public")
        .file("app/ENV", format!("NGINX_SERVER_NAME={}\n", names.join(",")))
        .file("app/public/index.html", "hi")
        .site(&[])
        .start();
    for name in ["host-0.blog.test", "host-999.blog.test", &longest] {
        assert_eq!(world.get(name, "/").body, "hi");
    }
    assert_eq!(world.get("host-1000.blog.test", "/").status, 404);
}

#[test]
fn many_apps_are_one_good_configuration() {
    let Some(world) = World::new() else { return };
    let mut world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test").site(&["--upstream", "127.0.0.1:9"]);
    for number in 0..50 {
        let env = format!(
            "NGINX_SERVER_NAME=x{number}.test\nNGINX_CACHE_PREFIXES=/a,/b\nNGINX_CLOUDFLARE_ACL=1\nNGINX_ALLOW_GIT_FOLDERS=1\n"
        );
        world = world.file("app/ENV", env);
        let (name, cache) = (format!("x-{number}"), world.path("cache"));
        let site = world.render(&[
            "--app",
            &name,
            "--upstream",
            "[::1]:9",
            "--cache",
            cache.to_str().unwrap(),
            "--no-ipv6",
        ]);
        world = world.file(&format!("nginx/apps/{name}.conf"), site);
    }
    assert_eq!(world.tested(), Ok(()));
}

#[test]
fn the_test_notices_a_bad_file() {
    let Some(world) = World::new() else { return };
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test").site(&["--upstream", "127.0.0.1:9"]);
    let world = world.file("nginx/apps/bad.conf", "server { nonsense; }");
    assert!(world.tested().unwrap_err().contains("nonsense"));
}

#[test]
fn no_long_or_repeated_value_makes_a_configuration_that_nginx_rejects_or_that_is_huge() {
    let Some(world) = World::new() else { return };
    let world = world.file("app/own.conf", "location /a { return 204; }\n".repeat(201));
    let list = |name: &str, item: &dyn Fn(usize) -> String| {
        format!("{name}={}", (0..201).map(item).collect::<Vec<_>>().join(","))
    };
    let zeros = "0".repeat(5000);
    for (setting, message) in [
        (format!("NGINX_CLIENT_MAX_BODY_SIZE={zeros}1"), "is not a size"),
        (format!("NGINX_SEND_TIMEOUT={zeros}1s"), "is not a time"),
        (format!("NGINX_TRUSTED_PROXIES=10.0.0.0/{zeros}8"), "is not an address range"),
        (format!("ERROR_PAGE_URL=http://a.test/{}", "&".repeat(980)), "it is not a URL"),
        (list("NGINX_STATIC_PATHS", &|number| format!("/s{number}:public")), "more than 100 items"),
        (list("NGINX_CACHE_PREFIXES", &|number| format!("/s{number}")), "more than 100 items"),
        (list("NGINX_GRPC_PREFIXES", &|number| format!("/s{number}")), "more than 100 items"),
        (list("NGINX_REDIRECTS", &|number| format!("w{number}.test:blog.test")), "more than 200 items"),
        ("NGINX_INCLUDE_FILE=own.conf".to_owned(), "own.conf:201: more than 200 blocks"),
    ] {
        std::fs::write(world.path("app/ENV"), format!("NGINX_SERVER_NAME=blog.test\n{setting}\n")).unwrap();
        let told = world.refused(&["--upstream", "127.0.0.1:9"]);
        assert!(told.contains(message), "{told}");
    }
}
