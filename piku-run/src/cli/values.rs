//! Parsers of option values.

use jiff::{Span, SpanRelativeTo, Timestamp};
use piku_layout::name::{BadName, ProcessName};

/// Parses a time, or an age such as `10m`.
pub(super) fn parse_since(word: &str) -> Result<Timestamp, String> {
    if let Ok(time) = word.parse() {
        return Ok(time);
    }
    let ago = || {
        let span: Span = word.parse().ok()?;
        let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        Timestamp::now().checked_sub(ago.abs()).ok()
    };
    ago().ok_or_else(|| {
        "expected 10m, 2h, 1d, or a time with its zone, such as 2026-11-22T10:00:00Z".to_owned()
    })
}

/// Parses `TYPE=N`.
pub(super) fn parse_count(word: &str) -> Result<(ProcessName, u32), String> {
    let (name, count) = word.split_once('=').ok_or("expected TYPE=N, such as web=2")?;
    let name = name.parse().map_err(|err: BadName| err.to_string())?;
    match count.parse() {
        Ok(count) if count <= 1000 => Ok((name, count)),
        _ => Err(format!("bad number '{count}': expected 0 to 1000")),
    }
}
