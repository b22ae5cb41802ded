//! The layers that a jail may lack, and which of them this kernel has. All others are required.

use std::path::Path;

use anyhow::Result;
use piku_layout::settings::Protection;
use piku_report::user_error::UserError;

use crate::cli::NetworkOption;
use crate::confinement::landlock::LandlockSupport;
use crate::confinement::{keyring, seccomp};
use crate::errors::SETUP_FAILED;

/// Features of the kernel. A layer that the kernel has must hold: if it then fails, nothing starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtectionLayers {
    pub(crate) seccomp: bool,
    pub(crate) landlock: LandlockSupport,
    pub(crate) keyring: bool,
    pub(crate) cgroup: bool,
}

/// A layer and its state in a jail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtectionLayer {
    /// Name in `--check` and in reports.
    pub(crate) name: &'static str,
    /// A jail with these options uses it.
    pub(crate) wanted: bool,
    /// Set if it does not hold.
    pub(crate) missing: Option<LayerFailure>,
}

/// Cause and fix of a missing layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerFailure {
    pub(crate) why: &'static str,
    pub(crate) fix: &'static str,
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
        Self {
            seccomp: seccomp::is_available(),
            landlock: LandlockSupport::probe(),
            keyring: keyring::is_available(),
            cgroup: Path::new("/proc/self/ns/cgroup").exists(),
        }
    }

    /// Returns the layers of a jail with this network. `restricts_ports` is set with `--listen`.
    pub(crate) fn of_jail(self, net: NetworkOption, restricts_ports: bool) -> [ProtectionLayer; 6] {
        let layer = |name, holds: bool, why, fix| ProtectionLayer {
            name,
            wanted: true,
            missing: (!holds).then_some(LayerFailure { why, fix }),
        };
        let ports = layer(
            PORTS,
            self.landlock.ports,
            "the command can bind every port; this kernel has no Landlock, or one from before Linux 6.7",
            "use Linux 6.7 or newer with CONFIG_SECURITY_LANDLOCK=y and landlock in its lsm= list",
        );
        [
            layer(
                SECCOMP,
                self.seccomp,
                "this kernel has no seccomp filters, or piku-chroot has none for this architecture",
                "use a kernel with CONFIG_SECCOMP_FILTER=y, on x86-64, aarch64 or arm",
            ),
            layer(
                FILES,
                self.landlock.files,
                "this kernel has no Landlock, or one from before Linux 5.19; only the mounts keep files read-only",
                "use Linux 5.19 or newer with CONFIG_SECURITY_LANDLOCK=y and landlock in its lsm= list",
            ),
            layer(
                SOCKETS,
                net != NetworkOption::Shared || self.landlock.sockets,
                "the command can reach those of the host through the shared network; this kernel has no Landlock, or one from \
                 before Linux 6.12",
                "use --net loopback or --net none, or Linux 6.12 or newer with Landlock",
            ),
            ProtectionLayer { wanted: restricts_ports, ..ports },
            layer(
                KEYRING,
                // Without seccomp, the command gets its own session keyring.
                self.seccomp || self.keyring,
                "this kernel has neither seccomp filters nor keyrings",
                "use a kernel with CONFIG_SECCOMP_FILTER=y",
            ),
            layer(
                CGROUP,
                self.cgroup,
                "this kernel has no cgroup namespaces",
                "use Linux 4.6 or newer with CONFIG_CGROUPS=y",
            ),
        ]
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
    }

    #[test]
    fn ports_are_missed_only_where_they_are_restricted() {
        let layers = ProtectionLayers { seccomp: true, landlock: LINUX_6_2, keyring: true, cgroup: true };
        assert!(layers.require(NetworkOption::None, false, true, &[]).is_ok());
        let err = format!("{:#}", layers.require(NetworkOption::None, true, true, &[]).unwrap_err());
        assert!(err.starts_with("--strict: guard on TCP ports: the command can bind every port"), "{err}");
        assert!(
            ProtectionLayers { landlock: LINUX_6_7, ..layers }
                .require(NetworkOption::None, true, true, &[])
                .is_ok()
        );
    }

    #[test]
    fn a_named_protection_is_required_without_strict() {
        let old = ProtectionLayers { seccomp: true, landlock: LINUX_6_2, keyring: true, cgroup: true };
        let require = |named: &[Protection]| old.require(NetworkOption::Shared, false, false, named);
        assert!(require(&[Protection::Namespaces, Protection::Seccomp, Protection::Landlock]).is_ok());
        for (one, why) in [
            (
                Protection::AbstractSockets,
                "--require abstract-sockets: the command can reach those of the host",
            ),
            (Protection::ListenPorts, "--require listen-ports: the command can bind every port"),
        ] {
            let err = format!("{:#}", require(&[one]).unwrap_err());
            assert!(err.starts_with(why), "{err}");
        }
    }
}
