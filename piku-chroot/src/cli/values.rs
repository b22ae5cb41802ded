//! Values of options, each parsed from its text.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::ValueEnum;
use piku_layout::writable_path::WritablePath;

use super::bind_arg;
use crate::errors::quoted;
use crate::limits::MemoryAmount;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkOption {
    /// The host's network.
    Shared,
    /// A network of the jail's own: pasta(1) connects it to everything but the host's loopback, and lets in
    /// the ports of --listen.
    Own,
    /// A loopback device alone.
    Loopback,
    /// No device.
    None,
}

/// Format in which `--check` prints its table. JSON is YAML too, so that a caller that asks for YAML still
/// gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrintFormat {
    /// A table.
    #[default]
    Text,
    /// A JSON array.
    #[value(alias = "yaml")]
    Json,
}

/// A file or directory of the host and its path in the jail: `SRC:DST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindPair {
    pub(crate) src: PathBuf,
    pub(crate) dst: PathBuf,
}

impl BindPair {
    pub(super) fn parse(word: &OsStr) -> Result<Self, String> {
        match bind_arg::split_pair(word).as_slice() {
            [src, dst] if !src.is_empty() && !dst.is_empty() => Ok(Self { src: src.into(), dst: dst.into() }),
            [_] => Err("expected SRC:DST, with a colon between them".to_owned()),
            [_, _] => Err("expected SRC:DST, and both of them".to_owned()),
            _ => Err(r"expected SRC:DST; a colon in a path is written '\:'".to_owned()),
        }
    }
}

/// A tmpfs in the jail: `DST[:SIZE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TmpfsMount {
    pub(crate) dst: PathBuf,
    /// Upper bound; a quarter of the machine's memory by default.
    pub(crate) size: MemoryAmount,
}

impl TmpfsMount {
    pub(super) fn parse(word: &OsStr) -> Result<Self, String> {
        match bind_arg::split_pair(word).as_slice() {
            [dst] => Ok(Self { dst: dst.into(), size: MemoryAmount::Percent(25) }),
            [dst, size] => {
                let size = size.to_str().unwrap_or_default().parse()?;
                Ok(Self { dst: dst.into(), size })
            }
            _ => Err(r"expected DST or DST:SIZE; a colon in a path is written '\:'".to_owned()),
        }
    }
}

/// Parses a path of `--keep`.
pub(super) fn parse_kept_path(word: &OsStr) -> Result<WritablePath, String> {
    WritablePath::parse(word).map_err(|why| format!("{} {why}", quoted(word)))
}

/// Parses a TCP port; 0 stands for the ports that the kernel picks.
pub(super) fn parse_port(text: &str) -> Result<u16, String> {
    parse_digits(text, u16::MAX)
        .ok_or_else(|| format!("'{}' is not a port: expected a number from 0 to 65535", text.escape_debug()))
}

/// Parses a score by which the kernel kills a process before others of its size when the machine runs out of
/// memory.
pub(super) fn parse_oom_score(text: &str) -> Result<u16, String> {
    parse_digits(text, 1000)
        .ok_or_else(|| format!("'{}' is not a score: expected a number from 0 to 1000", text.escape_debug()))
}

/// Parses a number without a sign, which Rust's own parser would take.
fn parse_digits(text: &str, max: u16) -> Option<u16> {
    let number = text.parse().ok().filter(|number| *number <= max);
    number.filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Parses `NAME=VALUE`.
pub(super) fn parse_variable(word: &OsStr) -> Result<(OsString, OsString), String> {
    let bytes = word.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at @ 1..) => {
            Ok((OsStr::from_bytes(&bytes[..at]).to_owned(), OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (text, number) in [("8080", 8080), ("0", 0)] {
            assert_eq!(parse_port(text), Ok(number));
        }
        for bad in ["", "65536", "+80", "-1", "http", "80 ", "0x50"] {
            assert!(parse_port(bad).is_err(), "{bad}");
        }
    }
}
