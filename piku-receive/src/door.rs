//! The forced command: what the client asks for is looked up, held against the key's scope, carried out and written down.

#![expect(
    clippy::disallowed_methods,
    reason = "looks for the app's repository, which only git and piku write"
)]

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use piku_procfile::failure::{FAILED, Failure};
use piku_procfile::layout::Root;
use piku_procfile::name::AppName;

use crate::audit::{self, Action};
use crate::hook::Place;
use crate::push;
use crate::release::{self, Step};
use crate::repo;
use crate::request::{self, Request, Service};
use crate::surroundings;
use crate::verb;

/// Who came in, and what this machine's piku is.
#[derive(Debug)]
pub(crate) struct Door {
    /// The key's name.
    pub(crate) key: String,
    /// The apps it reaches; all when empty.
    pub(crate) scope: Vec<AppName>,
    /// The root, an absolute path.
    pub(crate) root: Root,
    /// The folder of the scripts.
    pub(crate) scripts: PathBuf,
}

/// How an action ended: the exit code, and the words for the audit log.
struct End {
    code: u8,
    outcome: String,
}

impl Door {
    /// Does what `SSH_ORIGINAL_COMMAND` asks for.
    pub(crate) fn open(&self) -> anyhow::Result<ExitCode> {
        surroundings::refuse_root(&self.root)?;
        surroundings::own_umask();
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
        let leads_up =
            matches!(request, Request::Release { step: Step::Machine | Step::Offer | Step::Take(_), .. })
                && end.as_ref().is_ok_and(|end| end.code == 0);
        if !leads_up {
            self.write(word, app, &outcome);
        }
        end.map(|end| ExitCode::from(end.code))
    }

    fn greeting(&self) -> Failure {
        Failure::new(format!(
            "hello {}: git push and piku's verbs come in here, a shell does not; try 'help'",
            self.key
        ))
        .code(FAILED)
    }

    fn out_of_scope(&self, request: &Request) -> Option<Failure> {
        let app = match request {
            Request::Verb { verb: "apps" | "help", .. } => return None,
            Request::Git { app, .. } | Request::Release { app, .. } => Some(app),
            Request::Verb { app, .. } => app.as_ref(),
        };
        if self.scope.is_empty() || app.is_some_and(|app| self.scope.contains(app)) {
            return None;
        }
        let reaches = self.scope.iter().map(AppName::as_str).collect::<Vec<_>>().join(", ");
        let what = app.map_or_else(|| "all apps".to_owned(), |app| format!("'{app}'"));
        Some(Failure::new(format!("key '{}' does not reach {what}, only {reaches}", self.key)))
    }

    fn carry_out(&self, request: &Request) -> anyhow::Result<End> {
        match request {
            Request::Git { service: Service::ReceivePack, app } => {
                let place = Place { root: &self.root, scripts: &self.scripts, app, key: &self.key };
                let outcome = push::receive(&place)?;
                Ok(End { code: outcome.code(), outcome: outcome.to_string() })
            }
            Request::Git { service, app } => self.read_only(*service, app),
            Request::Release { step, app } => self.release(step, app),
            Request::Verb { verb, args, .. } => {
                let code = verb::run(&self.root, &self.scripts, &self.key, &self.scope, verb, args)?;
                Ok(End { code, outcome: format!("exit {code}") })
            }
        }
    }

    /// A step of a release that another machine has built.
    fn release(&self, step: &Step, app: &AppName) -> anyhow::Result<End> {
        let place = Place { root: &self.root, scripts: &self.scripts, app, key: &self.key };
        Ok(match step {
            Step::Machine => {
                let code = release::machine(&place)?;
                End { code, outcome: format!("exit {code}") }
            }
            Step::Offer => {
                let code = release::offer(&place)?;
                End { code, outcome: format!("exit {code}") }
            }
            Step::Take(part) => {
                release::take(&place, part)?;
                End { code: 0, outcome: "taken".to_owned() }
            }
            Step::Deploy(parts) => {
                let number = release::deploy(&place, parts)?;
                End { code: 0, outcome: format!("deployed as release {number}") }
            }
            Step::Undo(number) => {
                release::undo(&place, *number)?;
                End { code: 0, outcome: format!("went back from release {number}") }
            }
        })
    }

    /// Fetches take no lock: git's refs and objects may be read while they are written.
    fn read_only(&self, service: Service, app: &AppName) -> anyhow::Result<End> {
        let repo = self.root.app(app).repo();
        if !repo.exists() {
            return Err(Failure::new(format!("there is no app '{app}'")).into());
        }
        let name = service.name();
        repo::settle_config(&repo, &self.scripts)?;
        let status = surroundings::clean("git")?
            .args(repo::hooks_option(&self.scripts))
            .arg(name)
            .arg(repo)
            .status()
            .with_context(|| format!("cannot run 'git {name}'"))?;
        let code = u8::from(!status.success());
        Ok(End { code, outcome: format!("exit {code}") })
    }

    fn refuse(&self, word: &str, app: Option<&AppName>, why: &dyn std::error::Error) -> anyhow::Error {
        self.write(word, app, &format!("refused: {why}"));
        Failure::new(why.to_string()).into()
    }

    fn write(&self, verb: &str, app: Option<&AppName>, outcome: &str) {
        let action = Action { key: &self.key, verb, app: app.map(AppName::as_str), outcome };
        audit::write(&self.root.audit_log(), &action);
    }
}

/// What the audit log calls it, and whose app it is about.
fn names(request: &Request) -> (&'static str, Option<&AppName>) {
    match request {
        Request::Git { service: Service::ReceivePack, app } => ("push", Some(app)),
        Request::Git { service: Service::UploadPack, app } => ("fetch", Some(app)),
        Request::Git { service: Service::UploadArchive, app } => ("archive", Some(app)),
        Request::Release { step, app } => (step.verb(), Some(app)),
        Request::Verb { verb, app, .. } => (verb, app.as_ref()),
    }
}
