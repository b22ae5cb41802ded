//! pip, the last step of most package managers.

use crate::runtime::python::dependency_files::PythonDependencies;
use crate::runtime::python::virtualenv::VenvTarget;
use crate::runtime::version::RuntimeVersion;
use crate::step::build_step::BuildStep;

pub(crate) const STEP: &str = "pip";
/// The last step compiles all packages, in several processes and without their tests.
const NO_COMPILE: &str = "--no-compile";
/// The last setuptools with `pkg_resources`, which old programs import and a new Python lacks.
const OLD_SETUPTOOLS: &str = "setuptools<81";
/// The first Python whose virtualenvs lack setuptools.
const WITHOUT_SETUPTOOLS: RuntimeVersion = RuntimeVersion([3, 12, 0]);

/// Returns the steps for an app whose dependencies pip reads itself.
pub(crate) fn steps(target: &VenvTarget<'_>, all: &PythonDependencies) -> Vec<BuildStep> {
    let mut steps = vec![target.venv_step(all.is_installing() || !target.added.is_empty())];
    let pip = target.pip_program();
    let mut install = vec![pip.as_str(), "install", NO_COMPILE];
    let options = install.len();
    if !all.package && all.local.iter().any(|local| local.editable) {
        // It leaves nothing in the app's tree, which a release that reuses the layer would lack.
        install.push("--use-pep517");
    }
    install.extend(all.targets.iter().map(String::as_str));
    // pip requires hashes for all packages or for none.
    if !all.hashes {
        install.extend(added_packages(target, all));
    }
    if install.len() > options {
        steps.push(BuildStep::new(STEP, &install, false));
    }
    if all.hashes {
        steps.extend(install_added(target, all));
    }
    steps
}

/// Installs exported requirements, which are complete.
pub(crate) fn from_export(target: &VenvTarget<'_>) -> BuildStep {
    let install = "exec \"$0\" install --no-compile --no-deps --requirement \"$TMPDIR/requirements.txt\"";
    BuildStep::new(STEP, &["sh", "-c", install, &target.pip_program()], false)
}

/// Installs requirements without a lock, and their dependencies.
pub(crate) fn from_file(target: &VenvTarget<'_>) -> BuildStep {
    let install = "exec \"$0\" install --no-compile --requirement \"$TMPDIR/requirements.txt\"";
    BuildStep::new(STEP, &["sh", "-c", install, &target.pip_program()], false)
}

/// Installs the added packages apart from the locked ones.
pub(crate) fn install_added(target: &VenvTarget<'_>, all: &PythonDependencies) -> Option<BuildStep> {
    let added = added_packages(target, all);
    let pip = target.pip_program();
    let mut install = vec![pip.as_str(), "install", NO_COMPILE];
    install.extend(&added);
    (!added.is_empty()).then(|| BuildStep::new(STEP, &install, false))
}

/// Returns the server that the app does not depend on, and what an old gunicorn needs.
pub(crate) fn added_packages<'a>(target: &VenvTarget<'a>, all: &PythonDependencies) -> Vec<&'a str> {
    let mut added = target.added.to_vec();
    let old = all.packages.get("gunicorn").is_some_and(|spec| is_old_gunicorn(spec));
    if old && !all.packages.contains_key("setuptools") && target.interpreter.version >= WITHOUT_SETUPTOOLS {
        added.push(OLD_SETUPTOOLS);
    }
    added
}

/// Returns whether a version specifier allows no gunicorn after 20, the last that imports `pkg_resources`.
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
