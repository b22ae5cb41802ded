//! Architectures by the names of `uname -m`: of programs, and of releases, which may have no native program
//! at all.

use std::fmt;

/// Family of 32-bit ARM processors, whatever their version.
pub const ARM: &str = "arm";
/// Family of 32-bit PCs, `i386` to `i686`.
pub(crate) const I386: &str = "i386";
/// Family of 64-bit PCs, whatever their level.
pub const X86_64: &str = "x86_64";
/// The oldest ARM that Linux distributions have programs for.
const OLDEST_ARM: u8 = 5;

/// An architecture of programs: `x86_64`, `aarch64`, `armv6l`.
///
/// A family may have levels, each of which runs the programs of those below: the version of 32-bit ARM, and 1
/// to 4 of `x86_64` (`x86_64-v3`). Every other family has level 0 alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProgramArchitecture {
    family: String,
    level: u8,
}

/// The kind of machine that a release needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseArchitecture {
    /// Any: nothing in the release is native.
    Any,
    /// A machine that runs programs of this architecture.
    Native(ProgramArchitecture),
}

impl ProgramArchitecture {
    /// Creates the architecture of this family, `arm` or `ppc64le`, at this level.
    #[must_use]
    pub fn new(family: &str, level: u8) -> Self {
        let level = match family {
            ARM => level.max(OLDEST_ARM),
            X86_64 => level.max(1),
            _ => 0,
        };
        Self { family: family.to_owned(), level }
    }

    /// Parses a name as `uname -m`, a manifest or [`fmt::Display`] writes it. An unknown name is its own
    /// family.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        if let Some(version) = name.strip_prefix("armv") {
            let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
            return Self::new(ARM, version[..digits].parse().unwrap_or(OLDEST_ARM));
        }
        if let Some(level) = name.strip_prefix("x86_64-v") {
            return Self::new(X86_64, level.parse().unwrap_or(u8::MAX));
        }
        match name {
            "i386" | "i486" | "i586" | "i686" => Self::new(I386, 0),
            _ => Self::new(name, 0),
        }
    }

    /// Returns the name of the family: `arm` for every 32-bit ARM.
    #[must_use]
    pub fn family(&self) -> &str {
        &self.family
    }

    /// Returns the level within the family.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Returns the value of `GOARCH`, by which container engines and clusters name the family.
    #[must_use]
    pub fn go_name(&self) -> &str {
        match self.family.as_str() {
            X86_64 => "amd64",
            "aarch64" => "arm64",
            I386 => "386",
            "loongarch64" => "loong64",
            other => other,
        }
    }

    /// Returns whether a processor of this architecture runs programs for `program`.
    #[must_use]
    pub fn runs(&self, program: &Self) -> bool {
        self.family == program.family && self.level >= program.level
    }
}

impl fmt::Display for ProgramArchitecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.family.as_str(), self.level) {
            (ARM, OLDEST_ARM) => f.write_str("armv5tel"),
            (ARM, version) => write!(f, "armv{version}l"),
            (X86_64, level @ 2..) => write!(f, "{X86_64}-v{level}"),
            (I386, _) => f.write_str("i686"),
            (family, _) => f.write_str(family),
        }
    }
}

impl ReleaseArchitecture {
    /// The name of [`ReleaseArchitecture::Any`] in manifests and heads.
    pub const ANY: &str = "any";

    /// Reads the `architecture` of a manifest or a head.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        if name == Self::ANY { Self::Any } else { Self::Native(ProgramArchitecture::parse(name)) }
    }
}

impl fmt::Display for ReleaseArchitecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str(Self::ANY),
            Self::Native(program) => program.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            "any",
            "x86_64",
            "x86_64-v3",
            "aarch64",
            "armv5tel",
            "armv6l",
            "armv7l",
            "armv8l",
            "i686",
            "sparc64",
        ] {
            assert_eq!(ReleaseArchitecture::parse(name).to_string(), name);
        }
        for (other, name) in
            [("armv7", "armv7l"), ("armv8b", "armv8l"), ("i386", "i686"), ("x86_64-v1", "x86_64")]
        {
            assert_eq!(ProgramArchitecture::parse(other).to_string(), name);
        }
    }

    #[test]
    fn a_level_runs_those_below() {
        let runs =
            |machine, program| ProgramArchitecture::parse(machine).runs(&ProgramArchitecture::parse(program));
        assert!(runs("armv7l", "armv6l") && runs("armv8l", "armv7l") && runs("armv6l", "armv6l"));
        assert!(!runs("armv6l", "armv7l") && !runs("armv7l", "armv8l"));
        assert!(runs("x86_64-v3", "x86_64") && !runs("x86_64", "x86_64-v2"));
        assert!(!runs("aarch64", "armv7l") && !runs("x86_64", "i686") && !runs("x86_64-v3", "x86_64-vx"));
    }
}
