//! Node apps whose framework says what is started after the build.

use piku_tests::snapshot::{IntoData, str};

use crate::support::World;
use crate::{check_words, has_programs};

/// Compares the plan for an app with these scripts and dependencies.
#[track_caller]
fn check_framework(scripts: &str, dependencies: &str, files: &[(&str, &str)], snapshot: impl IntoData) {
    if !has_programs("a framework", &["node", "npm"]) {
        return;
    }
    let package = format!(
        r#"{{"scripts": {{{scripts}}}, "dependencies": {{{dependencies}}}, "devDependencies": {{"tsx": "4"}}}}"#
    );
    let lock = ("package-lock.json", "{\n  \"lockfileVersion\": 3\n}\n");
    let files: Vec<_> =
        [("package.json", package.as_str()), lock].into_iter().chain(files.iter().copied()).collect();
    check_words(&World::new(&files), snapshot);
}

#[test]
fn servers_that_no_start_script_names() {
    check_framework(r#""build": "next build""#, r#""next": "15""#, &[], str![[r#""#]]);
    check_framework(r#""build": "next build", "start": "next dev""#, r#""next": "15""#, &[], str![[r#""#]]);
    check_framework(r#""build": "nuxt build""#, r#""nuxt": "^4""#, &[], str![[r#""#]]);
    check_framework(r#""build": "astro build""#, r#""astro": "5", "@astrojs/node": "9""#, &[], str![[r#""#]]);
    check_framework(r#""build": "vite build""#, r#""@sveltejs/adapter-node": "5""#, &[], str![[r#""#]]);
    check_framework(r#""build": "remix vite:build""#, r#""@remix-run/serve": "2""#, &[], str![[r#""#]]);
    check_framework(
        r#""build": "nest build", "start": "nest start", "start:prod": "node dist/main""#,
        r#""@nestjs/core": "10""#,
        &[],
        str![[r#""#]],
    );
}

#[test]
fn pages_that_a_development_server_would_show() {
    let export = ("next.config.mjs", "export default { output: 'export' }\n");
    check_framework(r#""build": "next build""#, r#""next": "15""#, &[export], str![[r#""#]]);
    check_framework(r#""build": "nuxt generate""#, r#""nuxt": "^4""#, &[], str![[r#""#]]);
    check_framework(
        r#""build": "docusaurus build", "start": "docusaurus start""#,
        r#""@docusaurus/core": "3""#,
        &[],
        str![[r#""#]],
    );
    check_framework(
        r#""build": "eleventy", "start": "npx @11ty/eleventy --serve --quiet""#,
        r#""@11ty/eleventy": "3""#,
        &[],
        str![[r#""#]],
    );
    // Nothing else is there to be started, and here the author means it.
    check_framework(r#""start": "webpack serve""#, r#""webpack": "5""#, &[], str![[r#""#]]);
    check_framework(
        r#""build": "vite build", "start": "vite preview --port $PORT""#,
        r#""vite": "6""#,
        &[],
        str![[r#""#]],
    );
}

#[test]
fn started_development_dependencies_are_kept() {
    check_framework(r#""build": "tsc", "start": "tsx src/main.ts""#, r#""express": "5""#, &[], str![[r#""#]]);
}
