//! Errors of `render`, and an app's own nginx directives.

use std::fs;

use piku_tests::snapshot::{assert_snapshot, str};

use crate::support::Tool;

#[test]
fn an_app_that_asks_for_nothing_is_one_clear_line() {
    Tool::new(&["render", "nginx"]).file("Procfile", "web: a").says(
        1,
        str![[r#"
ENV: NGINX_SERVER_NAME: no host name is set, so nginx cannot serve the app
hint: write a name such as 'blog.example.org', or '*.example.org' for all names below it

"#]],
    );
    Tool::new(&["render", "nginx"]).file("Procfile", "web: a").file("ENV", "NGINX_SERVER_NAME=a.b").says(
        1,
        str![[r#"
piku-procfile: the app has a web process, and no address of it is given
hint: add --upstream 127.0.0.1:5000 for each instance, or --maintenance

"#]],
    );
    Tool::new(&["render", "nginx", "--upstream", "127.0.0.1:5000"])
        .file("Procfile", "web: a")
        .file("ENV", "\nNGINX_SERVER_NAME=a b;c\n")
        .says(
            1,
            str![[r#"
ENV:2: NGINX_SERVER_NAME: 'b;c' is not a host name
hint: write a name such as 'blog.example.org', or '*.example.org' for all names below it

"#]],
        );
    // In a deploy, with the push's margin.
    Tool::new(&["render", "nginx"])
        .env("PIKU_TALK", "deploy")
        .file("Procfile", "static: /etc/..")
        .file("ENV", "NGINX_SERVER_NAME=a.b")
        .says(
            1,
            str![[r#"
 !     Procfile:1: static: 'etc/..': '..' is not allowed
 !         static: /etc/..

"#]],
        );
    Tool::new(&["render", "crontab"]).file("Procfile", "web: a").says(
        1,
        str![[r#"
piku-procfile: the Procfile has no cron jobs
hint: a cron job has five fields and a command: 'cron: 0 5 * * * ./backup'

"#]],
    );
}

#[test]
fn an_included_file_is_read_in_the_app_only() {
    let outside = tempfile::NamedTempFile::new().expect("a file");
    fs::write(outside.path(), "hunter2;").expect("a file");
    let texts = ["nginx.conf", "none", "../x", "link"].map(|name| {
        let tool = Tool::new(&["render", "nginx", "--root", ".", "--upstream", "127.0.0.1:5000"])
            .file("Procfile", "web: a")
            .file("nginx.conf", "gzip on;\nroot /etc;\n")
            .file("ENV", format!("NGINX_SERVER_NAME=a.b\nNGINX_INCLUDE_FILE={name}\n"));
        std::os::unix::fs::symlink(outside.path(), tool.path().join("link")).expect("a link");
        tool.transcript()
    });
    assert_snapshot(
        &texts.concat(),
        str![[r#"
$ piku-procfile render nginx --root . --upstream 127.0.0.1:5000
exit status: 1
--- stderr
nginx.conf:2: 'root' is not allowed in an app's file
hint: use NGINX_STATIC_PATHS and NGINX_CATCH_ALL to serve files

$ piku-procfile render nginx --root . --upstream 127.0.0.1:5000
exit status: 1
--- stderr
ENV:2: NGINX_INCLUDE_FILE: there is no file 'none'

$ piku-procfile render nginx --root . --upstream 127.0.0.1:5000
exit status: 1
--- stderr
ENV:2: NGINX_INCLUDE_FILE: '../x': '..' is not allowed

$ piku-procfile render nginx --root . --upstream 127.0.0.1:5000
exit status: 1
--- stderr
ENV:2: NGINX_INCLUDE_FILE: cannot read 'link': a symlink leads out of the app tree


"#]],
    );
}
