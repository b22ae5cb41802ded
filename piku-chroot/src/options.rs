//! What is asked for, wherever it was said: plain values. A command line becomes this, and [`crate::plan`] makes of it
//! what is to be done.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use piku_layout::settings::Protection;
use serde::{Deserialize, Serialize};

use crate::limits::{JailLimits, MemoryAmount};
use crate::pair;
use crate::yaml::{self, YamlScalar};

/// All options, each under its name on the command line. What was not said is `None`; its default is known to
/// [`crate::plan`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "names of options, each with a colon and its value")]
#[expect(missing_docs, reason = "the help of each option is its description")]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct ChrootOptions {
    #[serde(skip_serializing_if = "is_no")]
    pub root_from_host: bool,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind: Vec<BindPair>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ro: Vec<BindPair>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<TmpfsMount>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub tmp_size: Option<TmpfsSize>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub app: Option<PathBuf>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub net: Option<NetworkOption>,
    #[serde(with = "yaml::list", skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<ListenPort>,
    #[serde(with = "yaml::variables", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(OsString, OsString)>,
    #[serde(with = "yaml::list", skip_serializing_if = "Vec::is_empty")]
    pub keep_env: Vec<OsString>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub env_prefix: Option<OsString>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub hostname: Option<OsString>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub chdir: Option<PathBuf>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub user: Option<OsString>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub uid_range: Option<OsString>,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub uid_registry: Option<PathBuf>,
    #[serde(skip_serializing_if = "is_no")]
    pub tty: bool,
    // Of one run only, so in no profile.
    #[serde(skip)]
    pub give_back: bool,
    #[serde(skip)]
    pub die_with: Option<i32>,
    #[serde(skip_serializing_if = "JailLimits::are_none")]
    pub limit: JailLimits,
    #[serde(with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<OomScore>,
    #[serde(skip)]
    pub report: Option<PathBuf>,
    // Somebody who limits the memory by hand wants to know how much it was.
    #[serde(skip)]
    pub tell_memory: bool,
    #[serde(skip_serializing_if = "is_no")]
    pub strict: bool,
    #[serde(skip)]
    pub require: Vec<Protection>,
    #[serde(skip)]
    pub command: Vec<OsString>,
}

impl ChrootOptions {
    /// These over others: added to their lists, winning over their single values.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        // The two options for the tree of the programs are one choice.
        let base = self.root_from_host || self.root.is_some();
        Self {
            root_from_host: self.root_from_host || (!base && lower.root_from_host),
            root: self.root.or(lower.root.filter(|_| !base)),
            bind: joined(lower.bind, self.bind),
            ro: joined(lower.ro, self.ro),
            tmpfs: joined(lower.tmpfs, self.tmpfs),
            tmp_size: self.tmp_size.or(lower.tmp_size),
            app: self.app.or(lower.app),
            data: self.data.or(lower.data),
            net: self.net.or(lower.net),
            listen: joined(lower.listen, self.listen),
            env: joined(lower.env, self.env),
            keep_env: joined(lower.keep_env, self.keep_env),
            env_prefix: self.env_prefix.or(lower.env_prefix),
            hostname: self.hostname.or(lower.hostname),
            chdir: self.chdir.or(lower.chdir),
            user: self.user.or(lower.user),
            uid_range: self.uid_range.or(lower.uid_range),
            uid_registry: self.uid_registry.or(lower.uid_registry),
            give_back: self.give_back || lower.give_back,
            tty: self.tty || lower.tty,
            die_with: self.die_with.or(lower.die_with),
            limit: self.limit.over(lower.limit),
            oom_score_adj: self.oom_score_adj.or(lower.oom_score_adj),
            report: self.report.or(lower.report),
            tell_memory: self.tell_memory || lower.tell_memory,
            strict: self.strict || lower.strict,
            require: joined(lower.require, self.require),
            command: joined(lower.command, self.command),
        }
    }
}

fn joined<T>(mut first: Vec<T>, second: Vec<T>) -> Vec<T> {
    first.extend(second);
    first
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_no(flag: &bool) -> bool {
    !flag
}

/// The network inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetworkOption {
    /// The host's.
    Shared,
    /// The jail's own, with pasta(1) as the way out to all but the host's loopback, and in at the ports of --listen.
    Own,
    /// The jail's own, which leads nowhere.
    Loopback,
    /// None at all.
    None,
}

impl YamlScalar for NetworkOption {
    const WHAT: &'static str = "the name of a network";

    fn from_text(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false).map_err(|_| {
            let names: Vec<&str> = Self::value_variants().iter().map(|net| net.name()).collect();
            format!("there is no network '{}', only {}", text.escape_debug(), names.join(", "))
        })
    }

    fn text(&self) -> Cow<'_, OsStr> {
        OsStr::new(self.name()).into()
    }
}

impl NetworkOption {
    /// As it is typed.
    fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Own => "own",
            Self::Loopback => "loopback",
            Self::None => "none",
        }
    }
}

/// A TCP port that the command may listen on; 0 stands for those that the kernel picks, which are allowed anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenPort(u16);

impl ListenPort {
    /// Returns its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for ListenPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(port) if digits => Ok(Self(port)),
            _ => Err(format!("'{}' is not a port: expected a number from 0 to 65535", text.escape_debug())),
        }
    }
}

impl YamlScalar for ListenPort {
    const WHAT: &'static str = "a port";
    const NUMBER: bool = true;

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn text(&self) -> Cow<'_, OsStr> {
        OsString::from(self.0.to_string()).into()
    }
}

/// `SRC:DST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys src and dst")]
pub struct BindPair {
    /// On the host.
    #[serde(with = "yaml::one")]
    pub src: PathBuf,
    /// In the jail.
    #[serde(with = "yaml::one")]
    pub dst: PathBuf,
}

impl BindPair {
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "the keys dst and size")]
pub struct TmpfsMount {
    /// In the jail.
    #[serde(with = "yaml::one")]
    pub dst: PathBuf,
    /// At most that much, else a quarter of the memory.
    #[serde(default, with = "yaml::said", skip_serializing_if = "Option::is_none")]
    pub size: Option<TmpfsSize>,
}

impl TmpfsMount {
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
pub struct TmpfsSize(String);

impl TmpfsSize {
    /// The text for the kernel.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns it in bytes, on this machine.
    pub(crate) fn bytes(&self) -> u64 {
        let digits = self.0.trim_end_matches(|letter: char| !letter.is_ascii_digit());
        let count: u64 = digits.parse().unwrap_or(u64::MAX);
        match &self.0[digits.len()..] {
            "%" => MemoryAmount::Percent(count).bytes(),
            "" => count,
            "k" | "K" => count << 10,
            "m" | "M" => count << 20,
            _ => count << 30,
        }
    }
}

impl FromStr for TmpfsSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(text);
        // What is too large for the kernel to count in bytes would begin at zero again.
        let largest: u64 = match &text[number.len()..] {
            "%" => 100,
            "" => u64::MAX >> 1,
            _ => u64::MAX >> 31,
        };
        // Zero would mean "no limit" to tmpfs.
        match number.parse::<u64>() {
            Ok(count @ 1..) if count <= largest && number.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(format!("bad size '{text}': expected a number, with k, m, g after it, or 1% to 100%")),
        }
    }
}

/// The score by which the kernel kills a process sooner than others of its size when the machine is out of memory: 0 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OomScore(u16);

impl OomScore {
    /// Returns its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for OomScore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(score @ 0..=1000) if digits => Ok(Self(score)),
            _ => Err(format!("'{}' is not a score: expected a number from 0 to 1000", text.escape_debug())),
        }
    }
}

impl YamlScalar for OomScore {
    const WHAT: &'static str = "a score";
    const NUMBER: bool = true;

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn text(&self) -> Cow<'_, OsStr> {
        OsString::from(self.0.to_string()).into()
    }
}

impl YamlScalar for TmpfsSize {
    const WHAT: &'static str = "a size";
    const NUMBER: bool = true;

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn text(&self) -> Cow<'_, OsStr> {
        OsStr::new(&self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (text, number) in [("8080", 8080), ("0", 0)] {
            assert_eq!(text.parse::<ListenPort>().unwrap().number(), number, "{text}");
        }
        for bad in ["", "65536", "+80", "-1", "http", "80 ", "0x50"] {
            assert!(bad.parse::<ListenPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!("64m".parse::<TmpfsSize>().unwrap().as_str(), "64m");
        assert_eq!("25%".parse::<TmpfsSize>().unwrap().as_str(), "25%");
        for bad in ["0%", "101%", "17179869184g", "18446744073709551615"] {
            assert!(bad.parse::<TmpfsSize>().is_err(), "{bad}");
        }
        for (text, bytes) in [("4096", 4096), ("64m", 64 << 20), ("1K", 1024), ("2g", 2 << 30)] {
            assert_eq!(text.parse::<TmpfsSize>().unwrap().bytes(), bytes, "{text}");
        }
        let (quarter, half) = ("25%".parse::<TmpfsSize>().unwrap(), "50%".parse::<TmpfsSize>().unwrap());
        assert!(quarter.bytes() > 1 << 20 && quarter.bytes() < half.bytes());
        assert!("".parse::<TmpfsSize>().is_err());
        assert!("m".parse::<TmpfsSize>().is_err());
    }
}
