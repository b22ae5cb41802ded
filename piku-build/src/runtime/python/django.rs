//! Django's static files, collected in the release's tree unless the app sets `DISABLE_COLLECTSTATIC`.

use piku_report::progress;

use crate::app::app_source::AppSource;
use crate::errors;
use crate::step::build_step::{BuildStep, StepOutcome};

pub(super) const STEP: &str = "collectstatic";
const MANAGE: &str = "manage.py";

/// Returns the step that collects them; `None` if the app does not use Django or turns it off.
pub(super) fn plan_step(source: &AppSource, python: &str) -> anyhow::Result<Option<BuildStep>> {
    let off =
        source.variable("DISABLE_COLLECTSTATIC").is_some_and(|(value, _)| !matches!(value.trim(), "" | "0"));
    let Some(manage) = find_manage_py(source)?.filter(|_| !off) else { return Ok(None) };
    Ok(Some(BuildStep::new(STEP, &[python, &manage, "collectstatic", "--noinput"], true)))
}

/// Finds Django's manage.py, at the top or in the only folder that has one.
fn find_manage_py(source: &AppSource) -> anyhow::Result<Option<String>> {
    let below = source.names.iter().filter(|name| name.ends_with('/')).map(|name| format!("{name}{MANAGE}"));
    let mut found = Vec::new();
    for path in std::iter::once(MANAGE.to_owned()).chain(below) {
        let text = source.read_bytes(&path)?.unwrap_or_default();
        if String::from_utf8_lossy(&text).contains("DJANGO_SETTINGS_MODULE") {
            if path == MANAGE {
                return Ok(Some(path));
            }
            found.push(path);
        }
    }
    Ok(if found.len() == 1 { found.pop() } else { None })
}

pub(super) fn check_step(ended: &StepOutcome) -> anyhow::Result<()> {
    let lines = &ended.lines;
    let any = |needle: &str| lines.iter().find(|line| line.contains(needle));
    if ended.succeeded() {
        if let Some(line) = any("static file").or(lines.last()) {
            progress::step(&format!("Django: {}", line.trim()));
        }
        return Ok(());
    }
    if any("Unknown command: 'collectstatic'").is_some() {
        progress::detail("Django: the settings do not use staticfiles: nothing is collected");
        return Ok(());
    }
    if any("without having set the STATIC_ROOT setting").is_some() {
        progress::warning(&errors::python::no_static_root());
        return Ok(());
    }
    if ended.code > 128 {
        return Err(errors::step_failed(STEP, ended, &[]).into());
    }
    let kept: Vec<String> = lines.iter().filter(|line| !line.trim().is_empty()).cloned().collect();
    let last = kept.last().cloned().unwrap_or_default();
    let variable =
        last.strip_prefix("KeyError: ").map(|name| name.trim_matches(['\'', '"'])).filter(|name| {
            name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        });
    let shown = &kept[kept.len().saturating_sub(5)..];
    Err(errors::python::collectstatic(shown, variable).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn found(files: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let step = plan_step(&AppSource::read(dir.path(), None).unwrap(), "python").unwrap();
        step.map(|step| step.run[1].clone())
    }

    #[test]
    fn finds_the_project_and_can_be_told_not_to() {
        let django = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site.settings')\n";
        assert_eq!(found(&[("manage.py", django)]).as_deref(), Some("manage.py"));
        assert_eq!(found(&[("backend/manage.py", django)]).as_deref(), Some("backend/manage.py"));
        assert_eq!(found(&[("a/manage.py", django), ("b/manage.py", django)]), None);
        assert_eq!(found(&[("manage.py", "print('Flask-Script')\n")]), None);
        assert_eq!(found(&[("manage.py", django), ("ENV", "DISABLE_COLLECTSTATIC=1\n")]), None);
        assert!(found(&[("manage.py", django), ("ENV", "DISABLE_COLLECTSTATIC=0\n")]).is_some());
    }

    fn judged(text: &str) -> String {
        let lines = text.lines().map(str::to_owned).collect();
        let judged = check_step(&StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 });
        judged
            .err()
            .map_or_else(String::new, |err| format!("{err} {:?}", piku_report::user_error::advice(&err).0))
    }

    #[test]
    fn a_failure_is_explained() {
        assert!(
            judged("  File \"settings.py\", line 3\nKeyError: 'SECRET_KEY'\n")
                .contains("settings read SECRET_KEY")
        );
        assert!(
            judged("ModuleNotFoundError: No module named 'storages'\n").contains("DISABLE_COLLECTSTATIC=1")
        );
        assert_eq!(judged("Unknown command: 'collectstatic'\n"), "");
        assert_eq!(
            judged(
                "ImproperlyConfigured: You're using the staticfiles app without having set the STATIC_ROOT setting to a path.\n"
            ),
            ""
        );
    }
}
