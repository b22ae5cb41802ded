//! List of what a backup lacks, in a line for each app.

use piku_backup::{BackupPart, LeftOut, MissingApp, PartSum};
use piku_layout::name::AppName;

/// An app of which a backup lacks something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LackingApp {
    /// `None` for the machine itself.
    pub(crate) app: Option<AppName>,
    /// Number of files that were left out.
    pub(crate) left_out: u64,
    /// A part has no end, or all of the app is missing.
    pub(crate) is_broken: bool,
    /// Description of what the backup lacks, in a single line: `lacks 2 files: …`.
    pub(crate) text: String,
}

impl LackingApp {
    /// Returns the line about it.
    pub(crate) fn describe(&self) -> String {
        let of = self.app.as_ref().map_or("the machine", AppName::as_str);
        format!("{of}: the backup {}", self.text)
    }
}

/// Returns what a backup with these sums lacks.
pub(super) fn find_lacking(missing: &[MissingApp], sums: &[PartSum]) -> Vec<LackingApp> {
    let parts = sums.iter().filter_map(|sum| Some((&sum.part, sum.left_out.as_ref()?)));
    let mut all: Vec<LackingApp> = Vec::new();
    for (part, left_out) in parts {
        let text = describe(part, left_out);
        let is_broken = left_out.error.is_some();
        match all.iter_mut().find(|one| one.app.as_ref() == part.app()) {
            Some(one) => {
                one.left_out = one.left_out.saturating_add(left_out.count);
                one.is_broken |= is_broken;
                one.text = format!("{}; it {text}", one.text);
            }
            None => {
                all.push(LackingApp { app: part.app().cloned(), left_out: left_out.count, is_broken, text });
            }
        }
    }
    all.extend(missing.iter().map(|one| LackingApp {
        app: Some(one.app.clone()),
        left_out: 0,
        is_broken: true,
        text: format!("lacks all of it: {}", one.error),
    }));
    all
}

fn describe(part: &BackupPart, left_out: &LeftOut) -> String {
    if let Some(error) = &left_out.error {
        let what = match part {
            BackupPart::Repository(_) => "the repository".to_owned(),
            BackupPart::Data(_) => "the end of its files".to_owned(),
            BackupPart::Service(_, variable) => format!("the data of {variable}_URL"),
            BackupPart::Host => "the end of the settings".to_owned(),
            other => format!("'{other}'"),
        };
        return format!("lacks {what}: {error}");
    }
    format!("lacks {}", left_out.describe_files())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_one_line() {
        let app = || -> AppName { "blog".parse().unwrap() };
        let sum = |part, left_out| PartSum { part, bytes: 0, sha256: String::new(), left_out };
        let mut files = LeftOut::default();
        (0..12).for_each(|number| files.add(&format!("./{number}"), "a device"));
        let mut broken = LeftOut::default();
        broken.fail("no server");
        let sums = [
            sum(BackupPart::Repository(app()), None),
            sum(BackupPart::Data(app()), Some(files)),
            sum(BackupPart::Service(app(), "DATABASE".to_owned()), Some(broken)),
        ];
        let lacking = find_lacking(&[MissingApp::new("shop".parse().unwrap(), "it is gone")], &sums);
        assert_eq!(lacking.len(), 2);
        assert!((lacking[0].left_out, lacking[0].is_broken) == (12, true));
        let told = lacking[0].describe();
        assert!(told.starts_with("blog: the backup lacks 12 files: ./0 (a device), "), "{told}");
        assert!(told.ends_with(", and 2 more; it lacks the data of DATABASE_URL: no server"), "{told}");
        assert_eq!(lacking[1].describe(), "shop: the backup lacks all of it: it is gone");
        assert!(find_lacking(&[], &sums[..1]).is_empty());
    }
}
