//! `deploy_to:` of `host.yaml`: where the releases of an app run that are built on this machine. The
//! operator's choice, since it says which key opens which machine.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use piku_report::user_error::UserError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ClusterTarget;
use super::front::{FrontSettings, read_front};

/// Machines on which the releases of an app run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch in host.yaml")]
pub struct DeployTo {
    /// The machines that they are sent to.
    pub machines: Vec<MachineAddress>,
    /// The private key that those machines let in for this app; what ssh tries by itself when not given.
    pub identity: Option<PathBuf>,
    /// The file with the machines' host keys; the user's and the system's when not given.
    pub known_hosts: Option<PathBuf>,
    /// Run the releases on this machine too.
    pub here: bool,
    /// If one machine fails, roll back all of them.
    pub all_or_nothing: bool,
    /// Deploy on one machine after the other, and not on all at once. A front does that in any case.
    pub rolling: bool,
    /// Leave out a machine that is down, and send it the release when it is back.
    pub skip_down: bool,
    /// This machine's nginx passes the requests to the app on to the machines.
    #[serde(deserialize_with = "read_front", skip_serializing_if = "Option::is_none")]
    pub front: Option<FrontSettings>,
    /// For how many seconds a machine that cannot be reached, or a transfer that broke off, is tried again.
    pub patience: u64,
    /// For how many seconds at most a push, or another change, waits for what one machine does.
    pub time_limit: u64,
    /// Cluster of Kubernetes in which they run, in place of machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<ClusterTarget>,
}

impl DeployTo {
    /// Returns true if the machines deploy one after the other.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        self.rolling || self.front.is_some()
    }

    /// Returns whether instances run on this machine.
    #[must_use]
    pub fn runs_here(&self) -> bool {
        self.here && self.kubernetes.is_none()
    }

    /// Returns the arguments of an ssh that never prompts and notices a dead connection within seconds, up to the
    /// host; the command follows.
    #[must_use]
    pub fn ssh_arguments(&self, machine: &MachineAddress) -> Vec<OsString> {
        // Whatever the configuration of ssh says, a machine gets no access to the agent and the display here.
        let mut args: Vec<OsString> = ["-T", "-a", "-x"].map(OsString::from).to_vec();
        for option in ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3"]
        {
            args.extend(["-o".into(), option.into()]);
        }
        if let Some(identity) = &self.identity {
            args.extend(["-o", "IdentitiesOnly=yes", "-i"].map(OsString::from));
            args.push(expand_home(identity).into());
        }
        if let Some(known) = &self.known_hosts {
            let known = expand_home(known);
            args.extend(["-o".into(), format!("UserKnownHostsFile=\"{}\"", known.display()).into()]);
        }
        if let Some(port) = machine.port {
            args.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(user) = &machine.user {
            args.extend(["-l".into(), user.into()]);
        }
        args.extend(["--".into(), OsString::from(&machine.host)]);
        args
    }

    /// Returns the cluster in which the app runs, if any.
    ///
    /// # Errors
    /// Fails if its settings are bad, or if machines are named beside it.
    pub fn cluster(&self) -> Result<Option<&ClusterTarget>, UserError> {
        let Some(target) = &self.kubernetes else { return Ok(None) };
        if !self.machines.is_empty() || !self.here {
            let what = "deploy_to in host.yaml names a cluster and machines, or 'here', for the same app";
            return Err(UserError::new(what).hint("an app runs either in a cluster or on machines"));
        }
        target.check()?;
        Ok(Some(target))
    }
}

impl Default for DeployTo {
    fn default() -> Self {
        Self {
            machines: Vec::new(),
            identity: None,
            known_hosts: None,
            here: true,
            all_or_nothing: false,
            rolling: false,
            skip_down: false,
            front: None,
            // A machine that is just booting is there by then.
            patience: 120,
            // Longer than transfers and release tasks take; a machine that never ends holds up no push for longer.
            time_limit: 3600,
            kubernetes: None,
        }
    }
}

/// Expands `~/` to `HOME`.
#[must_use]
pub fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(below), Some(home)) => Path::new(&home).join(below),
        _ => path.to_owned(),
    }
}

/// A machine as ssh reaches it: `[USER@]HOST[:PORT]`, an IPv6 address in brackets where a port follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineAddress {
    /// User to log in as.
    pub user: Option<String>,
    /// Host name or IP address.
    pub host: String,
    /// Port of its sshd.
    pub port: Option<u16>,
}

impl MachineAddress {
    /// Returns the address without the user: the name of the machine in messages and file names.
    #[must_use]
    pub fn name(&self) -> String {
        Self { user: None, ..self.clone() }.to_string()
    }
}

impl FromStr for MachineAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            |why: &str| format!("bad machine '{}': {why}; expected [USER@]HOST[:PORT]", text.escape_debug());
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => {
                (host, Some(port.strip_prefix(':').ok_or_else(|| bad("no port after ']'"))?))
            }
            // More than one colon: an IPv6 address, and no port.
            None => match place.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (place, None),
            },
        };
        let plain = |word: &str| {
            !word.is_empty()
                && !word.starts_with('-')
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-:%".contains(c))
        };
        if !plain(host) || user.is_some_and(|user| !plain(user)) {
            return Err(bad("a user or a host of letters, digits and '.', '_', '-' is missing"));
        }
        let port = port
            .map(|port| port.parse().map_err(|_| bad("its port is no number up to 65535")))
            .transpose()?;
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl fmt::Display for MachineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl Serialize for MachineAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MachineAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_written_as_ssh_users_do() {
        for text in
            ["pi", "piku@pi-2", "piku@10.0.0.2:2222", "[fe80::1%eth0]:22", "fe80::1", "piku@[::1]:2022"]
        {
            assert_eq!(text.parse::<MachineAddress>().expect(text).to_string(), text);
        }
        assert_eq!("[::1]".parse::<MachineAddress>().expect("an address").host, "::1");
        for bad in
            ["", "@pi", "piku@", "-oProxyCommand=x", "piku@-x", "pi:x", "pi:70000", "a b", "[::1]22", "pi;x"]
        {
            assert!(bad.parse::<MachineAddress>().is_err(), "{bad}");
        }
    }
}
