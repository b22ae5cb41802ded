//! One machine that a release is sent to.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use piku_layout::name::AppName;
use piku_layout::settings::{self, DeployTo};
use piku_report::user_error::{BUSY, UserError};
use serde::Deserialize;

use super::parts::{PackedPart, PackedParts};
use super::say;
use super::ssh::{self, EndedSession, NO_CONNECTION, SessionInput, TimeLimit};
use super::targets::TargetFacts;
use crate::release::DeployedRelease;

/// Part of the answer of a piku that does not know a step.
const UNKNOWN_STEP: &str = "expected offer APP";
/// The time for an answer that takes no work.
const ANSWER: TimeLimit = TimeLimit::Whole(Duration::from_secs(60));
/// The time for what takes work there: it may wait for another push, or for a release task that says nothing.
const WORK: TimeLimit = TimeLimit::Silence { silence: Duration::from_secs(3600), whole: DAY };
/// The time after which nothing is tried again, and no session goes on: a byte now and then is no work.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// A machine, and how far it has come.
pub(super) struct TargetHost<'a> {
    /// As people read it.
    pub(super) name: String,
    app: &'a AppName,
    pub(super) address: &'a settings::MachineAddress,
    to: &'a DeployTo,
    /// The answer to what it is, once it has been asked.
    pub(super) facts: Option<TargetFacts>,
    /// The folder of the release that is for it.
    pub(super) folder: PathBuf,
    /// The layers that it has not.
    pub(super) lacks: Vec<String>,
    /// The release that is live there since it was deployed.
    pub(super) release: Option<u64>,
    /// Whether its deploy may have ended well without our knowing.
    unknown: bool,
    /// Why it is left out from here on.
    pub(super) failure: Option<String>,
}

/// What `release:offer` answers.
#[derive(Deserialize)]
struct OfferAnswer {
    lacks: Vec<String>,
}

impl<'a> TargetHost<'a> {
    pub(super) fn new(app: &'a AppName, address: &'a settings::MachineAddress, to: &'a DeployTo) -> Self {
        let name = settings::MachineAddress { user: None, ..address.clone() }.to_string();
        let (lacks, release, unknown, failure) = (Vec::new(), None, false, None);
        let folder = PathBuf::new();
        Self { name, app, address, to, facts: None, folder, lacks, release, unknown, failure }
    }

    /// Asks what it is. An older piku, which does not know the question, is taken for a machine like this one, `own`.
    pub(super) fn ask(&mut self, own: &TargetFacts) -> anyhow::Result<()> {
        let ended = self.again(&mut |machine| {
            let ended =
                machine.session(&["release:machine", machine.app.as_str()], SessionInput::Nothing, ANSWER)?;
            let is_older = ended.code != 0 && ended.last.contains(UNKNOWN_STEP);
            Ok(if is_older { EndedSession { code: 0, answer: String::new(), ..ended } } else { ended })
        })?;
        self.facts = Some(if ended.answer.is_empty() {
            say(
                &self.name,
                "       an older piku, which does not say what it runs on: taken for a machine like this one",
            );
            own.clone()
        } else {
            TargetFacts::parse(&ended.answer)?
        });
        Ok(())
    }

    /// Asks whether the release would run there, and what it lacks.
    pub(super) fn offer(&mut self, head: &[u8]) -> anyhow::Result<()> {
        let ended = self.again(&mut |machine| {
            machine.session(&["release:offer", machine.app.as_str()], SessionInput::Text(head), WORK)
        })?;
        self.lacks = serde_json::from_str::<OfferAnswer>(&ended.answer).context("it gave no answer")?.lacks;
        Ok(())
    }

    /// Sends the parts that it lacks, each from where it broke off the last time.
    pub(super) fn send(&mut self, packed: &PackedParts) -> anyhow::Result<()> {
        let (mut sent, mut all) = (0, 0);
        for part in self.wanted(packed) {
            let bytes = part.bytes.to_string();
            self.again(&mut |machine| {
                let words = ["release:take", machine.app.as_str(), &part.sha256, &bytes];
                let ended = machine.session(&words, SessionInput::File(&part.path), WORK)?;
                sent += ended.sent;
                let kept = part.bytes.saturating_sub(ended.sent);
                if ended.code == 0 && kept > 0 {
                    say(&machine.name, &format!("       went on after {kept} of {bytes} bytes"));
                }
                Ok(ended)
            })?;
            all += part.bytes;
        }
        say(&self.name, &format!("       sent {sent} bytes of {all}"));
        Ok(())
    }

    /// Has it deployed there.
    pub(super) fn deploy(&mut self, packed: &PackedParts) -> anyhow::Result<()> {
        let mut words = vec!["release:deploy", self.app.as_str()];
        words.extend(self.wanted(packed).map(|part| part.sha256.as_str()));
        // Once only: a deploy whose end was not heard of may go on there.
        let ended = self.session(&words, SessionInput::Nothing, WORK)?;
        self.unknown = ended.code == NO_CONNECTION;
        if self.unknown {
            bail!(
                "the connection was lost while it deployed; how that ended it alone knows: {}",
                self.how_to_ask()
            );
        }
        let deployed: DeployedRelease =
            serde_json::from_str(&well(ended)?.answer).context("it gave no answer")?;
        self.release = Some(deployed.release);
        Ok(())
    }

    /// Goes back, where the release is live or may be.
    pub(super) fn undo(&mut self) {
        if self.unknown {
            say(
                &self.name,
                &format!(" !     if the release is live there, go back by hand: {}", self.how_to_ask()),
            );
        }
        let Some(release) = self.release.take() else { return };
        let number = release.to_string();
        let undone = self.again(&mut |machine| {
            machine.session(&["release:undo", machine.app.as_str(), &number], SessionInput::Nothing, WORK)
        });
        if let Err(err) = undone {
            self.failure = Some(format!("release {release} is live, and it did not go back: {err:#}"));
        }
    }

    fn wanted<'b>(&self, packed: &'b PackedParts) -> impl Iterator<Item = &'b PackedPart> + use<'b> {
        let lacks = self.lacks.clone();
        packed.parts.iter().filter(move |part| part.layer.as_ref().is_none_or(|key| lacks.contains(key)))
    }

    fn session(
        &self,
        words: &[&str],
        input: SessionInput<'_>,
        limit: TimeLimit,
    ) -> anyhow::Result<EndedSession> {
        ssh::run(&self.name, self.address, self.to, words, input, limit)
    }

    /// Tries again what a broken line or somebody busy has stopped, as long as patience lasts since bytes went through.
    fn again(
        &self,
        attempt: &mut dyn FnMut(&Self) -> anyhow::Result<EndedSession>,
    ) -> anyhow::Result<EndedSession> {
        let begin = Instant::now();
        let mut since = begin;
        let patience = Duration::from_secs(self.to.patience);
        loop {
            let ended = attempt(self)?;
            if ended.sent > 0 {
                since = Instant::now();
            }
            let passes =
                ended.code == NO_CONNECTION && mend(&ended.last).is_none() || ended.code == i32::from(BUSY);
            if !passes || since.elapsed() >= patience || begin.elapsed() >= DAY {
                return well(ended);
            }
            say(&self.name, "       trying again");
            thread::sleep(PAUSE.min(patience));
        }
    }

    /// How to ask the machine itself.
    fn how_to_ask(&self) -> String {
        let user = self.address.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.address.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        format!("ssh {port}{user}{} releases {}", self.address.host, self.app)
    }
}

/// What mends a connection that no patience mends: ssh says that the other side, or our key, is not the one expected.
fn mend(last: &str) -> Option<&'static str> {
    const MENDS: [(&str, &str); 4] = [
        ("Permission denied", "let the key in there: sudo piku keys:add NAME --app APP < KEY.pub"),
        (
            "Host key verification failed",
            "see and accept its host key once, as the user that runs piku: ssh USER@HOST help",
        ),
        (
            "no such identity",
            "the key of 'identity' in host.yaml is not there: ssh-keygen -t ed25519 makes one",
        ),
        ("Could not resolve hostname", "is its name spelt right in host.yaml?"),
    ];
    MENDS.iter().find(|(text, _)| last.contains(text)).map(|(_, mend)| *mend)
}

/// The end of a session as an error, where it is one.
fn well(ended: EndedSession) -> anyhow::Result<EndedSession> {
    let why =
        |text: &str| if ended.last.is_empty() { text.to_owned() } else { format!("{text}: {}", ended.last) };
    match ended.code {
        0 => Ok(ended),
        NO_CONNECTION => {
            let mend = mend(&ended.last).map(|mend| format!(" ({mend})")).unwrap_or_default();
            Err(UserError::new(why("no connection") + &mend).into())
        }
        code if code == i32::from(BUSY) => Err(UserError::new(why("busy")).code(BUSY).into()),
        _ => Err(UserError::new(why("failed")).into()),
    }
}
