//! `front` in `deploy_to` of `host.yaml`: this machine's nginx in front of the machines of an app.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::deploy_to::MachineAddress;

/// The way in which this machine's nginx reaches that of the others. `true` in the file stands for all
/// defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrontSettings {
    /// Port on which nginx of the machines serves HTTP.
    pub port: u16,
    /// Addresses of machines, `HOST` or `HOST:PORT`, by the host in `machines`: for those that ssh reaches
    /// by another name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, MachineAddress>,
}

impl Default for FrontSettings {
    fn default() -> Self {
        Self { port: 80, addresses: BTreeMap::new() }
    }
}

impl FrontSettings {
    /// Returns the host and the port on which a machine's nginx serves HTTP.
    #[must_use]
    pub fn http_address(&self, machine: &MachineAddress) -> (String, u16) {
        match self.addresses.get(&machine.host) {
            Some(address) => (address.host.clone(), address.port.unwrap_or(self.port)),
            None => (machine.host.clone(), self.port),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or {port: PORT, addresses: {HOST: ADDRESS}}")]
enum FrontEntry {
    Switch(bool),
    Details(FrontDetails),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontDetails {
    port: Option<u16>,
    #[serde(default)]
    addresses: BTreeMap<String, MachineAddress>,
}

/// Reads the setting; `None` for `false`.
pub(super) fn read_front<'de, D: Deserializer<'de>>(from: D) -> Result<Option<FrontSettings>, D::Error> {
    let details = match FrontEntry::deserialize(from)? {
        FrontEntry::Switch(false) => return Ok(None),
        FrontEntry::Switch(true) => return Ok(Some(FrontSettings::default())),
        FrontEntry::Details(details) => details,
    };
    let port = details.port.unwrap_or(80);
    if port == 0 {
        return Err(de::Error::custom("front: port 0 is none"));
    }
    if let Some(address) = details.addresses.values().find(|address| address.user.is_some()) {
        return Err(de::Error::custom(format!("front: '{address}': an address of nginx has no user")));
    }
    Ok(Some(FrontSettings { port, addresses: details.addresses }))
}

#[cfg(test)]
mod tests {
    use super::super::DeployTo;

    #[test]
    fn a_switch_or_a_port_and_addresses() {
        let read =
            |front: &str| serde_yaml::from_str::<DeployTo>(&format!("machines: [pi]\nfront: {front}\n"));
        assert_eq!(read("false").unwrap().front, None);
        let (pi, other) = ("piku@pi:2222".parse().unwrap(), "other".parse().unwrap());
        let plain = read("true").unwrap().front.unwrap();
        assert_eq!(plain.http_address(&pi), ("pi".to_owned(), 80));
        let told = read("{port: 8080, addresses: {pi: 10.0.0.2, other: '[fd00::2]:81'}}").unwrap();
        let front = told.front.as_ref().unwrap();
        assert_eq!(front.http_address(&pi), ("10.0.0.2".to_owned(), 8080));
        assert_eq!(front.http_address(&other), ("fd00::2".to_owned(), 81));
        assert_eq!(serde_yaml::from_str::<DeployTo>(&serde_yaml::to_string(&told).unwrap()).unwrap(), told);
        for bad in
            ["yes please", "{port: 0}", "{ports: 1}", "{addresses: {pi: piku@x}}", "{addresses: {pi: '-x'}}"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
