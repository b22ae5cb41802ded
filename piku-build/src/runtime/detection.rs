//! The choice of the runtimes for an app: the first that matches, or those that the app names.

use serde::Serialize;

use super::{DetectResult, RUNTIMES, Runtime};
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
    /// Warnings about files that are not what they look like.
    pub(crate) warnings: Vec<String>,
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

/// An app that no runtime fits, in the form of [`DetectedRuntime`].
#[derive(Serialize)]
pub(crate) struct NoRuntime {
    runtime: (),
    runtimes: [&'static str; 0],
    because: (),
    others: Vec<OtherRuntime>,
}

/// Chooses the runtimes for an app.
///
/// # Errors
/// Fails if none fits, with the list of what was looked for; when one that fits refuses.
pub(crate) fn choose(source: &AppSource) -> anyhow::Result<RuntimeChoice> {
    match named_runtimes(source) {
        Some((from, value)) => choose_named(source, &from, value),
        None => choose_first(source),
    }
}

/// Returns what each runtime misses in an app, or nothing if one fits or the app names its runtimes.
pub(crate) fn none_fits(source: &AppSource) -> anyhow::Result<Option<NoRuntime>> {
    if named_runtimes(source).is_some() {
        return Ok(None);
    }
    let mut others = Vec::new();
    for runtime in RUNTIMES {
        others.push(match runtime.detect(source)? {
            DetectResult::Match(_) | DetectResult::WeakMatch(_) => return Ok(None),
            DetectResult::Unsupported(failure) | DetectResult::Resembles { failure, .. } => {
                not_chosen(*runtime, failure.to_string())
            }
            DetectResult::NoMatch(because) => not_chosen(*runtime, because),
        });
    }
    Ok(Some(NoRuntime { runtime: (), runtimes: [], because: (), others }))
}

/// Returns where an app names its runtimes, and the names.
fn named_runtimes(source: &AppSource) -> Option<(String, &str)> {
    VARIABLES.iter().find_map(|name| {
        let (value, from) = source.variable(name)?;
        (!value.trim().is_empty()).then(|| (format!("{name} in {from}"), value))
    })
}

fn choose_named(source: &AppSource, from: &str, value: &str) -> anyhow::Result<RuntimeChoice> {
    let mut runtimes: Vec<&'static dyn Runtime> = Vec::new();
    for name in value.split([',', ' ']).filter(|name| !name.is_empty()) {
        let known = RUNTIMES.iter().find(|runtime| runtime.name() == name);
        let known = known.ok_or_else(|| errors::unknown_runtime(from, name, &runtime_names()))?;
        if !runtimes.iter().any(|runtime| runtime.name() == name) {
            runtimes.push(*known);
        }
    }
    let Some(last) = runtimes.last() else {
        return Err(errors::unknown_runtime(from, value, &runtime_names()).into());
    };
    let mut reasons = Vec::new();
    let mut others = Vec::new();
    for runtime in RUNTIMES {
        let is_named = runtimes.iter().any(|named| named.name() == runtime.name());
        match runtime.detect(source)? {
            DetectResult::Unsupported(failure) | DetectResult::Resembles { failure, .. } if is_named => {
                return Err(failure.into());
            }
            // The app names it: if the plan finds nothing to build, its error says what is missing.
            DetectResult::Match(because) | DetectResult::WeakMatch(because) if is_named => {
                reasons.push(because);
            }
            DetectResult::NoMatch(_) if is_named => {}
            DetectResult::Match(because) | DetectResult::WeakMatch(because) => {
                others.push(not_chosen(*runtime, format!("{because}, but {from} does not name it")));
            }
            DetectResult::Unsupported(failure) | DetectResult::Resembles { failure, .. } => {
                others.push(not_chosen(*runtime, failure.to_string()));
            }
            DetectResult::NoMatch(because) => others.push(not_chosen(*runtime, because)),
        }
    }
    reasons.insert(0, format!("named by {from}"));
    let detected = DetectedRuntime {
        runtime: last.name(),
        runtimes: runtimes.iter().map(|runtime| runtime.name()).collect(),
        because: reasons.join("; "),
        others,
    };
    Ok(RuntimeChoice { runtimes, detected, warnings: Vec::new() })
}

/// Chooses the first runtime that matches, else the first weak match.
fn choose_first(source: &AppSource) -> anyhow::Result<RuntimeChoice> {
    let mut answers = Vec::new();
    for runtime in RUNTIMES {
        answers.push((*runtime, runtime.detect(source)?));
    }
    let find = |fits: fn(&DetectResult) -> bool| answers.iter().position(|(_, answer)| fits(answer));
    let at = find(|answer| matches!(answer, DetectResult::Match(_)))
        .or_else(|| {
            find(|answer| matches!(answer, DetectResult::WeakMatch(_) | DetectResult::Unsupported(_)))
        })
        .or_else(|| find(|answer| matches!(answer, DetectResult::Resembles { .. })));
    let Some(at) = at else {
        let looked_for: Vec<_> = answers
            .into_iter()
            .filter_map(|(runtime, answer)| match answer {
                DetectResult::NoMatch(because) => Some((runtime.name(), because)),
                _ => None,
            })
            .collect();
        return Err(errors::detection::nothing_fits(&looked_for, source, &find_below(source)).into());
    };
    let (runtime, answer) = answers.remove(at);
    let is_weak = matches!(answer, DetectResult::WeakMatch(_));
    let because = match answer {
        DetectResult::Unsupported(failure) | DetectResult::Resembles { failure, .. } => {
            return Err(failure.into());
        }
        DetectResult::Match(because) | DetectResult::WeakMatch(because) | DetectResult::NoMatch(because) => {
            because
        }
    };
    let warn = |(_, answer): &(_, DetectResult)| match answer {
        DetectResult::Resembles { name, failure } if is_weak => {
            Some(format!("'{name}' is not read: {failure}"))
        }
        _ => None,
    };
    let warnings = answers.iter().filter_map(warn).collect();
    let first = runtime.name();
    let others = answers.into_iter().map(|(runtime, answer)| match answer {
        DetectResult::Match(because) => not_chosen(runtime, format!("{because}, but {first} comes first")),
        DetectResult::WeakMatch(because) => {
            not_chosen(runtime, format!("{because}, but {first} fits better"))
        }
        DetectResult::Unsupported(failure) | DetectResult::Resembles { failure, .. } => {
            not_chosen(runtime, failure.to_string())
        }
        DetectResult::NoMatch(because) => not_chosen(runtime, because),
    });
    let others = others.collect();
    let detected = DetectedRuntime { runtime: first, runtimes: vec![first], because, others };
    Ok(RuntimeChoice { runtimes: vec![runtime], detected, warnings })
}

/// Returns the folders at the top that hold an app, each with its runtime: the push may be one folder too
/// high.
fn find_below(source: &AppSource) -> Vec<(String, &'static str)> {
    let folders = source.names.iter().filter_map(|name| name.strip_suffix('/')).take(FOLDERS);
    let fits = folders.filter_map(|folder| {
        // Errors below are reported when the folder is made the app.
        let inside = source.folder(folder).ok()?;
        let fits = |runtime: &&&dyn Runtime| matches!(runtime.detect(&inside), Ok(DetectResult::Match(_)));
        Some((folder.to_owned(), RUNTIMES.iter().find(fits)?.name()))
    });
    fits.collect()
}

fn not_chosen(runtime: &'static dyn Runtime, because: String) -> OtherRuntime {
    OtherRuntime { runtime: runtime.name(), because }
}

fn runtime_names() -> Vec<String> {
    RUNTIMES.iter().map(|runtime| runtime.name().to_owned()).collect()
}

impl std::fmt::Display for DetectedRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}", self.runtimes.join(", "), self.because)?;
        self.others.iter().try_for_each(|other| writeln!(f, "not {}: {}", other.runtime, other.because))
    }
}
