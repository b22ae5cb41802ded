//! Bindings of apps to services. Each change is written down before its first step, so that the next command finishes
//! or undoes an interrupted one.

use std::fs::File;
use std::io::Read;

use anyhow::Context;
use indexmap::IndexMap;
use jiff::Timestamp;
use piku_files::sha256;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_procfile::env;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

use super::action::{binding_variables, lock_service, run_beside_server, wait_until_ready};
use super::kind::ServiceKind;
use super::state::{BindingState, ServiceBinding, ServiceSettings, ServiceState};
use crate::commands::{change_config, create_if_missing, must_be_there};
use crate::config::{ConfigEdit, store};

/// A locked service.
struct OpenService<'a> {
    root: &'a PikuRoot,
    name: &'a AppName,
    dir: AppDir,
    kind: ServiceKind,
    state: ServiceState,
    _lock: piku_files::FileLock,
}

impl<'a> OpenService<'a> {
    /// Locks a service whose server answers, after finishing or undoing what was interrupted.
    fn open(root: &'a PikuRoot, name: &'a AppName) -> anyhow::Result<Self> {
        let lock = lock_service(root, name)?;
        let dir = root.service(name);
        let settings = ServiceSettings::find(&dir)?.context("the service has no 'service.yaml'")?;
        let kind = ServiceKind::find(root, &settings.kind)?;
        let state = ServiceState::read(&dir)?;
        let mut opened = Self { root, name, dir, kind, state, _lock: lock };
        wait_until_ready(root, name, &opened.kind)?;
        opened.finish_interrupted()?;
        Ok(opened)
    }

    fn run(&self, program: &str, binding: &ServiceBinding) -> anyhow::Result<String> {
        run_beside_server(self.root, self.name, program, &binding_variables(binding))
    }

    /// Writes the state of one binding.
    fn put(&mut self, at: usize, state: BindingState) -> anyhow::Result<()> {
        self.state.bindings[at].state = state;
        self.state.bindings[at].since = Timestamp::now();
        self.state.write(&self.dir)
    }

    fn finish_interrupted(&mut self) -> anyhow::Result<()> {
        // From the last one on, because dropped ones are removed.
        for at in (0..self.state.bindings.len()).rev() {
            let binding = self.state.bindings[at].clone();
            let (app, service) = (&binding.app, self.name);
            match binding.state {
                BindingState::Bound | BindingState::Kept => {}
                BindingState::Making | BindingState::Renewing if is_in_config(self.root, &binding)? => {
                    self.put(at, BindingState::Bound)?;
                    progress::detail(&format!("finished the interrupted binding of {app} to {service}"));
                }
                BindingState::Making | BindingState::Renewing => {
                    self.undo(at)?;
                    progress::detail(&format!("undid the interrupted binding of {app} to {service}"));
                }
                BindingState::Unbinding => {
                    self.finish_unbinding(at)?;
                    progress::detail(&format!("finished the interrupted unbinding of {app} from {service}"));
                }
                BindingState::Dropping => {
                    self.finish_dropping(at)?;
                    progress::detail(&format!(
                        "finished the interrupted removal of {app}'s data in {service}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Undoes a binding that was not completed.
    fn undo(&mut self, at: usize) -> anyhow::Result<()> {
        let binding = self.state.bindings[at].clone();
        if binding.state == BindingState::Renewing {
            self.run("unbind", &binding)?;
            return self.put(at, BindingState::Kept);
        }
        self.finish_dropping(at)
    }

    fn finish_unbinding(&mut self, at: usize) -> anyhow::Result<()> {
        let binding = self.state.bindings[at].clone();
        if is_in_config(self.root, &binding)? {
            let edit = ConfigEdit::Unset(binding.variables.clone());
            // An app that does not come up without its database has lost it all the same.
            if let Err(err) = change_config(self.root, &binding.app, false, &|config| edit.apply(config)) {
                progress::warning(&format!("{err:#}"));
                change_config(self.root, &binding.app, true, &|config| edit.apply(config))?;
            }
        }
        self.run("unbind", &binding)?;
        self.put(at, BindingState::Kept)
    }

    fn finish_dropping(&mut self, at: usize) -> anyhow::Result<()> {
        let binding = self.state.bindings[at].clone();
        self.run("drop", &binding)?;
        self.state.bindings.remove(at);
        self.state.write(&self.dir)
    }

    /// Finds the only binding of an app, or that with this prefix of its variables.
    fn find(&self, app: &AppName, variable: Option<&str>) -> anyhow::Result<usize> {
        let its = |one: &&ServiceBinding| one.app == *app && variable.is_none_or(|name| one.variable == name);
        let found: Vec<&ServiceBinding> = self.state.bindings.iter().filter(its).collect();
        match found.as_slice() {
            [one] => self.state.position(app, &one.variable).context("the binding is gone"),
            [] => Err(UserError::new(format!("{app} is not bound to {}", self.name))
                .hint(format!("to bind it: piku service:bind {} {app}", self.name))
                .into()),
            several => Err(name_one(app, several.iter().map(|one| one.variable.as_str())).into()),
        }
    }
}

/// Returns the error that an app has several bindings, of which one has to be named.
pub(super) fn name_one<'a>(app: &AppName, variables: impl Iterator<Item = &'a str>) -> UserError {
    let options: Vec<String> = variables.map(|name| format!("--as {name}")).collect();
    UserError::new(format!("{app} has several bindings")).hint(format!("name one: {}", options.join(" or ")))
}

/// Returns true if the variables of a binding are in the app's config, with its password.
fn is_in_config(root: &PikuRoot, binding: &ServiceBinding) -> anyhow::Result<bool> {
    if root.is_service(&binding.app) {
        return Ok(false);
    }
    let config = store::read(&root.app(&binding.app))?;
    let is_its = |name: &String| config.get(name).is_some_and(|value| value.contains(&binding.password));
    Ok(!binding.variables.is_empty() && binding.variables.iter().any(is_its))
}

/// Binds an app to a service: a role and a database of its own, and their address in the app's config as one release.
///
/// # Errors
/// Fails if the app cannot be bound or does not come up with the new config; the binding is then undone.
pub(crate) fn bind_app(
    root: &PikuRoot,
    service: &AppName,
    app: &AppName,
    variable: Option<&str>,
) -> anyhow::Result<()> {
    if root.is_service(app) {
        let what = format!("{app} is a service; an app is bound to a service");
        return Err(UserError::new(what).hint("piku service:bind SERVICE APP").code(USAGE).into());
    }
    super::action::must_be_service(root, service)?;
    create_if_missing(root, app)?;
    let mut opened = OpenService::open(root, service)?;
    let variable = prefix_of(&opened.kind, variable)?;
    let at = opened.state.position(app, &variable);
    let old = at.map(|at| opened.state.bindings[at].clone());
    if let Some(old) = old.as_ref().filter(|old| old.state == BindingState::Bound) {
        if is_in_config(root, old)? {
            progress::step(&format!("{app} is bound to {service} already"));
            return Ok(());
        }
    }
    check_exclusive(&opened, app, &variable)?;
    check_variable(root, app, &variable)?;
    let binding = ServiceBinding {
        app: app.clone(),
        variable: variable.clone(),
        name: name_in_server(app, &variable, &opened.kind),
        password: random_password()?,
        variables: vec![format!("{variable}_URL")],
        state: if old.is_some() { BindingState::Renewing } else { BindingState::Making },
        since: Timestamp::now(),
    };
    let at = at.unwrap_or(opened.state.bindings.len());
    if at == opened.state.bindings.len() {
        opened.state.bindings.push(binding.clone());
    } else {
        opened.state.bindings[at] = binding.clone();
    }
    opened.state.write(&opened.dir)?;
    let bound = opened.run("bind", &binding).and_then(|printed| parse_variables(&printed)).and_then(|vars| {
        opened.state.bindings[at].variables = vars.keys().cloned().collect();
        opened.state.write(&opened.dir)?;
        {
            let edit = ConfigEdit::Set(vars.into_iter().collect());
            change_config(root, app, false, &|config| edit.apply(config))
        }
    });
    if let Err(err) = bound {
        opened.undo(at).context("cannot undo the binding; the next command on the service does")?;
        return Err(err.context(format!("{app} is not bound to {service}")));
    }
    opened.put(at, BindingState::Bound)?;
    let names = opened.state.bindings[at].variables.join(", ");
    progress::step(&format!("{app} is bound to {service}: {names}"));
    Ok(())
}

/// Takes a service away from an app. The data is kept.
pub(crate) fn unbind_app(
    root: &PikuRoot,
    service: &AppName,
    app: &AppName,
    variable: Option<&str>,
) -> anyhow::Result<()> {
    let mut opened = OpenService::open(root, service)?;
    let at = opened.find(app, variable)?;
    if opened.state.bindings[at].state == BindingState::Kept {
        progress::step(&format!("{app} is not bound to {service}; its data is kept"));
        return Ok(());
    }
    opened.put(at, BindingState::Unbinding)?;
    opened.finish_unbinding(at)?;
    progress::step(&format!("{app} is no longer bound to {service}; its data is kept"));
    progress::detail(&format!("to remove the data: piku service:drop {service} {app} --confirm {app}"));
    Ok(())
}

/// Removes the data of an app that is not bound any more.
///
/// # Errors
/// Fails if the app is bound.
pub(crate) fn drop_binding(
    root: &PikuRoot,
    service: &AppName,
    app: &AppName,
    confirm: &AppName,
    variable: Option<&str>,
) -> anyhow::Result<()> {
    if app != confirm {
        let what = format!("'{confirm}' is not the name of the app whose data is to go, '{app}'");
        return Err(UserError::new(what).code(USAGE).into());
    }
    let mut opened = OpenService::open(root, service)?;
    let at = opened.find(app, variable)?;
    let binding = &opened.state.bindings[at];
    if binding.state == BindingState::Bound
        && is_in_config(root, binding)?
        && must_be_there(root, app).is_ok()
    {
        return Err(UserError::new(format!("{app} is bound to {service}, and uses its data"))
            .hint(format!("first: piku service:unbind {service} {app}"))
            .into());
    }
    opened.put(at, BindingState::Dropping)?;
    opened.finish_dropping(at)?;
    progress::step(&format!("the data of {app} in {service} is removed"));
    Ok(())
}

/// Returns the prefix of the variables: that of the kind, or the one that was given.
fn prefix_of(kind: &ServiceKind, given: Option<&str>) -> anyhow::Result<String> {
    let Some(given) = given else { return Ok(kind.about.variable.clone()) };
    let prefix = given.trim_end_matches("_URL").to_ascii_uppercase();
    if env::is_name(&prefix) && prefix.len() <= 40 {
        return Ok(prefix);
    }
    Err(UserError::new("--as: expected the beginning of a variable's name")
        .hint("such as --as REPORTS for REPORTS_URL")
        .code(USAGE)
        .into())
}

/// Fails if a server for one binding has another one.
fn check_exclusive(opened: &OpenService<'_>, app: &AppName, variable: &str) -> anyhow::Result<()> {
    let other = opened.state.bindings.iter().find(|one| one.app != *app || one.variable != variable);
    let Some(other) = other.filter(|_| opened.kind.about.exclusive) else { return Ok(()) };
    let kind = &opened.kind;
    let what = format!(
        "{} belongs to {}: a server of the kind {} has one binding",
        opened.name, other.app, kind.name
    );
    let name = format!("{}-{app}", kind.name);
    let hint =
        format!("piku service:create {} --name {name}; then piku service:bind {name} {app}", kind.name);
    Err(UserError::new(what).hint(hint).into())
}

/// Fails if the app has a variable of this name that is not of a binding.
fn check_variable(root: &PikuRoot, app: &AppName, variable: &str) -> anyhow::Result<()> {
    let name = format!("{variable}_URL");
    if store::read(&root.app(app))?.get(&name).is_none() {
        return Ok(());
    }
    Err(UserError::new(format!("{app} has {name} already"))
        .hint(format!("remove it: piku config:unset {app} {name}; or choose another name: --as NAME"))
        .into())
}

/// Returns the name of a binding's role and database. It begins with `app_`: no server has such a name of its own.
fn name_in_server(app: &AppName, variable: &str, kind: &ServiceKind) -> String {
    /// Bytes; servers take 63 and more.
    const LONGEST: usize = 60;
    let mut name = format!("app_{}", app.as_str().replace('-', "_"));
    if variable != kind.about.variable {
        name.push_str("__");
        name.push_str(&variable.to_ascii_lowercase());
    }
    if name.len() > LONGEST {
        let hash = sha256::to_hex(&sha256::hash_reader(&mut name.as_bytes()).unwrap_or_default());
        name.truncate(LONGEST - 13);
        name.push('_');
        name.push_str(&hash[..12]);
    }
    name
}

/// Returns 48 random hexadecimal digits, which need no quotes in a URL or in SQL.
#[expect(clippy::disallowed_methods, reason = "the kernel's random numbers")]
fn random_password() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 24];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("cannot read '/dev/urandom'")?;
    Ok(sha256::to_hex(&bytes))
}

/// Parses the lines `NAME=VALUE` that `bind` prints.
fn parse_variables(printed: &str) -> anyhow::Result<IndexMap<String, String>> {
    let mut vars = IndexMap::new();
    for line in printed.lines().filter(|line| !line.is_empty()) {
        // The line may hold a password, and is not repeated.
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| env::is_name(name)) else {
            return Err(UserError::new("'bind' printed a line that is not NAME=VALUE").into());
        };
        vars.insert(name.to_owned(), value.to_owned());
    }
    if vars.is_empty() {
        return Err(UserError::new("'bind' printed no NAME=VALUE").into());
    }
    Ok(vars)
}
