//! An app as containers: its processes, variables and limits, without the words of any engine.

use std::collections::BTreeMap;

use anyhow::anyhow;
use indexmap::IndexMap;
use piku_layout::jail::{APP, DATA, HOME};
use piku_layout::name::{AppName, ProcessName};
use piku_report::diagnostic::Diagnostic;
use piku_report::user_error::UserError;

use super::limits::ContainerLimits;
use crate::command;
use crate::procfile::{self, ProcessKind, Procfile, ProcfileEntry};
use crate::render::app_values::{AppValues, ValuesReader};
use crate::render::nginx::SERVER_NAME;

/// Port on which a type listens that has one, unless `PORT` sets another.
const PORT: u16 = 8080;
/// Seconds within which a new instance must become ready, as in piku.
const START_PERIOD: u32 = 60;
/// Seconds for which an instance that is not asked must stay up. Engines do not tell when it has nothing to do, for
/// which piku waits.
const UPTIME: u32 = 5;
/// Seconds between SIGTERM and SIGKILL, as in piku.
const STOP_TIMEOUT: u32 = 10;
/// Longest name of a workload: Kubernetes adds eleven characters to the name of a cron job's runs, which are
/// labels.
const MAX_NAME: usize = 52;
/// Variables that only builds get.
const BUILD_ONLY: [&str; 1] = ["DEPLOY_KEY"];

/// Settings of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerSettings {
    pub(crate) app: AppName,
    /// Image of the release, with tag or digest.
    pub(crate) image: String,
    /// Number of the release.
    pub(crate) release: Option<u64>,
    /// Number of instances of each type; 1 for a type that is missing.
    pub(crate) formation: BTreeMap<ProcessName, u16>,
    /// Names under which the app is served, in place of those in `NGINX_SERVER_NAME`.
    pub(crate) hosts: Vec<String>,
}

/// An app as containers of one image.
#[derive(Debug, Clone)]
pub(crate) struct ContainerApp {
    pub(crate) name: AppName,
    pub(crate) image: String,
    pub(crate) release: Option<u64>,
    /// Variables from the ENV file, and those of the platform that are the same in all containers.
    pub(crate) variables: IndexMap<String, String>,
    /// Variables from the stored config, which may be secret.
    pub(crate) secrets: IndexMap<String, String>,
    /// Processes in the order of the Procfile, without those that need none.
    pub(crate) processes: Vec<ContainerProcess>,
    pub(crate) hosts: Vec<String>,
    pub(crate) port: u16,
    pub(crate) check: ReadinessCheck,
    /// Seconds between SIGTERM and SIGKILL.
    pub(crate) stop_timeout: u32,
    /// Time zone of the cron jobs.
    pub(crate) time_zone: Option<String>,
    /// Valid, but with another effect than in piku.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A process type.
#[derive(Debug, Clone)]
pub(crate) struct ContainerProcess {
    /// Type's name as a DNS label, unique in the app.
    pub(crate) label: String,
    pub(crate) entry: ProcfileEntry,
    /// Number of instances.
    pub(crate) count: u16,
    pub(crate) limits: ContainerLimits,
    /// True if old and new instances may run at the same time.
    pub(crate) overlaps: bool,
}

/// Check that a new instance must pass before it gets requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadinessCheck {
    /// Path that must answer 2xx or 3xx. Without one, an open port is enough.
    pub(crate) path: Option<String>,
    /// Value of the header `Host`.
    pub(crate) host: Option<String>,
    /// Seconds within which an instance must become ready.
    pub(crate) start_period: u32,
    /// Seconds one check may take.
    pub(crate) timeout: u32,
    /// Seconds for which an instance without a check must stay up.
    pub(crate) uptime: u32,
}

impl ContainerProcess {
    /// Returns the argument vector that runs the command. The shell is one that every image has.
    pub(crate) fn argv(&self) -> [String; 3] {
        let bind = "gunicorn --bind \"0.0.0.0:$PORT\" ";
        let command = match self.entry.kind {
            ProcessKind::Wsgi => format!("{bind}{}", crate::quoting::quote_shell(&self.entry.command)),
            _ => self.entry.command.clone(),
        };
        let [_, flag, text] = command::argv(&command);
        ["/bin/sh".to_owned(), flag, text]
    }

    /// Returns the port of the host for the instance of this number, from 1; `first` is that of the first one.
    ///
    /// # Errors
    /// Fails if no port is left.
    pub(crate) fn port_from(&self, first: u16, number: u16) -> anyhow::Result<u16> {
        let port = first.checked_add(number.saturating_sub(1));
        port.ok_or_else(|| anyhow!("--port: no ports are left for '{}'", self.entry.name))
    }

    /// Returns the variables of the platform that differ between types.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 1] {
        [("PROC_TYPE", self.entry.name.as_str())]
    }
}

impl ContainerApp {
    /// Reads the processes and settings. `config` has the stored config.
    ///
    /// # Errors
    /// Fails if there is nothing to run, and for values that containers cannot have.
    pub(crate) fn read(
        settings: ContainerSettings,
        procfile: &Procfile,
        env: &AppValues,
        config: IndexMap<String, String>,
    ) -> anyhow::Result<Self> {
        let mut values = env.clone();
        for (name, value) in &config {
            values.set(name, value, "config");
        }
        let is_process = |name: &ProcessName| {
            procfile.get(name.as_str()).is_some_and(|entry| entry.kind.is_long_running())
        };
        if let Some(name) = settings.formation.keys().find(|name| !is_process(name)) {
            return Err(UserError::new(format!("--formation: the Procfile has no service '{name}'")).into());
        }
        let mut reader = ValuesReader::new(&values);
        let port = reader.parse_number("PORT", PORT.into(), 1024..=65535, "a port");
        let port = u16::try_from(port).unwrap_or(PORT);
        let processes = list_processes(&settings, procfile, &values, &mut reader);
        let hosts = if settings.hosts.is_empty() { host_names(&reader) } else { settings.hosts };
        let check = read_check(&mut reader, hosts.first());
        warn_of_ignored(&values, &mut reader);
        let stop_timeout = reader.parse_seconds("STOP_TIMEOUT", STOP_TIMEOUT, 0);
        let time_zone = reader.text("TZ").map(|zone| zone.trim_start_matches(':').to_owned());
        let warnings = reader.finish().map_err(|mut errors| {
            // A limit of the app is read for each type.
            errors.0.dedup();
            errors
        })?;
        if processes.is_empty() {
            return Err(UserError::new("the Procfile has nothing that runs in a container").into());
        }
        let platform = container_variables(&settings.app, settings.release, Some(&port.to_string()));
        let is_own = |name: &str| !platform.contains_key(name) && !BUILD_ONLY.contains(&name);
        let secrets: IndexMap<_, _> = config.into_iter().filter(|(name, _)| is_own(name)).collect();
        let own = env.iter().filter(|(name, _)| is_own(name) && !secrets.contains_key(*name));
        let mut variables: IndexMap<_, _> =
            own.map(|(name, value)| (name.to_owned(), value.text.clone())).collect();
        variables.extend(platform);
        Ok(Self {
            name: settings.app,
            image: settings.image,
            release: settings.release,
            variables,
            secrets,
            processes,
            hosts,
            port,
            check,
            stop_timeout,
            time_zone,
            warnings,
        })
    }

    /// Returns the process that gets the requests.
    pub(crate) fn web(&self) -> Option<&ContainerProcess> {
        self.processes.iter().find(|process| process.entry.kind.has_port())
    }

    /// Returns the processes of a kind.
    pub(crate) fn of_kind(
        &self,
        is_kind: fn(ProcessKind) -> bool,
    ) -> impl Iterator<Item = &ContainerProcess> {
        self.processes.iter().filter(move |process| is_kind(process.entry.kind))
    }
}

/// Returns the variables of the platform that are the same in all containers. The ENV file may use them.
pub(crate) fn container_variables(
    app: &AppName,
    release: Option<u64>,
    port: Option<&String>,
) -> IndexMap<String, String> {
    let mut variables = IndexMap::from([
        ("PORT".to_owned(), port.map_or_else(|| PORT.to_string(), String::clone)),
        ("BIND_ADDRESS".to_owned(), "0.0.0.0".to_owned()),
        ("DATA_DIR".to_owned(), DATA.to_owned()),
        ("HOME".to_owned(), HOME.to_owned()),
        ("PIKU_APP".to_owned(), app.to_string()),
    ]);
    if let Some(release) = release {
        variables.insert("PIKU_RELEASE".to_owned(), release.to_string());
    }
    variables
}

fn list_processes(
    settings: &ContainerSettings,
    procfile: &Procfile,
    values: &AppValues,
    reader: &mut ValuesReader<'_>,
) -> Vec<ContainerProcess> {
    let overlaps: Vec<&str> = reader.items("OVERLAP").collect();
    let mut processes: Vec<ContainerProcess> = Vec::new();
    for entry in &procfile.entries {
        let mut add = |message: String, is_error: bool| {
            let diagnostic =
                Diagnostic::error(procfile::FILE, entry.line, format!("'{}' {message}", entry.name));
            if is_error {
                reader.add_diagnostic(diagnostic);
            } else {
                reader.add_found_warning(diagnostic.warning());
            }
        };
        match entry.kind {
            ProcessKind::Preflight => {
                add("is left out: it runs before the image is built".to_owned(), false);
                continue;
            }
            ProcessKind::Static => {
                add("is left out: an image needs a 'web' that serves the files".to_owned(), false);
                continue;
            }
            ProcessKind::Web
                if ["127.0.0.1", "localhost"].iter().any(|address| entry.command.contains(address)) =>
            {
                let message = "seems to listen on loopback, where nothing outside its container reaches it: \
                                   write $BIND_ADDRESS:$PORT";
                add(message.to_owned(), false);
            }
            _ => {}
        }
        let label = entry.name.as_str().to_ascii_lowercase().replace('_', "-");
        if let Some(other) = processes.iter().find(|process| process.label == label) {
            add(format!("gets the same name as '{}': {label}", other.entry.name), true);
        }
        let length = settings.app.as_str().len() + 1 + label.len();
        if length > MAX_NAME {
            add(format!("gets a name of {length} characters with the app's; {MAX_NAME} are allowed"), true);
        }
        processes.push(ContainerProcess {
            limits: ContainerLimits::read(entry.name.as_str(), values, reader),
            count: settings.formation.get(&entry.name).copied().unwrap_or(1),
            overlaps: entry.kind.has_port() || overlaps.contains(&entry.name.as_str()),
            entry: entry.clone(),
            label,
        });
    }
    processes
}

/// Returns the names in `NGINX_SERVER_NAME` that a certificate and a rule of an ingress can have.
fn host_names(reader: &ValuesReader<'_>) -> Vec<String> {
    let is_plain = |name: &&str| {
        let name = name.strip_prefix("*.").unwrap_or(name);
        name.contains('.') && crate::quoting::is_plain(name, b".-") && !name.starts_with(['.', '-'])
    };
    reader.items(SERVER_NAME).filter(is_plain).map(str::to_ascii_lowercase).collect()
}

fn read_check(reader: &mut ValuesReader<'_>, host: Option<&String>) -> ReadinessCheck {
    let path = reader.text("HEALTHCHECK_PATH").filter(|path| path.starts_with('/')).map(str::to_owned);
    let is_tcp = reader.text("HEALTHCHECK") == Some("tcp");
    let host = reader.text("HEALTHCHECK_HOST").map(str::to_owned).or_else(|| host.cloned());
    ReadinessCheck {
        path: path.filter(|_| !is_tcp),
        host: host
            .map(|host| host.strip_prefix("*.").map_or_else(|| host.clone(), |base| format!("www.{base}"))),
        start_period: reader.parse_seconds("HEALTHCHECK_START_PERIOD", START_PERIOD, 1),
        timeout: reader.parse_seconds("HEALTHCHECK_TIMEOUT", 30, 1),
        uptime: reader.parse_seconds("HEALTHCHECK_UPTIME", UPTIME, 0),
    }
}

/// Adds a warning for each setting that only piku's own server carries out.
fn warn_of_ignored(values: &AppValues, reader: &mut ValuesReader<'_>) {
    let is_ignored = |name: &str| {
        (name.starts_with("NGINX_") && name != SERVER_NAME)
            || ["LOG_DRAIN", "LISTEN_PORTS", "WRITABLE_PATHS", "NOTIFY", "NETWORK"].contains(&name)
    };
    let names: Vec<&str> = values.iter().map(|(name, _)| name).filter(|name| is_ignored(name)).collect();
    for name in names {
        let what = match name {
            "WRITABLE_PATHS" => {
                format!("has no effect in a container: keep these files in {DATA}, not in {APP}")
            }
            _ => "has no counterpart outside piku's own server".to_owned(),
        };
        reader.add_warning(name, what, None);
    }
}
