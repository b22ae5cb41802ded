//! The layers that a jail can be made without: which of them this kernel has. The others are simply required.

use std::path::Path;

use anyhow::Result;
use piku_layout::settings::Protection;
use piku_report::user_error::UserError;

use crate::cli::NetworkOption;
use crate::confinement::landlock::LandlockSupport;
use crate::confinement::{keyring, seccomp};
use crate::errors::SETUP_FAILED;

/// What the kernel said. A layer that is there has to hold: when it then fails, nothing starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtectionLayers {
    /// A filter of system calls.
    pub(crate) seccomp: bool,
    /// Protections of Landlock.
    pub(crate) landlock: LandlockSupport,
    /// Session keyrings.
    pub(crate) keyring: bool,
    /// Cgroup namespaces.
    pub(crate) cgroup: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtectionLayer {
    /// As it is called in `--check` and in reports.
    pub(crate) name: &'static str,
    /// True if a jail with these options uses it.
    pub(crate) wanted: bool,
    /// Why it does not hold, and what mends it.
    pub(crate) missing: Option<LayerFailure>,
}

/// A layer does not hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerFailure {
    /// Why not.
    pub(crate) why: &'static str,
    /// What mends it.
    pub(crate) mend: &'static str,
}

/// The layer that a jail is made of; there is no jail without it.
pub(crate) const NAMESPACES: &str = "namespaces";
/// A filter of system calls.
pub(crate) const SECCOMP: &str = "seccomp";
/// Writing only where it is meant to be.
pub(crate) const FILES: &str = "Landlock";
/// Sockets that have no file.
pub(crate) const SOCKETS: &str = "guard on abstract sockets";
/// TCP ports that are not the command's own.
pub(crate) const PORTS: &str = "guard on TCP ports";
/// The caller's keyrings are out of reach.
pub(crate) const KEYRING: &str = "guard on keyrings";
/// The names of the host's cgroups are hidden.
pub(crate) const CGROUP: &str = "cgroup namespace";

impl ProtectionLayers {
    /// Asks the kernel: a few calls, each of which changes nothing.
    pub(crate) fn probe() -> Self {
        Self {
            seccomp: seccomp::available(),
            landlock: LandlockSupport::probe(),
            keyring: keyring::available(),
            cgroup: Path::new("/proc/self/ns/cgroup").exists(),
        }
    }

    /// Returns all of them, for a jail with this network whose TCP ports are restricted (`--listen`) or not.
    pub(crate) fn all(self, net: NetworkOption, restricts_ports: bool) -> [ProtectionLayer; 6] {
        let layer = |name, holds: bool, why, mend| ProtectionLayer {
            name,
            wanted: true,
            missing: (!holds).then_some(LayerFailure { why, mend }),
        };
        let ports = layer(
            PORTS,
            self.landlock.ports,
            "the command can bind every port; this kernel has no Landlock, or an older one than 6.7",
            "use a kernel from 6.7 on, with CONFIG_SECURITY_LANDLOCK=y, and landlock in its lsm= list",
        );
        [
            layer(
                SECCOMP,
                self.seccomp,
                "this kernel has no filters of system calls, or piku-chroot none for this machine",
                "use a kernel with CONFIG_SECCOMP_FILTER=y, on x86-64, aarch64 or arm",
            ),
            layer(
                FILES,
                self.landlock.files,
                "this kernel has none, or an older one than 5.19; what is read-only is so by its mounts alone",
                "use a kernel from 5.19 on, with CONFIG_SECURITY_LANDLOCK=y, and landlock in its lsm= list",
            ),
            layer(
                SOCKETS,
                net != NetworkOption::Shared || self.landlock.sockets,
                "those of the host can be reached through the shared network; this kernel has no Landlock, or an older one than 6.12",
                "--net loopback or --net none, or a kernel from 6.12 on with Landlock",
            ),
            ProtectionLayer { wanted: restricts_ports, ..ports },
            layer(
                KEYRING,
                // Without a filter, a session keyring of the command's own.
                self.seccomp || self.keyring,
                "this kernel has no filters of system calls, and no keyrings that a command could get one of its own of",
                "use a kernel with CONFIG_SECCOMP_FILTER=y",
            ),
            layer(
                CGROUP,
                self.cgroup,
                "this kernel has no cgroup namespaces",
                "use a kernel from 4.6 on with CONFIG_CGROUPS=y",
            ),
        ]
    }

    /// Refuses when a layer is missing that is `named` (`--require`) or, with `strict`, that the jail makes use of.
    pub(crate) fn require(
        self,
        net: NetworkOption,
        restricts_ports: bool,
        strict: bool,
        named: &[Protection],
    ) -> Result<()> {
        for ProtectionLayer { name, wanted, missing } in self.all(net, restricts_ports) {
            let Some(LayerFailure { why, mend }) = missing else { continue };
            let option = match named.iter().find(|one| layer_of(**one) == name) {
                Some(one) => format!("--require {one}"),
                None if strict && wanted => format!("--strict: {name}"),
                None => continue,
            };
            return Err(UserError::new(format!("{option}: {why}")).hint(mend).code(SETUP_FAILED).into());
        }
        Ok(())
    }
}

/// Returns what a protection is called in tables and reports.
pub(crate) fn layer_of(protection: Protection) -> &'static str {
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
            layers.all(net, false).into_iter().filter(|layer| layer.wanted && layer.missing.is_some());
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
        assert!(err.starts_with("--strict: Landlock: this kernel has none"), "{err}");
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
            (Protection::AbstractSockets, "--require abstract-sockets: those of the host can be reached"),
            (Protection::ListenPorts, "--require listen-ports: the command can bind every port"),
        ] {
            let err = format!("{:#}", require(&[one]).unwrap_err());
            assert!(err.starts_with(why), "{err}");
        }
    }
}
