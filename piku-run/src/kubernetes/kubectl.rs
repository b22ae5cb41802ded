//! kubectl as a process, with the operator's kubeconfig. Its errors become one line.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_layout::settings::{ClusterTarget, expand_home};
use piku_report::user_error::UserError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::refusal;
use super::state::MANAGER;

/// Time between two attempts to reach the cluster.
const PAUSE: Duration = Duration::from_secs(2);

/// Limit of one question to the server.
pub(super) const REQUEST_LIMIT: &str = "--request-timeout=20s";

/// Parts of kubectl's messages that say that no server has answered, or none that could do it at the moment.
const UNREACHABLE: [&str; 17] = [
    "Unable to connect to the server",
    "connection refused",
    "was refused",
    "i/o timeout",
    "TLS handshake timeout",
    "no route to host",
    "Client.Timeout exceeded",
    "etcdserver: ",
    "no such host",
    "connection reset by peer",
    "client connection lost",
    ": EOF",
    "unexpected EOF",
    "(ServiceUnavailable)",
    "the server is currently unable to handle the request",
    "(TooManyRequests)",
    "the server has received too many requests",
];

/// Runs kubectls to their ends, unless something interrupts it.
pub(super) trait KubectlRunner {
    /// Returns the output of a command; `None` if it is interrupted.
    fn output_of(&mut self, command: Command, input: Option<&str>) -> anyhow::Result<Option<Output>>;

    /// Waits. Returns false if it is interrupted.
    fn pause(&mut self, time: Duration) -> anyhow::Result<bool>;
}

/// A runner that nothing interrupts but the end of this process.
struct WaitingRunner;

impl KubectlRunner for WaitingRunner {
    fn output_of(&mut self, command: Command, input: Option<&str>) -> anyhow::Result<Option<Output>> {
        output_of(command, input).map(Some)
    }

    fn pause(&mut self, time: Duration) -> anyhow::Result<bool> {
        sleep(time);
        Ok(true)
    }
}

/// A cluster as kubectl reaches it.
#[derive(Debug, Clone)]
pub(super) struct KubectlClient {
    target: ClusterTarget,
    /// Time for which a cluster that does not answer is asked again.
    patience: Duration,
}

impl KubectlClient {
    pub(super) fn new(target: &ClusterTarget, patience: Duration) -> Self {
        Self { target: target.clone(), patience }
    }

    /// Returns a kubectl with these arguments, in the app's namespace.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        self.complete(Command::new(self.program()), args)
    }

    /// Returns a kubectl that follows something. It ends also if the calling thread is killed.
    pub(super) fn following_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(self.program());
        self.complete(command, args)
    }

    fn program(&self) -> PathBuf {
        self.target.kubectl.as_deref().map_or_else(|| PathBuf::from("kubectl"), expand_home)
    }

    fn complete(&self, mut command: Command, args: &[&str]) -> Command {
        let ClusterTarget { context, namespace, kubeconfig, .. } = &self.target;
        if let Some(path) = kubeconfig {
            command.arg("--kubeconfig").arg(expand_home(path));
        }
        command.arg(format!("--context={context}")).arg(format!("--namespace={namespace}")).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Runs kubectl and returns its output.
    ///
    /// # Errors
    /// Fails with kubectl's own reason in one line.
    pub(super) fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        self.run_with(args, None)
    }

    /// Returns objects as kubectl prints them in JSON.
    pub(super) fn get<T: DeserializeOwned>(&self, args: &[&str]) -> anyhow::Result<T> {
        let text = self.run(&[&["get", "--output=json", REQUEST_LIMIT], args].concat())?;
        serde_json::from_str(&text).context("cannot understand kubectl's JSON")
    }

    /// Returns those objects of the text that the cluster has.
    pub(super) fn get_existing<T: DeserializeOwned>(&self, yaml: &str) -> anyhow::Result<Vec<T>> {
        let args = ["get", "--filename=-", "--ignore-not-found", "--output=json", REQUEST_LIMIT];
        existing_objects(&self.run_with(&args, Some(yaml))?)
    }

    /// Runs kubectl and returns its output; `None` if the runner is interrupted.
    ///
    /// # Errors
    /// Fails with kubectl's own reason in one line.
    pub(super) fn run_by(
        &self,
        runner: &mut impl KubectlRunner,
        args: &[&str],
        input: Option<&str>,
    ) -> anyhow::Result<Option<String>> {
        let since = Instant::now();
        loop {
            let Some(out) = runner.output_of(self.command(args), input)? else { return Ok(None) };
            if out.status.success() {
                return Ok(Some(String::from_utf8_lossy(&out.stdout).into_owned()));
            }
            let told = String::from_utf8_lossy(&out.stderr);
            if !is_unreachable(&told) || since.elapsed() >= self.patience {
                return Err(self.to_error(&told).into());
            }
            if !runner.pause(PAUSE)? {
                return Ok(None);
            }
        }
    }

    /// Makes an object that the cluster does not have yet.
    pub(super) fn create(&self, yaml: &str) -> anyhow::Result<()> {
        self.run_with(&["create", "--filename=-"], Some(yaml)).map(drop)
    }

    /// Makes the objects in the cluster equal to those in the text. Fields that piku does not set stay. The caller
    /// has made sure that the objects are the app's.
    pub(super) fn apply_owned(&self, yaml: &str) -> anyhow::Result<()> {
        let owner = format!("--field-manager={MANAGER}");
        let args = ["apply", "--server-side", "--force-conflicts", &owner, "--filename=-"];
        self.run_with(&args, Some(yaml)).map(drop)
    }

    fn run_with(&self, args: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        self.run_by(&mut WaitingRunner, args, input)?.context("kubectl has been interrupted")
    }

    /// Returns the error of a kubectl that has printed this.
    pub(super) fn to_error(&self, told: &str) -> UserError {
        let err = UserError::new(format!("kubernetes: {}", summarize(told)));
        let context = &self.target.context;
        if is_unreachable(told) {
            return err.hint(format!("is the cluster up? kubectl --context={context} cluster-info"));
        }
        if let Some(hint) = refusal::hint(told) {
            return err.hint(hint);
        }
        if told.contains("Forbidden") && told.contains(" cannot ") {
            let namespace = &self.target.namespace;
            let may = format!("kubectl --context={context} --namespace={namespace} auth can-i --list");
            return err.hint(format!("what the user of this context may do: {may}"));
        }
        if told.contains("context was not found") || told.contains("does not exist") {
            return err.hint("see kubernetes in deploy_to of host.yaml, and: kubectl config get-contexts");
        }
        err
    }
}

/// Returns the objects that `kubectl get --ignore-not-found` has printed: nothing, one, or a list.
fn existing_objects<T: DeserializeOwned>(text: &str) -> anyhow::Result<Vec<T>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut found: Value = serde_json::from_str(text).context("cannot understand kubectl's JSON")?;
    let objects = match found.get_mut("items") {
        Some(items) => items.take(),
        None => Value::Array(vec![found]),
    };
    serde_json::from_value(objects).context("cannot understand kubectl's objects")
}

/// Runs a command with an input, which may be larger than a pipe.
fn output_of(mut command: Command, input: Option<&str>) -> anyhow::Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().map_err(|err| missing_program(&command, &err))?;
    let pipe = child.stdin.take();
    let out = std::thread::scope(|scope| {
        if let (Some(mut pipe), Some(text)) = (pipe, input) {
            // A kubectl that does not read all of it says why by itself.
            scope.spawn(move || pipe.write_all(text.as_bytes()));
        }
        child.wait_with_output()
    });
    out.context("cannot wait for kubectl")
}

/// Returns the error of a program that cannot be started.
pub(super) fn missing_program(command: &Command, err: &std::io::Error) -> UserError {
    let name = command.get_program().to_string_lossy();
    let package = match &*name {
        "kubectl" => "kubernetes-client",
        other => other,
    };
    UserError::new(format!("cannot run '{name}': {err}")).hint(format!("apt install {package}"))
}

fn is_unreachable(told: &str) -> bool {
    UNREACHABLE.iter().any(|part| told.contains(part))
}

/// Returns the last line that gives a reason, without the word in front.
pub(super) fn summarize(told: &str) -> String {
    let is_log = |line: &str| {
        let mut chars = line.chars();
        matches!(chars.next(), Some('E' | 'W' | 'I')) && chars.take(4).all(|c| c.is_ascii_digit())
    };
    let mut reasons = told.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut plain = reasons.clone().filter(|line| !is_log(line) && !line.starts_with("Warning:"));
    let Some(line) = plain.next_back().or(reasons.next_back()) else {
        return "kubectl has failed".to_owned();
    };
    let line = line.strip_prefix("error: ").or_else(|| line.strip_prefix("Error: ")).unwrap_or(line);
    match line.strip_prefix("Error from server ") {
        Some(rest) => rest.split_once("): ").map_or(rest, |(_, reason)| reason).to_owned(),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_objects_are_none_one_or_a_list() {
        let names = |text: &str| -> Vec<String> {
            let found: Vec<Value> = existing_objects(text).unwrap();
            found.iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("\n"), [""; 0]);
        assert_eq!(names(r#"{"kind": "Service", "metadata": {}}"#), ["Service"]);
        assert_eq!(names(r#"{"kind": "List", "items": [{"kind": "A"}, {"kind": "B"}]}"#), ["A", "B"]);
    }

    #[test]
    fn reasons_of_kubectl_in_one_line() {
        for (told, wanted) in [
            (
                "E1129 12:00:00.000000    1234 memcache.go:265] couldn't get current server API group list\n\
                 The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n",
                "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?",
            ),
            (
                "Warning: would violate PodSecurity\nError from server (Forbidden): deployments.apps is forbidden\n",
                "deployments.apps is forbidden",
            ),
            ("error: context \"x\" does not exist\n", "context \"x\" does not exist"),
            ("E1129 1 x\n", "E1129 1 x"),
            ("\n", "kubectl has failed"),
        ] {
            assert_eq!(summarize(told), wanted);
        }
        assert!(is_unreachable("The connection to the server a:1 was refused - did you"));
        assert!(is_unreachable(
            "Unable to connect to the server: dial tcp: lookup pi on 1.1.1.1:53: no such host"
        ));
        assert!(is_unreachable("Error from server (ServiceUnavailable): apiserver not ready"));
        assert!(is_unreachable("error: Get \"https://pi:6443/api?timeout=20s\": EOF"));
        assert!(!is_unreachable("Error from server (NotFound): jobs.batch \"x\" not found"));
    }
}
