//! The runtime `binary`: a Procfile that starts programs or scripts which need no build.

use std::collections::BTreeMap;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::AppSource;
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use piku_layout::jail::PATH;

/// Files of languages that piku does not build. The programs may still be in the repository.
const NOT_BUILT: &[&str] = &["composer.json", "mix.exs"];

pub(crate) const NAME: &str = "binary";

pub(super) struct BinaryRuntime;

impl Runtime for BinaryRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        Ok(match &source.procfile {
            Some(_) => DetectResult::WeakMatch("there is a Procfile".to_owned()),
            None => {
                DetectResult::NoMatch("a Procfile that starts a program or a script is missing".to_owned())
            }
        })
    }

    fn plan(&self, source: &AppSource, _site: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let processes = super::procfile_processes(source).ok_or_else(|| errors::no_procfile(self.name()))?;
        let unbuilt = NOT_BUILT.iter().filter(|name| source.has_entry(name));
        Ok(BuildPlan {
            runtime: self.name(),
            processes,
            env: BTreeMap::from([
                ("PATH".to_owned(), PATH.to_owned()),
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ]),
            warnings: unbuilt
                .map(|name| format!("'{name}' is there, but apps of its kind are not built yet: what is started must be in the repository"))
                .collect(),
            ..BuildPlan::default()
        })
    }
}
