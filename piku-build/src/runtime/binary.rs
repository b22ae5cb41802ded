//! An app with a Procfile and nothing else: programs and scripts that are ready to run, in the repository or on the machine.

use std::collections::BTreeMap;

use super::{Detection, Runtime, Site};
use crate::explain;
use crate::inside::PATH;
use crate::plan::Plan;
use crate::source::Source;

/// What other kinds of apps have at their top. It is not built; the programs may still be there.
const NOT_BUILT: &[&str] = &["composer.json", "mix.exs"];

/// The name in `release.yaml`.
pub(crate) const NAME: &str = "binary";

/// The runtime.
pub(super) struct Binary;

impl Runtime for Binary {
    fn name(&self) -> &'static str {
        NAME
    }

    fn detect(&self, source: &Source) -> anyhow::Result<Detection> {
        Ok(match &source.procfile {
            Some(_) => Detection::Perhaps("there is a Procfile".to_owned()),
            None => {
                Detection::Not("a Procfile that starts a program or a script, which is not there".to_owned())
            }
        })
    }

    fn plan(&self, source: &Source, _site: &Site) -> anyhow::Result<Plan> {
        let processes = super::procfile(source).ok_or_else(|| explain::no_procfile(self.name()))?;
        let unbuilt = NOT_BUILT.iter().filter(|name| source.has(name));
        Ok(Plan {
            runtime: self.name(),
            processes,
            env: BTreeMap::from([
                ("PATH".to_owned(), PATH.to_owned()),
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ]),
            warnings: unbuilt
                .map(|name| format!("'{name}' is there, but apps of its kind are not built yet: what is started must be in the repository"))
                .collect(),
            ..Plan::default()
        })
    }
}
