//! An app with a Procfile and nothing else: programs and scripts that are ready to run, in the repository or on the machine.

use std::collections::BTreeMap;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::AppSource;
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use piku_layout::jail::PATH;

/// What other kinds of apps have at their top. It is not built; the programs may still be there.
const NOT_BUILT: &[&str] = &["composer.json", "mix.exs"];

/// The name in `release.yaml`.
pub(crate) const NAME: &str = "binary";

/// The runtime.
pub(super) struct BinaryRuntime;

impl Runtime for BinaryRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        Ok(match &source.procfile {
            Some(_) => DetectResult::Perhaps("there is a Procfile".to_owned()),
            None => DetectResult::Not(
                "a Procfile that starts a program or a script, which is not there".to_owned(),
            ),
        })
    }

    fn plan(&self, source: &AppSource, _site: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let processes = super::procfile(source).ok_or_else(|| errors::no_procfile(self.name()))?;
        let unbuilt = NOT_BUILT.iter().filter(|name| source.has(name));
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
