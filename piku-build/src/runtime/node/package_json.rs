//! package.json, as far as a plan needs it.

use std::collections::{BTreeMap, HashSet};

use anyhow::Context;
use serde_json::{Map, Value};

use super::development;
use crate::app::app_source::{AppSource, decode};
use crate::errors::node as errors;

pub(super) const FILE: &str = "package.json";

/// Fields that change often and do not affect dependencies.
const NO_DEPENDENCIES: [&str; 20] = [
    "scripts",
    "description",
    "keywords",
    "author",
    "contributors",
    "maintainers",
    "license",
    "repository",
    "bugs",
    "homepage",
    "main",
    "module",
    "types",
    "eslintConfig",
    "prettier",
    "jest",
    "browserslist",
    "babel",
    "lint-staged",
    "husky",
];

/// Scripts of the app that npm runs after an installation.
pub(super) const LIFECYCLE: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];

/// The content of package.json; empty for an app without one.
#[derive(Default)]
pub(super) struct PackageJson(Map<String, Value>);

impl PackageJson {
    /// Reads the app's package.json; `None` without one.
    ///
    /// # Errors
    /// Fails if it is not a JSON object.
    pub(super) fn read(source: &AppSource) -> anyhow::Result<Option<Self>> {
        let Some(text) = source.read_bytes(FILE)? else { return Ok(None) };
        match serde_json::from_str(&decode(&text)) {
            Ok(Value::Object(map)) => Ok(Some(Self(map))),
            Ok(_) => Err(errors::bad_package(1, 1, "it is not an object").into()),
            Err(err) => {
                let why = err.to_string();
                let why = why.split(" at line ").next().unwrap_or_default();
                Err(errors::bad_package(err.line(), err.column(), why).into())
            }
        }
    }

    fn object(&self, name: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.0.get(name).and_then(Value::as_object).into_iter().flatten()
    }

    /// Returns a field that is text. A dot leads into an object: `engines.node`.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut names = name.split('.');
        let mut value = self.0.get(names.next()?)?;
        for name in names {
            value = value.get(name)?;
        }
        value.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Returns a script, unless it is empty.
    pub(super) fn script(&self, name: &str) -> Option<&str> {
        self.0.get("scripts")?.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Returns the name of the build script.
    pub(super) fn build_script(&self) -> Option<&'static str> {
        ["heroku-postbuild", "build"].into_iter().find(|name| self.script(name).is_some())
    }

    /// Returns the start script, unless it runs a development server and a build script makes something to
    /// serve.
    pub(super) fn start_script(&self) -> Option<&str> {
        let start = self.script("start")?;
        let is_skipped = self.build_script().is_some() && development::runs_server(self, start);
        (!is_skipped).then_some(start)
    }

    /// Returns a development dependency that one of these commands starts, directly or by a script.
    pub(super) fn find_started_development<'a>(
        &self,
        commands: impl Iterator<Item = &'a String>,
    ) -> Option<String> {
        let needed = self.dependencies(&["dependencies", "optionalDependencies"]);
        let packages = self.dependencies(&["devDependencies"]);
        let mut packages = packages.into_keys().filter(|name| !needed.contains_key(name));
        let words: Vec<_> = commands.flat_map(|command| development::started_words(self, command)).collect();
        let started: HashSet<_> = words.iter().flat_map(|word| development::packages_of(word)).collect();
        packages.find(|name| started.contains(name)).map(str::to_owned)
    }

    /// Returns names and ranges of the dependencies in these fields.
    pub(super) fn dependencies(&self, kinds: &[&str]) -> BTreeMap<&str, &str> {
        let all = kinds.iter().flat_map(|kind| self.object(kind));
        all.map(|(name, range)| (name.as_str(), range.as_str().unwrap_or_default())).collect()
    }

    /// Returns whether it is the root of several packages.
    pub(super) fn has_workspaces(&self) -> bool {
        self.0.contains_key("workspaces")
    }

    /// Returns the JSON without the fields that do not affect dependencies.
    pub(super) fn dependency_json(mut self) -> anyhow::Result<Vec<u8>> {
        self.0.retain(|name, _| !NO_DEPENDENCIES.contains(&name.as_str()));
        serde_json::to_vec_pretty(&self.0).context("cannot write JSON")
    }

    /// Parses the bytes of a package.json; `None` if they are not a JSON object.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        match serde_json::from_str(&decode(bytes)) {
            Ok(Value::Object(map)) => Some(Self(map)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(text: &str) -> PackageJson {
        PackageJson::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_starts_it_for_its_users() {
        for (start, counts) in [
            ("node server.js", true),
            ("vite", false),
            ("vite --host", false),
            ("vite-node x", true),
            ("vite preview --port $PORT", true),
            ("PORT=3006 react-scripts start", false),
            ("cross-env BROWSER=none react-scripts start", false),
            ("npx @11ty/eleventy --serve --quiet", false),
            ("eleventy --input=src", true),
            ("next start", true),
            ("npm run dev", false),
            ("yarn dev --host", false),
            ("npm run serve", true),
            ("npm run loop", true),
            ("npm run wide", true),
            ("npm run deep0", true),
            ("parcel src/index.html", false),
            ("parcel build src/index.html", true),
            ("stencil build --dev --watch --serve", false),
            ("docusaurus start", false),
            ("nest start", false),
            ("vite build && node x.js", true),
        ] {
            // Read anew at each place, these would fill the memory, and the stack.
            let wide = "npm run wide;".repeat(5000);
            let deep = |at: usize| format!(r#", "deep{at}": "npm run deep{}""#, at + 1);
            let deep: String = (0..20_000).map(deep).collect();
            let scripts = format!(
                r#""start": "{start}", "dev": "vite dev", "serve": "node serve.js", "loop": "npm run loop", "wide": "{wide}"{deep}"#
            );
            let of = |more| package(&format!(r#"{{"scripts": {{{scripts}{more}}}}}"#));
            assert_eq!(of(r#", "build": "x""#).start_script().is_some(), counts, "{start}");
            assert!(of("").start_script().is_some(), "{start}: nothing else to serve");
        }
        assert!(package("{}").start_script().is_none());
    }

    #[test]
    fn development_dependencies_that_are_started() {
        let package = package(
            r#"{"scripts": {"start": "npm run serve", "serve": "ts-node src/a.ts"}, "dependencies": {"next": "1", "both": "1"},
                "devDependencies": {"ts-node": "1", "@nestjs/cli": "1", "tsx": "1", "both": "1", "jest": "1"}}"#,
        );
        for (command, expected) in [
            ("npm start", Some("ts-node")),
            ("nest start", Some("@nestjs/cli")),
            ("node --import tsx src/a.ts", Some("tsx")),
            ("node --loader=ts-node/esm a.ts", Some("ts-node")),
            ("npx tsx a.ts", Some("tsx")),
            ("next start", None),
            ("both", None),
            ("node jest.js", None),
        ] {
            let found = package.find_started_development([command.to_owned()].iter());
            assert_eq!(found.as_deref(), expected, "{command}");
        }
    }

    #[test]
    fn a_changed_script_changes_no_dependency() {
        let reduced = |text| package(text).dependency_json().unwrap();
        let plain = reduced(r#"{"name": "a", "dependencies": {"b": "1"}}"#);
        assert_eq!(plain, reduced(r#"{"name": "a", "scripts": {"x": "y"}, "dependencies": {"b": "1"}}"#));
        assert_ne!(plain, reduced(r#"{"name": "a", "dependencies": {"b": "2"}}"#));
    }
}
