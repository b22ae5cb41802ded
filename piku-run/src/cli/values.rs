//! Values of options, and their parsers.

use clap::ValueEnum;
use jiff::{Span, SpanRelativeTo, Timestamp};
use piku_layout::name::{BadName, ProcessName};

/// Parses a time, or an age such as `10m`.
pub(super) fn parse_since(word: &str) -> Result<Timestamp, String> {
    if let Some(time) = parse_day(word) {
        return Ok(time);
    }
    if let Ok(time) = word.parse() {
        return Ok(time);
    }
    let ago = || {
        let span: Span = word.parse().ok()?;
        let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        Timestamp::now().checked_sub(ago.abs()).ok()
    };
    ago().ok_or_else(|| {
        "expected 10m, 2h, 1d, today, yesterday, or a time with its zone, such as 2026-11-22T10:00:00Z"
            .to_owned()
    })
}

/// A platform whose exports are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForeignPlatform {
    Heroku,
    Dokku,
}

/// The instances that `restart` replaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RestartTarget {
    /// Process type; `None` for all.
    pub(crate) only: Option<ProcessName>,
    /// Number of the instance of that type; `None` for all.
    pub(crate) index: Option<u32>,
}

/// Parses `TYPE` or `TYPE.N`.
pub(super) fn parse_target(word: &str) -> Result<RestartTarget, String> {
    let (name, index) = match word.rsplit_once('.').map(|(name, index)| (name, index.parse())) {
        Some((name, Ok(index))) => (name, Some(index)),
        _ => (word, None),
    };
    let only = name.parse().map_err(|err: BadName| err.to_string())?;
    Ok(RestartTarget { only: Some(only), index })
}

/// Returns the beginning of today or yesterday in the time zone of the machine.
fn parse_day(word: &str) -> Option<Timestamp> {
    let back = match word {
        "today" => 0,
        "yesterday" => 1,
        _ => return None,
    };
    let day = jiff::Zoned::now().checked_sub(Span::new().days(back)).ok()?;
    Some(day.start_of_day().ok()?.timestamp())
}

/// Parses the number of a release, also in Heroku's form `v12`.
pub(super) fn parse_release(word: &str) -> Result<u64, String> {
    parse_number(word).ok_or_else(|| {
        "expected the number of a release, such as 3 ('releases' lists them); without one, rollback goes to the \
         release before the live one"
            .to_owned()
    })
}

/// Parses the number of a release that `releases` lists.
pub(super) fn parse_listed_release(word: &str) -> Result<u64, String> {
    parse_number(word)
        .ok_or_else(|| "expected the number of a release, such as 3 ('releases' lists them)".to_owned())
}

/// Parses the number of a deploy, which is that of its release.
pub(super) fn parse_deploy(word: &str) -> Result<u64, String> {
    parse_number(word).ok_or_else(|| {
        "expected the number of a deploy, such as 3; without one, the log of the last deploy is printed"
            .to_owned()
    })
}

fn parse_number(word: &str) -> Option<u64> {
    word.strip_prefix('v').unwrap_or(word).parse().ok().filter(|number| *number > 0)
}

/// Parses `TYPE=N`.
pub(super) fn parse_count(word: &str) -> Result<(ProcessName, u32), String> {
    let (name, count) = word.split_once('=').ok_or("expected TYPE=N, such as web=2")?;
    let name = name.parse().map_err(|err: BadName| err.to_string())?;
    // Heroku prints and takes the size of the machines, too: web=2:Standard-1X.
    let number = count.split_once(':').map_or(count, |(number, _)| number);
    match number.parse() {
        Ok(count) if count <= 1000 => Ok((name, count)),
        _ => Err(format!("bad number '{count}': expected 0 to 1000")),
    }
}
