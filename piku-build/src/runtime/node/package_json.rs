//! package.json, as far as a plan needs it.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::{Map, Value};

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

/// Start scripts that run a development server.
const DEVELOPMENT: [&str; 12] = [
    "react-scripts start",
    "vite",
    "vite dev",
    "vite serve",
    "vite preview",
    "ng serve",
    "vue-cli-service serve",
    "webpack serve",
    "webpack-dev-server",
    "parcel",
    "craco start",
    "astro dev",
];

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

    /// Returns the start script, unless it runs a development server.
    pub(super) fn start_script(&self) -> Option<&str> {
        self.script("start").filter(|text| {
            !DEVELOPMENT.iter().any(|server| {
                text.strip_prefix(server).is_some_and(|rest| rest.is_empty() || rest.starts_with(" -"))
            })
        })
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
            ("react-scripts start", false),
            ("next start", true),
            ("vite build && node x.js", true),
        ] {
            let package = package(&format!(r#"{{"scripts": {{"start": "{start}"}}}}"#));
            assert_eq!(package.start_script().is_some(), counts, "{start}");
        }
        assert!(package("{}").start_script().is_none());
    }

    #[test]
    fn a_changed_script_changes_no_dependency() {
        let reduced = |text| package(text).dependency_json().unwrap();
        let plain = reduced(r#"{"name": "a", "dependencies": {"b": "1"}}"#);
        assert_eq!(plain, reduced(r#"{"name": "a", "scripts": {"x": "y"}, "dependencies": {"b": "1"}}"#));
        assert_ne!(plain, reduced(r#"{"name": "a", "dependencies": {"b": "2"}}"#));
    }
}
