//! `ports` and `service_ports`: the ports that piku gives out.

use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use super::HostSettings;

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
}

impl Default for PortRange {
    fn default() -> Self {
        Self { first: 20000, last: 29999 }
    }
}

/// Ports that piku gives out, which no app can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservedPorts {
    /// Those of instances.
    pub instances: PortRange,
    /// Those of services.
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
}
