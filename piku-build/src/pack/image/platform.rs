//! Platforms of images, by the names of Go.

use std::fmt;
use std::path::{Path, PathBuf};

use piku_release::architecture::{ARM, ProgramArchitecture, ReleaseArchitecture};
use piku_release::machine;
use piku_release::manifest::BuiltRelease;
use piku_release::target::TargetArchitecture;
use serde_json::{Value, json};

use crate::errors::image as errors;

/// Directory of a release, and the architecture of its image where it is asked for.
type AssignedRelease<'a> = (&'a Path, Option<&'static TargetArchitecture>);

/// Returns the release for each architecture that is asked for: one built for it, or else one that runs on any. Each
/// release is its own if none is asked for.
///
/// # Errors
/// Fails if an architecture has no release, or a release no architecture.
pub(super) fn assign_releases<'a>(
    releases: &'a [PathBuf],
    asked: &[Option<&'static TargetArchitecture>],
) -> anyhow::Result<Vec<AssignedRelease<'a>>> {
    match (releases, asked) {
        (_, []) => return Ok(releases.iter().map(|dir| (dir.as_path(), None)).collect()),
        ([one], _) => return Ok(asked.iter().map(|asked| (one.as_path(), *asked)).collect()),
        _ => {}
    }
    let own = machine::architecture()?;
    let built: Vec<_> = releases
        .iter()
        .map(|dir| Ok((dir.as_path(), ReleaseArchitecture::parse(&BuiltRelease::read(dir)?.architecture))))
        .collect::<anyhow::Result<_>>()?;
    let mut assigned = Vec::new();
    for asked in asked {
        let name = asked.map_or(own.as_str(), |asked| asked.name);
        let program = ProgramArchitecture::parse(name);
        let is_native = |release: &ReleaseArchitecture| matches!(release, ReleaseArchitecture::Native(needed) if program.runs(needed));
        let native = built.iter().find(|(_, release)| is_native(release));
        let any = || built.iter().find(|(_, release)| *release == ReleaseArchitecture::Any);
        let (dir, _) = native.or_else(any).ok_or_else(|| errors::no_release_for(name))?;
        assigned.push((*dir, *asked));
    }
    match releases.iter().find(|dir| !assigned.iter().any(|(used, _)| used == dir)) {
        Some(unused) => Err(errors::unused_release(unused).into()),
        None => Ok(assigned),
    }
}

/// Platform that an image runs on.
pub(super) struct ImagePlatform {
    /// `GOARCH`: `amd64`, `arm`.
    pub(super) architecture: String,
    /// Version of 32-bit ARM: `v7`.
    pub(super) variant: Option<String>,
    /// Debian's name of the architecture: `armhf`.
    pub(super) debian: String,
}

impl ImagePlatform {
    /// Returns the platform for a release of this architecture. `asked` decides for one that runs on any.
    ///
    /// # Errors
    /// Fails if the release needs another architecture than `asked`.
    pub(super) fn of_release(
        architecture: &str,
        asked: Option<&'static TargetArchitecture>,
    ) -> anyhow::Result<Self> {
        let program = match (ReleaseArchitecture::parse(architecture), asked) {
            (ReleaseArchitecture::Native(program), Some(asked))
                if !ProgramArchitecture::parse(asked.name).runs(&program) =>
            {
                return Err(errors::other_architecture(&program, asked.name).into());
            }
            (_, Some(asked)) => ProgramArchitecture::parse(asked.name),
            (ReleaseArchitecture::Native(program), None) => program,
            (ReleaseArchitecture::Any, None) => ProgramArchitecture::parse(&machine::architecture()?),
        };
        Ok(Self::of_program(&program))
    }

    fn of_program(program: &ProgramArchitecture) -> Self {
        let debian = match (program.family(), program.level()) {
            ("x86_64", _) => "amd64",
            ("aarch64", _) => "arm64",
            (ARM, ..=6) => "armel",
            (ARM, _) => "armhf",
            ("ppc64le", _) => "ppc64el",
            ("loongarch64", _) => "loong64",
            (other, _) => other,
        };
        let is_arm = program.family() == ARM;
        Self {
            architecture: program.go_name().to_owned(),
            // 32-bit programs on a processor of 64 bits are images for version 7.
            variant: is_arm.then(|| format!("v{}", program.level().min(7))),
            debian: debian.to_owned(),
        }
    }

    /// Returns whether this machine is another one.
    pub(super) fn is_foreign(&self) -> anyhow::Result<bool> {
        Ok(self.debian != Self::of_program(&ProgramArchitecture::parse(&machine::architecture()?)).debian)
    }

    /// Returns its fields in a descriptor and in a config.
    pub(super) fn to_json(&self) -> Value {
        let mut value = json!({ "architecture": self.architecture, "os": "linux" });
        if let Some(variant) = &self.variant {
            value["variant"] = json!(variant);
        }
        value
    }

    /// Returns whether a descriptor's `platform` or a config is for this one.
    pub(super) fn is_of(&self, value: &Value) -> bool {
        value["architecture"] == self.architecture.as_str()
            && value["os"].as_str().is_none_or(|os| os == "linux")
            && (self.variant.is_none()
                || value["variant"].is_null()
                || value["variant"].as_str() == self.variant.as_deref())
    }
}

impl fmt::Display for ImagePlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_the_names_of_go_and_debian() {
        for (architecture, platform, debian) in [
            ("x86_64-v3", "linux/amd64", "amd64"),
            ("aarch64", "linux/arm64", "arm64"),
            ("armv8l", "linux/arm/v7", "armhf"),
            ("armv7l", "linux/arm/v7", "armhf"),
            ("armv6l", "linux/arm/v6", "armel"),
            ("armv5tel", "linux/arm/v5", "armel"),
            ("riscv64", "linux/riscv64", "riscv64"),
        ] {
            let found = ImagePlatform::of_release(architecture, None).unwrap();
            assert_eq!((found.to_string().as_str(), found.debian.as_str()), (platform, debian));
            assert!(found.is_of(&found.to_json()));
        }
        let arm64 = TargetArchitecture::parse("arm64").ok();
        assert_eq!(ImagePlatform::of_release("any", arm64).unwrap().to_string(), "linux/arm64");
        assert!(ImagePlatform::of_release("x86_64", arm64).is_err());
    }
}
