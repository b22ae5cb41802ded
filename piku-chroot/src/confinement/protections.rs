//! The layers that a jail may lack, and which of them this kernel has. All others are required.

use std::path::Path;

use anyhow::Result;
use piku_layout::settings::Protection;
use piku_report::user_error::UserError;

use crate::cli::NetworkOption;
use crate::confinement::landlock::LandlockSupport;
use crate::confinement::{keyring, seccomp};
use crate::errors::SETUP_FAILED;
use crate::errors::kernel_version::KernelVersion;

/// Features of the kernel. A layer that the kernel has must hold: if it then fails, nothing starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtectionLayers {
    pub(crate) seccomp: bool,
    pub(crate) landlock: LandlockSupport,
    /// Seccomp keeps the command away from keyrings; without it, the command gets its own session keyring.
    pub(crate) keyring: bool,
    pub(crate) cgroup: bool,
    pub(crate) kernel: KernelVersion,
}

/// A layer and its state in a jail.
#[derive(Clone, Debug)]
pub(crate) struct ProtectionLayer {
    /// Name in `--check` and in reports.
    pub(crate) name: &'static str,
    /// A jail with these options uses it.
    pub(crate) wanted: bool,
    /// Set if it does not hold.
    pub(crate) missing: Option<LayerFailure>,
}

/// Cause and fix of a missing layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerFailure {
    pub(crate) why: String,
    pub(crate) fix: String,
}

/// Every jail has this layer.
pub(crate) const NAMESPACES: &str = "namespaces";
pub(crate) const SECCOMP: &str = "seccomp";
pub(crate) const FILES: &str = "Landlock";
/// Unix sockets without a file.
pub(crate) const SOCKETS: &str = "guard on abstract sockets";
/// TCP ports that the command has not declared.
pub(crate) const PORTS: &str = "guard on TCP ports";
/// The caller's keyrings.
pub(crate) const KEYRING: &str = "guard on keyrings";
/// Names of the host's cgroups.
pub(crate) const CGROUP: &str = "cgroup namespace";

impl ProtectionLayers {
    /// Asks the kernel, without changing anything.
    pub(crate) fn probe() -> Self {
        let seccomp = seccomp::is_available();
        Self {
            seccomp,
            landlock: LandlockSupport::probe(),
            keyring: seccomp || keyring::is_available(),
            cgroup: Path::new("/proc/self/ns/cgroup").exists(),
            kernel: KernelVersion::running(),
        }
    }

    /// Returns the layers of a jail with this network. `restricts_ports` is set with `--listen`.
    pub(crate) fn of_jail(self, net: NetworkOption, restricts_ports: bool) -> [ProtectionLayer; 6] {
        let layer = |name, holds: bool, why: &str, fix: &str| ProtectionLayer {
            name,
            wanted: true,
            missing: (!holds).then(|| LayerFailure { why: why.to_owned(), fix: fix.to_owned() }),
        };
        let landlock = |name, holds: bool, since, effect: &str| ProtectionLayer {
            name,
            wanted: true,
            missing: (!holds).then(|| self.missing_landlock(since, effect)),
        };
        let ports = landlock(PORTS, self.landlock.ports, (6, 7), "the command can bind every port");
        [
            layer(
                SECCOMP,
                self.seccomp,
                "this kernel has no seccomp filters, or piku-chroot has none for this architecture",
                "use a kernel with CONFIG_SECCOMP_FILTER=y, on x86-64, aarch64 or arm",
            ),
            landlock(FILES, self.landlock.files, (5, 19), "only the mounts keep files read-only"),
            landlock(
                SOCKETS,
                net != NetworkOption::Shared || self.landlock.sockets,
                (6, 12),
                "the command can reach those of the host through the shared network, unlike with --net loopback or --net none",
            ),
            ProtectionLayer { wanted: restricts_ports, ..ports },
            layer(
                KEYRING,
                self.keyring,
                "this kernel has neither seccomp filters nor keyrings",
                "use a kernel with CONFIG_SECCOMP_FILTER=y",
            ),
            layer(
                CGROUP,
                self.cgroup,
                "this kernel has no cgroup namespaces",
                "use a kernel with CONFIG_CGROUPS=y",
            ),
        ]
    }

    /// Returns why a protection is missing that Landlock has since this version, and what to do: a kernel that is new
    /// enough has it switched off, or something hides it.
    fn missing_landlock(self, (major, minor): (u32, u32), effect: &str) -> LayerFailure {
        if self.kernel < KernelVersion::new(major, minor) {
            return LayerFailure {
                why: format!(
                    "this kernel has no Landlock, or one from before Linux {major}.{minor}; {effect}"
                ),
                fix: format!(
                    "use Linux {major}.{minor} or newer with CONFIG_SECURITY_LANDLOCK=y and landlock in its lsm= list"
                ),
            };
        }
        LayerFailure {
            why: format!("Landlock is switched off in this kernel, or hidden by a container; {effect}"),
            fix: "boot with landlock in the lsm= list (CONFIG_SECURITY_LANDLOCK=y); in a container, have its filter of system \
                  calls allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self"
                .to_owned(),
        }
    }

    /// Fails if a layer is missing that `--require` names or, with `strict`, that the jail uses.
    pub(crate) fn require(
        self,
        net: NetworkOption,
        restricts_ports: bool,
        strict: bool,
        named: &[Protection],
    ) -> Result<()> {
        for ProtectionLayer { name, wanted, missing } in self.of_jail(net, restricts_ports) {
            let Some(LayerFailure { why, fix }) = missing else { continue };
            let option = match named.iter().find(|one| layer_name(**one) == name) {
                Some(one) => format!("--require {one}"),
                None if strict && wanted => format!("--strict: {name}"),
                None => continue,
            };
            return Err(UserError::new(format!("{option}: {why}")).hint(fix).code(SETUP_FAILED).into());
        }
        Ok(())
    }
}

pub(crate) fn layer_name(protection: Protection) -> &'static str {
    match protection {
        Protection::Namespaces => NAMESPACES,
        Protection::Seccomp => SECCOMP,
        Protection::Landlock => FILES,
        Protection::AbstractSockets => SOCKETS,
        Protection::ListenPorts => PORTS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX_6_2: LandlockSupport =
        LandlockSupport { files: true, truncation: true, ports: false, sockets: false };
    const LINUX_6_7: LandlockSupport = LandlockSupport { ports: true, ..LINUX_6_2 };
    const LINUX_6_12: LandlockSupport = LandlockSupport { sockets: true, ..LINUX_6_7 };

    fn missing(layers: ProtectionLayers, net: NetworkOption) -> Vec<&'static str> {
        let missing =
            layers.of_jail(net, false).into_iter().filter(|layer| layer.wanted && layer.missing.is_some());
        missing.map(|layer| layer.name).collect()
    }

    #[test]
    fn an_own_network_has_sockets_of_its_own() {
        let raspberry = ProtectionLayers {
            seccomp: true,
            landlock: LandlockSupport::default(),
            keyring: true,
            cgroup: true,
            kernel: KernelVersion::new(5, 15),
        };
        assert_eq!(missing(raspberry, NetworkOption::Shared), [FILES, SOCKETS]);
        assert_eq!(missing(raspberry, NetworkOption::None), [FILES]);
        let debian = ProtectionLayers { landlock: LINUX_6_2, ..raspberry };
        assert_eq!(missing(debian, NetworkOption::Shared), [SOCKETS]);
        let newest = ProtectionLayers { landlock: LINUX_6_12, ..raspberry };
        assert!(missing(newest, NetworkOption::Shared).is_empty());
        assert!(newest.require(NetworkOption::Shared, true, true, &Protection::ALL).is_ok());
        let err = format!("{:#}", raspberry.require(NetworkOption::None, false, true, &[]).unwrap_err());
        assert!(err.starts_with("--strict: Landlock: this kernel has no Landlock"), "{err}");
        // One that is new enough does not get better by an update.
        let hidden = ProtectionLayers { kernel: KernelVersion::new(6, 18), ..raspberry };
        for LayerFailure { why, fix } in
            hidden.of_jail(NetworkOption::Shared, true).into_iter().filter_map(|layer| layer.missing)
        {
            assert!(why.contains("hidden by a container") && !fix.contains("or newer"), "{why}: {fix}");
        }
    }

    #[test]
    fn ports_are_missed_only_where_they_are_restricted() {
        let layers = ProtectionLayers {
            seccomp: true,
            landlock: LINUX_6_2,
            keyring: true,
            cgroup: true,
            kernel: KernelVersion::new(6, 2),
        };
        assert!(layers.require(NetworkOption::None, false, true, &[]).is_ok());
        let err = format!("{:#}", layers.require(NetworkOption::None, true, true, &[]).unwrap_err());
        assert!(err.starts_with("--strict: guard on TCP ports: this kernel has no Landlock"), "{err}");
        assert!(
            ProtectionLayers { landlock: LINUX_6_7, ..layers }
                .require(NetworkOption::None, true, true, &[])
                .is_ok()
        );
    }

    #[test]
    fn a_named_protection_is_required_without_strict() {
        let old = ProtectionLayers {
            seccomp: true,
            landlock: LINUX_6_2,
            keyring: true,
            cgroup: true,
            kernel: KernelVersion::new(6, 2),
        };
        let require = |named: &[Protection]| old.require(NetworkOption::Shared, false, false, named);
        assert!(require(&[Protection::Namespaces, Protection::Seccomp, Protection::Landlock]).is_ok());
        for (one, why) in [
            (
                Protection::AbstractSockets,
                "--require abstract-sockets: this kernel has no Landlock, or one from before Linux 6.12",
            ),
            (
                Protection::ListenPorts,
                "--require listen-ports: this kernel has no Landlock, or one from before Linux 6.7",
            ),
        ] {
            let err = format!("{:#}", require(&[one]).unwrap_err());
            assert!(err.starts_with(why), "{err}");
        }
    }
}
