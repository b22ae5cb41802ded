//! The way of requests to the pods: service, ingress and the budget of pods that may be missing.

use serde_json::json;

use super::pods::PORT_NAME;
use super::{CertificateSource, ClusterApp, ClusterObject, ClusterStage};
use crate::procfile::ProcessKind;

pub(super) fn service(cluster: &ClusterApp) -> Option<ClusterObject> {
    let web = cluster.app.web()?;
    let name = cluster.app.name.as_str();
    let spec = json!({
        "selector": cluster.selector(Some(&web.label)),
        "ports": [{ "name": PORT_NAME, "port": 80, "targetPort": PORT_NAME }],
    });
    let comment =
        format!("Requests to http://{name} in the cluster reach the ready pods of '{}'.", web.entry.name);
    let value = cluster.object("v1", "Service", name, Some(&web.label), json!({ "spec": spec }));
    Some(ClusterObject::new(ClusterStage::Rollout, comment, value))
}

/// Returns a budget for each type with several instances: a node that is drained ends one at a time.
pub(super) fn disruption_budgets<'a>(cluster: &'a ClusterApp) -> impl Iterator<Item = ClusterObject> + 'a {
    let several = cluster.app.of_kind(ProcessKind::is_long_running).filter(|process| process.count > 1);
    several.map(|process| {
        let spec = json!({
            "maxUnavailable": 1,
            "selector": { "matchLabels": cluster.selector(Some(&process.label)) },
        });
        let comment = format!("A node that is drained ends one '{}' at a time.", process.entry.name);
        let name = cluster.name_of(&process.label);
        let value = cluster.object(
            "policy/v1",
            "PodDisruptionBudget",
            &name,
            Some(&process.label),
            json!({ "spec": spec }),
        );
        ClusterObject::new(ClusterStage::Rollout, comment, value)
    })
}

/// Returns the rules by which the app is served under its names; `None` if it has none.
pub(super) fn ingress(cluster: &ClusterApp) -> Option<ClusterObject> {
    let (web, hosts) = (cluster.app.web()?, &cluster.app.hosts);
    if hosts.is_empty() {
        return None;
    }
    let name = cluster.app.name.as_str();
    let mut spec = json!({});
    if let Some(class) = &cluster.settings.ingress_class {
        spec["ingressClassName"] = json!(class);
    }
    let (annotations, comment) = match &cluster.settings.certificates {
        CertificateSource::None => (None, "Names of the app, by HTTP."),
        CertificateSource::CertManager(issuer) => {
            spec["tls"] = json!([{ "hosts": hosts, "secretName": cluster.name_of("tls") }]);
            (
                Some(json!({ "cert-manager.io/cluster-issuer": issuer })),
                "Names of the app; cert-manager issues the certificate.",
            )
        }
        CertificateSource::Traefik(resolver) => {
            spec["tls"] = json!([{ "hosts": hosts }]);
            let annotations = json!({
                "traefik.ingress.kubernetes.io/router.entrypoints": "websecure",
                "traefik.ingress.kubernetes.io/router.tls": "true",
                "traefik.ingress.kubernetes.io/router.tls.certresolver": resolver,
            });
            (Some(annotations), "Names of the app; Traefik requests the certificate.")
        }
    };
    let path = json!({
        "path": "/",
        "pathType": "Prefix",
        "backend": { "service": { "name": name, "port": { "name": PORT_NAME } } },
    });
    let rules: Vec<_> =
        hosts.iter().map(|host| json!({ "host": host, "http": { "paths": [path.clone()] } })).collect();
    spec["rules"] = json!(rules);
    let mut value =
        cluster.object("networking.k8s.io/v1", "Ingress", name, Some(&web.label), json!({ "spec": spec }));
    if let Some(annotations) = annotations {
        value["metadata"]["annotations"] = annotations;
    }
    Some(ClusterObject::new(ClusterStage::Rollout, comment, value))
}
