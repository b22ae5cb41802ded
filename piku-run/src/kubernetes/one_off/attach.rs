//! A client at a one-off pod: waits for its start, attaches the client, and returns the exit code of the command.

use std::io::{self, Write, stdin};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use piku_report::progress;
use piku_report::user_error::UserError;

use super::session::ClientWatch;
use crate::kubernetes::KubernetesApp;
use crate::kubernetes::kubectl::{KubectlRunner, REQUEST_LIMIT, missing_program};
use crate::kubernetes::state::{ContainerEnd, ONE_OFF, PodState};

/// Time between two looks at a pod.
const PAUSE: Duration = Duration::from_millis(300);
/// Time within which a pod starts: a node may have to get the image first.
const START: Duration = Duration::from_secs(300);
/// Time after which the client is told why its pod does not start.
const SILENCE: Duration = Duration::from_secs(5);
/// Time for which a command may run on after its output has ended.
const END: Duration = Duration::from_secs(20);
/// Exit code of a session whose client is gone.
pub(super) const CUT_OFF: u8 = 130;
/// Option of newer kubectls.
const QUIET: &str = "--quiet";

impl KubernetesApp {
    /// Attaches the client to a pod until its command ends. Returns the exit code of the command.
    ///
    /// # Errors
    /// Fails if the pod does not start, or the connection to it is lost.
    pub(super) fn follow_pod(
        &self,
        pod: &str,
        has_terminal: bool,
        client: &mut ClientWatch,
    ) -> anyhow::Result<u8> {
        let Some(mut attach) = self.attach_command(pod, has_terminal, client)? else { return Ok(CUT_OFF) };
        let Some(started) = self.wait_for_start(pod, client)? else { return Ok(CUT_OFF) };
        if let Some(end) = started.last_end() {
            // It has not waited for its client, so that its log has all.
            let log = self.kubectl().run_by(client, &["logs", REQUEST_LIMIT, pod], None)?;
            io::stdout().write_all(log.unwrap_or_default().as_bytes())?;
            return Ok(self.tell_end(end));
        }
        let mut kubectl = attach.spawn().map_err(|err| missing_program(&attach, &err))?;
        if let Some(input) = kubectl.stdin.take() {
            // It may wait for the client's input when the command has ended.
            thread::spawn(move || send_input(input));
        }
        client.wait_for(&mut kubectl)?;
        let since = Instant::now();
        while client.pause(Duration::ZERO)? {
            let Some(state) = client.get_pod(&self.kubectl(), pod)? else { break };
            if let Some(end) = state.last_end() {
                return Ok(self.tell_end(end));
            }
            if let Some(why) = state.failure() {
                return Err(UserError::new(why).into());
            }
            if since.elapsed() >= END {
                return Err(UserError::new(format!("the connection to {pod} is lost; it is removed")).into());
            }
            client.pause(PAUSE)?;
        }
        Ok(CUT_OFF)
    }

    /// Waits until the command of a pod runs or has ended. Returns `None` if the client is cut off.
    fn wait_for_start(&self, pod: &str, client: &mut ClientWatch) -> anyhow::Result<Option<PodState>> {
        let (since, mut told) = (Instant::now(), String::new());
        loop {
            let Some(state) = client.get_pod(&self.kubectl(), pod)? else { return Ok(None) };
            if state.is_started() || state.last_end().is_some() {
                return Ok(Some(state));
            }
            if let Some(why) = state.failure() {
                return Err(UserError::new(why).into());
            }
            let why = state.why_not_ready().unwrap_or_default();
            if since.elapsed() >= START {
                return Err(UserError::new(format!("{pod} does not start: {why}")).into());
            }
            if since.elapsed() >= SILENCE && why != told {
                progress::detail(&format!("{pod}: {why}"));
                told = why;
            }
            if !client.pause(PAUSE)? {
                return Ok(None);
            }
        }
    }

    /// Returns the kubectl that attaches a client; `None` if the client is cut off.
    fn attach_command(
        &self,
        pod: &str,
        has_terminal: bool,
        client: &mut ClientWatch,
    ) -> anyhow::Result<Option<Command>> {
        let kubectl = self.kubectl_now();
        let Some(help) = kubectl.run_by(client, &["attach", "--help"], None)? else { return Ok(None) };
        let mut command = kubectl.following_command(&["attach", pod, "--container", ONE_OFF, "--stdin"]);
        command.args(help.contains(QUIET).then_some(QUIET));
        if has_terminal {
            command.arg("--tty").stdin(Stdio::inherit());
        } else {
            command.stdin(Stdio::piped());
        }
        Ok(Some(command))
    }

    /// Returns the exit code of a command, and says what it does not say itself.
    fn tell_end(&self, end: &ContainerEnd) -> u8 {
        if end.is_out_of_memory() {
            progress::error(&format!("{}: the command needed more memory than its pod may use", self.app));
        }
        u8::try_from(end.exit_code).unwrap_or(1)
    }
}

/// Sends the line for which the command waits, and the client's input.
fn send_input(mut input: ChildStdin) {
    // A command may end before it has read everything.
    let _ = input.write_all(b"\n").and_then(|()| io::copy(&mut stdin().lock(), &mut input).map(drop));
}
