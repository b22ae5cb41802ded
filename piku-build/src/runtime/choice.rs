//! The choice of the runtimes for an app: the first that matches, or those that the app names.

use serde::Serialize;

use super::{ALL, DetectResult, Runtime};
use crate::app::app_source::AppSource;
use crate::errors;

/// Variables that name the runtimes, the first before the second. `PIKU_RUNTIMES=node,python` builds both
/// into one release, in that order; without a Procfile the last one decides the process types.
pub(crate) const VARIABLES: [&str; 2] = ["PIKU_RUNTIMES", "RUNTIME"];

/// The largest number of folders that are searched for an app that is not at the top.
const FOLDERS: usize = 64;

/// The runtimes chosen for an app.
pub(crate) struct RuntimeChoice {
    /// In the order in which they build. Never empty.
    pub(crate) runtimes: Vec<&'static dyn Runtime>,
    pub(crate) detected: DetectedRuntime,
}

/// The result of the detection. The field names are a contract with scripts.
#[derive(Serialize)]
pub(crate) struct DetectedRuntime {
    /// The last one, which decides the process types without a Procfile.
    pub(crate) runtime: &'static str,
    /// All, in the order in which they build.
    pub(crate) runtimes: Vec<&'static str>,
    /// The reason of the choice.
    pub(crate) because: String,
    /// The runtimes that were not chosen.
    pub(crate) others: Vec<OtherRuntime>,
}

/// A runtime that was not chosen.
#[derive(Serialize)]
pub(crate) struct OtherRuntime {
    pub(crate) runtime: &'static str,
    pub(crate) because: String,
}

/// Chooses the runtimes for an app.
///
/// # Errors
/// Fails if none fits, with the list of what was looked for; when one that fits refuses.
pub(crate) fn choose(source: &AppSource) -> anyhow::Result<RuntimeChoice> {
    let asked = VARIABLES.iter().find_map(|name| {
        let (value, from) = source.variable(name)?;
        (!value.trim().is_empty()).then(|| (format!("{name} in {from}"), value))
    });
    match asked {
        Some((from, value)) => named(source, &from, value),
        None => first(source),
    }
}

/// Chooses the runtimes that the app names.
fn named(source: &AppSource, from: &str, value: &str) -> anyhow::Result<RuntimeChoice> {
    let mut runtimes: Vec<&'static dyn Runtime> = Vec::new();
    for name in value.split([',', ' ']).filter(|name| !name.is_empty()) {
        let known = ALL.iter().find(|runtime| runtime.name() == name);
        let known = known.ok_or_else(|| errors::unknown_runtime(from, name, &names()))?;
        if !runtimes.iter().any(|runtime| runtime.name() == name) {
            runtimes.push(*known);
        }
    }
    let Some(last) = runtimes.last() else {
        return Err(errors::unknown_runtime(from, value, &names()).into());
    };
    let mut reasons = Vec::new();
    let mut others = Vec::new();
    for runtime in ALL {
        let is_named = runtimes.iter().any(|named| named.name() == runtime.name());
        match runtime.detect(source)? {
            DetectResult::Refused(failure) if is_named => return Err(failure.into()),
            // The app names it: if the plan finds nothing to build, its error says what is missing.
            DetectResult::Fits(because) | DetectResult::Perhaps(because) if is_named => reasons.push(because),
            DetectResult::Not(_) if is_named => {}
            DetectResult::Fits(because) | DetectResult::Perhaps(because) => {
                others.push(other(*runtime, format!("{because}, but {from} does not name it")));
            }
            DetectResult::Refused(failure) => others.push(other(*runtime, failure.to_string())),
            DetectResult::Not(because) => others.push(other(*runtime, because)),
        }
    }
    reasons.insert(0, format!("named by {from}"));
    let detected = DetectedRuntime {
        runtime: last.name(),
        runtimes: runtimes.iter().map(|runtime| runtime.name()).collect(),
        because: reasons.join("; "),
        others,
    };
    Ok(RuntimeChoice { runtimes, detected })
}

/// Chooses the first runtime that matches, else the first weak match.
fn first(source: &AppSource) -> anyhow::Result<RuntimeChoice> {
    let mut answers = Vec::new();
    for runtime in ALL {
        answers.push((*runtime, runtime.detect(source)?));
    }
    let sure = answers.iter().position(|(_, answer)| matches!(answer, DetectResult::Fits(_)));
    let at = sure.or_else(|| answers.iter().position(|(_, answer)| !matches!(answer, DetectResult::Not(_))));
    let Some(at) = at else {
        let looked_for: Vec<_> = answers
            .into_iter()
            .filter_map(|(runtime, answer)| match answer {
                DetectResult::Not(because) => Some((runtime.name(), because)),
                _ => None,
            })
            .collect();
        return Err(errors::nothing_fits(&looked_for, &source.names, &below(source)).into());
    };
    let (runtime, answer) = answers.remove(at);
    let because = match answer {
        DetectResult::Refused(failure) => return Err(failure.into()),
        DetectResult::Fits(because) | DetectResult::Perhaps(because) | DetectResult::Not(because) => because,
    };
    let first = runtime.name();
    let others = answers.into_iter().map(|(runtime, answer)| match answer {
        DetectResult::Fits(because) => other(runtime, format!("{because}, but {first} comes first")),
        DetectResult::Perhaps(because) => other(runtime, format!("{because}, but {first} fits better")),
        DetectResult::Refused(failure) => other(runtime, failure.to_string()),
        DetectResult::Not(because) => other(runtime, because),
    });
    let others = others.collect();
    let detected = DetectedRuntime { runtime: first, runtimes: vec![first], because, others };
    Ok(RuntimeChoice { runtimes: vec![runtime], detected })
}

/// Returns the folders at the top that hold an app, each with its runtime: the push may be one folder too
/// high.
fn below(source: &AppSource) -> Vec<(String, &'static str)> {
    let folders = source.names.iter().filter_map(|name| name.strip_suffix('/')).take(FOLDERS);
    let fits = folders.filter_map(|folder| {
        // Errors below are reported when the folder is made the app.
        let inside = source.folder(folder).ok()?;
        let fits = |runtime: &&&dyn Runtime| matches!(runtime.detect(&inside), Ok(DetectResult::Fits(_)));
        Some((folder.to_owned(), ALL.iter().find(fits)?.name()))
    });
    fits.collect()
}

fn other(runtime: &'static dyn Runtime, because: String) -> OtherRuntime {
    OtherRuntime { runtime: runtime.name(), because }
}

fn names() -> Vec<String> {
    ALL.iter().map(|runtime| runtime.name().to_owned()).collect()
}

impl std::fmt::Display for DetectedRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}", self.runtimes.join(", "), self.because)?;
        self.others.iter().try_for_each(|other| writeln!(f, "not {}: {}", other.runtime, other.because))
    }
}
