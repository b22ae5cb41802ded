//! The last deploys of an app, with the ends of their logs.

#![expect(clippy::disallowed_methods, reason = "the logs of deploys, which only piku writes")]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use piku_layout::paths::AppDir;
use piku_layout::settings::HostSettings;
use piku_release::manifest::BuiltRelease;
use piku_report::diagnostic::shorten_text;
use piku_report::terminal::plain_text;
use serde::Serialize;

use crate::releases::{ReleaseRow, list_releases};

use super::secret_filter::SecretFilter;

/// Number of deploys that are listed.
const LISTED: usize = 5;
/// Number of them whose logs are read.
const WITH_LOGS: usize = 3;
/// Number of bytes, lines and characters of a line of a log that are shown.
const LOG_BYTES: u64 = 12 * 1024;
const LOG_LINES: usize = 80;
const LINE_CHARS: usize = 400;

/// A deploy, or another change that made a release.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DeployReport {
    /// The row of `releases`.
    #[serde(flatten)]
    pub(super) release: ReleaseRow,
    /// Last lines of its log without secrets; `None` if it has no log or the log was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<Vec<String>>,
}

/// Lists the last deploys, newest first. An app whose directory cannot be read has none.
pub(super) fn list_deploys(dir: &AppDir, settings: &HostSettings, with_logs: bool) -> Vec<DeployReport> {
    let mut rows = list_releases(dir).unwrap_or_default();
    rows.truncate(LISTED);
    let filter = with_logs.then(|| SecretFilter::read(dir, settings));
    let report = |(at, release): (usize, ReleaseRow)| {
        let filter = filter.as_ref().filter(|_| at < WITH_LOGS);
        let log = filter.and_then(|filter| read_log_end(&dir.deploy_log(release.release), filter).ok());
        DeployReport { release, log }
    };
    rows.into_iter().enumerate().map(report).collect()
}

/// Returns the first line of the message of the live commit.
pub(super) fn live_subject(dir: &AppDir) -> Option<String> {
    let release = BuiltRelease::read(&dir.release(dir.current_number()?)).ok()?;
    Some(release.subject).filter(|subject| !subject.is_empty())
}

/// Reads the last lines of a log.
fn read_log_end(path: &Path, filter: &SecretFilter) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let begin = length.saturating_sub(LOG_BYTES);
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // The first line may be the end of one, and of a secret that would not be recognised.
    if begin > 0 {
        lines.remove(0);
    }
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let from = lines.len().saturating_sub(LOG_LINES);
    let text: Vec<String> = lines.into_iter().map(plain_text).collect();
    // A secret may have several lines.
    let text = filter.remove_secrets(&text.join("\n"));
    Ok(text.lines().skip(from).map(|line| shorten_text(line, LINE_CHARS).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_long_log_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deploy-1.log");
        let filter = SecretFilter::new([("API_TOKEN", "s3cret-value")]);
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_log_end(&path, &filter).unwrap()
        };
        assert_eq!(read(""), [""; 0]);
        assert_eq!(read("\x1b[1mone\x1b[0m\ntwo s3cret-\x1b[1mvalue\n"), ["one", "two [secret]"]);
        let long = format!("{}s3cret-value\n{}\nlast", "x".repeat(20_000), "line\n".repeat(200));
        let lines = read(&long);
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (LOG_LINES, "last"));
        // A cut secret is not shown.
        let cut = format!("s3cret-value{}\nend\n", "x".repeat(usize::try_from(LOG_BYTES).unwrap() - 10));
        assert_eq!(read(&cut), ["end"]);
    }
}
