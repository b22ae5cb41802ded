//! Sessions: one run of the forced command. The client's request is parsed, checked against the key's scope, carried out and
//! written to the audit log.

#![expect(
    clippy::disallowed_methods,
    reason = "looks for the app's repository, which only git and piku write"
)]

mod audit;
mod request;
mod verb;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::{FAILED, UserError};

use crate::app_context::AppContext;
use crate::child_env;
use crate::push;
use crate::release::{self, ReleaseStep};
use crate::repository::setup;
use audit::AuditedAction;
use request::{GitService, KeyRequest};

/// Who came in, and what this machine's piku is.
#[derive(Debug)]
pub(crate) struct KeySession {
    /// The key's name.
    pub(crate) key: String,
    /// The apps it reaches; all when empty.
    pub(crate) scope: Vec<AppName>,
    /// The root, an absolute path.
    pub(crate) root: PikuRoot,
    /// The folder of the scripts.
    pub(crate) scripts: PathBuf,
}

/// How an action ended: the exit code, and the words for the audit log.
struct SessionEnd {
    code: u8,
    outcome: String,
}

impl KeySession {
    /// Does what `SSH_ORIGINAL_COMMAND` asks for.
    pub(crate) fn open(&self) -> anyhow::Result<ExitCode> {
        child_env::refuse_root(&self.root)?;
        child_env::own_umask();
        let asked = env::var_os("SSH_ORIGINAL_COMMAND").unwrap_or_default();
        let request = match request::parse(&asked) {
            Ok(Some(request)) => request,
            Ok(None) => return Err(self.greeting().into()),
            Err(refusal) => return Err(self.refuse(refusal.word(), None, &refusal)),
        };
        let (word, app) = names(&request);
        if let Some(refusal) = self.out_of_scope(&request) {
            return Err(self.refuse(word, app, &refusal));
        }
        let end = self.carry_out(&request);
        let outcome = match &end {
            Ok(end) => end.outcome.clone(),
            Err(err) => format!("error: {err:#}"),
        };
        // What only leads up to a deploy is written down when it fails.
        let leads_up = matches!(
            request,
            KeyRequest::Release {
                step: ReleaseStep::Machine | ReleaseStep::Offer | ReleaseStep::Take(_),
                ..
            }
        ) && end.as_ref().is_ok_and(|end| end.code == 0);
        if !leads_up {
            self.write(word, app, &outcome);
        }
        end.map(|end| ExitCode::from(end.code))
    }

    fn greeting(&self) -> UserError {
        UserError::new(format!(
            "hello {}: git push and piku's verbs come in here, a shell does not; try 'help'",
            self.key
        ))
        .code(FAILED)
    }

    fn out_of_scope(&self, request: &KeyRequest) -> Option<UserError> {
        let app = match request {
            KeyRequest::Verb { verb: "apps" | "help", .. } => return None,
            KeyRequest::Git { app, .. } | KeyRequest::Release { app, .. } => Some(app),
            KeyRequest::Verb { app, .. } => app.as_ref(),
        };
        if self.scope.is_empty() || app.is_some_and(|app| self.scope.contains(app)) {
            return None;
        }
        let reaches = self.scope.iter().map(AppName::as_str).collect::<Vec<_>>().join(", ");
        let what = app.map_or_else(|| "all apps".to_owned(), |app| format!("'{app}'"));
        Some(UserError::new(format!("key '{}' does not reach {what}, only {reaches}", self.key)))
    }

    fn carry_out(&self, request: &KeyRequest) -> anyhow::Result<SessionEnd> {
        match request {
            KeyRequest::Git { service: GitService::ReceivePack, app } => {
                let place = AppContext { root: &self.root, scripts: &self.scripts, app, key: &self.key };
                let outcome = push::receive(&place)?;
                Ok(SessionEnd { code: outcome.code(), outcome: outcome.to_string() })
            }
            KeyRequest::Git { service, app } => self.read_only(*service, app),
            KeyRequest::Release { step, app } => self.release(step, app),
            KeyRequest::Verb { verb, args, .. } => {
                let code = verb::run(&self.root, &self.scripts, &self.key, &self.scope, verb, args)?;
                Ok(SessionEnd { code, outcome: format!("exit {code}") })
            }
        }
    }

    /// A step of a release that another machine has built.
    fn release(&self, step: &ReleaseStep, app: &AppName) -> anyhow::Result<SessionEnd> {
        let place = AppContext { root: &self.root, scripts: &self.scripts, app, key: &self.key };
        Ok(match step {
            ReleaseStep::Machine => {
                let code = release::machine(&place)?;
                SessionEnd { code, outcome: format!("exit {code}") }
            }
            ReleaseStep::Offer => {
                let code = release::offer(&place)?;
                SessionEnd { code, outcome: format!("exit {code}") }
            }
            ReleaseStep::Take(part) => {
                release::take(&place, part)?;
                SessionEnd { code: 0, outcome: "taken".to_owned() }
            }
            ReleaseStep::Deploy(parts) => {
                let number = release::deploy(&place, parts)?;
                SessionEnd { code: 0, outcome: format!("deployed as release {number}") }
            }
            ReleaseStep::Undo(number) => {
                release::undo(&place, *number)?;
                SessionEnd { code: 0, outcome: format!("went back from release {number}") }
            }
        })
    }

    /// Fetches take no lock: git's refs and objects may be read while they are written.
    fn read_only(&self, service: GitService, app: &AppName) -> anyhow::Result<SessionEnd> {
        let repo = self.root.app(app).repo();
        if !repo.exists() {
            return Err(UserError::new(format!("there is no app '{app}'")).into());
        }
        let name = service.name();
        setup::settle_config(&repo, &self.scripts)?;
        let status = child_env::clean("git")?
            .args(setup::hooks_option(&self.scripts))
            .arg(name)
            .arg(repo)
            .status()
            .with_context(|| format!("cannot run 'git {name}'"))?;
        let code = u8::from(!status.success());
        Ok(SessionEnd { code, outcome: format!("exit {code}") })
    }

    fn refuse(&self, word: &str, app: Option<&AppName>, why: &dyn std::error::Error) -> anyhow::Error {
        self.write(word, app, &format!("refused: {why}"));
        UserError::new(why.to_string()).into()
    }

    fn write(&self, verb: &str, app: Option<&AppName>, outcome: &str) {
        let action = AuditedAction { key: &self.key, verb, app: app.map(AppName::as_str), outcome };
        audit::write(&self.root.audit_log(), &action);
    }
}

/// What the audit log calls it, and whose app it is about.
fn names(request: &KeyRequest) -> (&'static str, Option<&AppName>) {
    match request {
        KeyRequest::Git { service: GitService::ReceivePack, app } => ("push", Some(app)),
        KeyRequest::Git { service: GitService::UploadPack, app } => ("fetch", Some(app)),
        KeyRequest::Git { service: GitService::UploadArchive, app } => ("archive", Some(app)),
        KeyRequest::Release { step, app } => (step.verb(), Some(app)),
        KeyRequest::Verb { verb, app, .. } => (verb, app.as_ref()),
    }
}
