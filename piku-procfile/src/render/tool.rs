//! What `render` does: reads the app's files, renders, prints.

#![expect(clippy::disallowed_methods, reason = "a file that was named on the command line")]

use std::fs;
use std::path::Path;

use anyhow::Context;
use indexmap::IndexMap;
use piku_files::atomic_file;
use piku_report::output;

use super::cli::{AppFileArgs, PrintedFile, RenderTarget};
use super::nginx::VirtualHost;
use super::values::AppValues;
use super::{crontab, systemd};
use crate::cli::FileOrStdin;
use crate::env::{self, EnvFile};
use crate::input::{platform, procfile, tell};
use crate::procfile::{ParseOptions, Procfile};
use crate::source;

/// Does it.
pub(crate) fn run(rendering: &RenderTarget) -> anyhow::Result<()> {
    match rendering {
        RenderTarget::NginxMain(instance) => output::write(instance.file()?.as_bytes()),
        RenderTarget::Nginx { files, settings, cloudflare, print } => {
            let mut settings = settings.clone();
            if let Some(file) = cloudflare {
                let text = fs::read_to_string(file);
                settings.cloudflare =
                    Some(text.with_context(|| format!("cannot read '{}'", file.display()))?);
            }
            // To the app, these are where the profile of the jail puts them.
            let mut known = platform(None);
            known.entry("DATA_DIR".to_owned()).or_insert_with(|| "/data".to_owned());
            known.entry("HOME".to_owned()).or_insert_with(|| "/app".to_owned());
            let (procfile, values) = read(files, &known)?;
            let site = VirtualHost::read(&settings, &procfile, &values)?;
            tell(&site.warnings);
            match print {
                PrintedFile::Server => output::write(site.server_file().as_bytes()),
                PrintedFile::Passwords => output::write(site.password_file().unwrap_or_default().as_bytes()),
            }
        }
        RenderTarget::Systemd { files, unit, output } => {
            let procfile = procfile_of(files)?;
            // One file for all types, and each has its own PORT, PS and PROC_TYPE.
            let mut told = false;
            let units = systemd::render(unit, &procfile, |known| {
                let mut all = platform(None);
                all.extend(known);
                values(&files.env, &all, std::mem::replace(&mut told, true))
            })?;
            tell(&units.warnings);
            match output {
                Some(dir) => units.files.iter().try_for_each(|unit| {
                    let path = dir.join(&unit.name);
                    atomic_file::write(&path, unit.text.as_bytes(), 0o600)
                        .with_context(|| format!("cannot write '{}'", path.display()))
                }),
                None => output::write(units.to_string().as_bytes()),
            }
        }
        RenderTarget::Crontab { files, dir } => {
            let (procfile, values) = read(files, &platform(None))?;
            let (text, warnings) = crontab::render(dir, &procfile, &values)?;
            tell(&warnings);
            output::write(text.as_bytes())
        }
    }
}

fn procfile_of(files: &AppFileArgs) -> anyhow::Result<Procfile> {
    procfile(&FileOrStdin::from(files.procfile.clone()), ParseOptions::default())
}

fn read(files: &AppFileArgs, known: &IndexMap<String, String>) -> anyhow::Result<(Procfile, AppValues)> {
    let procfile = procfile_of(files)?;
    let values = values(&files.env, known, false)?;
    Ok((procfile, values))
}

/// The variables, with their places; the file's warnings are told, unless it is read again and again.
fn values(file: &Path, known: &IndexMap<String, String>, quiet: bool) -> anyhow::Result<AppValues> {
    let env = EnvFile::read(file, known, ParseOptions::default())?;
    if !quiet {
        tell(&env.warnings);
    }
    Ok(AppValues::of(&env, &source::label(file, env::FILE)))
}
