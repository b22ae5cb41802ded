//! Changes of `host.yaml` by a command: everything else in the file stays as the operator wrote it.

#![expect(clippy::disallowed_methods, reason = "host.yaml, which is the operator's")]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use piku_files::{FileLock, atomic_file};

use super::{HostSettings, parse};
use crate::name::AppName;
use crate::paths::PikuRoot;

/// A key of the file's top level and what is written for it.
#[derive(Debug, Clone, Copy)]
pub struct SettingsKey {
    /// Name with its colon: `grants:`.
    pub name: &'static str,
    /// Line above the key, if the key is new.
    pub comment: &'static str,
}

impl PikuRoot {
    /// Changes `host.yaml` under a lock, atomically. `edit` gets the settings and the text and returns the
    /// new text and the settings that it must have; nothing is written if the text has not changed.
    ///
    /// # Errors
    /// Fails if the file cannot be read or written, or if its new text would not have these settings. The
    /// file then stays as it was.
    pub fn edit_settings(
        &self,
        edit: impl FnOnce(&HostSettings, &str) -> anyhow::Result<(String, HostSettings)>,
    ) -> anyhow::Result<()> {
        let path = self.settings();
        // The file itself is replaced by each change; a symlink to it stays.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let folder =
            File::open(self.path()).with_context(|| format!("cannot open '{}'", self.path().display()));
        let _lock =
            FileLock::exclusive(folder?).with_context(|| format!("cannot lock '{}'", path.display()))?;
        let (text, mode) = match fs::read_to_string(&path) {
            Ok(text) => (text, mode_of(&path)?),
            Err(err) if err.kind() == ErrorKind::NotFound => (String::new(), 0o600),
            Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        };
        let settings = parse(&text).with_context(|| format!("bad settings in '{}'", path.display()))?;
        let (new, wanted) = edit(&settings, &text)?;
        let cannot = || format!("cannot change '{}'", path.display());
        ensure!(parse(&new).with_context(cannot)? == wanted, "{}: it has an unusual form", cannot());
        if new == text {
            return Ok(());
        }
        atomic_file::write(&path, new.as_bytes(), mode)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }
}

fn mode_of(path: &Path) -> anyhow::Result<u32> {
    let about = fs::metadata(path).with_context(|| format!("cannot look at '{}'", path.display()))?;
    Ok(about.permissions().mode() & 0o777)
}

impl SettingsKey {
    /// Returns the text with `value` in place of the key's old value, or at the end.
    #[must_use]
    pub fn replace_in(self, text: &str, value: &str) -> String {
        let line = format!("{} {value}", self.name);
        let mut lines: Vec<&str> = Vec::new();
        let mut place = None;
        let mut inside = false;
        for old in text.lines() {
            // A list may continue below its key.
            inside = old.starts_with(self.name) || inside && old.starts_with([' ', '\t', '-']);
            if old.starts_with(self.name) {
                place = Some(lines.len());
                lines.push(&line);
            } else if !inside {
                lines.push(old);
            }
        }
        if place.is_none() {
            // Only the line itself may have been removed.
            lines.retain(|old| *old != self.comment);
            lines.extend([self.comment, &line]);
        }
        lines.join("\n") + "\n"
    }

    /// Returns the text with `value` for an app in the key's list of apps, which keeps its other lines;
    /// `None` removes the app. The list must have at least one line for each app.
    #[must_use]
    pub(crate) fn replace_app_in(self, text: &str, app: &AppName, value: Option<&str>) -> String {
        let line = value.map(|value| format!("  {app}: {value}"));
        let is_head = |old: &str| old.strip_prefix(self.name).is_some_and(is_blank);
        if !text.lines().any(is_head) {
            return match line {
                Some(line) => format!("{}{}\n{}\n{line}\n", ended(text), self.comment, self.name),
                None => text.to_owned(),
            };
        }
        let own = [format!("{app}:"), format!("'{app}':"), format!("\"{app}\":")];
        let mut lines: Vec<&str> = Vec::new();
        // Indentation of the app's own key while its lines are passed over.
        let (mut inside, mut skipped, mut place) = (false, None, 0);
        for old in text.lines() {
            let depth = old.len() - old.trim_start_matches(' ').len();
            if is_head(old) {
                inside = true;
                place = lines.len() + 1;
            } else if inside && !old.trim().is_empty() && !old.starts_with([' ', '#', '-']) {
                inside = false;
            }
            let is_own = inside && depth > 0 && own.iter().any(|own| old.trim_start().starts_with(own));
            if is_own {
                skipped = Some(depth);
                place = lines.len();
                continue;
            }
            // The lines of its list, which may begin at the same depth.
            let is_below = |own: usize| depth > own || depth == own && old.trim_start().starts_with("- ");
            let is_empty = old.trim().is_empty();
            if skipped.is_some_and(|own| inside && !is_empty && is_below(own)) {
                continue;
            }
            skipped = skipped.filter(|_| is_empty);
            lines.push(old);
        }
        lines.splice(place..place, line.as_deref());
        let rest = |from: usize| lines[from..].iter().find(|line| !line.trim().is_empty());
        // A key without a value would be an error.
        let head = lines.iter().position(|line| is_head(line));
        if let Some(head) = head.filter(|head| rest(head + 1).is_none_or(|next| !next.starts_with(' '))) {
            lines.remove(head);
            lines.retain(|old| *old != self.comment);
        }
        if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
    }
}

/// Returns whether only blanks or a comment follow.
fn is_blank(rest: &str) -> bool {
    rest.trim().is_empty() || rest.trim_start().starts_with('#')
}

/// Returns the text with a newline at its end, unless it is empty.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SettingsKey = SettingsKey { name: "protections:", comment: "# What holds." };
    const GRANTS: SettingsKey = SettingsKey { name: "grants:", comment: "# What apps may use." };

    #[test]
    fn a_value_leaves_everything_else_as_it_is() {
        let added = |text: &str| KEY.replace_in(text, "[namespaces]");
        let new = "protections: [namespaces]";
        assert_eq!(added(""), format!("# What holds.\n{new}\n"));
        let settings = "# mine\nsandbox: require\n\nlogs: {keep: 2} # few";
        assert_eq!(added(settings), format!("{settings}\n# What holds.\n{new}\n"));
        for before in [
            "protections: []\n",
            "protections: [seccomp] # old\n",
            "protections:\n  - seccomp\n  - landlock\n",
            "protections:\n- seccomp\n",
        ] {
            let text = format!("sandbox: off\n{before}app_users: own\n");
            assert_eq!(added(&text), format!("sandbox: off\n{new}\napp_users: own\n"), "{before}");
        }
        assert_eq!(added(&added(settings)), added(settings));
        let lost = "# What holds.\nsandbox: off\n";
        assert_eq!(added(lost), format!("sandbox: off\n# What holds.\n{new}\n"));
    }

    #[test]
    fn one_app_of_a_list_changes() {
        let blog: AppName = "blog".parse().unwrap();
        let set = |text: &str| GRANTS.replace_app_in(text, &blog, Some("[/dev/b]"));
        let unset = |text: &str| GRANTS.replace_app_in(text, &blog, None);
        assert_eq!(set(""), "# What apps may use.\ngrants:\n  blog: [/dev/b]\n");
        assert_eq!(unset(&set("")), "");
        assert_eq!(unset("sandbox: off\n"), "sandbox: off\n");
        assert_eq!(set("sandbox: off"), "sandbox: off\n# What apps may use.\ngrants:\n  blog: [/dev/b]\n");
        for own in [
            "  blog: [/dev/a]\n",
            "  'blog':\n  - /dev/a\n  - /dev/c\n",
            "  blog:\n    - /dev/a # old\n\n    - /dev/c\n",
        ] {
            let (before, after) =
                ("# top\ngrants: # mine\n  # of the shop\n  shop: [/dev/x]\n", "\nsandbox: off\n");
            let text = format!("{before}{own}  # the last\n  wiki: [/dev/y]\n{after}");
            let end = format!("  # the last\n  wiki: [/dev/y]\n{after}");
            let lone = |text: String| text.replace("\n\n  #", "\n  #");
            assert_eq!(lone(set(&text)), format!("{before}  blog: [/dev/b]\n{end}"), "{own}");
            assert_eq!(lone(unset(&text)), format!("{before}{end}"), "{own}");
            assert_eq!(set(&set(&text)), set(&text), "{own}");
        }
        let alone = "ports: {first: 1, last: 2}\ngrants:\n  blog: [/dev/a]\nsandbox: off\n";
        assert_eq!(unset(alone), "ports: {first: 1, last: 2}\nsandbox: off\n");
    }

    #[test]
    fn a_change_is_whole_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let key = SettingsKey { name: "build_nice:", comment: "# nice" };
        let change = |build_nice: u8| {
            root.edit_settings(|settings, text| {
                let wanted = HostSettings { build_nice, ..settings.clone() };
                Ok((key.replace_in(text, &build_nice.to_string()), wanted))
            })
        };
        change(3).unwrap();
        assert_eq!(fs::read_to_string(root.settings()).unwrap(), "# nice\nbuild_nice: 3\n");
        assert_eq!(mode_of(&root.settings()).unwrap(), 0o600);
        for odd in ["{build_nice: 1}", "sandbox: off\n...\n", "sandbocks: off\n", "build_nice : 1\n"] {
            fs::write(root.settings(), odd).unwrap();
            assert!(change(4).is_err(), "{odd}");
            assert_eq!(fs::read_to_string(root.settings()).unwrap(), odd);
        }
    }
}
