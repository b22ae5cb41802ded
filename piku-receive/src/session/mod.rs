//! Sessions: one run of the forced command. The client's request is parsed, checked against the key's scope,
//! executed and written to the audit log.

#![expect(
    clippy::disallowed_methods,
    reason = "checks that the repository exists, which only git and piku write"
)]

pub(crate) mod request;
mod verb;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use piku_events::audit::{self, AuditedAction};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::unknown_app_in;
use piku_report::user_error::{FAILED, USAGE, UserError};

use crate::app_context::AppContext;
use crate::child_env;
use crate::deploy::deploy_event;
use crate::push;
use crate::relay::before_deploy;
use crate::release::{self, ReleaseStep};
use crate::repository::create;
use crate::repository::setup;
use request::{GitService, KeyRequest};

/// The key of a client and the piku installation that it talks to.
#[derive(Debug)]
pub(crate) struct KeySession {
    pub(crate) key: String,
    /// Apps in the scope of the key; empty for all apps.
    pub(crate) scope: Vec<AppName>,
    /// Absolute path.
    pub(crate) root: PikuRoot,
    pub(crate) scripts: PathBuf,
}

/// Exit code of a request and its outcome in the audit log.
struct SessionEnd {
    code: u8,
    outcome: String,
}

impl KeySession {
    /// Executes the request in `SSH_ORIGINAL_COMMAND` and writes it to the audit log.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        child_env::refuse_root(&self.root)?;
        child_env::set_umask();
        let asked = env::var_os("SSH_ORIGINAL_COMMAND").unwrap_or_default();
        let request = match request::parse(&asked) {
            Ok(Some(request)) => request,
            Ok(None) => return Err(self.greeting().into()),
            Err(refusal) => return Err(self.audit_refusal(refusal.word(), None, &refusal, USAGE)),
        };
        let (word, app) = audit_names(&request);
        if let Some(refusal) = self.check_scope(&request) {
            return Err(self.audit_refusal(word, app, &refusal, FAILED));
        }
        let end = self.execute(&request);
        let outcome = match &end {
            Ok(end) => end.outcome.clone(),
            Err(err) => format!("error: {err:#}"),
        };
        // Steps that only prepare a deploy are logged when they fail.
        let is_preparation = matches!(
            request,
            KeyRequest::Release {
                step: ReleaseStep::Machine | ReleaseStep::Offer | ReleaseStep::Take(_),
                ..
            }
        ) && end.as_ref().is_ok_and(|end| end.code == 0);
        if !is_preparation {
            self.audit_outcome(word, app, &outcome);
        }
        end.map(|end| ExitCode::from(end.code))
    }

    fn greeting(&self) -> UserError {
        UserError::new(format!(
            "hello {}: this account accepts git push and piku's verbs, but no shell; try 'help'",
            self.key
        ))
        .code(FAILED)
    }

    fn check_scope(&self, request: &KeyRequest) -> Option<UserError> {
        let app = match request {
            // They show a limited key its own apps alone, or what it sends.
            KeyRequest::Verb {
                verb:
                    "apps" | "apps:list" | "audit" | "list" | "help" | "status" | "metrics" | "logs" | "logs:tail"
                    | "backup:verify" | "service:list",
                app: None,
                ..
            } => return None,
            KeyRequest::Git { app, .. } | KeyRequest::Release { app, .. } => Some(app),
            KeyRequest::Verb { app, .. } => app.as_ref(),
        };
        let new = request.new_name();
        let is_in_scope = |app: &AppName| self.scope.contains(app);
        if self.scope.is_empty() || app.is_some_and(is_in_scope) && new.as_ref().is_none_or(is_in_scope) {
            return None;
        }
        let app = new.as_ref().filter(|new| !is_in_scope(new)).or(app);
        let reaches = self.scope.iter().map(AppName::as_str).collect::<Vec<_>>().join(", ");
        let what = app.map_or_else(|| "all apps".to_owned(), |app| format!("'{app}'"));
        Some(UserError::new(format!("key '{}' may not use {what}, only {reaches}", self.key)))
    }

    fn execute(&self, request: &KeyRequest) -> anyhow::Result<SessionEnd> {
        if let KeyRequest::Git { app, .. } | KeyRequest::Release { app, .. } = request {
            create::check_not_service(&self.root, app)?;
        }
        match request {
            KeyRequest::Git { service: GitService::ReceivePack, app } => {
                let context = AppContext { root: &self.root, scripts: &self.scripts, app, key: &self.key };
                before_deploy::finish_before_deploy(&context)?;
                let outcome = push::receive_push(&context)?;
                deploy_event::send_deploy_event(&context, &outcome);
                Ok(SessionEnd { code: outcome.exit_code(), outcome: outcome.to_string() })
            }
            KeyRequest::Git { service, app } => self.execute_git_read(*service, app),
            KeyRequest::Release { step, app } => self.execute_release_step(step, app),
            KeyRequest::Verb { verb, args, is_relayed, .. } => {
                let code = verb::run_verb(self, verb, args, *is_relayed)?;
                let new = request.new_name().map_or_else(String::new, |new| format!(", as {new}"));
                Ok(SessionEnd { code, outcome: format!("exit {code}{new}") })
            }
        }
    }

    /// Executes a step of a release that another host has built.
    fn execute_release_step(&self, step: &ReleaseStep, app: &AppName) -> anyhow::Result<SessionEnd> {
        let context = AppContext { root: &self.root, scripts: &self.scripts, app, key: &self.key };
        Ok(match step {
            ReleaseStep::Machine => {
                let code = release::print_machine(&context)?;
                SessionEnd { code, outcome: format!("exit {code}") }
            }
            ReleaseStep::Offer => {
                let code = release::print_missing_layers(&context)?;
                SessionEnd { code, outcome: format!("exit {code}") }
            }
            ReleaseStep::Take(part) => {
                release::take(&context, part)?;
                SessionEnd { code: 0, outcome: "taken".to_owned() }
            }
            ReleaseStep::Front => {
                release::store_front_key(&context)?;
                SessionEnd { code: 0, outcome: "stored the key of the front".to_owned() }
            }
            ReleaseStep::Deploy(parts) => {
                let deployed = release::deploy(&context, parts);
                deploy_event::send_release_event(&context, &deployed);
                let number = deployed?;
                SessionEnd { code: 0, outcome: format!("deployed as release {number}") }
            }
            ReleaseStep::Undo(number) => {
                release::undo(&context, *number)?;
                SessionEnd { code: 0, outcome: format!("rolled back from release {number}") }
            }
        })
    }

    /// Runs `git upload-pack` or `git upload-archive`, without the lock: git can read refs and objects while
    /// they are written.
    fn execute_git_read(&self, service: GitService, app: &AppName) -> anyhow::Result<SessionEnd> {
        let repo = self.root.app(app).repo();
        if !repo.exists() {
            let reaches = |other: &AppName| self.scope.is_empty() || self.scope.contains(other);
            return Err(unknown_app_in(&self.root, app, reaches).into());
        }
        let name = service.name();
        setup::write_config(&repo, &self.scripts)?;
        let status = child_env::clean_command("git")?
            .args(setup::hooks_option(&self.scripts))
            .arg(name)
            .arg(repo)
            .status()
            .with_context(|| format!("cannot run 'git {name}'"))?;
        let code = u8::from(!status.success());
        Ok(SessionEnd { code, outcome: format!("exit {code}") })
    }

    fn audit_refusal(
        &self,
        word: &str,
        app: Option<&AppName>,
        why: &dyn std::error::Error,
        code: u8,
    ) -> anyhow::Error {
        self.audit_outcome(word, app, &format!("refused: {why}"));
        UserError::new(why.to_string()).code(code).into()
    }

    fn audit_outcome(&self, verb: &str, app: Option<&AppName>, outcome: &str) {
        let action = AuditedAction { key: &self.key, verb, app: app.map(AppName::as_str), outcome };
        audit::append_action(&self.root, &action);
    }
}

/// Returns the verb for the audit log and the app of a request.
fn audit_names(request: &KeyRequest) -> (&'static str, Option<&AppName>) {
    match request {
        KeyRequest::Git { service: GitService::ReceivePack, app } => ("push", Some(app)),
        KeyRequest::Git { service: GitService::UploadPack, app } => ("fetch", Some(app)),
        KeyRequest::Git { service: GitService::UploadArchive, app } => ("archive", Some(app)),
        KeyRequest::Release { step, app } => (step.verb(), Some(app)),
        KeyRequest::Verb { verb, app, .. } => (verb, app.as_ref()),
    }
}
