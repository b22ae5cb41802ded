//! The job of `release`: it runs before anything of the new release is rolled out, and its output goes to the push.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_report::progress;
use piku_report::user_error::UserError;
use serde_json::{Value, json};

use super::KubernetesApp;
use super::kubectl::KubectlClient;
use super::objects::ClusterObjects;
use super::refusal;
use super::rollout::{PAUSE, SeenEvents, list_events, take_new_events};
use super::state::{COMPONENT, ClusterItem, ContainerEnd, EventState, JobState, ObjectList, PodState};

/// Time for which a job may be refused its pod: others of the namespace may end meanwhile.
const REFUSED: Duration = Duration::from_secs(20);
/// Time for which the last lines of a log may follow the end of their process.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Output of a pod that goes to the push. kubectl ends with it.
struct FollowedLog {
    kubectl: Child,
    printer: Option<JoinHandle<()>>,
}

impl FollowedLog {
    fn start(kubectl: &KubectlClient, pod: &str) -> anyhow::Result<Self> {
        let mut command = kubectl.following_command(&["logs", "--follow", pod]);
        let mut kubectl = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = kubectl.stdout.take();
        let printer = thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).split(b'\n')) {
                let Ok(line) = line else { break };
                progress::program_output(&String::from_utf8_lossy(&line));
            }
        });
        Ok(Self { kubectl, printer: Some(printer) })
    }

    /// Waits for the last lines.
    fn end(self) {
        let since = Instant::now();
        let is_printing = || self.printer.as_ref().is_some_and(|printer| !printer.is_finished());
        while is_printing() && since.elapsed() < LAST_LINES {
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for FollowedLog {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
        if let Some(printer) = self.printer.take() {
            let _ = printer.join();
        }
    }
}

impl KubernetesApp {
    /// Runs the job of a release to its end, if it has one. A job that does not succeed is removed: it would run on,
    /// or wait for ever.
    ///
    /// # Errors
    /// Fails if the job fails, takes longer than `limit`, or cannot be watched.
    pub(super) fn run_release_job(
        &self,
        objects: &ClusterObjects,
        number: u64,
        limit: Duration,
    ) -> anyhow::Result<()> {
        self.end_release_jobs()?;
        let Some(job) = ClusterObjects::names_in(&[&objects.release])?.into_iter().next() else {
            return Ok(());
        };
        progress::step("Running the release task");
        // One of the same number is that of a deploy that has failed.
        self.remove_job(&job.name)?;
        let watched = self
            .apply(&with_deadline(&objects.release, limit)?)
            .and_then(|()| self.watch_job(&job.name, number, limit));
        if watched.is_err() {
            if let Err(err) = self.remove_job(&job.name) {
                progress::warning(&format!("the release task may still run, until the next deploy: {err:#}"));
            }
        }
        watched
    }

    /// Ends the release tasks that interrupted deploys have left, and waits until they have ended: the next one
    /// must not run beside them.
    fn end_release_jobs(&self) -> anyhow::Result<()> {
        let selector = format!("{},{COMPONENT}=release", self.selector());
        let list: ObjectList = self.kubectl().get(&["jobs", "--selector", &selector])?;
        for item in list.items {
            let ClusterItem::Job(job) = item else { continue };
            if job.result().is_none() {
                progress::detail(&format!(
                    "ending {}, which an interrupted deploy has left",
                    job.metadata.name
                ));
                self.remove_job(&job.metadata.name)?;
            }
        }
        Ok(())
    }

    /// Removes a job of the app, and waits until its pods have ended.
    fn remove_job(&self, name: &str) -> anyhow::Result<()> {
        let selector = format!("{},{COMPONENT}=release", self.selector());
        let kubectl = self.kubectl();
        let listed = kubectl.run(&["get", "jobs", "--output=name", "--selector", &selector])?;
        // Another app may have a job of this name.
        if listed.lines().any(|line| line.rsplit('/').next() == Some(name)) {
            kubectl.run(&[
                "delete",
                "job",
                name,
                "--ignore-not-found",
                "--cascade=foreground",
                "--timeout=90s",
            ])?;
        }
        Ok(())
    }

    fn watch_job(&self, job: &str, number: u64, limit: Duration) -> anyhow::Result<()> {
        let kubectl = self.kubectl();
        let since = Instant::now();
        let (mut log, mut told, mut events) = (None, String::new(), SeenEvents::new());
        let result = loop {
            let state: JobState = kubectl.get(&["job", job])?;
            let pod = pod_of_job(&kubectl, job)?;
            let waits_for = match &pod {
                Some(pod) => pod.unplaced(),
                None => self.refusal_of(&state),
            };
            if let Some(pod) = &pod {
                self.print_pod_events(&pod.metadata.name, &mut events);
            }
            if let (None, Some(pod)) = (&log, &pod) {
                // Before, kubectl has no log to follow.
                if pod.status.phase != "Pending" {
                    log = Some(FollowedLog::start(&kubectl, &pod.metadata.name)?);
                }
            }
            match state.result() {
                Some(true) => break Ok(()),
                Some(false) => break Err(failed_task(&why_failed(pod.as_ref()))),
                None if pod.is_none() && waits_for.is_some() && since.elapsed() > REFUSED => {
                    break Err(refused_task(&waits_for.unwrap_or_default()));
                }
                None if since.elapsed() > limit => {
                    let why = waits_for.map_or_else(String::new, |why| format!(": {why}"));
                    break Err(failed_task(&format!("it takes too long{why}")));
                }
                None => {}
            }
            if let Some(why) = waits_for.filter(|why| *why != told) {
                progress::detail(&format!("{job}: {why}"));
                told = why;
            }
            // A pod that cannot start would keep its job waiting.
            if let Some(why) = pod.as_ref().and_then(PodState::failure) {
                if pod.as_ref().is_some_and(PodState::lacks_image) {
                    self.note_lost_image(number);
                }
                break Err(failed_task(&why));
            }
            sleep(PAUSE);
        };
        if let Some(log) = log {
            log.end();
        }
        Ok(result?)
    }

    /// Prints new events of a pod, such as those of a node that cannot start it.
    fn print_pod_events(&self, pod: &str, seen: &mut SeenEvents) {
        let Ok(events) = list_events(&self.kubectl_now()) else { return };
        let is_its =
            |event: &EventState| event.involved_object.kind == "Pod" && event.involved_object.name == pod;
        for line in take_new_events(events, seen, is_its) {
            progress::detail(&line);
        }
    }

    /// Returns why the cluster does not make the pod of a job, such as a quota of the namespace.
    fn refusal_of(&self, job: &JobState) -> Option<String> {
        // An operator may not let piku see events.
        let events = list_events(&self.kubectl_now()).ok()?;
        let of_job = |event: &&EventState| {
            event.involved_object.uid == job.metadata.uid && event.reason == "FailedCreate"
        };
        let last = events.iter().rfind(of_job)?;
        Some(format!("the cluster refuses its pod: {}", refusal::reason_of(&last.message)))
    }
}

fn failed_task(why: &str) -> UserError {
    UserError::new(format!("the release task has failed: {why}"))
}

/// Returns the error of a task whose pod the cluster refuses.
fn refused_task(why: &str) -> UserError {
    match refusal::hint(why) {
        Some(hint) => failed_task(why).hint(hint),
        None => failed_task(why),
    }
}

/// Returns the job with a limit that holds without piku too, somewhat later than its own.
fn with_deadline(release: &str, limit: Duration) -> anyhow::Result<String> {
    let mut job: Value = serde_yaml::from_str(release).context("cannot read the rendered job")?;
    job["spec"]["activeDeadlineSeconds"] = json!(limit.as_secs().saturating_add(60));
    Ok(job.to_string())
}

fn pod_of_job(kubectl: &KubectlClient, job: &str) -> anyhow::Result<Option<PodState>> {
    let list: ObjectList = kubectl.get(&["pods", &format!("--selector=job-name={job}")])?;
    Ok(list.items.into_iter().find_map(|item| match item {
        ClusterItem::Pod(pod) => Some(pod),
        _ => None,
    }))
}

fn why_failed(pod: Option<&PodState>) -> String {
    let end = pod.and_then(PodState::last_end).map(ContainerEnd::describe);
    end.or_else(|| pod.and_then(PodState::failure)).unwrap_or_else(|| "its pod is gone".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_ends_without_piku_too() {
        let text = "# title\n---\n# comment\napiVersion: batch/v1\nkind: Job\nspec:\n  backoffLimit: 0\n";
        let job: Value =
            serde_json::from_str(&with_deadline(text, Duration::from_secs(600)).unwrap()).unwrap();
        assert_eq!(job["spec"], json!({ "backoffLimit": 0, "activeDeadlineSeconds": 660 }));
    }
}
