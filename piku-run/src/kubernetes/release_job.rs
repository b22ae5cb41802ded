//! The job of `release`: it runs before anything of the new release is rolled out, and its output goes to the push.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use piku_report::progress;
use piku_report::user_error::UserError;
use serde::Deserialize;

use super::KubernetesApp;
use super::kubectl::KubectlClient;
use super::objects::ClusterObjects;
use super::rollout::PAUSE;
use super::state::{ClusterItem, ContainerEnd, ObjectCondition, ObjectList, PodState};

/// Time for which the last lines of a log may follow the end of their process.
const LAST_LINES: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct JobState {
    #[serde(default)]
    status: JobStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    conditions: Vec<ObjectCondition>,
}

impl JobState {
    /// Returns whether the job has succeeded; `None` while it runs.
    fn result(&self) -> Option<bool> {
        let is_true =
            |kind: &str| self.status.conditions.iter().any(|one| one.kind == kind && one.status == "True");
        if is_true("Complete") { Some(true) } else { is_true("Failed").then_some(false) }
    }
}

/// Output of a pod that goes to the push.
struct FollowedLog {
    kubectl: Child,
    printer: JoinHandle<()>,
}

impl FollowedLog {
    fn start(kubectl: &KubectlClient, pod: &str) -> anyhow::Result<Self> {
        let mut command = kubectl.command(&["logs", "--follow", pod]);
        let mut kubectl = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = kubectl.stdout.take();
        let printer = thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).split(b'\n')) {
                let Ok(line) = line else { break };
                progress::program_output(&String::from_utf8_lossy(&line));
            }
        });
        Ok(Self { kubectl, printer })
    }

    /// Waits for the last lines.
    fn end(mut self) {
        let since = Instant::now();
        while !self.printer.is_finished() && since.elapsed() < LAST_LINES {
            sleep(Duration::from_millis(50));
        }
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
        let _ = self.printer.join();
    }
}

impl KubernetesApp {
    /// Runs the job of a release to its end, if it has one.
    ///
    /// # Errors
    /// Fails if the job fails, or takes longer than `limit`.
    pub(super) fn run_release_job(&self, objects: &ClusterObjects, limit: Duration) -> anyhow::Result<()> {
        let Some(job) = ClusterObjects::names_in(&[&objects.release])?.into_iter().next() else {
            return Ok(());
        };
        progress::step("Running the release task");
        let kubectl = self.kubectl();
        // One of the same number is that of an interrupted deploy.
        kubectl.run(&["delete", "job", &job.name, "--ignore-not-found"])?;
        kubectl.apply(&objects.release)?;
        let since = Instant::now();
        let mut log = None;
        let result = loop {
            let state: JobState = kubectl.get(&["job", &job.name])?;
            let pod = pod_of_job(&kubectl, &job.name)?;
            if let (None, Some(pod)) = (&log, &pod) {
                // Before, kubectl has no log to follow.
                if pod.status.phase != "Pending" {
                    log = Some(FollowedLog::start(&kubectl, &pod.metadata.name)?);
                }
            }
            match state.result() {
                Some(true) => break Ok(()),
                Some(false) => break Err(why_failed(pod.as_ref())),
                None if since.elapsed() > limit => break Err("it takes too long".to_owned()),
                None => {}
            }
            // A pod that cannot start would keep its job waiting.
            if let Some(why) = pod.as_ref().and_then(PodState::failure) {
                break Err(why);
            }
            sleep(PAUSE);
        };
        if let Some(log) = log {
            log.end();
        }
        result.map_err(|why| {
            // It would run on, or wait for ever.
            let _ = kubectl.run(&["delete", "job", &job.name, "--ignore-not-found", "--wait=false"]);
            UserError::new(format!("the release task has failed: {why}")).into()
        })
    }
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
