//! Checks from the head alone whether a packed release can run on this machine, so that nobody sends a
//! release that would be refused or layers that are already here.

#![expect(
    clippy::disallowed_methods,
    reason = "looks whether this machine has what a release names; nothing is read"
)]

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::settings::SandboxMode;
use piku_report::output::{self, OutputFormat};
use piku_report::user_error::UserError;
use serde::Serialize;

use super::LONGEST_TEXT;
use super::clib;
use super::head::PackHead;
use super::interpreter::{has_command, is_command, is_interpreter};
use super::jvm;
use crate::build::host_paths::HostPaths;
use crate::errors::pack as errors;
use crate::runtime;
use crate::step::sandbox::SandboxPolicy;
use crate::store::layer::LayerStore;
use piku_release::architecture::ReleaseArchitecture;
use piku_release::elf;
use piku_release::machine::TargetMachine;

/// Request to check a packed release.
pub(crate) struct FitQuestion {
    pub(crate) place: HostPaths,
    /// App that the release must belong to.
    pub(crate) app: Option<AppName>,
    /// The machine that would run it.
    pub(crate) machine: TargetMachine,
}

/// The answer. This name is a contract with scripts.
#[derive(Serialize)]
struct FitAnswer<'a> {
    /// The keys of the layers that are not here.
    lacks: Vec<&'a str>,
}

/// `fits`: reads a head from stdin.
pub(crate) fn run(asked: &FitQuestion, format: OutputFormat) -> anyhow::Result<()> {
    let mut text = Vec::new();
    io::stdin()
        .lock()
        .take(LONGEST_TEXT)
        .read_to_end(&mut text)
        .context("cannot read the head from stdin")?;
    let head = PackHead::parse(&text)?;
    asked.check(&head)?;
    let store = asked.place.layers.as_deref().map(LayerStore::new).transpose()?;
    let here = |key: &str| store.as_ref().is_some_and(|store| store.is_complete(key));
    let lacks: Vec<_> = head.layers.iter().map(|layer| layer.key.as_str()).filter(|key| !here(key)).collect();
    output::print(format, &FitAnswer { lacks: lacks.clone() }, || {
        lacks.iter().flat_map(|key| [key, "\n"]).collect()
    })
}

impl FitQuestion {
    /// Refuses an incompatible release, with all reasons at once.
    pub(super) fn check(&self, head: &PackHead) -> anyhow::Result<()> {
        let mut problems: Vec<UserError> = Vec::new();
        if let (Some(app), Some(release)) = (&self.app, &head.release) {
            if release.app != *app {
                problems.push(errors::other_app(&release.app, app));
            }
        }
        // On another architecture the other requirements do not matter.
        check_machine(head, &self.machine)?;
        problems.extend(c_library(head, &self.machine));
        let settings = self.place.read_settings()?;
        problems.extend(check_programs(head, &runtime::list_homes(&settings.build_env)));
        if let Some(release) = &head.release {
            let jailed = SandboxPolicy::new(self.place.sandbox, &settings).use_jail(false)?;
            // Without a jail it would have all rights of this user: that is the operator's to say, for all
            // apps.
            let is_off = self.place.sandbox.unwrap_or(settings.sandbox) == SandboxMode::Off;
            if jailed != release.jailed || !release.jailed && !is_off {
                problems.push(errors::other_sandbox(release.jailed));
            }
        }
        match errors::combine(problems) {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }
}

/// Refuses the head of a release for another architecture.
///
/// # Errors
/// Fails if it is incompatible, or `head` is not a head.
pub(crate) fn check_head(head: &[u8], machine: &TargetMachine) -> anyhow::Result<()> {
    Ok(check_machine(&PackHead::parse(head)?, machine)?)
}

/// Refuses a release for another architecture.
pub(super) fn check_machine(head: &PackHead, machine: &TargetMachine) -> Result<(), UserError> {
    match ReleaseArchitecture::parse(&head.architecture) {
        ReleaseArchitecture::Native(program) if !machine.runs(&program) => {
            Err(errors::other_architecture(&program, head.native.as_deref(), machine))
        }
        _ => Ok(()),
    }
}

fn c_library(head: &PackHead, here: &TargetMachine) -> Option<UserError> {
    let own = || elf::machine_number(here.programs().first()?.family());
    let machine = elf::machine_number(&head.architecture).or_else(own)?;
    let has_musl = || clib::has_musl(machine);
    if head.needs.musl && !has_musl() {
        return Some(errors::no_musl());
    }
    let needed = head.needs.glibc?;
    match clib::glibc(machine) {
        Some(here) if here >= needed => None,
        Some(here) => Some(errors::old_glibc(&needed.to_string(), &here.to_string())),
        None => Some(errors::no_glibc(&needed.to_string(), has_musl())),
    }
}

/// Checks the interpreters to which links of layers lead: each exists and is the same version. Other paths
/// are not examined, so that the sender learns nothing about them.
fn check_programs(head: &PackHead, homes: &[PathBuf]) -> Vec<UserError> {
    let mut missing = Vec::new();
    for (link, wanted) in &head.needs.programs {
        if !is_interpreter(link, homes) {
            missing.push(errors::no_interpreter(link));
            continue;
        }
        match fs::canonicalize(jvm::localize_path(link)) {
            Ok(found) if found.file_name() == wanted.file_name() => {}
            Ok(found) => missing.push(errors::other_program(link, wanted, &found)),
            Err(_) => missing.push(errors::missing_program(link, wanted)),
        }
    }
    for name in &head.needs.commands {
        if !is_command(name) {
            missing.push(errors::no_interpreter(Path::new(name)));
        } else if !has_command(name) {
            missing.push(errors::missing_command(name));
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::head::FORMAT;
    use crate::pack::release_needs::ReleaseNeeds;

    fn judged_on(machine: &TargetMachine, architecture: &str, needs: &str) -> String {
        let needs: ReleaseNeeds = serde_json::from_str(needs).unwrap();
        let head = PackHead {
            format: FORMAT,
            release: None,
            architecture: architecture.to_owned(),
            native: None,
            needs,
            layers: Vec::new(),
            bytes: 0,
            files: 0,
        };
        let place = HostPaths {
            layers: None,
            tools: None,
            shared_tools: None,
            settings: None,
            buildpacks: None,
            config: None,
            sandbox: None,
        };
        let asked = FitQuestion { place, app: None, machine: machine.clone() };
        asked.check(&head).map_or_else(|err| err.to_string(), |()| String::new())
    }

    fn judged(architecture: &str, needs: &str) -> String {
        judged_on(&TargetMachine::detect().unwrap(), architecture, needs)
    }

    #[test]
    fn what_is_not_native_fits_every_machine_and_the_rest_its_own() {
        let judged = |machine: &str, architecture: &str| {
            let machine = TargetMachine::parse(machine).unwrap();
            judged_on(&machine, architecture, r#"{"glibc":null,"musl":false,"programs":{}}"#)
        };
        for machine in ["x86_64", "aarch64", "armv6l", "armv8l, aarch64", "riscv64"] {
            assert_eq!(judged(machine, "any"), "");
        }
        assert_eq!(judged("armv7l", "armv6l"), "");
        assert_eq!(judged("armv8l, aarch64", "armv7l"), "");
        assert_eq!(judged("armv6l", "armv7l"), "this release was built for armv7l, this machine is armv6l");
        assert_eq!(
            judged("aarch64, armv8l", "x86_64"),
            "this release was built for x86_64, this machine is aarch64 and armv8l"
        );
        assert_eq!(
            judged("x86_64-v2", "aarch64"),
            "this release was built for aarch64, this machine is x86_64"
        );
        assert_eq!(judged("x86_64-v2", "x86_64"), "");
        let new = judged("x86_64-v2", "x86_64-v3");
        assert_eq!(new, "this release was built for x86_64-v3, this machine is x86_64-v2");
    }

    #[test]
    fn another_machine_is_refused_with_a_clear_word() {
        let here = piku_release::machine::architecture().unwrap();
        assert_eq!(judged(&here, r#"{"glibc":null,"musl":false,"programs":{}}"#), "");
        let other = judged("sparc64", r#"{"glibc":null,"musl":false,"programs":{}}"#);
        assert_eq!(other, format!("this release was built for sparc64, this machine is {here}"));
        let newer = judged(&here, r#"{"glibc":"2.999","musl":false,"programs":{}}"#);
        assert!(newer.contains("needs glibc 2.999") && newer.contains("this machine"), "{newer}");
        let gone = judged(
            &here,
            r#"{"glibc":null,"musl":false,"programs":{"/usr/bin/python9":"/usr/bin/python9.1"}}"#,
        );
        assert!(gone.contains("'/usr/bin/python9.1'"), "{gone}");
        for secret in ["/etc/shadow", "/root/.ssh", "/proc/self/exe", "/usr/bin/../bin/sh", "sh"] {
            let needs = format!(r#"{{"glibc":null,"musl":false,"programs":{{"{secret}":"x"}}}}"#);
            let refused = judged(&here, &needs);
            assert_eq!(refused, format!("'{secret}' is not an interpreter that a release may need"));
        }
        let command = |name: &str| {
            judged(&here, &format!(r#"{{"glibc":null,"musl":false,"programs":{{}},"commands":["{name}"]}}"#))
        };
        assert_eq!(command("sh"), "");
        assert_eq!(
            command("node0.1"),
            "this release is started by 'node0.1', which is missing on this machine"
        );
        for secret in ["passwd", "../../home/piku/python3", ""] {
            assert_eq!(command(secret), format!("'{secret}' is not an interpreter that a release may need"));
        }
        let dash = fs::canonicalize("/bin/sh").unwrap();
        let other = judged(&here, r#"{"glibc":null,"musl":false,"programs":{"/bin/sh":"/usr/bin/fish"}}"#);
        assert!(other.contains("/usr/bin/fish") && other.contains(&*dash.to_string_lossy()), "{other}");
    }
}
