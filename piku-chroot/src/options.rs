//! What is asked for, wherever it was said: plain values. A command line becomes this, and [`crate::plan`] makes of it
//! what is to be done.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;

use crate::pair;

/// All options, each under its name on the command line. What was not said is `None`; its default is known to
/// [`crate::plan`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the help of each option is its description")]
pub struct Options {
    pub root_from_host: bool,
    pub root: Option<PathBuf>,
    pub bind: Vec<Pair>,
    pub ro: Vec<Pair>,
    pub tmpfs: Vec<Memory>,
    pub app: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub net: Option<Net>,
    pub env: Vec<(OsString, OsString)>,
    pub keep_env: Vec<OsString>,
    pub env_prefix: Option<OsString>,
    pub hostname: Option<OsString>,
    pub chdir: Option<PathBuf>,
    pub user: Option<OsString>,
    pub die_with: Option<i32>,
    pub strict: bool,
    pub command: Vec<OsString>,
}

/// The network inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Net {
    /// The host's.
    Shared,
    /// None at all.
    None,
}

/// `SRC:DST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// On the host.
    pub src: PathBuf,
    /// In the jail.
    pub dst: PathBuf,
}

impl Pair {
    pub(crate) fn parse(word: &OsStr) -> Result<Self, String> {
        match pair::split(word).as_slice() {
            [src, dst] if !src.is_empty() && !dst.is_empty() => Ok(Self { src: src.into(), dst: dst.into() }),
            [_] => Err("expected SRC:DST, with a colon between them".to_owned()),
            [_, _] => Err("expected SRC:DST, and both of them".to_owned()),
            _ => Err(r"expected SRC:DST; a colon in a path is written '\:'".to_owned()),
        }
    }
}

/// `DST[:SIZE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In the jail.
    pub dst: PathBuf,
    /// At most that much, else a quarter of the memory.
    pub size: Option<Size>,
}

impl Memory {
    pub(crate) fn parse(word: &OsStr) -> Result<Self, String> {
        match pair::split(word).as_slice() {
            [dst] => Ok(Self { dst: dst.into(), size: None }),
            [dst, size] => {
                let size = size.to_str().unwrap_or_default().parse()?;
                Ok(Self { dst: dst.into(), size: Some(size) })
            }
            _ => Err(r"expected DST or DST:SIZE; a colon in a path is written '\:'".to_owned()),
        }
    }
}

/// A size as tmpfs takes it: `4096`, `64m`, `25%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size(String);

impl Size {
    /// The text for the kernel.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(text);
        // Zero would mean "no limit" to tmpfs.
        match number.parse::<u64>() {
            Ok(1..) if number.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(text.to_owned())),
            _ => Err(format!("bad size '{text}': expected a number, with k, m, g or % after it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!("64m".parse::<Size>().unwrap().as_str(), "64m");
        assert_eq!("25%".parse::<Size>().unwrap().as_str(), "25%");
        assert!("".parse::<Size>().is_err());
        assert!("m".parse::<Size>().is_err());
    }
}
