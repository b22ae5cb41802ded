//! `app.json` of Heroku and dokku, as far as it means something here: cron jobs, the formation, health checks, a
//! command before each release, variables. The rest is named in one note.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use piku_layout::name::ProcessName;
use piku_procfile::env;
use piku_procfile::schedule::split_schedule;
use piku_release::manifest::DEPLOY_KEY;
use piku_report::diagnostic::shorten_text;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::errors::join_names;

/// File name at the top of an app.
pub(crate) const FILE: &str = "app.json";
/// Process type that runs before each release goes live.
const RELEASE: &str = "release";
/// Largest number of cron jobs that are read.
const MAX_CRONS: usize = 100;
/// Longest name and value of a variable, in bytes.
const MAX_NAME: usize = 255;
const MAX_VALUE: usize = 100_000;
/// Longest part of a text of the file that a note repeats, in characters.
const MAX_SHOWN: usize = 40;

/// Keys that only describe the app, or concern other places than a server.
const SILENT: [&str; 11] = [
    "name",
    "description",
    "keywords",
    "website",
    "repository",
    "logo",
    "success_url",
    "$schema",
    "stack",
    "environments",
    "appdir",
];

/// The settings of the file in piku's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AppJson {
    /// Cron types: name, and schedule with command.
    pub(crate) crons: Vec<(ProcessName, String)>,
    /// Number of instances of process types that `ps:scale` has not set.
    pub(crate) formation: BTreeMap<ProcessName, u32>,
    /// Variables that neither ENV nor the config sets.
    pub(crate) env: IndexMap<String, String>,
    /// Variables that get a random value once.
    pub(crate) secrets: Vec<String>,
    /// Command that runs before each release goes live.
    pub(crate) predeploy: Option<String>,
    /// Variables that the operator has to set.
    required: Vec<String>,
    /// Parts that are not used, for one note.
    unused: Vec<String>,
}

/// A cron job as dokku writes it.
#[derive(Debug, Deserialize)]
struct JsonCron {
    command: String,
    schedule: String,
    #[serde(default)]
    id: Option<String>,
    /// The job is suspended.
    #[serde(default)]
    maintenance: bool,
}

impl AppJson {
    /// Parses the file. What cannot be used is kept for [`AppJson::notes`].
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut parsed = Self::default();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => parsed.add_fields(fields),
            Ok(_) => parsed.unused.push("all of it (it is not a JSON object)".to_owned()),
            Err(err) => parsed.unused.push(format!("all of it (line {} is not valid JSON)", err.line())),
        }
        parsed
    }

    fn add_fields(&mut self, fields: Map<String, Value>) {
        for (key, value) in fields {
            match (key.as_str(), value) {
                (_, Value::Null) => {}
                (key, _) if SILENT.contains(&key) => {}
                (_, Value::Array(empty)) if empty.is_empty() => {}
                (_, Value::Object(empty)) if empty.is_empty() => {}
                ("cron", Value::Array(jobs)) => self.add_crons(jobs),
                ("formation", Value::Object(types)) => self.add_formation(types),
                ("healthchecks", Value::Object(types)) => self.add_health_checks(types),
                ("scripts", Value::Object(scripts)) => self.add_scripts(&scripts),
                ("env", Value::Object(variables)) => self.add_variables(variables),
                (key, _) => self.unused.push(shorten(key)),
            }
        }
    }

    fn add_crons(&mut self, jobs: Vec<Value>) {
        if jobs.len() > MAX_CRONS {
            self.unused.push(format!("cron jobs after the first {MAX_CRONS}"));
        }
        for (number, job) in (1..).zip(jobs.into_iter().take(MAX_CRONS)) {
            let Ok(JsonCron { command, schedule, id, maintenance }) = serde_json::from_value(job) else {
                self.unused.push(format!("cron {number} (expected a 'schedule' and a 'command')"));
                continue;
            };
            if maintenance {
                self.unused.push(format!("cron {number} (it is in maintenance)"));
                continue;
            }
            let line = format!("{} {}", schedule.trim(), command.trim());
            match split_schedule(&line) {
                Ok((schedule, command)) if is_command(command) => {
                    // An id may be the number of another job.
                    let names = id.map(|id| id.to_ascii_lowercase()).into_iter();
                    let mut names = names.chain((number..).map(|number: usize| number.to_string()));
                    let is_free = |name: &ProcessName| self.crons.iter().all(|(other, _)| other != name);
                    let name = names.find_map(|name| format!("cron-{name}").parse().ok().filter(is_free));
                    if let Some(name) = name {
                        self.crons.push((name, format!("{schedule} {command}")));
                    }
                }
                Ok(_) => self.unused.push(format!("cron {number} (its command is not one line)")),
                Err(err) => self.unused.push(format!("cron {number} ({})", err.message)),
            }
        }
    }

    fn add_formation(&mut self, types: Map<String, Value>) {
        for (name, wanted) in types {
            // Heroku also writes the plain number.
            let count = wanted.get("quantity").unwrap_or(&wanted).as_u64();
            let count = count.and_then(|count| u32::try_from(count).ok());
            match (name.parse::<ProcessName>(), count.filter(|count| *count <= ProcessName::MAX_INSTANCES)) {
                (Ok(name), Some(count)) => drop(self.formation.insert(name, count)),
                // The size of a machine alone.
                (Ok(_), None) if wanted.get("quantity").is_none() && wanted.is_object() => {}
                _ => self.unused.push(format!("formation.{}", shorten(&name))),
            }
        }
    }

    /// Takes the path, the time limit and the uptime of the check of `web` that dokku makes at a start.
    fn add_health_checks(&mut self, types: Map<String, Value>) {
        for (name, checks) in types {
            let mut is_used = false;
            for check in checks.as_array().into_iter().flatten() {
                let kind = check.get("type").and_then(Value::as_str).unwrap_or("startup");
                if name == "web" && kind == "startup" && !is_used {
                    is_used = self.add_web_check(check);
                }
            }
            if !is_used {
                self.unused.push(format!("healthchecks.{}", shorten(&name)));
            }
        }
    }

    /// Returns whether the check could be used.
    fn add_web_check(&mut self, check: &Value) -> bool {
        let text = |name: &str| check.get(name).and_then(Value::as_str);
        let seconds = |name: &str| check.get(name).and_then(Value::as_u64).filter(|seconds| *seconds > 0);
        if let Some(path) = text("path").filter(|path| path.starts_with('/') && is_command(path)) {
            self.env.insert("HEALTHCHECK_PATH".to_owned(), path.to_owned());
        } else if check.get("listening").and_then(Value::as_bool) == Some(true) {
            self.env.insert("HEALTHCHECK".to_owned(), "tcp".to_owned());
        } else {
            return false;
        }
        if let Some(timeout) = seconds("timeout") {
            self.env.insert("HEALTHCHECK_TIMEOUT".to_owned(), timeout.to_string());
        }
        if check.get("content").is_some() {
            self.unused.push("the content of a health check".to_owned());
        }
        true
    }

    fn add_scripts(&mut self, scripts: &Map<String, Value>) {
        let dokku = scripts.get("dokku");
        let command = |value: Option<&Value>| {
            value.and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        match command(dokku.and_then(|dokku| dokku.get("predeploy"))) {
            Some(line) if is_command(&line) => self.predeploy = Some(line),
            Some(_) => self.unused.push("scripts.dokku.predeploy (it is not one line)".to_owned()),
            None => {}
        }
        let later = [
            ("scripts.dokku.postdeploy", command(dokku.and_then(|dokku| dokku.get("postdeploy")))),
            ("scripts.postdeploy", command(scripts.get("postdeploy"))),
        ];
        for (name, _) in later.into_iter().filter(|(_, command)| command.is_some()) {
            self.unused.push(format!("{name} (piku run APP runs it by hand)"));
        }
    }

    fn add_variables(&mut self, variables: Map<String, Value>) {
        for (name, about) in variables {
            let is_own =
                env::PLATFORM.contains(&name.as_str()) || name.starts_with("PIKU_") || name == DEPLOY_KEY;
            if !env::is_name(&name) || is_own || name.len() > MAX_NAME {
                self.unused.push(format!("env.{}", shorten(&name)));
                continue;
            }
            let value = match about.get("value").unwrap_or(&about) {
                Value::String(value) => Some(value.clone()),
                value @ (Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
                _ => None,
            };
            match value {
                Some(value) if value.contains(['\n', '\r', '\0']) || value.len() > MAX_VALUE => {
                    self.unused.push(format!("env.{name} (it is not one short line)"));
                }
                Some(value) => drop(self.env.insert(name, value)),
                None if about.get("generator").and_then(Value::as_str) == Some("secret") => {
                    self.secrets.push(name);
                }
                // Heroku's default.
                None if about.get("required").and_then(Value::as_bool) != Some(false) => {
                    self.required.push(name);
                }
                None => {}
            }
        }
    }

    /// Returns the notes for the author: what is not used, and the variables for which `is_set` returns false.
    pub(crate) fn notes(&self, is_set: impl Fn(&str) -> bool) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.unused.is_empty() {
            notes.push(format!("{FILE}: not used here: {}", join_names(&self.unused)));
        }
        let missing: Vec<String> = self.required.iter().filter(|name| !is_set(name)).cloned().collect();
        if !missing.is_empty() {
            notes.push(format!("{FILE} requires {}, which config:set has not set", join_names(&missing)));
        }
        notes
    }

    /// Adds the cron types, and the command before each release, which precedes that of the Procfile.
    pub(crate) fn add_processes(&self, processes: &mut IndexMap<ProcessName, String>) {
        for (name, line) in &self.crons {
            processes.entry(name.clone()).or_insert_with(|| line.clone());
        }
        let Some(first) = &self.predeploy else { return };
        let Ok(name) = RELEASE.parse::<ProcessName>() else { return };
        let command = match processes.get(&name) {
            // A comment would end only with the line.
            Some(own) if first.contains('#') => format!("(eval {}) && {own}", shell_words::quote(first)),
            Some(own) => format!("({first}) && {own}"),
            None => first.clone(),
        };
        processes.insert(name, command);
    }

    /// Describes what is used, for one line of a push; `None` if nothing is. `processes` are those of the release, and
    /// `find_variable` returns the value that ENV or the config sets.
    pub(crate) fn describe<'a>(
        &self,
        processes: &IndexMap<ProcessName, String>,
        find_variable: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<String> {
        let crons = self.crons.iter().filter(|(name, line)| processes.get(name) == Some(line));
        let mut used: Vec<String> = crons.map(|(name, _)| name.to_string()).collect();
        let formation = self.formation.iter().filter(|(name, _)| processes.contains_key(*name));
        used.extend(formation.map(|(name, count)| format!("{name}={count}")));
        let env = self.env.iter().filter(|(name, value)| find_variable(name).is_none_or(|own| own == *value));
        used.extend(env.map(|(name, _)| name.clone()));
        used.extend(self.secrets.iter().filter(|name| find_variable(name).is_none()).cloned());
        used.extend(self.predeploy.as_ref().map(|_| format!("{RELEASE} (scripts.dokku.predeploy)")));
        (!used.is_empty()).then(|| format!("{FILE} sets {}", join_names(&used)))
    }
}

/// Returns whether the text is a command that a Procfile could have.
fn is_command(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn shorten(text: &str) -> String {
    shorten_text(text, MAX_SHOWN).into_owned()
}

#[cfg(test)]
mod tests;
