//! Garbage among the bases of container images: those that were not used for long, or are beyond the limit, and what
//! killed builds of bases have left.

use std::io::ErrorKind;

use anyhow::Context;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_release::image_bases;

use super::disk_usage::FreedSpace;
use super::{GarbageItem, GarbageKind};

/// Removes the garbage, or only finds it. Returns it, and the errors of single items. There is none while a base is
/// being made.
pub(crate) fn remove(root: &PikuRoot, dry_run: bool) -> anyhow::Result<(Vec<GarbageItem>, Vec<String>)> {
    let bases = root.image_bases();
    let cannot = || format!("cannot read '{}'", bases.display());
    let lock = match image_bases::try_lock(&bases) {
        Err(err) if err.kind() == ErrorKind::NotFound => None,
        lock => lock.with_context(cannot)?,
    };
    let (mut items, mut errors) = (Vec::new(), Vec::new());
    let Some(_lock) = lock else { return Ok((items, errors)) };
    let limit = HostSettings::read(&root.settings())?.image_bases.saturating_mul(1 << 20);
    let mut freed = FreedSpace::default();
    for path in image_bases::list_unneeded(&bases, limit, &[]).with_context(cannot)? {
        let bytes = freed.add_tree(&path);
        match if dry_run { Ok(()) } else { image_bases::remove(&path) } {
            Ok(()) => {
                let name = path.strip_prefix(root.path()).unwrap_or(&path).to_owned();
                items.push(GarbageItem { app: None, kind: GarbageKind::ImageBase, name, bytes });
            }
            Err(err) => errors.push(format!("{err:#}")),
        }
    }
    Ok((items, errors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use piku_release::image_bases::{DESCRIPTION, LAYER};

    #[test]
    fn bases_beyond_the_limit_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        assert!(remove(&root, false).unwrap().0.is_empty());
        for (name, age) in [("a", 2), ("b", 1)] {
            let base = root.image_bases().join(name.repeat(64));
            fs::create_dir_all(&base).unwrap();
            fs::write(base.join(LAYER), vec![1; 700 << 10]).unwrap();
            let date = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(age);
            fs::File::create(base.join(DESCRIPTION)).unwrap().set_modified(date.into()).unwrap();
        }
        let names = |dry_run: bool| -> Vec<String> {
            let (items, errors) = remove(&root, dry_run).unwrap();
            assert!(errors.is_empty() && items.iter().all(|item| item.bytes >= 700 << 10));
            items.iter().map(|item| format!("{} {}", item.kind.as_str(), item.name.display())).collect()
        };
        assert!(names(false).is_empty());
        fs::write(root.settings(), "image_bases: 1\n").unwrap();
        // While another is being made, nothing is removed.
        let lock = image_bases::try_lock(&root.image_bases()).unwrap();
        assert!(names(false).is_empty());
        drop(lock);
        let old = format!("image-base bases/{}", "a".repeat(64));
        assert_eq!(names(true), [old.as_str()]);
        assert_eq!(names(false), [old.as_str()]);
        assert!(names(true).is_empty() && root.image_bases().join("b".repeat(64)).join(LAYER).is_file());
        // One that is larger than the limit is not made again by each deploy.
        fs::write(root.settings(), "image_bases: 0\n").unwrap();
        assert!(names(true).is_empty());
    }
}
