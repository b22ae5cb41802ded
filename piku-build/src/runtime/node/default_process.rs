//! The process of a Node app without a Procfile: its start script, its program, the server that its framework
//! builds, or the pages that the build makes.

use indexmap::IndexMap;
use piku_layout::name::ProcessName;

use super::package_json::{FILE, PackageJson};
use super::{SERVERS, find_lone_script, framework};
use crate::app::app_source::AppSource;
use crate::errors::node as told;

/// Returns the process types, and their source if that is not the Procfile.
pub(super) fn processes(
    source: &AppSource,
    package: &PackageJson,
) -> anyhow::Result<(IndexMap<ProcessName, String>, Option<String>)> {
    if let Some(processes) = crate::runtime::procfile_processes(source) {
        return Ok((processes, None));
    }
    let web = |command: String, from: String| Ok((IndexMap::from([("web".parse()?, command)]), Some(from)));
    if let Some(start) = package.start_script() {
        // npm would stay in memory as one more process. It is needed only if it does more than start the
        // program.
        let more = ["prestart", "poststart"].iter().any(|name| package.script(name).is_some());
        let direct =
            !more && !start.contains("npm_") && crate::app::command_check::split_simple(start).is_some();
        let command = if direct { start.to_owned() } else { "npm start".to_owned() };
        return web(command, format!("the start script in {FILE}"));
    }
    if let Some(name) = find_program(source, package) {
        return web(format!("node {name}"), format!("'{name}', as there is no start script in {FILE}"));
    }
    if let Some((because, command)) = framework::find_server(source, package) {
        return web(command, because);
    }
    if package.build_script().is_some() {
        let create_react =
            package.dependencies(&["dependencies", "devDependencies"]).contains_key("react-scripts");
        let folder = if create_react { "build" } else { "dist" };
        let folder = if framework::is_exported(source, package) { "out" } else { folder };
        return Ok((
            IndexMap::from([("static".parse()?, folder.to_owned())]),
            Some(told::BY_BUILD.to_owned()),
        ));
    }
    Err(told::no_process_types().into())
}

/// Returns the program of an app without a start script.
pub(super) fn find_program<'a>(source: &AppSource, package: &'a PackageJson) -> Option<&'a str> {
    if source.has_entry("server.js") {
        return Some("server.js");
    }
    // An app with a build script needs a start script that names what the build made.
    if package.build_script().is_some() {
        return None;
    }
    let main = package.text("main").map(|main| main.trim_start_matches("./"));
    let named =
        main.filter(|main| source.find(main).is_ok_and(|found| found.is_some_and(|stat| stat.is_file())));
    let lone = || find_lone_script(source).filter(|name| !source.has_entry(FILE) && source.has_entry(name));
    named.or_else(|| SERVERS.into_iter().find(|name| source.has_entry(name))).or_else(lone)
}
