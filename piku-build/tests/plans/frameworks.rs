//! Node apps whose framework says what is started after the build.

use crate::support::World;
use crate::{check_words, has_programs};

/// Checks the last lines of the plan for an app with these scripts and dependencies.
#[track_caller]
fn check_framework(scripts: &str, dependencies: &str, files: &[(&str, &str)], lines: &str) {
    if !has_programs("a framework", &["node", "npm"]) {
        return;
    }
    let package = format!(
        r#"{{"scripts": {{{scripts}}}, "dependencies": {{{dependencies}}}, "devDependencies": {{"tsx": "4"}}}}"#
    );
    let lock = ("package-lock.json", "{\n  \"lockfileVersion\": 3\n}\n");
    let files: Vec<_> =
        [("package.json", package.as_str()), lock].into_iter().chain(files.iter().copied()).collect();
    let head =
        "exit 0\nruntime  node [VERSION] (the machine's own)\nbecause  there is a package.json\nprocess  ";
    check_words(&World::new(&files), format!("{head}{lines}\n"));
}

#[test]
fn servers_that_no_start_script_names() {
    for (scripts, dependencies, process) in [
        (
            r#""build": "next build""#,
            r#""next": "15""#,
            "web: next start --hostname ${BIND_ADDRESS:-127.0.0.1} --port $PORT ('next' among the dependencies)",
        ),
        (
            r#""build": "next build", "start": "next dev""#,
            r#""next": "15""#,
            "web: next start --hostname ${BIND_ADDRESS:-127.0.0.1} --port $PORT ('next' among the dependencies)",
        ),
        (
            r#""build": "nuxt build""#,
            r#""nuxt": "^4""#,
            "web: env HOST=${BIND_ADDRESS:-127.0.0.1} node .output/server/index.mjs ('nuxt' among the dependencies)",
        ),
        (
            r#""build": "astro build""#,
            r#""astro": "5", "@astrojs/node": "9""#,
            "web: env HOST=${BIND_ADDRESS:-127.0.0.1} node ./dist/server/entry.mjs ('@astrojs/node' among the dependencies)",
        ),
        (
            r#""build": "vite build""#,
            r#""@sveltejs/adapter-node": "5""#,
            "web: env HOST=${BIND_ADDRESS:-127.0.0.1} node build ('@sveltejs/adapter-node' among the dependencies)",
        ),
        (
            r#""build": "remix vite:build""#,
            r#""@remix-run/serve": "2""#,
            "web: env HOST=${BIND_ADDRESS:-127.0.0.1} remix-serve ./build/server/index.js ('@remix-run/serve' among the dependencies)",
        ),
        (
            r#""build": "nest build", "start": "nest start", "start:prod": "node dist/main""#,
            r#""@nestjs/core": "10""#,
            "web: node dist/main (the start:prod script in package.json)",
        ),
    ] {
        check_framework(scripts, dependencies, &[], process);
    }
}

#[test]
fn pages_that_a_development_server_would_show() {
    let export = ("next.config.mjs", "export default { output: 'export' }\n");
    check_framework(
        r#""build": "next build""#,
        r#""next": "15""#,
        &[export],
        "static: out (what the build makes)",
    );
    for (scripts, dependencies, process) in [
        (r#""build": "nuxt generate""#, r#""nuxt": "^4""#, "static: dist (what the build makes)"),
        (
            r#""build": "docusaurus build", "start": "docusaurus start""#,
            r#""@docusaurus/core": "3""#,
            "static: dist (what the build makes)",
        ),
        (
            r#""build": "eleventy", "start": "npx @11ty/eleventy --serve --quiet""#,
            r#""@11ty/eleventy": "3""#,
            "static: dist (what the build makes)",
        ),
        // Nothing else is there to be started, and here the author means it.
        (
            r#""start": "webpack serve""#,
            r#""webpack": "5""#,
            "web: webpack serve (the start script in package.json)",
        ),
        (
            r#""build": "vite build", "start": "vite preview --port $PORT""#,
            r#""vite": "6""#,
            "web: vite preview --port $PORT (the start script in package.json)",
        ),
    ] {
        check_framework(scripts, dependencies, &[], process);
    }
}

#[test]
fn started_development_dependencies_are_kept() {
    let process = "web: tsx src/main.ts (the start script in package.json)";
    let warning = " !     warning: all development dependencies are kept, since a process starts 'tsx', which is one of them: 'npm install tsx' moves it to the dependencies";
    check_framework(
        r#""build": "tsc", "start": "tsx src/main.ts""#,
        r#""express": "5""#,
        &[],
        &format!("{process}\n{warning}"),
    );
}
