//! Carries out a command line: reads the files, then prints, checks or renders them.

#![expect(clippy::disallowed_methods, reason = "files that were named on the command line")]

use std::fs;
use std::path::Path;

use anyhow::Context;
use indexmap::IndexMap;
use piku_files::atomic_file;
use piku_layout::jail::{APP, DATA};
use piku_report::diagnostic::quote_word;
use piku_report::output;
use piku_report::user_error::UserError;

use super::container_args::{ContainerArgs, ContainerEngine, UnitDirs};
use super::input::{platform_variables, print_warnings, read_environment, read_procfile};
use super::render_args::{AppFileArgs, RenderTarget};
use super::{FileOrStdin, ProcfileAction};
use crate::env::{self, EnvFile};
use crate::procfile::{ParseOptions, Procfile};
use crate::read_file;
use crate::render::app_values::AppValues;
use crate::render::container::{ContainerApp, compose, container_variables, kubernetes, quadlet};
use crate::render::nginx::{VirtualHost, render_shared_settings};
use crate::render::systemd::SystemdUnit;
use crate::render::{crontab, systemd};

pub(crate) fn run_action(action: ProcfileAction) -> anyhow::Result<()> {
    match action {
        ProcfileAction::Check { input, options } => read_procfile(&input, options).map(drop),
        ProcfileAction::List { input, options, format } => {
            let procfile = read_procfile(&input, options)?;
            output::print(format, &procfile.entries, || procfile.to_string())
        }
        ProcfileAction::Show { input, options, name } => {
            let procfile = read_procfile(&input, options)?;
            let entry = procfile.get(&name).ok_or_else(|| unknown_type(&name, &procfile))?;
            output::write(format!("{}\n", entry.command).as_bytes())
        }
        ProcfileAction::PrintEnv { input, options, format } => {
            let env = read_environment(&input, &platform_variables(None), options)?;
            output::print(format, &env.vars, || env.to_text())
        }
        ProcfileAction::Render(target) => render(&target),
        // Every platform variable has a value when the app runs, so `${PORT:?}` is not an error here.
        ProcfileAction::CheckEnv { input, options } => {
            read_environment(&input, &platform_variables(Some("0")), options).map(drop)
        }
    }
}

fn unknown_type(name: &str, procfile: &Procfile) -> UserError {
    let names: Vec<&str> = procfile.entries.iter().take(20).map(|entry| entry.name.as_str()).collect();
    let more = if names.len() < procfile.entries.len() { ", …" } else { "" };
    UserError::new(format!("there is no process type '{name}'"))
        .hint(format!("the Procfile has {}{more}", names.join(", ")))
}

fn render(target: &RenderTarget) -> anyhow::Result<()> {
    match target {
        RenderTarget::NginxMain(instance) => output::write(instance.render()?.as_bytes()),
        RenderTarget::NginxShared => output::write(render_shared_settings(true).as_bytes()),
        RenderTarget::Nginx { files, settings, cloudflare, prints_passwords } => {
            let mut settings = settings.clone();
            if let Some(file) = cloudflare {
                let text = fs::read_to_string(file);
                settings.cloudflare =
                    Some(text.with_context(|| format!("cannot read '{}'", file.display()))?);
            }
            // The paths that an app sees in its jail.
            let mut platform = platform_variables(None);
            platform.entry("DATA_DIR".to_owned()).or_insert_with(|| DATA.to_owned());
            platform.entry("HOME".to_owned()).or_insert_with(|| APP.to_owned());
            let procfile = read_procfile_of(files)?;
            let values = read_values(&files.env, &platform, true)?;
            let host = VirtualHost::read(&settings, &procfile, &values)?;
            print_warnings(&host.warnings);
            let text = match prints_passwords {
                true => host.password_file().unwrap_or_default(),
                false => host.server_file(),
            };
            output::write(text.as_bytes())
        }
        RenderTarget::Systemd { files, unit, output } => {
            let procfile = read_procfile_of(files)?;
            // The ENV file is read once per process type, because PORT, PS and PROC_TYPE differ. Its
            // warnings are printed once.
            let mut first = true;
            let units = systemd::render(unit, &procfile, |type_variables| {
                let mut platform = platform_variables(None);
                platform.extend(type_variables);
                read_values(&files.env, &platform, std::mem::replace(&mut first, false))
            })?;
            print_warnings(&units.warnings);
            write_units(&units.files, output.as_deref())
        }
        RenderTarget::Crontab { files, dir } => {
            let procfile = read_procfile_of(files)?;
            let values = read_values(&files.env, &platform_variables(None), true)?;
            let (text, warnings) = crontab::render(dir, &procfile, &values)?;
            print_warnings(&warnings);
            output::write(text.as_bytes())
        }
        RenderTarget::Container(args) => render_container(args),
    }
}

fn render_container(args: &ContainerArgs) -> anyhow::Result<()> {
    let procfile = read_procfile_of(&args.files)?;
    let config = args.config.as_deref().map(read_config).transpose()?.unwrap_or_default();
    let settings = args.settings.clone();
    let mut platform = platform_variables(None);
    platform.extend(container_variables(&settings.app, settings.release, config.get("PORT")));
    let values = read_values(&args.files.env, &platform, true)?;
    let app = ContainerApp::read(settings, &procfile, &values, config)?;
    print_warnings(&app.warnings);
    match &args.engine {
        ContainerEngine::Kubernetes(cluster) => output::write(kubernetes::render(&app, cluster).as_bytes()),
        ContainerEngine::Compose(settings) => output::write(compose::render(&app, settings)?.as_bytes()),
        ContainerEngine::Quadlet(settings, dirs) => {
            write_quadlet(&quadlet::render(&app, settings)?, dirs.as_ref())
        }
    }
}

/// Writes timers to the directory that systemd reads, and the other files to that of Quadlet.
fn write_quadlet(units: &[SystemdUnit], dirs: Option<&UnitDirs>) -> anyhow::Result<()> {
    let Some(dirs) = dirs else { return write_units(units, None) };
    let (timers, others): (Vec<_>, Vec<_>) = units
        .iter()
        .cloned()
        .partition(|unit| Path::new(&unit.name).extension().is_some_and(|end| end == "timer"));
    if !timers.is_empty() {
        let no_dir = || {
            UserError::new("the app has cron jobs, and systemd reads no timers in the directory of Quadlet")
        };
        let dir =
            dirs.timers.as_deref().ok_or_else(|| no_dir().hint("add --timers ~/.config/systemd/user"))?;
        write_units(&timers, Some(dir))?;
    }
    write_units(&others, Some(&dirs.containers))
}

/// Reads a stored config.
fn read_config(file: &Path) -> anyhow::Result<IndexMap<String, String>> {
    let what = || format!("bad config in '{}'", file.display());
    let text = fs::read(file).with_context(|| format!("cannot read '{}'", file.display()))?;
    let config: IndexMap<String, String> = serde_json::from_slice(&text).with_context(what)?;
    match config.iter().find(|(name, value)| !env::is_name(name) || value.contains('\0')) {
        Some((name, _)) => Err(UserError::new(format!("{}: {}", what(), quote_word(name)))
            .hint("a config is one JSON object of names and strings without NUL")
            .into()),
        None => Ok(config),
    }
}

/// Writes each unit to a file of its name, or all of them to stdout.
fn write_units(units: &[SystemdUnit], dir: Option<&Path>) -> anyhow::Result<()> {
    let Some(dir) = dir else { return output::write(systemd::print_units(units).as_bytes()) };
    units.iter().try_for_each(|unit| {
        let path = dir.join(&unit.name);
        atomic_file::write(&path, unit.text.as_bytes(), 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    })
}

fn read_procfile_of(files: &AppFileArgs) -> anyhow::Result<Procfile> {
    read_procfile(&FileOrStdin::from(files.procfile.clone()), ParseOptions::default())
}

fn read_values(file: &Path, platform: &IndexMap<String, String>, warns: bool) -> anyhow::Result<AppValues> {
    let env = EnvFile::read(file, platform, ParseOptions::default())?;
    if warns {
        print_warnings(&env.warnings);
    }
    Ok(AppValues::from_env(&env, &read_file::label(file, env::FILE)))
}
