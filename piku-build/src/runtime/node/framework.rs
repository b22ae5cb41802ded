//! Frameworks whose build makes a server that no start script names.

use super::package_json::{FILE, PackageJson};
use crate::app::app_source::{AppSource, decode};

/// The server that Nitro builds, for Nuxt, `SolidStart`, `TanStack` Start and others.
pub(super) const NITRO: &str = ".output/server/index.mjs";
/// Packages that show which server a build makes, and its file.
const BUILT: [(&str, &str); 6] = [
    ("@astrojs/node", "./dist/server/entry.mjs"),
    ("@sveltejs/adapter-node", "build"),
    ("nuxt", NITRO),
    ("nitropack", NITRO),
    ("nitro", NITRO),
    ("@nestjs/core", "dist/main"),
];
/// The same, served by a program of the package.
const SERVED: [(&str, &str); 2] =
    [("@remix-run/serve", "remix-serve"), ("@react-router/serve", "react-router-serve")];
/// Scripts that the authors of apps name for servers in production.
const SCRIPTS: [&str; 3] = ["start:prod", "start:production", "serve:prod"];
const NEXT: &str = "next";
/// Files with the settings of Next.
const NEXT_CONFIGS: [&str; 4] = ["next.config.js", "next.config.mjs", "next.config.ts", "next.config.cjs"];

/// Returns the command for a file that a framework built. Its port is in `PORT`.
pub(super) fn serve(file: &str) -> String {
    format!("env HOST=${{BIND_ADDRESS:-127.0.0.1}} node {file}")
}

/// Returns the command that serves the app after its build, behind what shows it: a script or a package.
pub(super) fn find_server(source: &AppSource, package: &PackageJson) -> Option<(String, String)> {
    let build = package.script(package.build_script()?)?;
    if let Some((name, text)) = SCRIPTS.iter().find_map(|name| Some((name, package.script(name)?))) {
        let is_simple = crate::app::command_check::split_simple(text).is_some() && !text.contains("npm_");
        let command = if is_simple { text.to_owned() } else { format!("npm run {name}") };
        return Some((format!("the {name} script in {FILE}"), command));
    }
    let packages = package.dependencies(&["dependencies", "devDependencies"]);
    if packages.contains_key(NEXT) {
        let command = "next start --hostname ${BIND_ADDRESS:-127.0.0.1} --port $PORT".to_owned();
        return (!is_exported(source, package)).then(|| (dependency(NEXT), command));
    }
    if build.contains("generate") {
        return None;
    }
    if let Some((name, program)) = SERVED.iter().find(|(name, _)| packages.contains_key(name)) {
        let command = format!("env HOST=${{BIND_ADDRESS:-127.0.0.1}} {program} ./build/server/index.js");
        return Some((dependency(name), command));
    }
    let (name, file) = BUILT.iter().find(|(name, _)| packages.contains_key(name))?;
    let is_old_nuxt =
        *name == "nuxt" && packages["nuxt"].trim_start_matches(['^', '~', 'v']).starts_with('2');
    let command = if is_old_nuxt {
        "nuxt start --hostname ${BIND_ADDRESS:-127.0.0.1} --port $PORT".to_owned()
    } else {
        serve(file)
    };
    Some((dependency(name), command))
}

fn dependency(name: &str) -> String {
    format!("'{name}' among the dependencies")
}

/// Returns whether the build of a Next app makes pages alone.
pub(super) fn is_exported(source: &AppSource, package: &PackageJson) -> bool {
    let packages = package.dependencies(&["dependencies", "devDependencies"]);
    let scripts = package.build_script().and_then(|name| package.script(name)).unwrap_or_default();
    let sets_export = || {
        NEXT_CONFIGS.iter().filter_map(|name| source.read_bytes(name).ok().flatten()).any(|text| {
            let text: String = decode(&text).chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
            text.replace('\'', "").contains("output:export")
        })
    };
    packages.contains_key(NEXT) && (scripts.contains("next export") || sets_export())
}
