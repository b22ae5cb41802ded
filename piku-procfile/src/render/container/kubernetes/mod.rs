//! Renders the objects of Kubernetes that run an app: configuration, a job for `release`, a deployment for
//! each type, a cron job for each schedule, a service and an ingress.
//!
//! The configuration and the job carry a hash of their content in their names: they never change, so an old
//! pod that is started again during a rollout gets what it had.

mod network;
mod pods;
mod storage;
mod workloads;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ContainerApp;
use super::yaml_text::to_yaml;

/// Settings of the caller that only a cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ClusterSettings {
    pub(crate) namespace: Option<String>,
    /// Size of the volume at `/data`, such as `1Gi`; without one, files there end with the pod.
    pub(crate) data_size: Option<String>,
    pub(crate) storage_class: Option<String>,
    /// True if pods on several nodes may mount the volume at once.
    pub(crate) shares_data: bool,
    pub(crate) ingress_class: Option<String>,
    pub(crate) certificates: CertificateSource,
    /// Architectures of the nodes that run the image, as `kubernetes.io/arch` has them; all if there are none.
    pub(crate) architectures: Vec<String>,
    /// Secret with the registry's password.
    pub(crate) pull_secret: Option<String>,
    /// User id of all processes.
    pub(crate) uid: u32,
    /// True if the app may write anywhere in its container.
    pub(crate) has_writable_root: bool,
    pub(crate) stage: ClusterStage,
}

/// Program in the cluster that issues the certificates of the app's names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum CertificateSource {
    /// Certificates come from elsewhere, or there is no HTTPS.
    #[default]
    None,
    /// `ClusterIssuer` of cert-manager.
    CertManager(String),
    /// Certificate resolver of Traefik.
    Traefik(String),
}

/// Step of a deploy. Each is applied after the one before it has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ClusterStage {
    /// All objects
    #[default]
    All,
    /// Configuration and volume
    Config,
    /// The job of 'release'
    Release,
    /// Everything that serves or runs on a schedule
    Rollout,
}

/// An object with the comment above it.
pub(crate) struct ClusterObject {
    stage: ClusterStage,
    comment: String,
    value: Value,
}

/// Renders the objects as one YAML stream, in the order in which they are applied.
pub(crate) fn render(app: &ContainerApp, settings: &ClusterSettings) -> String {
    let cluster = ClusterApp::new(app, settings);
    let mut objects = storage::objects(&cluster);
    objects.extend(workloads::release_job(&cluster));
    objects.extend(network::service(&cluster));
    objects.extend(workloads::deployments(&cluster));
    objects.extend(workloads::cron_jobs(&cluster));
    objects.extend(network::disruption_budgets(&cluster));
    objects.extend(network::ingress(&cluster));
    let mut text = format!("# {} for Kubernetes, by piku-procfile render kubernetes\n", app.name);
    for object in objects {
        if settings.stage == ClusterStage::All || settings.stage == object.stage {
            text.push_str("---\n");
            for line in object.comment.lines() {
                text.extend(["# ", line, "\n"]);
            }
            text.push_str(&to_yaml(&object.value));
        }
    }
    text
}

/// An app in a cluster: what several of its objects name.
struct ClusterApp<'a> {
    app: &'a ContainerApp,
    settings: &'a ClusterSettings,
    /// Name of the `ConfigMap`.
    config_name: String,
    /// Name of the `Secret`; `None` if the app has none.
    secret_name: Option<String>,
}

impl<'a> ClusterApp<'a> {
    fn new(app: &'a ContainerApp, settings: &'a ClusterSettings) -> Self {
        let config_name = format!("{}-env-{}", app.name, hash_of(&json!(app.variables)));
        let has_secrets = !app.secrets.is_empty();
        let secret_name =
            has_secrets.then(|| format!("{}-secret-{}", app.name, hash_of(&json!(app.secrets))));
        Self { app, settings, config_name, secret_name }
    }

    /// Returns an object with its metadata; `fields` follow. `component` is the label of a process type.
    fn object(&self, api: &str, kind: &str, name: &str, component: Option<&str>, fields: Value) -> Value {
        let mut metadata = json!({ "name": name });
        if let Some(namespace) = &self.settings.namespace {
            metadata["namespace"] = json!(namespace);
        }
        metadata["labels"] = self.labels(component);
        let mut object = json!({ "apiVersion": api, "kind": kind, "metadata": metadata });
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
            object.extend(fields);
        }
        object
    }

    /// Returns the labels of an object.
    fn labels(&self, component: Option<&str>) -> Value {
        let mut labels = self.selector(component);
        if let Some(release) = self.app.release {
            labels["app.kubernetes.io/version"] = json!(release.to_string());
        }
        labels["app.kubernetes.io/managed-by"] = json!("piku");
        labels
    }

    /// Returns the labels by which a deployment finds its pods: they never change.
    fn selector(&self, component: Option<&str>) -> Value {
        let mut labels = json!({
            "app.kubernetes.io/name": self.app.name.as_str(),
            "app.kubernetes.io/instance": self.app.name.as_str(),
        });
        if let Some(component) = component {
            labels["app.kubernetes.io/component"] = json!(component);
        }
        labels
    }

    /// Returns the name of a process type's object.
    fn name_of(&self, label: &str) -> String {
        format!("{}-{label}", self.app.name)
    }
}

impl ClusterObject {
    fn new(stage: ClusterStage, comment: impl Into<String>, value: Value) -> Self {
        Self { stage, comment: comment.into(), value }
    }
}

/// Returns ten hex digits of a hash of the value.
fn hash_of(value: &Value) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(value.to_string()).iter().take(5) {
        use std::fmt::Write;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
