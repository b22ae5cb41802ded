//! Configuration and data: `ConfigMap`, `Secret` and `PersistentVolumeClaim`.

use serde_json::json;

use super::{ClusterApp, ClusterObject, ClusterStage};

/// Returns the name of the volume claim.
pub(super) fn claim_name(cluster: &ClusterApp) -> String {
    cluster.name_of("data")
}

pub(super) fn objects(cluster: &ClusterApp) -> Vec<ClusterObject> {
    let stage = ClusterStage::Config;
    let mut objects = vec![ClusterObject::new(
        stage,
        "Variables of the ENV file and of the platform. Other variables get another name.",
        cluster.object(
            "v1",
            "ConfigMap",
            &cluster.config_name,
            None,
            json!({ "immutable": true, "data": cluster.app.variables }),
        ),
    )];
    if let Some(name) = &cluster.secret_name {
        objects.push(ClusterObject::new(
            stage,
            "Config that the operator has stored. It overrides the ENV file.",
            cluster.object(
                "v1",
                "Secret",
                name,
                None,
                json!({ "immutable": true, "type": "Opaque", "stringData": cluster.app.secrets }),
            ),
        ));
    }
    if let Some(size) = &cluster.settings.data_size {
        let (access, why) = if cluster.settings.shares_data {
            ("ReadWriteMany", "pods on several nodes mount it at once")
        } else {
            ("ReadWriteOnce", "all pods of the app run on the node that mounts it")
        };
        let mut spec = json!({ "accessModes": [access] });
        if let Some(class) = &cluster.settings.storage_class {
            spec["storageClassName"] = json!(class);
        }
        spec["resources"] = json!({ "requests": { "storage": size } });
        objects.push(ClusterObject::new(
            stage,
            format!("Files of the app, at /data; {why}."),
            cluster.object(
                "v1",
                "PersistentVolumeClaim",
                &claim_name(cluster),
                None,
                json!({ "spec": spec }),
            ),
        ));
    }
    objects
}
