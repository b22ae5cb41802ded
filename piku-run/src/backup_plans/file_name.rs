//! Names of the files of scheduled backups: `blog-20261129T030000Z.tar.zst`. No app has capitals in its name, so
//! the file of one app is never taken for that of another.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use piku_layout::name::AppName;

const SUFFIX: &str = ".tar.zst";
const ENCRYPTED: &str = ".tar.zst.age";
/// Suffix of a file that is being written; its name also begins with a dot.
const PART: &str = ".part";

/// Returns the name of a new file.
pub(super) fn file_name(app: &AppName, at: Timestamp, is_encrypted: bool) -> String {
    let time = at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    format!("{app}-{time}{}", if is_encrypted { ENCRYPTED } else { SUFFIX })
}

/// Returns the name that a file has until it is whole.
pub(super) fn part_name(name: &str) -> String {
    format!(".{name}{PART}")
}

/// Returns those of the names that are files of the app beyond the newest `keep`, and what interrupted runs have
/// left.
pub(super) fn find_old<'a>(names: impl Iterator<Item = &'a str>, app: &AppName, keep: usize) -> Vec<&'a str> {
    let (mut whole, mut old) = (Vec::new(), Vec::new());
    for name in names {
        let part = name.strip_prefix('.').and_then(|name| name.strip_suffix(PART));
        if part.is_some_and(|name| is_of_app(name, app)) {
            old.push(name);
        } else if is_of_app(name, app) {
            whole.push(name);
        }
    }
    whole.sort_unstable();
    whole.truncate(whole.len().saturating_sub(keep));
    old.extend(whole);
    old
}

fn is_of_app(name: &str, app: &AppName) -> bool {
    let time = name
        .strip_suffix(ENCRYPTED)
        .or_else(|| name.strip_suffix(SUFFIX))
        .and_then(|name| name.strip_prefix(app.as_str())?.strip_prefix('-'));
    time.is_some_and(|time| {
        let is_digit = |(at, c): (usize, u8)| match at {
            8 => c == b'T',
            15 => c == b'Z',
            _ => c.is_ascii_digit(),
        };
        time.len() == 16 && time.bytes().enumerate().all(is_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_of_the_app_are_removed() {
        let app: AppName = "blog".parse().unwrap();
        let name = file_name(&app, "2026-11-29T03:00:00Z".parse().unwrap(), false);
        assert_eq!(name, "blog-20261129T030000Z.tar.zst");
        let part = part_name("blog-20261101T030000Z.tar.zst.age");
        let names = [
            "blog-20261129T030000Z.tar.zst",
            "blog-20261128T030000Z.tar.zst.age",
            "blog-20261127T030000Z.tar.zst",
            "blog-20261126T030000Z.tar.zst",
            "blog-2-20261101T030000Z.tar.zst",
            "blog-20261101T030000Z.tar.zst.asc",
            "blog-by-hand.tar.zst",
            "blog.tar.zst",
            "notes",
            part.as_str(),
        ];
        let old = find_old(names.into_iter(), &app, 2);
        assert_eq!(old, [part.as_str(), "blog-20261126T030000Z.tar.zst", "blog-20261127T030000Z.tar.zst"]);
        assert_eq!(find_old(names.into_iter(), &app, 9), [part.as_str()]);
    }
}
