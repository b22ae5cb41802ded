//! The machines that will run a release, as `piku-receive targets` describes them: what a plan needs that they lack is
//! known before anything is built.

#![expect(clippy::disallowed_methods, reason = "the list that piku-receive has written for this build")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indexmap::IndexMap;
use piku_layout::name::ProcessName;
use piku_procfile::procfile::ProcessKind;
use piku_report::progress;
use serde::Deserialize;

use crate::app::command_check;
use crate::errors;
use crate::pack;
use crate::plan::build_plan::BuildPlan;
use crate::plan::combined_plan::CombinedPlan;

/// Directory of the Pythons that machines report.
const PROGRAMS: &str = "/usr/bin";

/// The machines of a deploy. These names are a contract with `piku-receive`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct MachineList {
    /// True if the release runs on this machine, too.
    here: bool,
    /// True if a machine that cannot run the release fails the deploy.
    all_or_nothing: bool,
    machines: Vec<ListedMachine>,
    /// True if the release runs in a cluster.
    #[serde(default)]
    in_cluster: bool,
}

/// A machine that has answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ListedMachine {
    /// Name for messages.
    pub(crate) name: String,
    /// The minor versions of its system's Pythons.
    pub(crate) python: Vec<String>,
}

impl MachineList {
    /// Reads the list, if there is one.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub(crate) fn read(path: Option<&PathBuf>) -> anyhow::Result<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        let text = fs::read(path).with_context(|| format!("cannot read '{}'", path.display()))?;
        let list = serde_json::from_slice(&text);
        list.with_context(|| format!("bad list of machines in '{}'", path.display())).map(Some)
    }

    /// Checks what is planned for these machines.
    ///
    /// # Errors
    /// Fails if it cannot run there.
    pub(crate) fn check(&self, whole: &CombinedPlan) -> anyhow::Result<()> {
        let is_guess = whole.plans().any(|plan| plan.is_guess);
        if self.in_cluster && !is_guess && is_files_alone(&whole.processes) {
            return Err(errors::files::no_process_for_pods().into());
        }
        self.check_interpreters(whole.plans())
    }

    /// Checks that the machines have the interpreters that the plans need of them, and warns of single ones that
    /// do not.
    ///
    /// # Errors
    /// Fails if none has them, or one has not and the deploy is one of all or none.
    fn check_interpreters<'a>(&self, plans: impl Iterator<Item = &'a BuildPlan>) -> anyhow::Result<()> {
        for plan in plans {
            let Some(minor) = plan.interpreter.as_deref().and_then(system_python) else { continue };
            let lacking: Vec<_> =
                self.machines.iter().filter(|machine| !machine.python.contains(&minor)).collect();
            if lacking.is_empty() {
                continue;
            }
            let common = self.common_pythons(&pack::system_pythons());
            let from = plan.version_from.as_deref().unwrap_or_default();
            let failure = errors::python::missing_on_machines(&minor, from, &lacking, common.as_deref());
            let is_any_left = self.here || lacking.len() < self.machines.len();
            if self.all_or_nothing || !is_any_left {
                return Err(failure.into());
            }
            progress::warning(&format!("{failure}: the others continue"));
        }
        Ok(())
    }

    /// Returns the newest of these Pythons that all machines have.
    fn common_pythons(&self, own: &[String]) -> Option<String> {
        let is_common = |minor: &&String| self.machines.iter().all(|machine| machine.python.contains(minor));
        own.iter().rfind(is_common).cloned()
    }
}

/// Returns true if nginx alone serves these process types.
fn is_files_alone(processes: &IndexMap<ProcessName, String>) -> bool {
    let entries = command_check::parse_entries(processes);
    !entries.is_empty() && entries.iter().all(|entry| entry.kind == ProcessKind::Static)
}

/// Returns the minor version of a Python of the system: `3.13` for `/usr/bin/python3.13`.
fn system_python(path: &Path) -> Option<String> {
    let name = path.strip_prefix(PROGRAMS).ok()?.to_str()?;
    name.strip_prefix("python").filter(|minor| minor.starts_with("3.")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(here: bool, all_or_nothing: bool, pythons: &[&str]) -> MachineList {
        let machine = |(at, python): (usize, &&str)| ListedMachine {
            name: format!("pi-{at}"),
            python: python.split_whitespace().map(str::to_owned).collect(),
        };
        let machines = pythons.iter().enumerate().map(machine).collect();
        MachineList { here, all_or_nothing, machines, in_cluster: false }
    }

    fn refusal(machines: &MachineList, interpreter: &str) -> Option<String> {
        let plan = BuildPlan { interpreter: Some(interpreter.into()), ..BuildPlan::default() };
        machines.check_interpreters([&plan].into_iter()).err().map(|err| err.to_string())
    }

    #[test]
    fn a_python_that_machines_lack_is_refused_before_the_build() {
        let python = "/usr/bin/python3.13";
        assert_eq!(refusal(&list(false, true, &["3.13", "3.11 3.13"]), python), None);
        let why = refusal(&list(true, true, &["3.13", "3.11", ""]), python).unwrap();
        assert!(why.contains("python3.13") && why.contains("pi-1 (3.11), pi-2 (none)"), "{why}");
        // Those that have it continue.
        assert_eq!(refusal(&list(false, false, &["3.13", "3.11"]), python), None);
        assert_eq!(refusal(&list(true, false, &["3.11"]), python), None);
        assert!(refusal(&list(false, false, &["3.11", "3.12"]), python).is_some());
        // One that the release brings, or that machines do not report.
        for path in ["/layers/python/bin/python3.13", "/usr/local/bin/python3.13", "/usr/bin/python3"] {
            assert_eq!(refusal(&list(false, true, &["3.11"]), path), None, "{path}");
        }
    }

    #[test]
    fn files_alone_have_no_process() {
        let of = |types: &[(&str, &str)]| {
            let types = types.iter().map(|(name, command)| (name.parse().unwrap(), (*command).to_owned()));
            is_files_alone(&types.collect())
        };
        assert!(of(&[("static", "public")]));
        assert!(!of(&[("static", "public"), ("worker", "./work")]));
        assert!(!of(&[("web", "./serve")]) && !of(&[]));
    }

    #[test]
    fn the_newest_python_of_all_machines_is_proposed() {
        let own = ["3.9", "3.11", "3.13"].map(str::to_owned);
        let of = |pythons: &[&str]| list(false, true, pythons).common_pythons(&own);
        assert_eq!(of(&["3.9 3.11", "3.9 3.11 3.13"]).as_deref(), Some("3.11"));
        assert_eq!(of(&["3.12", "3.13"]), None);
    }
}
