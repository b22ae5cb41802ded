//! Logs of pods, merged, in the form of piku's own logs. With `follow`, pods that start later are followed too.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::BorrowedFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, poll};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::terminal::coloured_text;
use piku_report::user_error::UserError;

use super::super::KubernetesApp;
use super::super::kubectl::KubectlClient;
use super::super::state::{COMPONENT, ClusterItem, ObjectList, PodState};

/// Lines that are printed unless the caller wants another number.
const LINES: usize = 100;
/// Time between two looks for new pods.
const PAUSE: Duration = Duration::from_secs(3);
/// Longest line.
const LINE_BYTES: u64 = 64 << 10;

/// Lines to print.
#[derive(Debug, Clone)]
pub(crate) struct PodLogQuery {
    pub(crate) follow: bool,
    pub(crate) lines: Option<usize>,
    /// Process type, or a pod as `ps` names it.
    pub(crate) only: Option<String>,
    pub(crate) since: Option<Timestamp>,
    /// Print all bytes unchanged.
    pub(crate) raw: bool,
}

/// A line of a pod: it sorts by its time.
type PodLine = Vec<u8>;

/// Prints the logs of an app's pods, if it runs in a cluster. Returns false if it runs on this machine.
///
/// # Errors
/// Fails if the cluster cannot be asked, or nothing has the name that is asked for.
pub(crate) fn print_pod_logs(
    root: &PikuRoot,
    app: &AppName,
    query: &PodLogQuery,
    out: &mut dyn Write,
    reader: Option<BorrowedFd<'_>>,
) -> anyhow::Result<bool> {
    let Some(cluster) = KubernetesApp::running(root, app)? else { return Ok(false) };
    match cluster.print_logs(query, out, reader) {
        Err(err)
            if err.downcast_ref::<io::Error>().is_some_and(|err| err.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(true)
        }
        other => other.map(|()| true),
    }
}

impl KubernetesApp {
    fn print_logs(
        &self,
        query: &PodLogQuery,
        out: &mut dyn Write,
        reader: Option<BorrowedFd<'_>>,
    ) -> anyhow::Result<()> {
        let pods = self.find_pods(query)?;
        if let (Some(only), true) = (&query.only, pods.is_empty()) {
            let what = format!("no pod of {} is '{only}'", self.app);
            return Err(UserError::new(what).hint(format!("its pods: piku ps {}", self.app)).into());
        }
        let limit = query.lines.or_else(|| query.since.is_none().then_some(LINES));
        let (sender, lines) = mpsc::channel();
        thread::scope(|scope| {
            for pod in &pods {
                let (name, sender) = (&pod.metadata.name, sender.clone());
                scope.spawn(move || self.read_log(name, limit, query.since, &sender));
            }
        });
        drop(sender);
        let mut past: Vec<PodLine> = lines.iter().collect();
        past.sort();
        let first = past.len() - limit.map_or(past.len(), |limit| limit.min(past.len()));
        for line in &past[first..] {
            print_line(line, query.raw, out)?;
        }
        out.flush()?;
        if query.follow { self.follow_logs(query, &pods, out, reader) } else { Ok(()) }
    }

    /// Prints the lines of these pods, and of later ones, until the reader ends.
    fn follow_logs(
        &self,
        query: &PodLogQuery,
        pods: &[PodState],
        out: &mut dyn Write,
        reader: Option<BorrowedFd<'_>>,
    ) -> anyhow::Result<()> {
        let (sender, lines) = mpsc::channel();
        let mut followed = FollowedPods::default();
        let mut known = BTreeSet::new();
        for pod in pods {
            followed.follow(self, &pod.metadata.name, Some(0), sender.clone());
            known.insert(pod.metadata.name.clone());
        }
        let mut looked = Instant::now();
        loop {
            match lines.recv_timeout(Duration::from_millis(500)) {
                Ok(line) => {
                    print_line(&line, query.raw, out)?;
                    out.flush()?;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if reader.is_some_and(is_gone) {
                return Ok(());
            }
            if looked.elapsed() >= PAUSE {
                looked = Instant::now();
                // The cluster may be away for a while.
                for pod in self.find_pods(query).unwrap_or_default() {
                    if known.insert(pod.metadata.name.clone()) {
                        followed.follow(self, &pod.metadata.name, None, sender.clone());
                    }
                }
            }
        }
    }

    /// Returns the pods whose logs are asked for.
    fn find_pods(&self, query: &PodLogQuery) -> anyhow::Result<Vec<PodState>> {
        let list: ObjectList = self.kubectl_now().get(&["pods", "--selector", &self.selector()])?;
        let pods = list.items.into_iter().filter_map(|item| match item {
            ClusterItem::Pod(pod) => Some(pod),
            _ => None,
        });
        let is_wanted = |pod: &PodState| {
            // The output of `run` is its client's.
            let Some(only) = &query.only else { return !pod.is_one_off() };
            let component = only.to_ascii_lowercase().replace('_', "-");
            pod.metadata.label(COMPONENT) == component
                || pod.metadata.name == *only
                || pod.metadata.name == format!("{}-{only}", self.app)
        };
        Ok(pods.filter(|pod| pod.status.phase != "Pending" && is_wanted(pod)).collect())
    }

    /// Sends the lines of a pod's log so far. One that cannot be read is left out: its pod may just have ended.
    fn read_log(&self, pod: &str, limit: Option<usize>, since: Option<Timestamp>, lines: &Sender<PodLine>) {
        let since = since.map(|since| format!("--since-time={since:.0}"));
        let mut command = self.log_command(pod, limit, since.as_deref(), KubectlClient::command);
        let Ok(mut kubectl) = command.spawn() else { return };
        if let Some(output) = kubectl.stdout.take() {
            send_lines(output, self.short_name(pod), lines);
        }
        let _ = kubectl.kill();
        let _ = kubectl.wait();
    }

    fn log_command(
        &self,
        pod: &str,
        limit: Option<usize>,
        option: Option<&str>,
        make: impl Fn(&KubectlClient, &[&str]) -> Command,
    ) -> Command {
        let tail = format!("--tail={}", limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string()));
        let mut command = make(&self.kubectl_now(), &["logs", pod, "--timestamps", &tail]);
        command.args(option).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    fn short_name<'a>(&self, pod: &'a str) -> &'a str {
        pod.strip_prefix(&format!("{}-", self.app)).unwrap_or(pod)
    }
}

/// Programs that follow the logs of pods. They end with this value.
#[derive(Default)]
struct FollowedPods {
    kubectls: Vec<Child>,
}

impl FollowedPods {
    /// Sends the lines of a pod as they come.
    fn follow(&mut self, cluster: &KubernetesApp, pod: &str, limit: Option<usize>, lines: Sender<PodLine>) {
        // Those of pods that have ended.
        self.kubectls.retain_mut(|kubectl| matches!(kubectl.try_wait(), Ok(None)));
        let Ok(mut kubectl) =
            cluster.log_command(pod, limit, Some("--follow"), KubectlClient::following_command).spawn()
        else {
            return;
        };
        if let Some(output) = kubectl.stdout.take() {
            let name = cluster.short_name(pod).to_owned();
            thread::spawn(move || send_lines(output, &name, &lines));
        }
        self.kubectls.push(kubectl);
    }
}

impl Drop for FollowedPods {
    fn drop(&mut self) {
        for kubectl in &mut self.kubectls {
            let _ = kubectl.kill();
            let _ = kubectl.wait();
        }
    }
}

/// Sends the lines of kubectl until it ends, or nobody takes them.
fn send_lines(output: ChildStdout, name: &str, lines: &Sender<PodLine>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while matches!((&mut output).take(LINE_BYTES).read_until(b'\n', &mut line), Ok(1..)) {
        if lines.send(to_piku_form(&line, name)).is_err() {
            break;
        }
        line.clear();
    }
}

/// Returns a line of kubectl, `TIME TEXT`, as `TIME NAME: TEXT`, with the time in milliseconds.
fn to_piku_form(line: &[u8], name: &str) -> PodLine {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (time, text) = line.split_at(space);
    let time = std::str::from_utf8(time).ok().and_then(|time| time.parse::<Timestamp>().ok());
    let (time, text) = match time {
        Some(time) => (format!("{time:.3} "), text.get(1..).unwrap_or_default()),
        None => (String::new(), line),
    };
    [time.as_bytes(), name.as_bytes(), b": ", text].concat()
}

fn print_line(line: &[u8], raw: bool, out: &mut dyn Write) -> io::Result<()> {
    if raw {
        out.write_all(line)?;
    } else {
        out.write_all(coloured_text(line).as_bytes())?;
    }
    out.write_all(b"\n")
}

/// Returns whether the reader of the output is gone.
fn is_gone(reader: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(reader, PollFlags::empty())], 0u8).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_form_of_pikus_logs() {
        let form = |line: &str| String::from_utf8(to_piku_form(line.as_bytes(), "web-1")).unwrap();
        assert_eq!(
            form("2026-11-29T12:00:00.123456789Z hello  there\n"),
            "2026-11-29T12:00:00.123Z web-1: hello  there"
        );
        assert_eq!(form("2026-11-29T12:00:00Z\n"), "2026-11-29T12:00:00.000Z web-1: ");
        assert_eq!(form("no time\n"), "web-1: no time");
    }
}
