//! `ports` and `service_ports`: the ports that piku gives out.

use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use super::HostSettings;

/// First of Linux's ephemeral ports: any process can get one of them by asking for port 0.
const EPHEMERAL: u16 = 32768;

/// Range of ports, such as those of instances. Their default is below Linux's ephemeral ports (32768 to 60999). If all of
/// them are taken, an instance gets an ephemeral port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRange {
    /// The first port of the range.
    pub first: u16,
    /// The last port of the range, inclusive.
    pub last: u16,
}

impl PortRange {
    /// Returns true if the port is in the range.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    fn overlaps(self, other: Self) -> bool {
        self.first.max(other.first) <= self.last.min(other.last)
    }
}

impl Default for PortRange {
    fn default() -> Self {
        Self { first: 20000, last: 29999 }
    }
}

/// Ports that piku gives out, which no app can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservedPorts {
    /// Ports of instances.
    pub instances: PortRange,
    /// Ports of services.
    pub services: PortRange,
}

impl ReservedPorts {
    /// Refuses a port that is reserved. `setting` begins the message, such as `PORT=20001`.
    ///
    /// # Errors
    /// Says whose port it is, and which ones are not.
    pub fn check(self, port: u16, setting: &str) -> Result<(), UserError> {
        let ranges = [(self.instances, "instances"), (self.services, "services")];
        match ranges.into_iter().find(|(range, _)| range.contains(port)) {
            None => Ok(()),
            Some((range, whose)) => {
                let what = format!("{setting} is one of the ports that piku gives to {whose}");
                Err(UserError::new(what)
                    .hint(format!("choose one outside of {} to {}", range.first, range.last)))
            }
        }
    }
}

impl HostSettings {
    /// Returns the ports that no app can choose.
    #[must_use]
    pub fn reserved_ports(&self) -> ReservedPorts {
        ReservedPorts { instances: self.ports, services: self.service_ports }
    }
    /// Refuses ports of services that apps could have.
    pub(super) fn check_service_ports(&self) -> Result<(), UserError> {
        let PortRange { first, last } = self.service_ports;
        let what = if first == 0 || first > last {
            "has no ports".to_owned()
        } else if last >= EPHEMERAL {
            format!("has ephemeral ports, from {EPHEMERAL} on, which any app can get")
        } else if self.service_ports.overlaps(self.ports) {
            format!("overlaps 'ports', {} to {}", self.ports.first, self.ports.last)
        } else {
            return Ok(());
        };
        Err(UserError::new(format!("'service_ports', {first} to {last}, {what}"))
            .hint("choose others below 32768, such as {first: 15400, last: 15499}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_ports_that_no_app_has() {
        let check = |first, last| {
            let service_ports = PortRange { first, last };
            let settings = HostSettings { service_ports, ..HostSettings::default() };
            settings.check_service_ports().map_err(|err| err.to_string())
        };
        assert_eq!((check(1, 19999), check(30000, 32767), check(15400, 15400)), (Ok(()), Ok(()), Ok(())));
        for (first, last, why) in [
            (0, 10, "has no ports"),
            (15499, 15400, "has no ports"),
            (19990, 20000, "overlaps 'ports', 20000 to 29999"),
            (29999, 30000, "overlaps"),
            (20100, 20199, "overlaps"),
            (1, 32768, "has ephemeral ports"),
        ] {
            let told = check(first, last).unwrap_err();
            assert!(told.starts_with(&format!("'service_ports', {first} to {last}, {why}")), "{told}");
        }
    }
}
