//! An app with a Procfile and nothing else: programs and scripts that are ready to run, in the repository or on the machine.

use std::collections::BTreeMap;

use piku_procfile::procfile::Procfile;

use super::{Detection, Runtime, Site};
use crate::environment::PATH;
use crate::explain;
use crate::plan::Plan;
use crate::source::Source;
use crate::step::{Ended, Step};
use crate::view::View;

/// What other kinds of apps have at their top. It is not built; the programs may still be there.
const NOT_BUILT: [&str; 6] = ["package.json", "go.mod", "Cargo.toml", "Gemfile", "pom.xml", "composer.json"];

/// The runtime.
pub(super) struct Binary;

impl Runtime for Binary {
    fn name(&self) -> &'static str {
        "binary"
    }

    fn detect(&self, source: &Source) -> anyhow::Result<Detection> {
        Ok(match &source.procfile {
            Some(_) => Detection::Fits("there is a Procfile".to_owned()),
            None => {
                Detection::Not("a Procfile that starts a program or a script, which is not there".to_owned())
            }
        })
    }

    fn plan(&self, source: &Source, _site: &Site) -> anyhow::Result<Plan> {
        let entries =
            source.procfile.as_ref().map(|Procfile { entries, .. }| entries.as_slice()).unwrap_or_default();
        let unbuilt = NOT_BUILT.iter().filter(|name| source.has(name));
        Ok(Plan {
            runtime: self.name(),
            version: None,
            version_from: None,
            layers: Vec::new(),
            steps: Vec::new(),
            processes: entries.iter().map(super::process).collect(),
            env: BTreeMap::from([
                ("PATH".to_owned(), PATH.to_owned()),
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ]),
            build_env: BTreeMap::new(),
            warnings: unbuilt
                .map(|name| format!("'{name}' is there, but apps of its kind are not built yet: what is started must be in the repository"))
                .collect(),
        })
    }

    fn judge(&self, step: &Step, ended: &Ended, _plan: &Plan, _view: &View) -> anyhow::Result<()> {
        if ended.succeeded() {
            return Ok(());
        }
        Err(explain::step_failed(step.name, ended, &ended.lines).into())
    }
}
