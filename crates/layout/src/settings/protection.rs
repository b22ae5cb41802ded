//! The protections that a machine had when piku was installed there. One that is missing later is an error.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A part of the isolation that not every kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// User namespaces, and so a jail at all.
    Namespaces,
    /// The filter of system calls.
    Seccomp,
    /// Writing where an app may, and nowhere else, held a second time beside the mounts.
    Landlock,
    /// No connection to abstract sockets of the host.
    AbstractSockets,
    /// No TCP port of another app's.
    ListenPorts,
}

impl Protection {
    /// All of them, the most important one first.
    pub const ALL: [Self; 5] =
        [Self::Namespaces, Self::Seccomp, Self::Landlock, Self::AbstractSockets, Self::ListenPorts];

    /// Returns the name in `host.yaml` and on command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::AbstractSockets => "abstract-sockets",
            Self::ListenPorts => "listen-ports",
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protection {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| format!("there is no protection '{name}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_files_and_on_command_lines() {
        for one in Protection::ALL {
            assert_eq!(serde_yaml::to_string(&one).unwrap().trim(), one.name());
            assert_eq!(one.name().parse(), Ok(one));
        }
        assert!("selinux".parse::<Protection>().is_err());
    }
}
