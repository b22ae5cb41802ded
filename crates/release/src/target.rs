//! Architectures for which a release can be built on another machine, with their names for the kernel,
//! Debian, Go and Rust.

use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;

use crate::architecture::ProgramArchitecture;
use crate::machine::{self, TargetMachine};

/// An architecture that is built for.
#[derive(Debug, PartialEq, Eq)]
pub struct TargetArchitecture {
    /// Name as `uname -m` prints it.
    pub name: &'static str,
    /// Other names, Debian's first.
    also: &'static [&'static str],
    /// `e_machine` in the headers of its programs.
    pub elf: u16,
    /// Value of `GOARCH`.
    pub go: &'static str,
    /// Value of `GOARM`, for 32-bit ARM only.
    pub go_arm: Option<&'static str>,
    /// Prefix of Debian's cross compiler; `None` if its programs do not run there.
    pub gnu: Option<&'static str>,
    /// Rust targets that run there; the first installed one is used.
    pub rust: &'static [&'static str],
}

/// All of them. Debian's `arm-linux-gnueabihf-gcc` and the libraries that it links need version 7 of
/// ARM.
static ALL: [TargetArchitecture; 7] = [
    TargetArchitecture {
        name: "x86_64",
        also: &["amd64"],
        elf: 62,
        go: "amd64",
        go_arm: None,
        gnu: Some("x86_64-linux-gnu"),
        rust: &["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"],
    },
    TargetArchitecture {
        name: "aarch64",
        also: &["arm64"],
        elf: 183,
        go: "arm64",
        go_arm: None,
        gnu: Some("aarch64-linux-gnu"),
        rust: &["aarch64-unknown-linux-gnu", "aarch64-unknown-linux-musl"],
    },
    TargetArchitecture {
        name: "armv7l",
        also: &["armhf", "armv7", "armv8l"],
        elf: 40,
        go: "arm",
        go_arm: Some("7"),
        gnu: Some("arm-linux-gnueabihf"),
        rust: &["armv7-unknown-linux-gnueabihf", "armv7-unknown-linux-musleabihf"],
    },
    TargetArchitecture {
        name: "armv6l",
        also: &["armv6"],
        elf: 40,
        go: "arm",
        go_arm: Some("6"),
        gnu: None,
        rust: &["arm-unknown-linux-musleabihf"],
    },
    TargetArchitecture {
        name: "armv5tel",
        also: &["armel", "armv5", "armv5tejl"],
        elf: 40,
        go: "arm",
        go_arm: Some("5"),
        gnu: Some("arm-linux-gnueabi"),
        rust: &["armv5te-unknown-linux-gnueabi", "armv5te-unknown-linux-musleabi"],
    },
    TargetArchitecture {
        name: "i686",
        also: &["i386", "i586"],
        elf: 3,
        go: "386",
        go_arm: None,
        gnu: Some("i686-linux-gnu"),
        rust: &["i686-unknown-linux-gnu", "i686-unknown-linux-musl"],
    },
    TargetArchitecture {
        name: "riscv64",
        also: &[],
        elf: 243,
        go: "riscv64",
        go_arm: None,
        gnu: Some("riscv64-linux-gnu"),
        rust: &["riscv64gc-unknown-linux-gnu", "riscv64gc-unknown-linux-musl"],
    },
];

impl TargetArchitecture {
    /// Finds an architecture by any of its names.
    ///
    /// # Errors
    /// Fails if the name is unknown; the message lists the known ones.
    pub fn parse(name: &str) -> Result<&'static Self, String> {
        Self::find(name).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(Self::names).collect();
            format!("unknown architecture; known are {}", known.join(", "))
        })
    }

    fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|one| one.name == name || one.also.contains(&name))
    }

    /// Returns the name for messages, with Debian's in brackets.
    fn names(&self) -> String {
        match self.also.first() {
            Some(also) => format!("{} ({also})", self.name),
            None => self.name.to_owned(),
        }
    }

    /// Returns the machine that runs its programs.
    #[must_use]
    pub fn machine(&self) -> TargetMachine {
        TargetMachine::of_program(ProgramArchitecture::parse(self.name))
    }

    /// Returns Debian's name for the architecture.
    #[must_use]
    pub fn debian(&self) -> &'static str {
        self.also.first().copied().filter(|also| !also.starts_with("armv")).unwrap_or(self.name)
    }

    /// Debian's package with the cross compiler.
    #[must_use]
    pub fn compiler_package(&self) -> Option<String> {
        self.gnu.map(|gnu| format!("gcc-{}", gnu.replace('_', "-")))
    }
}

/// Returns the architecture of a cross build; `None` if `asked` is this machine's. An unknown machine builds
/// only for itself.
///
/// # Errors
/// Fails if the kernel does not name the machine.
pub fn cross_target(
    asked: Option<&'static TargetArchitecture>,
) -> anyhow::Result<Option<&'static TargetArchitecture>> {
    let own = machine::architecture()?;
    Ok(asked.filter(|asked| TargetArchitecture::find(&own) != Some(*asked)))
}

/// The architecture of a build as it was asked for, by any of its names. This machine's own may be one that
/// is in no table.
#[derive(Debug, Clone, Copy)]
pub struct AskedArchitecture(pub Option<&'static TargetArchitecture>);

impl AskedArchitecture {
    /// Parses a name.
    ///
    /// # Errors
    /// Fails if it is neither known nor this machine's own.
    pub fn parse(name: &str) -> Result<Self, String> {
        match TargetArchitecture::parse(name) {
            Ok(known) => Ok(Self(Some(known))),
            Err(_) if machine::architecture().is_ok_and(|own| own == name) => Ok(Self(None)),
            Err(why) => Err(why),
        }
    }
}

/// Returns the architecture in the host settings, if it differs from that of this machine's programs.
///
/// # Errors
/// Fails if it is unknown, or the kernel does not name the machine.
pub fn operator_target(settings: &HostSettings) -> anyhow::Result<Option<&'static TargetArchitecture>> {
    let Some(name) = &settings.architecture else { return Ok(None) };
    let known = TargetArchitecture::parse(name)
        .map_err(|why| UserError::new(format!("bad 'architecture: {name}' in host.yaml: {why}")))?;
    cross_target(Some(known))
}

/// Returns this machine: the architecture in the host settings, or what its programs are.
///
/// # Errors
/// Fails if the name in the host settings is unknown, or the kernel does not name the machine.
pub fn this_machine(settings: &HostSettings) -> anyhow::Result<TargetMachine> {
    match operator_target(settings)? {
        Some(said) => Ok(said.machine()),
        None => TargetMachine::detect(),
    }
}

/// Returns the name of this machine's architecture for builds: from the host settings, or from its programs.
///
/// # Errors
/// Fails if the name in the host settings is unknown, or the kernel does not name the machine.
pub fn host_architecture(settings: &HostSettings) -> anyhow::Result<String> {
    if let Some(known) = operator_target(settings)? {
        return Ok(known.name.to_owned());
    }
    let own = machine::architecture()?;
    Ok(TargetArchitecture::find(&own).map_or(own, |known| known.name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf;

    #[test]
    fn every_name_leads_to_one() {
        for (name, found) in [
            ("amd64", "x86_64"),
            ("armhf", "armv7l"),
            ("armv8l", "armv7l"),
            ("armv6l", "armv6l"),
            ("arm64", "aarch64"),
        ] {
            assert_eq!(TargetArchitecture::parse(name).unwrap().name, found);
        }
        let mut names: Vec<_> = ALL.iter().flat_map(|one| one.also.iter().chain([&one.name])).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "no name stands for two");
        let refused = TargetArchitecture::parse("pdp11").unwrap_err();
        assert!(refused.contains("x86_64 (amd64)") && refused.contains("armv6l"), "{refused}");
        for one in &ALL {
            assert_eq!(elf::machine_number(one.name), Some(one.elf), "{}", one.name);
        }
        assert_eq!(TargetArchitecture::parse("armv6").unwrap().debian(), "armv6l");
    }
}
