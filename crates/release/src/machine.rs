//! The machine that a release is for.

#![expect(
    clippy::disallowed_methods,
    reason = "the machine's own shell, and what its kernel says of its processor"
)]

use std::fmt;
use std::fs::{self, File};

use anyhow::Context;
use nix::sys::utsname;

use crate::architecture::{ARM, ProgramArchitecture, X86_64};
use crate::elf::ElfFile;

/// A program of the userland that apps live in.
const SHELL: &str = "/bin/sh";
/// Flags of /proc/cpuinfo that the levels of `x86_64` above the first add, as the psABI names the features.
const X86_LEVELS: [&[&str]; 3] = [
    &["cx16", "lahf_lm", "popcnt", "pni", "ssse3", "sse4_1", "sse4_2"],
    &["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"],
    &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
];

/// Architectures whose programs a machine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetMachine {
    /// The userland's first; at least one.
    programs: Vec<ProgramArchitecture>,
}

/// The facts that say which programs a machine runs.
#[derive(Debug, Clone, Copy)]
pub struct MachineFacts<'a> {
    /// The family of piku's own program.
    pub own: &'a str,
    /// The family of the machine's `/bin/sh`, where it can be read.
    pub shell: Option<&'a str>,
    /// The kernel's name for the machine: `uname -m`.
    pub uname: &'a str,
    /// Content of `/proc/cpuinfo`.
    pub cpuinfo: &'a str,
}

impl TargetMachine {
    /// Returns the machine that runs this program.
    ///
    /// # Errors
    /// Fails if the kernel does not name the machine.
    pub fn detect() -> anyhow::Result<Self> {
        let uname = utsname::uname().context("cannot ask the kernel for its architecture")?;
        let own = ElfFile::read_self()
            .context("cannot read '/proc/self/exe'")?
            .context("'/proc/self/exe' is no ELF file")?;
        let shell = File::open(SHELL).and_then(|file| ElfFile::read(&file)).ok().flatten();
        let cpuinfo = fs::read("/proc/cpuinfo").unwrap_or_default();
        Ok(Self::from_facts(&MachineFacts {
            own: own.architecture.family(),
            shell: shell.as_ref().map(|shell| shell.architecture.family()),
            uname: &uname.machine().to_string_lossy(),
            cpuinfo: &String::from_utf8_lossy(&cpuinfo),
        }))
    }

    /// Returns the machine with these facts. It runs programs of piku's own family and of the userland's,
    /// which differ if a 32-bit system runs on a 64-bit kernel. The jail allows no other families, and a
    /// library needs a program of its family.
    #[must_use]
    pub(crate) fn from_facts(facts: &MachineFacts<'_>) -> Self {
        let is_sister = |shell: &&str| matches!((facts.own, *shell), (ARM, "aarch64") | ("aarch64", ARM));
        let level = |family: &str| match family {
            // An ARM of 64 bits runs all that those of 32 bits run, where it runs any of it.
            ARM if facts.uname == "aarch64" => 8,
            ARM => ProgramArchitecture::parse(facts.uname).level(),
            X86_64 => x86_level(facts.cpuinfo),
            _ => 0,
        };
        let families = facts.shell.filter(is_sister).into_iter().chain([facts.own]);
        Self { programs: families.map(|family| ProgramArchitecture::new(family, level(family))).collect() }
    }

    /// Returns a machine that runs programs of this architecture.
    #[must_use]
    pub fn of_program(program: ProgramArchitecture) -> Self {
        Self { programs: vec![program] }
    }

    /// Reads names of architectures, separated by commas, as [`fmt::Display`] writes them. Nothing of a text
    /// without one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let programs: Vec<_> = names.map(ProgramArchitecture::parse).collect();
        (!programs.is_empty()).then_some(Self { programs })
    }

    /// Returns the architectures whose programs it runs, the userland's first.
    #[must_use]
    pub fn programs(&self) -> &[ProgramArchitecture] {
        &self.programs
    }

    /// Returns its name for a message about a program that it does not run: levels are left out that say
    /// nothing of why.
    #[must_use]
    pub fn name_beside(&self, program: &ProgramArchitecture) -> String {
        let name = |here: &ProgramArchitecture| {
            let family = here.family();
            if family == X86_64 && family != program.family() { family.to_owned() } else { here.to_string() }
        };
        self.programs.iter().map(name).collect::<Vec<_>>().join(" and ")
    }

    /// Returns whether it runs programs of this architecture.
    #[must_use]
    pub fn runs(&self, program: &ProgramArchitecture) -> bool {
        self.programs.iter().any(|here| here.runs(program))
    }
}

impl fmt::Display for TargetMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.programs.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(", "))
    }
}

/// Returns the level of an `x86_64` processor with these flags.
fn x86_level(cpuinfo: &str) -> u8 {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'));
    let flags: Vec<&str> = flags.map_or_else(Vec::new, |(_, flags)| flags.split_whitespace().collect());
    let has = |level: &&&[&str]| level.iter().all(|flag| flags.contains(flag));
    u8::try_from(X86_LEVELS.iter().take_while(has).count()).map_or(1, |above| above + 1)
}

/// Returns the architecture of programs built here, as `uname -m` prints it in the userland: `x86_64`,
/// `aarch64`, `armv7l`.
///
/// # Errors
/// Fails if the kernel does not name the machine.
pub fn architecture() -> anyhow::Result<String> {
    let machine = TargetMachine::detect()?;
    let first = machine.programs.first().context("the machine runs no programs")?;
    Ok(if first.family() == X86_64 { X86_64.to_owned() } else { first.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(own: &str, shell: &str, uname: &str, cpuinfo: &str) -> String {
        TargetMachine::from_facts(&MachineFacts { own, shell: Some(shell), uname, cpuinfo }).to_string()
    }

    #[test]
    fn a_machine_runs_what_its_userland_and_piku_are() {
        assert_eq!(machine("x86_64", "x86_64", "x86_64", ""), "x86_64");
        assert_eq!(machine("aarch64", "aarch64", "aarch64", ""), "aarch64");
        // Raspberry Pi OS of 32 bits on a kernel of 64, with either piku.
        assert_eq!(machine("arm", "arm", "aarch64", ""), "armv8l");
        assert_eq!(machine("aarch64", "arm", "aarch64", ""), "armv8l, aarch64");
        assert_eq!(machine("arm", "aarch64", "aarch64", ""), "aarch64, armv8l");
        // A Pi Zero calls itself version 7 in /proc/cpuinfo, and is not.
        assert_eq!(machine("arm", "arm", "armv6l", "CPU architecture: 7\n"), "armv6l");
        assert_eq!(machine("arm", "arm", "armv7l", ""), "armv7l");
        // The jail has no filter for 32-bit PCs.
        assert_eq!(machine("x86_64", "i386", "x86_64", ""), "x86_64");
        assert_eq!(machine("i386", "i386", "x86_64", ""), "i686");
    }

    #[test]
    fn levels_of_a_pc_are_those_of_its_flags() {
        let of = |flags: &str| {
            machine("x86_64", "x86_64", "x86_64", &format!("processor\t: 0\nflags\t\t: fpu {flags}\n"))
        };
        let second = X86_LEVELS[0].join(" ");
        let third = format!("{second} {}", X86_LEVELS[1].join(" "));
        assert_eq!(of(""), "x86_64");
        assert_eq!(of(&second), "x86_64-v2");
        assert_eq!(of(&third), "x86_64-v3");
        assert_eq!(of(&X86_LEVELS[1].join(" ")), "x86_64");
        assert_eq!(of(&format!("{third} {}", X86_LEVELS[2].join(" "))), "x86_64-v4");
    }

    #[test]
    fn this_machine_runs_its_own_programs() {
        let here = TargetMachine::detect().unwrap();
        assert_eq!(TargetMachine::parse(&here.to_string()), Some(here.clone()));
        assert!(here.runs(&ProgramArchitecture::parse(&architecture().unwrap())));
        assert!(!here.runs(&ProgramArchitecture::parse("sparc64")));
        assert_eq!(TargetMachine::parse(" , "), None);
    }
}
