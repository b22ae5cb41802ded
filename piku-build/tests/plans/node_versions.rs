//! The npm of each Node.

use piku_tests::snapshot::{assert_redacted, str};

use crate::support::World;
use crate::{check_words, has_programs};

fn steps(world: &World) -> Vec<String> {
    let plan = world.run(&["plan", "app"]);
    let steps = plan.good(&[]).stdout.lines().filter_map(|line| line.strip_prefix("step     "));
    let fetched = |step: &str| step.rsplit(' ').next().unwrap_or_default().to_owned();
    steps.filter(|step| step.starts_with("npm: /usr/bin/env")).map(fetched).collect()
}

#[test]
fn each_node_is_fetched_with_its_npm() {
    if !has_programs("old Nodes", &["node", "npm"]) {
        return;
    }
    let app = |engines: &str| {
        World::new(&[
            (
                "package.json",
                &format!(
                    r#"{{"engines":{{{engines}}},"scripts":{{"start":"node a.js"}},"dependencies":{{"ms":"2.1.3"}}}}"#
                ),
            ),
            ("package-lock.json", "{\n  \"lockfileVersion\": 3\n}\n"),
        ])
    };
    let architecture = if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" };
    let node = |range: &str| format!("node-linux-{architecture}@{range}");
    for (engines, expected) in [
        (r#""node":"16""#, vec![node("16"), "npm@8".to_owned(), "--no-progress".to_owned()]),
        (r#""node":"12.x","npm":"6.x""#, vec![node("12.x"), "npm@6".to_owned(), "--no-progress".to_owned()]),
        (r#""node":"4.0.0""#, vec![node("4.0.0"), "npm@3".to_owned(), "--no-progress".to_owned()]),
    ] {
        assert_eq!(steps(&app(engines)), expected, "{engines}");
    }
    check_words(
        &app(r#""node":"14","npm":">=11""#),
        str![[r#"
exit 0
runtime  node 14 (engines.node in package.json; fetched from the package registry)
because  there is a package.json
process  web: node a.js (the start script in package.json)
 !     warning: engines.npm in package.json asks for npm >=11, which does not run under Node 14: the npm that belongs to that Node is used

"#]],
    );
    check_words(
        &app(r#""node":"0.8.28""#),
        str![[r#"
exit 1
piku-build: no npm runs under this Node
hint: ask for 0.10 or a newer one in engines.node

"#]],
    );
    check_words(
        &app(r#""npm":"new""#),
        str![[r#"
exit 1
piku-build: engines.npm in package.json asks for npm 'new': 'new' is not a version
hint: examples: 10, 10.x, 8.19.4, >=8, ^8.1 || >=10

"#]],
    );
    let named =
        World::new(&[("package.json", r#"{"packageManager":"npm@9.8.1","scripts":{"start":"npm run a"}}"#)]);
    assert_eq!(steps(&named), ["npm@9.8.1"]);
}

#[test]
fn package_managers_that_are_not_fetched() {
    if !has_programs("package managers", &["node", "npm"]) {
        return;
    }
    let app = |manager: &str| {
        let package = format!(r#"{{"packageManager":"{manager}","scripts":{{"start":"node a.js"}}}}"#);
        World::new(&[("package.json", &package), ("a.js", "")])
    };
    let managers = [
        "bun@1.1.0",
        "pnpm@https://example.org/pnpm.tgz",
        "yarn@file:./yarn",
        "npm@latest",
        "pnpm@9.1.0 --global",
    ];
    let failures = managers.map(|manager| app(manager).run(&["plan", "app"]).failure());
    assert_redacted(
        &failures.concat(),
        &[],
        str![[r#"
piku-build: packageManager in package.json is 'bun@1.1.0'; npm, yarn and pnpm are known here
hint: 'npm pkg delete packageManager' lets npm install
piku-build: packageManager in package.json is 'pnpm@https://example.org/pnpm.tgz': 'https://example.org/pnpm.tgz' is not a version
hint: example: "packageManager": "pnpm@10.0.0"
piku-build: packageManager in package.json is 'yarn@file:./yarn': 'file:./yarn' is not a version
hint: example: "packageManager": "pnpm@10.0.0"
piku-build: packageManager in package.json asks for npm 'latest': 'latest' is not a version
hint: examples: 10, 10.x, 8.19.4, >=8, ^8.1 || >=10
piku-build: packageManager in package.json is 'pnpm@9.1.0 --global': '9.1.0 --global' is not a version
hint: example: "packageManager": "pnpm@10.0.0"

"#]],
    );
}
