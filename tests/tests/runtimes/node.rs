//! A Node app with real dependencies, pushed and served.

use std::net::TcpListener;

use piku_tests::world::World;

const SERVER: &str = "const app = require('express')()
app.get('/', (_, answer) => answer.send('express says one\\n'))
const server = app.listen(process.env.PORT, process.env.BIND_ADDRESS)
process.on('SIGTERM', () => server.close(() => { console.log('closed by a signal'); process.exit(0) }))
";

#[test]
fn express_dependencies_are_installed_once() {
    let world = World::new();
    let repo = world.repo("site");
    let package = r#"{"name": "site", "private": true, "scripts": {"start": "node server.js"}, "dependencies": {"express": "4.21.2"}}"#;
    repo.file("package.json", package).file("server.js", SERVER).commit("One");
    let said = repo.push().succeeds();
    assert!(said.contains("-----> Node app detected: there is a package.json"), "{said}");
    assert!(said.contains("warning: there is no lock file"), "{said}");
    assert_eq!(world.page("site"), "express says one\n");

    let said = repo.file("server.js", SERVER.replace("one", "two")).commit("Two").push().succeeds();
    assert!(said.contains("Dependencies are unchanged: layer node_modules"), "{said}");
    assert!(!said.contains("added "), "nothing is installed again:\n{said}");
    assert_eq!(world.page("site"), "express says two\n");
    // No npm and no shell stands between the supervisor and the app.
    let log = world.tool("piku-run").args(["logs", "site", "--ps", "web.1"]).output().expect("logs");
    let log = String::from_utf8_lossy(&log.stdout);
    assert!(log.contains("closed by a signal"), "{log}");
}

#[test]
fn npm_start_asks_no_registry() {
    let world = World::new();
    let registry = TcpListener::bind("127.0.0.1:0").expect("a port");
    registry.set_nonblocking(true).expect("a listener");
    let port = registry.local_addr().expect("an address").port();
    let repo = world.repo("site");
    repo.file("package.json", r#"{"name": "site", "private": true, "workspaces": ["page"]}"#)
        .file("package-lock.json", r#"{"name": "site", "lockfileVersion": 3, "packages": {"": {"name": "site", "workspaces": ["page"]}, "node_modules/page": {"resolved": "page", "link": true}, "page": {"version": "1.0.0"}}}"#)
        .file("page/package.json", r#"{"name": "page", "version": "1.0.0", "scripts": {"start": "node server.js"}}"#)
        .file(
            "page/server.js",
            "require('http').createServer((_, answer) => answer.end(process.env.npm_config_fund + process.env.NEXT_TELEMETRY_DISABLED)).listen(process.env.PORT, '127.0.0.1')",
        )
        .file("Procfile", "web: npm start -w page\n")
        // As an app that sets one of them itself.
        .file("ENV", format!("NPM_CONFIG_REGISTRY=http://127.0.0.1:{port}/\nNEXT_TELEMETRY_DISABLED=mine\n"))
        .commit("One");
    repo.push().succeeds();
    assert_eq!(world.page("site"), "falsemine");
    assert!(registry.accept().is_err(), "npm has asked the registry");
}
