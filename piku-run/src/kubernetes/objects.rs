//! Objects of a release, rendered by `piku-procfile render kubernetes`.

#![expect(
    clippy::disallowed_methods,
    reason = "a temporary Procfile of piku's own; the ENV file is opened by the parser, which follows no link"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use piku_layout::name::ProcessName;
use piku_procfile::env;
use piku_procfile::procfile::ProcessKind;
use piku_release::manifest::CONFIG;
use piku_report::progress;
use piku_report::user_error::{self, UserError};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_yaml::Value;

use super::KubernetesApp;
use crate::desired::{self, Formation};
use crate::instance::environment::ReleaseContext;
use crate::process::sibling_tool::sibling_tool;
use crate::releases::{ASIDE, lock_new_release};

/// Tool that renders the objects.
const RENDERER: &str = "piku-procfile";
/// Kinds of objects that are removed when a release does not have them. A volume is never removed.
const KINDS: &str =
    "deployments,cronjobs,services,ingresses.networking.k8s.io,poddisruptionbudgets,configmaps,secrets";
/// Kinds that are removed with the app: `jobs` are those of releases and cron types, `pods` those of `run`.
pub(super) const ALL_KINDS: &str = "deployments,cronjobs,services,ingresses.networking.k8s.io,poddisruptionbudgets,configmaps,\
                         secrets,jobs,pods";

/// Objects of a release by the steps in which they are applied.
#[derive(Debug)]
pub(super) struct ClusterObjects {
    pub(super) config: String,
    pub(super) release: String,
    pub(super) rollout: String,
}

/// Name and kind of an object, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectName {
    pub(super) kind: String,
    pub(super) name: String,
}

#[derive(Deserialize)]
struct RenderedObject {
    kind: String,
    metadata: RenderedMetadata,
}

/// An ingress, as far as it says where the app is reached.
#[derive(Deserialize)]
struct RenderedIngress {
    spec: IngressSpec,
}

#[derive(Deserialize)]
struct IngressSpec {
    tls: Option<IgnoredAny>,
    #[serde(default)]
    rules: Vec<IngressRule>,
}

#[derive(Deserialize)]
struct IngressRule {
    host: String,
}

#[derive(Deserialize)]
struct RenderedMetadata {
    name: String,
}

impl ClusterObjects {
    /// Returns the names of the objects of some steps.
    pub(super) fn names_in(texts: &[&str]) -> anyhow::Result<BTreeSet<ObjectName>> {
        let mut names = BTreeSet::new();
        for document in texts.iter().flat_map(|text| serde_yaml::Deserializer::from_str(text)) {
            let object: Option<RenderedObject> =
                Deserialize::deserialize(document).context("cannot read the rendered objects")?;
            names.extend(object.map(|RenderedObject { kind, metadata }| ObjectName {
                kind: kind.to_ascii_lowercase(),
                name: metadata.name,
            }));
        }
        Ok(names)
    }

    /// Returns the names of all objects that stay after the deploy.
    pub(super) fn kept(&self) -> anyhow::Result<BTreeSet<ObjectName>> {
        Self::names_in(&[&self.config, &self.rollout])
    }

    /// Returns the URLs of the names in the ingress. A wildcard has none.
    pub(super) fn urls(&self) -> anyhow::Result<Vec<String>> {
        let mut urls = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&self.rollout) {
            let object = Value::deserialize(document).context("cannot read the rendered objects")?;
            if object["kind"] != "Ingress" {
                continue;
            }
            let ingress: RenderedIngress =
                serde_yaml::from_value(object).context("cannot read the rendered ingress")?;
            let scheme = if ingress.spec.tls.is_some() { "https" } else { "http" };
            let hosts = ingress.spec.rules.into_iter().map(|rule| rule.host);
            urls.extend(hosts.filter(|host| !host.starts_with('*')).map(|host| format!("{scheme}://{host}")));
        }
        Ok(urls)
    }

    /// Returns whether other pods of the cluster can reach the app.
    pub(super) fn has_service(&self) -> bool {
        Self::names_in(&[&self.rollout]).is_ok_and(|names| names.iter().any(|one| one.kind == "service"))
    }

    /// Returns the names of the deployments.
    pub(super) fn deployments(&self) -> anyhow::Result<Vec<String>> {
        let names = Self::names_in(&[&self.rollout])?;
        Ok(names.into_iter().filter(|one| one.kind == "deployment").map(|one| one.name).collect())
    }
}

impl KubernetesApp {
    /// Renders the objects of a release with this formation. `runs` is false for a stopped app: no type has an
    /// instance then.
    pub(super) fn render_objects(
        &self,
        number: u64,
        image: &str,
        formation: &Formation,
        runs: bool,
    ) -> anyhow::Result<ClusterObjects> {
        let world = ReleaseContext::read(&self.root, &self.app, number)?;
        desired::check_limits(&world)?;
        let (plan, ..) = desired::plan(&world, formation);
        let counts: BTreeMap<&ProcessName, u32> =
            plan.types.iter().map(|kind| (&kind.name, if runs { kind.count } else { 0 })).collect();
        let crons: BTreeSet<&ProcessName> =
            plan.crons.iter().filter(|_| runs).map(|(name, _)| name).collect();
        let mut procfile = String::new();
        for (name, command) in &world.release.processes {
            // A cron type of which none runs is none.
            if ProcessKind::classify(name, command) != ProcessKind::Cron || crons.contains(name) {
                procfile.extend([name.as_str(), ": ", command, "\n"]);
            }
        }
        // Garbage collection takes a folder without it for a leftover.
        let _rendering = lock_new_release(&self.root, &self.dir)?;
        let folder = tempfile::Builder::new().prefix(ASIDE).tempdir_in(self.dir.path());
        let folder =
            folder.with_context(|| format!("cannot make a folder in '{}'", self.dir.path().display()))?;
        let path = folder.path().join("Procfile");
        fs::write(&path, procfile).with_context(|| format!("cannot write '{}'", path.display()))?;
        let architectures = self.image_architectures(&world.release)?;
        let render = |stage: &str| {
            let mut renderer = self.renderer(number, image, &path, &world.tree().join(env::FILE));
            renderer.args(architectures.iter().map(|name| format!("--architecture={name}")));
            if !counts.is_empty() {
                let counts: Vec<String> =
                    counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
                renderer.arg("--formation").arg(counts.join(","));
            }
            run_renderer(renderer.args(["--stage", stage]), stage == "config")
        };
        Ok(ClusterObjects {
            config: render("config")?,
            release: render("release")?,
            rollout: render("rollout")?,
        })
    }

    /// Returns the command that renders the objects of a release.
    fn renderer(&self, number: u64, image: &str, procfile: &Path, env: &Path) -> Command {
        let target = &self.target;
        let mut renderer = sibling_tool(RENDERER);
        renderer.args(["render", "kubernetes", "--app", self.app.as_str(), "--image", image]);
        renderer.args(["--release", &number.to_string()]);
        renderer.arg("--procfile").arg(procfile).arg("--env").arg(env);
        let config = self.dir.release(number).join(CONFIG);
        if config.exists() {
            renderer.arg("--config").arg(config);
        }
        renderer.arg(format!("--namespace={}", target.namespace));
        let options = [
            ("--data-size", &target.data_size),
            ("--storage-class", &target.storage_class),
            ("--ingress-class", &target.ingress_class),
            ("--cluster-issuer", &target.cluster_issuer),
            ("--traefik-resolver", &target.traefik_resolver),
            ("--pull-secret", &target.pull_secret),
        ];
        for (option, value) in options {
            renderer.args(value.iter().map(|value| format!("{option}={value}")));
        }
        for (option, is_set) in
            [("--shared-data", target.shared_data), ("--writable-root", target.writable_root)]
        {
            renderer.args(is_set.then_some(option));
        }
        renderer
    }

    /// Removes the objects of the app that are not among these. Jobs and one-off processes go on.
    pub(super) fn remove_other_objects(&self, kept: &BTreeSet<ObjectName>) -> anyhow::Result<()> {
        self.remove_kinds(KINDS, kept)
    }

    /// Removes all objects of the app but its volume.
    pub(super) fn remove_all_objects(&self) -> anyhow::Result<()> {
        self.remove_kinds(ALL_KINDS, &BTreeSet::new())
    }

    fn remove_kinds(&self, kinds: &str, kept: &BTreeSet<ObjectName>) -> anyhow::Result<()> {
        let kubectl = self.kubectl();
        let listed = kubectl.run(&["get", kinds, "--output=name", "--selector", &self.selector()])?;
        // As `deployment.apps/blog-web`.
        let is_other = |line: &&str| {
            let Some((kind, name)) = line.split_once('/') else { return false };
            let kind = kind.split('.').next().unwrap_or_default().to_owned();
            !kept.contains(&ObjectName { kind, name: name.to_owned() })
        };
        let others: Vec<&str> = listed.lines().filter(is_other).collect();
        if others.is_empty() {
            return Ok(());
        }
        kubectl.run(&[&["delete", "--ignore-not-found", "--wait=false"], &others[..]].concat()).map(drop)
    }
}

/// Runs the renderer. Its warnings are shown if it is to `talk`.
fn run_renderer(renderer: &mut Command, talk: bool) -> anyhow::Result<String> {
    let out = renderer
        .env_remove(user_error::TALK)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot run '{RENDERER}'"))?;
    let told = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        return Err(UserError::new(told.trim_end()).into());
    }
    if talk {
        told.lines().for_each(progress::detail);
    }
    String::from_utf8(out.stdout).context("the objects are not text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_those_of_the_ingress() {
        let urls = |spec: &str| {
            let rollout = format!("# title\n---\nkind: Service\n---\nkind: Ingress\nspec: {spec}\n");
            ClusterObjects { config: String::new(), release: String::new(), rollout }.urls().unwrap()
        };
        assert_eq!(urls("{rules: [{host: a.test}, {host: '*.a.test'}]}"), ["http://a.test"]);
        assert_eq!(urls("{tls: [{hosts: [b.test]}], rules: [{host: b.test}]}"), ["https://b.test"]);
    }

    #[test]
    fn names_of_rendered_objects() {
        let text = "# comment\n---\n# above\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a-env\n---\n\
                    apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a-web\n";
        let name = |kind: &str, name: &str| ObjectName { kind: kind.to_owned(), name: name.to_owned() };
        let names: Vec<_> = ClusterObjects::names_in(&[text, "# nothing\n"]).unwrap().into_iter().collect();
        assert_eq!(names, [name("configmap", "a-env"), name("deployment", "a-web")]);
    }
}
