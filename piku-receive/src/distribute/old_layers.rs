//! Removal of old layers on a host that only builds. It keeps no releases, so only the layers of the last
//! release are needed, for the next build.

#![expect(
    clippy::disallowed_methods,
    reason = "names in the layer store, which only piku writes; the content of a layer is removed through a handle"
)]

use std::fs;
use std::path::Path;

use piku_files::remove_all;
use piku_layout::paths::GONE_SUFFIX;

use piku_report::progress;

/// Removes all layers except `keep`. The caller holds the app's lock, as builds do.
pub(super) fn remove_old_layers(folder: &Path, keep: &[String]) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let left_over = name.starts_with('.') && name.ends_with(GONE_SUFFIX);
        if keep.contains(&name) || (name.starts_with('.') && !left_over) {
            continue;
        }
        let gone =
            if left_over { path.clone() } else { path.with_file_name(format!(".{name}{GONE_SUFFIX}")) };
        let removed = if left_over { Ok(()) } else { fs::rename(&path, &gone) };
        if let Err(err) = removed.and_then(|()| remove_all(&gone)) {
            // The next deploy tries again.
            progress::detail(&format!("cannot remove '{}': {err}", path.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_last_layers_stay() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", ".c.gone", ".other"] {
            fs::create_dir_all(dir.path().join(name).join("content/deep")).unwrap();
        }
        fs::write(dir.path().join("b/content/deep/x"), "").unwrap();
        fs::set_permissions(dir.path().join("b/content/deep"), Permissions::from_mode(0o500)).unwrap();
        remove_old_layers(dir.path(), &["a".to_owned()]);
        remove_old_layers(&dir.path().join("nowhere"), &[]);
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".other", "a"]);
    }
}
