//! pip, the last step of most: into a virtualenv of its own, what is named, and what is added to make it run.

use crate::runtime::python::dependency_files::PythonDependencies;
use crate::runtime::python::virtualenv::VenvTarget;
use crate::runtime::version::RuntimeVersion;
use crate::step::build_step::BuildStep;

/// The step's name.
pub(crate) const STEP: &str = "pip";
/// The last setuptools that have `pkg_resources`, which old programs import and no longer find beside a new Python.
const OLD_SETUPTOOLS: &str = "setuptools<81";
/// The first Python that makes virtualenvs without setuptools.
const WITHOUT_SETUPTOOLS: RuntimeVersion = RuntimeVersion([3, 12, 0]);

/// What makes the virtualenv of an app whose dependencies pip reads itself.
pub(crate) fn steps(target: &VenvTarget<'_>, all: &PythonDependencies) -> Vec<BuildStep> {
    let mut steps = vec![target.venv_step(all.any() || !target.added.is_empty())];
    let pip = target.pip();
    let mut install = vec![pip.as_str(), "install"];
    if !all.package && all.local.iter().any(|local| local.editable) {
        // Nothing is left in the app's tree then, where a release that finds the layer would not have it.
        install.push("--use-pep517");
    }
    install.extend(all.targets.iter().map(String::as_str));
    // pip wants a hash for everything or for nothing.
    if !all.hashes {
        install.extend(added(target, all));
    }
    if install.len() > 2 {
        steps.push(BuildStep::new(STEP, &install, false));
    }
    if all.hashes {
        steps.extend(apart(target, all));
    }
    steps
}

/// Installs what a lock's manager has exported. It is complete: nothing is to be resolved.
pub(crate) fn from_export(target: &VenvTarget<'_>) -> BuildStep {
    let install = "exec \"$0\" install --no-deps --requirement \"$TMPDIR/requirements.txt\"";
    BuildStep::new(STEP, &["sh", "-c", install, &target.pip()], false)
}

/// Installs what is listed without a lock, and what that needs.
pub(crate) fn from_file(target: &VenvTarget<'_>) -> BuildStep {
    let install = "exec \"$0\" install --requirement \"$TMPDIR/requirements.txt\"";
    BuildStep::new(STEP, &["sh", "-c", install, &target.pip()], false)
}

/// Installs what is added, beside what is locked.
pub(crate) fn apart(target: &VenvTarget<'_>, all: &PythonDependencies) -> Option<BuildStep> {
    let added = added(target, all);
    let pip = target.pip();
    let mut install = vec![pip.as_str(), "install"];
    install.extend(&added);
    (!added.is_empty()).then(|| BuildStep::new(STEP, &install, false))
}

/// The server that the app is started with and does not name, and what an old one needs.
pub(crate) fn added<'a>(target: &VenvTarget<'a>, all: &PythonDependencies) -> Vec<&'a str> {
    let mut added = target.added.to_vec();
    let old = all.packages.get("gunicorn").is_some_and(|spec| is_old_gunicorn(spec));
    if old && !all.packages.contains_key("setuptools") && target.interpreter.version >= WITHOUT_SETUPTOOLS {
        added.push(OLD_SETUPTOOLS);
    }
    added
}

/// Whether what is said of gunicorn's version allows none after 20, the last that imports `pkg_resources`.
fn is_old_gunicorn(spec: &str) -> bool {
    spec.split(',').any(|clause| {
        let clause = clause.trim();
        let at = clause.find(|c: char| c.is_ascii_digit()).unwrap_or(clause.len());
        let (op, version) = clause.split_at(at);
        let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
        match op.trim() {
            "==" | "===" | "~=" | "<=" => parts.first().is_some_and(|major| *major <= 20),
            "<" => !parts.is_empty() && parts.as_slice() <= [21, 0, 0].as_slice(),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_gunicorns() {
        for old in ["==20.1.0", "~=20.0", "<21", ">=19,<20.2", "<=20.1", "==20.*"] {
            assert!(is_old_gunicorn(old), "{old}");
        }
        for new in ["", "==21.2.0", ">=20.1", "<22", "<24,>=20", "!=20.1.0"] {
            assert!(!is_old_gunicorn(new), "{new}");
        }
    }
}
