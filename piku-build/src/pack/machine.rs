//! Describes this machine for build hosts.

#![expect(clippy::disallowed_methods, reason = "names of the machine's own interpreters; nothing is read")]

use std::fs;
use std::path::Path;

use piku_layout::settings::HostSettings;
use piku_report::output::{self, OutputFormat};
use serde::Serialize;

use super::clib;
use piku_release::{elf, target};

/// Directory of the Pythons that a virtualenv of another machine finds.
const PROGRAMS: &str = "/usr/bin";

/// The answer. These names are a contract with scripts.
#[derive(Debug, Serialize)]
struct MachineAnswer {
    /// Architecture as `uname -m` prints it, or from the host settings.
    architecture: String,
    /// Version of the installed glibc.
    glibc: Option<String>,
    /// True if musl is installed.
    musl: bool,
    /// The minor versions of the system's Pythons.
    python: Vec<String>,
}

/// Prints the description of this machine.
pub(crate) fn run(settings: Option<&Path>, format: OutputFormat) -> anyhow::Result<()> {
    let settings = settings.map(HostSettings::read).transpose()?.unwrap_or_default();
    let architecture = target::host_architecture(&settings)?;
    let machine = elf::machine_number(&architecture);
    let glibc = machine.and_then(clib::glibc).map(|version| version.to_string());
    let musl = machine.is_some_and(clib::has_musl);
    let answer = MachineAnswer { architecture, glibc, musl, python: system_pythons() };
    output::print(format, &answer, || format!("{}\n", answer.architecture))
}

/// Returns the versions of the Pythons: `3.11` for `python3.11`.
pub(crate) fn system_pythons() -> Vec<String> {
    let entries = fs::read_dir(PROGRAMS).into_iter().flatten().flatten();
    let minor = |name: &str| {
        let minor = name.strip_prefix("python3.")?;
        minor.bytes().all(|byte| byte.is_ascii_digit()).then(|| minor.parse::<u32>().ok())?
    };
    let mut found: Vec<u32> =
        entries.filter_map(|entry| minor(&entry.file_name().to_string_lossy())).collect();
    found.sort_unstable();
    found.into_iter().map(|minor| format!("3.{minor}")).collect()
}
