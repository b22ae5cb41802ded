//! Several machines on one LAN, as network namespaces: the first has a link to each of the others, which can
//! be cut. Dropping the LAN removes everything.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::skip::skip;

/// Network namespaces connected by links.
pub struct Lan {
    names: Vec<String>,
}

impl Lan {
    /// Creates `machines` namespaces; reports a skipped test and returns `None` if that is not permitted, and
    /// fails with CI set.
    #[must_use]
    pub fn new(machines: usize) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut lan = Self { names: Vec::new() };
        for at in 0..machines {
            let name = format!("piku-{}-{number}-{at}", std::process::id());
            if let Err(why) = ip(&["netns", "add", &name]) {
                skip(&format!("machines on one LAN, no network namespaces here: {why}"));
                return None;
            }
            lan.names.push(name);
            lan.ip(at, &["link", "set", "lo", "up"]);
            if at > 0 {
                let (first, link) = (&lan.names[0], format!("to{at}"));
                lan.ip(at, &["link", "add", "lan", "type", "veth", "peer", "name", &link, "netns", first]);
                lan.ip(at, &["address", "add", &format!("{}/24", Self::address(at)), "dev", "lan"]);
                lan.ip(at, &["link", "set", "lan", "up"]);
                lan.ip(0, &["address", "add", &format!("10.99.{at}.1/24"), "dev", &link]);
                lan.ip(0, &["link", "set", &link, "up"]);
            }
        }
        Some(lan)
    }

    /// Returns the address of a machine as the first one sees it.
    #[must_use]
    pub fn address(at: usize) -> String {
        format!("10.99.{at}.2")
    }

    /// Runs `what` on a machine; processes that it starts have that machine's network.
    pub fn on<T: Send>(&self, at: usize, what: impl FnOnce() -> T + Send) -> T {
        let name = &self.names[at];
        let on_it = || {
            let namespace = File::open(format!("/run/netns/{name}")).expect("the namespace");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("setns");
            what()
        };
        thread::scope(|scope| scope.spawn(on_it).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Takes the link to a machine down.
    pub fn cut(&self, at: usize) {
        self.ip(at, &["link", "set", "lan", "down"]);
    }

    /// Brings the link to a machine up again.
    pub fn restore(&self, at: usize) {
        self.ip(at, &["link", "set", "lan", "up"]);
    }

    fn ip(&self, at: usize, words: &[&str]) {
        let all = [&["-n", &self.names[at]], words].concat();
        ip(&all).unwrap_or_else(|why| panic!("ip {words:?}: {why}"));
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let path = "/usr/sbin:/sbin:/usr/bin:/bin";
    match Command::new("ip").args(words).env("PATH", path).output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
        Err(err) => Err(err.to_string()),
    }
}
