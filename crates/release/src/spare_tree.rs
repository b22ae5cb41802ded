//! The tree of a withdrawn release that consists of hard links: the next build takes it and changes what differs, which
//! takes less time than to link each file again, and to remove the old links.
//!
//! A release of many files has a record of its links beside its manifest. Removals in the background leave one such
//! release; everything else that removes, such as a lack of space, removes it too.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use piku_files::{FileLock, LinkRecord, TreeHandle};

use crate::manifest::{LINKS, TREE};
use crate::removals::withdrawn_names;

/// Returns the withdrawn releases whose trees can be taken, the newest last.
pub(crate) fn find(releases: &TreeHandle) -> Vec<OsString> {
    let mut found = withdrawn_names(releases);
    found.retain(|name| has_record(releases, name));
    found.sort_by_key(|name| release_number(name));
    found
}

/// Waits until no build is taking the tree of a withdrawn release, and keeps others from taking it.
pub(crate) fn lock_removal(releases: &TreeHandle, name: &OsStr) -> Option<FileLock<TreeHandle>> {
    let release = has_record(releases, name).then(|| releases.subtree(name).ok()).flatten()?;
    FileLock::shared(release).ok()
}

/// Moves the tree of a withdrawn release in the directory `releases` to the entry [`TREE`] of `to`. Returns its record;
/// `None` if there is none that can be moved.
#[must_use]
pub fn take(releases: &Path, to: &TreeHandle) -> Option<LinkRecord> {
    let releases = TreeHandle::open_following(releases).ok()?;
    find(&releases).iter().rev().find_map(|name| {
        let release = releases.subtree(name).ok()?;
        // A removal may have begun.
        let _lock = FileLock::try_exclusive(release.clone()).ok()??;
        let record = LinkRecord::read(&release, LINKS)?;
        // A process that is killed after this leaves a release that is only removed.
        release.remove_file(LINKS).ok()?;
        release.rename(TREE, to, TREE).ok()?;
        let tree = to.subtree(TREE).ok()?;
        tree.take_from_group().ok()?;
        Some(record)
    })
}

fn has_record(releases: &TreeHandle, name: &OsStr) -> bool {
    releases.symlink_metadata(Path::new(name).join(LINKS)).is_ok_and(|stat| stat.is_file())
}

/// Returns the number in `.NUMBER.gone` and `.NUMBER.COUNT.gone`.
fn release_number(name: &OsStr) -> Option<u64> {
    name.to_str()?.split('.').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::removals::{finish_removals, finish_removals_but_spare, list_withdrawn, withdraw};
    use piku_layout::paths::PikuRoot;
    use std::fs;

    #[test]
    fn one_tree_is_spared_and_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        let make = |number: u64, has_record: bool| {
            fs::create_dir_all(app.release(number).join(TREE)).unwrap();
            fs::write(app.release(number).join(TREE).join("number"), number.to_string()).unwrap();
            if has_record {
                LinkRecord::default().write(&app.release(number).join(LINKS)).unwrap();
            }
            withdraw(&app.release(number)).unwrap()
        };
        let work = TreeHandle::create(&dir.path().join("work")).unwrap();
        assert_eq!(take(&app.releases(), &work), None);
        let withdrawn =
            [(8, true), (9, true), (10, true), (11, false)].map(|(number, has)| make(number, has));
        finish_removals_but_spare(&app).unwrap();
        assert_eq!(list_withdrawn(&app), [withdrawn[2].clone()]);

        // A removal that has begun goes on, and nothing takes the tree.
        let releases = TreeHandle::open(&app.releases()).unwrap();
        let removal = lock_removal(&releases, withdrawn[2].file_name().unwrap()).unwrap();
        assert_eq!(take(&app.releases(), &work), None);
        removal.unlock().unwrap();

        assert_eq!(take(&app.releases(), &work), Some(LinkRecord::default()));
        assert_eq!(work.read_text("app/number", 10).unwrap(), "10");
        assert_eq!(take(&app.releases(), &work), None, "the rest is only removed");
        finish_removals_but_spare(&app).unwrap();
        assert!(list_withdrawn(&app).is_empty());

        // A damaged record is none, and a full removal spares nothing.
        let path = make(12, true).join(LINKS);
        fs::write(&path, "damaged").unwrap();
        work.remove_all(TREE).unwrap();
        assert_eq!(take(&app.releases(), &work), None);
        assert!(finish_removals(&app).unwrap() && list_withdrawn(&app).is_empty());
    }
}
