//! A cron job that runs outside of its schedule. Its job is made from the objects of the release, not by
//! `kubectl create job --from`: that takes a cron job by its name alone, which may be another app's, and kubectl 1.20
//! cannot do it in a cluster since 1.25.

use anyhow::Context;
use piku_layout::name::ProcessName;
use piku_report::progress;
use piku_report::user_error::UserError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::KubernetesApp;
use super::objects::ClusterObjects;
use crate::desired;

/// Seconds for which the finished job stays for its logs.
const JOB_KEPT: u32 = 86400;

impl KubernetesApp {
    /// Runs a cron type of the live release now.
    pub(super) fn run_cron_now(&self, live: u64, only: &ProcessName) -> anyhow::Result<()> {
        let image = self.live_image(live)?;
        let formation = desired::read_formation(&self.dir.formation())?;
        let objects = self.render_objects(live, &image, &formation, true)?;
        let name = self.workload_name(only);
        let number = jiff::Timestamp::now().as_second();
        let job = job_of_cron(&objects, &name, &format!("{name}-{number}"))?;
        let job = job.ok_or_else(|| {
            UserError::new(format!("{only} of {} is scaled to 0", self.app))
                .hint(format!("piku ps:scale {} {only}=1", self.app))
        })?;
        self.apply(&objects.config)?;
        self.kubectl().create(&job.to_string())?;
        progress::step(&format!("{only} runs now; its output: piku logs {} {only}", self.app));
        Ok(())
    }
}

/// Returns a job with the template of a cron job; `None` if the release has no cron job of this name.
fn job_of_cron(objects: &ClusterObjects, cron: &str, name: &str) -> anyhow::Result<Option<Value>> {
    for document in serde_yaml::Deserializer::from_str(&objects.rollout) {
        let object: Option<Value> =
            Deserialize::deserialize(document).context("cannot read the rendered objects")?;
        let Some(object) = object else { continue };
        if object["kind"] != "CronJob" || object["metadata"]["name"] != cron {
            continue;
        }
        let mut metadata = object["metadata"].clone();
        metadata["name"] = json!(name);
        let mut spec = object["spec"]["jobTemplate"]["spec"].clone();
        spec["ttlSecondsAfterFinished"] = json!(JOB_KEPT);
        return Ok(Some(
            json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec }),
        ));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_the_template_and_the_labels_of_its_cron_job() {
        let rollout = "# comment\n---\nkind: Deployment\nmetadata: {name: a-cron-x}\nspec: {}\n---\nkind: CronJob\n\
                       metadata: {name: a-cron-x, namespace: n, labels: {l: v}}\n\
                       spec: {schedule: x, jobTemplate: {spec: {backoffLimit: 0}}}\n";
        let objects =
            ClusterObjects { config: String::new(), release: String::new(), rollout: rollout.to_owned() };
        let job = job_of_cron(&objects, "a-cron-x", "a-cron-x-1").unwrap();
        let wanted = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": "a-cron-x-1", "namespace": "n", "labels": { "l": "v" } },
            "spec": { "backoffLimit": 0, "ttlSecondsAfterFinished": JOB_KEPT },
        });
        assert_eq!(job, Some(wanted));
        assert_eq!(job_of_cron(&objects, "a-cron-y", "a-cron-y-1").unwrap(), None);
    }
}
