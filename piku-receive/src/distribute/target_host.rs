//! A host to which a release is sent.

use std::cell::Cell;
use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::settings::{self, DeployTo};
use piku_report::user_error::{BUSY, UserError, advice};
use serde::Deserialize;

use super::failure_reason::UNKNOWN_NAME;
use super::parts::{PackedPart, PackedParts};
use super::print_remote_line;
use super::session_failure::{SessionFailure, SessionFailureKind};
use super::ssh::{self, EndedSession, NO_CONNECTION, SessionInput, TimeLimit};
use super::targets::TargetFacts;
use crate::release::DeployedRelease;

/// Part of the error of an older piku that does not know a step.
const UNKNOWN_STEP: &str = "expected offer APP";
/// Limit for a request that does no work.
const ANSWER: TimeLimit = TimeLimit::Whole(Duration::from_secs(60));
/// Time for a rollback, even if the deploy has used up the time of the host, or the limit is shorter.
const UNDO: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(2);

/// A host and the state of its deploy.
pub(super) struct TargetHost<'a> {
    /// Address without the user, for messages.
    pub(super) name: String,
    app: &'a AppName,
    pub(super) address: &'a settings::MachineAddress,
    to: &'a DeployTo,
    /// Time that its further requests may take, of the `time_limit` for all of them.
    time_left: Cell<Duration>,
    /// Its platform, once it has been asked.
    pub(super) facts: Option<TargetFacts>,
    /// Directory of the release for it.
    pub(super) folder: PathBuf,
    /// Keys of the layers to send.
    pub(super) missing_layers: Vec<String>,
    /// Number of the release that it has deployed.
    pub(super) release: Option<u64>,
    /// True if the connection was lost during the deploy.
    is_outcome_unknown: bool,
    pub(super) failure: Option<String>,
    /// True if it is down and is left out, by `skip_down`.
    pub(super) is_down: bool,
    /// True if it has failed because it could not be reached or was busy.
    pub(super) may_succeed_later: bool,
}

/// No connection to a host, or a lost one.
#[derive(Debug)]
pub(super) struct LostConnection(String);

impl fmt::Display for LostConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LostConnection {}

#[derive(Deserialize)]
struct OfferAnswer {
    lacks: Vec<String>,
}

impl<'a> TargetHost<'a> {
    pub(super) fn new(app: &'a AppName, address: &'a settings::MachineAddress, to: &'a DeployTo) -> Self {
        let name = address.name();
        let (lacks, release, unknown, failure) = (Vec::new(), None, false, None);
        let folder = PathBuf::new();
        Self {
            name,
            app,
            address,
            to,
            time_left: Cell::new(Duration::from_secs(to.time_limit)),
            facts: None,
            folder,
            missing_layers: lacks,
            release,
            is_outcome_unknown: unknown,
            failure,
            is_down: false,
            may_succeed_later: false,
        }
    }

    /// Records that a request has failed. A host without a connection is down, if such hosts are left out.
    pub(super) fn fail(&mut self, err: &anyhow::Error) {
        self.is_down = self.to.skip_down && err.is::<LostConnection>();
        let is_busy = advice(err).1 == BUSY;
        self.may_succeed_later = is_busy || err.is::<LostConnection>();
        self.failure = Some(format!("{err:#}"));
    }

    /// Returns true if it has failed and was not left out.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some() && !self.is_down
    }

    /// Returns true if it has deployed the release, or may have.
    pub(super) fn may_have_changed(&self) -> bool {
        self.release.is_some() || self.is_outcome_unknown
    }

    /// Asks for its platform. An older piku that does not know the request counts as a host like this one,
    /// `own`.
    pub(super) fn ask_facts(&mut self, own: &TargetFacts) -> anyhow::Result<()> {
        // A host that is back later gets the release then.
        let patience = if self.to.skip_down { 0 } else { self.to.patience };
        let ended = self.retry_for(patience, &mut |machine| {
            let ended = machine.run_session(
                &["release:machine", machine.app.as_str()],
                SessionInput::Nothing,
                ANSWER,
            )?;
            let is_older = ended.code != 0 && ended.last.contains(UNKNOWN_STEP);
            Ok(if is_older { EndedSession { code: 0, answer: String::new(), ..ended } } else { ended })
        })?;
        self.facts = Some(if ended.answer.is_empty() {
            print_remote_line(
                &self.name,
                "       runs an older piku that does not report its platform: treated like this machine",
            );
            own.clone()
        } else {
            TargetFacts::parse(&ended.answer)?
        });
        Ok(())
    }

    /// Offers the release and stores the missing layers.
    pub(super) fn offer_release(&mut self, head: &[u8]) -> anyhow::Result<()> {
        let ended = self.retry(&mut |machine| {
            machine.run_session(
                &["release:offer", machine.app.as_str()],
                SessionInput::Text(head),
                machine.work(),
            )
        })?;
        self.missing_layers =
            serde_json::from_str::<OfferAnswer>(&ended.answer).context("its response is not valid")?.lacks;
        Ok(())
    }

    /// Sends the missing parts, resuming interrupted ones.
    pub(super) fn send_parts(&mut self, packed: &PackedParts) -> anyhow::Result<()> {
        let (mut sent, mut all) = (0, 0);
        for part in self.selects(packed) {
            let bytes = part.bytes.to_string();
            self.retry(&mut |machine| {
                let words = ["release:take", machine.app.as_str(), &part.sha256, &bytes];
                let ended = machine.run_session(&words, SessionInput::File(&part.path), machine.work())?;
                sent += ended.sent;
                let kept = part.bytes.saturating_sub(ended.sent);
                if ended.code == 0 && kept > 0 {
                    print_remote_line(
                        &machine.name,
                        &format!("       resumed after {kept} of {bytes} bytes"),
                    );
                }
                Ok(ended)
            })?;
            all += part.bytes;
        }
        print_remote_line(&self.name, &format!("       sent {sent} of {all} bytes"));
        Ok(())
    }

    pub(super) fn deploy_release(&mut self, packed: &PackedParts) -> anyhow::Result<()> {
        let mut words = vec!["release:deploy", self.app.as_str()];
        words.extend(self.selects(packed).map(|part| part.sha256.as_str()));
        // Not repeated: after a lost connection the deploy may go on there.
        let ended = self.run_session(&words, SessionInput::Nothing, self.work())?;
        self.is_outcome_unknown = ended.code == NO_CONNECTION;
        if self.is_outcome_unknown && self.time_left.get().is_zero() {
            let what = format!("{}; see the result with: {}", self.overdue(), self.how_to_ask());
            return Err(UserError::new(what).into());
        }
        if self.is_outcome_unknown {
            let how = self.how_to_ask();
            let what = format!("the connection was lost during the deploy; see the result with: {how}");
            return Err(LostConnection(what).into());
        }
        let deployed: DeployedRelease =
            serde_json::from_str(&self.check_success(ended)?.answer).context("its response is not valid")?;
        self.release = Some(deployed.release);
        Ok(())
    }

    /// Gives it the key of the front, by which it recognizes the front's requests.
    pub(super) fn send_front_key(&mut self, key: &[u8]) -> anyhow::Result<()> {
        let words = ["release:front", self.app.as_str()];
        self.retry(&mut |machine| machine.run_session(&words, SessionInput::Text(key), ANSWER)).map(drop)
    }

    /// Rolls back if the release is live.
    pub(super) fn undo_deploy(&mut self) {
        if self.is_outcome_unknown {
            print_remote_line(
                &self.name,
                &format!(" !     if the release is live there, roll back by hand: {}", self.how_to_ask()),
            );
        }
        let Some(release) = self.release.take() else { return };
        let number = release.to_string();
        self.allow_undo();
        let undone = self.retry(&mut |machine| {
            let words = ["release:undo", machine.app.as_str(), &number];
            machine.run_session(&words, SessionInput::Nothing, machine.work())
        });
        if let Err(err) = undone {
            self.failure = Some(format!("release {release} is live, and the rollback failed: {err:#}"));
        }
    }

    /// Leaves time for a rollback.
    fn allow_undo(&self) {
        self.time_left.set(self.time_left.get().max(UNDO));
    }

    fn selects<'b>(&self, packed: &'b PackedParts) -> impl Iterator<Item = &'b PackedPart> + use<'b> {
        let lacks = self.missing_layers.clone();
        packed.parts.iter().filter(move |part| part.layer.as_ref().is_none_or(|key| lacks.contains(key)))
    }

    /// Returns the limit of a request that does work.
    pub(super) fn work(&self) -> TimeLimit {
        TimeLimit::of_work(self.time_left.get())
    }

    /// Sends a request, which also ends when the time of the host does.
    pub(super) fn run_session(
        &self,
        words: &[&str],
        input: SessionInput<'_>,
        limit: TimeLimit,
    ) -> anyhow::Result<EndedSession> {
        let (begin, limit) = (Instant::now(), limit.at_most(self.time_left.get()));
        let ended = ssh::run_on_host(&self.name, self.address, self.to, words, input, limit);
        self.time_left.set(self.time_left.get().saturating_sub(begin.elapsed()));
        ended
    }

    /// Repeats a request after a lost connection or a busy host, until `patience` has passed since bytes
    /// were last sent.
    fn retry(
        &self,
        attempt: &mut dyn FnMut(&Self) -> anyhow::Result<EndedSession>,
    ) -> anyhow::Result<EndedSession> {
        self.retry_for(self.to.patience, attempt)
    }

    fn retry_for(
        &self,
        patience: u64,
        attempt: &mut dyn FnMut(&Self) -> anyhow::Result<EndedSession>,
    ) -> anyhow::Result<EndedSession> {
        let mut since = Instant::now();
        let patience = Duration::from_secs(patience);
        loop {
            let ended = attempt(self)?;
            if ended.sent > 0 {
                since = Instant::now();
            }
            let passes = self.failure_of(&ended).is_some_and(|failure| match failure.kind {
                SessionFailureKind::Away => !ended.last.contains(UNKNOWN_NAME),
                SessionFailureKind::Busy => true,
                SessionFailureKind::NoAccess | SessionFailureKind::Failed => false,
            });
            if !passes || since.elapsed() >= patience || self.time_left.get().is_zero() {
                return self.check_success(ended);
            }
            print_remote_line(&self.name, "       trying again");
            thread::sleep(PAUSE.min(patience));
        }
    }

    /// Returns the command that lists the releases of the host.
    fn how_to_ask(&self) -> String {
        let user = self.address.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.address.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        format!("ssh {port}{user}{} releases {}", self.address.host, self.app)
    }

    /// Returns the error of a host whose time has ended. It is not one that is down: it would hold up the next attempt
    /// for as long.
    fn overdue(&self) -> UserError {
        UserError::new(format!(
            "it has not finished within {} s (time_limit of deploy_to in host.yaml)",
            self.to.time_limit
        ))
    }

    /// Turns a failed request into an error.
    pub(super) fn check_success(&self, ended: EndedSession) -> anyhow::Result<EndedSession> {
        let Some(failure) = self.failure_of(&ended) else { return Ok(ended) };
        Err(match failure.kind {
            _ if ended.code == NO_CONNECTION && self.time_left.get().is_zero() => self.overdue().into(),
            SessionFailureKind::Away => LostConnection(failure.why).into(),
            SessionFailureKind::Busy => UserError::new(failure.why).code(BUSY).into(),
            SessionFailureKind::NoAccess | SessionFailureKind::Failed => UserError::new(failure.why).into(),
        })
    }

    fn failure_of(&self, ended: &EndedSession) -> Option<SessionFailure> {
        SessionFailure::of(ended, Some(self.address), self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_has_its_time_after_any_limit() {
        let (app, address) = ("blog".parse().unwrap(), "piku@pi-1".parse().unwrap());
        for (time_limit, expected) in [(5, UNDO), (3600, Duration::from_secs(3600))] {
            let to = DeployTo { time_limit, ..DeployTo::default() };
            let host = TargetHost::new(&app, &address, &to);
            host.allow_undo();
            let TimeLimit::Silence { whole, .. } = host.work() else { panic!("it does work") };
            assert_eq!(whole, expected);
            host.time_left.set(Duration::ZERO);
            host.allow_undo();
            assert_eq!(host.time_left.get(), UNDO);
        }
    }
}
