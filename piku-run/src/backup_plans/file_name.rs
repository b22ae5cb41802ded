//! Names of the files of scheduled backups: `blog-20261129T030000Z-nightly.tar.zst`. No app or plan has capitals in
//! its name, so the file of one is never taken for that of another.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use piku_layout::name::AppName;

const SUFFIX: &str = ".tar.zst";
const ENCRYPTED: &str = ".tar.zst.age";
/// Suffix of a file that is being written; its name also begins with a dot.
const PART: &str = ".part";

/// The files of an app that one plan writes: another plan may have the same folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackupSeries<'a> {
    pub(crate) plan: &'a AppName,
    pub(crate) app: &'a AppName,
}

impl BackupSeries<'_> {
    /// Returns the name of a new file.
    pub(crate) fn file_name(self, at: Timestamp, is_encrypted: bool) -> String {
        let time = at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let suffix = if is_encrypted { ENCRYPTED } else { SUFFIX };
        format!("{}-{time}-{}{suffix}", self.app, self.plan)
    }

    /// Returns those of the names that are files of the series beyond the newest `keep`, and what interrupted runs
    /// have left. The file `last_whole` is kept as well.
    pub(crate) fn find_old<'a>(
        self,
        names: impl Iterator<Item = &'a str>,
        keep: usize,
        last_whole: Option<&str>,
    ) -> Vec<&'a str> {
        let (mut whole, mut old) = (Vec::new(), Vec::new());
        for name in names {
            let part = name.strip_prefix('.').and_then(|name| name.strip_suffix(PART));
            if part.is_some_and(|name| self.has(name)) {
                old.push(name);
            } else if self.has(name) {
                whole.push(name);
            }
        }
        whole.sort_unstable();
        whole.truncate(whole.len().saturating_sub(keep));
        whole.retain(|name| Some(*name) != last_whole);
        old.extend(whole);
        old
    }

    fn has(self, name: &str) -> bool {
        let time = (|| {
            let name = name.strip_suffix(ENCRYPTED).or_else(|| name.strip_suffix(SUFFIX))?;
            let name = name.strip_prefix(self.app.as_str())?.strip_prefix('-')?;
            name.strip_suffix(self.plan.as_str())?.strip_suffix('-')
        })();
        time.is_some_and(|time| {
            let is_digit = |(at, c): (usize, u8)| match at {
                8 => c == b'T',
                15 => c == b'Z',
                _ => c.is_ascii_digit(),
            };
            time.len() == 16 && time.bytes().enumerate().all(is_digit)
        })
    }
}

/// Returns the name that a file has until it is whole.
pub(crate) fn part_name(name: &str) -> String {
    format!(".{name}{PART}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_of_the_series_are_removed() {
        let (plan, app): (AppName, AppName) = ("n-ly".parse().unwrap(), "blog".parse().unwrap());
        let series = BackupSeries { plan: &plan, app: &app };
        let name = series.file_name("2026-11-29T03:00:00Z".parse().unwrap(), false);
        assert_eq!(name, "blog-20261129T030000Z-n-ly.tar.zst");
        let part = part_name("blog-20261101T030000Z-n-ly.tar.zst.age");
        let names = [
            "blog-20261129T030000Z-n-ly.tar.zst",
            "blog-20261128T030000Z-n-ly.tar.zst.age",
            "blog-20261127T030000Z-n-ly.tar.zst",
            "blog-20261126T030000Z-n-ly.tar.zst",
            "blog-2-20261101T030000Z-n-ly.tar.zst",
            "blog-20261101T030000Z-ly.tar.zst",
            "blog-20261101T030000Z-an-ly.tar.zst",
            "blog-20261101T030000Z.tar.zst",
            ".blog-20261101T030000Z-away.tar.zst.part",
            "blog-20261101T030000Z-n-ly.tar.zst.asc",
            "blog-by-hand-n-ly.tar.zst",
            "blog.tar.zst",
            "notes",
            part.as_str(),
        ];
        let old = series.find_old(names.into_iter(), 2, None);
        let expected =
            [part.as_str(), "blog-20261126T030000Z-n-ly.tar.zst", "blog-20261127T030000Z-n-ly.tar.zst"];
        assert_eq!(old, expected);
        assert_eq!(series.find_old(names.into_iter(), 9, None), [part.as_str()]);
        let kept = series.find_old(names.into_iter(), 2, Some("blog-20261126T030000Z-n-ly.tar.zst"));
        assert_eq!(kept, [part.as_str(), "blog-20261127T030000Z-n-ly.tar.zst"]);
    }
}
