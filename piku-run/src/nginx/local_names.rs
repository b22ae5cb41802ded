//! Names `APP.HOSTNAME.local` in the local network, while `domain: local` is set: avahi announces each as long as an
//! `avahi-publish` runs for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use piku_layout::settings::HostDomain;

use super::WebServer;
use super::service::log;
use super::site::names::machine_address;
use crate::process::installed_program::find_program;

/// avahi's program, of the package `avahi-utils`.
const PUBLISHER: &str = "avahi-publish";

/// Interval at which the address of the machine and the publishers are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Announces the names of the apps. What it has started ends with this process.
#[derive(Debug, Default)]
pub(super) struct LocalNames {
    published: BTreeMap<String, PublishedName>,
    /// Names whose last announcement has failed, which was logged.
    failed: BTreeSet<String>,
    /// Time of the next check; `None` for now.
    next: Option<Instant>,
}

#[derive(Debug)]
struct PublishedName {
    address: IpAddr,
    publisher: Child,
}

impl LocalNames {
    /// Has the next [`Self::update`] compare the names with those of the apps.
    pub(super) fn check_soon(&mut self) {
        self.next = None;
    }

    /// Announces new names and withdraws others, if that is due. Returns the time of the next check; `None` if nothing
    /// is to be announced.
    pub(super) fn update(&mut self, web: &WebServer) -> Option<Instant> {
        if web.domain != HostDomain::Local {
            self.withdraw_all();
            return None;
        }
        let now = Instant::now();
        if let Some(next) = self.next.filter(|next| *next > now) {
            return Some(next);
        }
        let address = machine_address();
        let wanted = wanted_names(web);
        let is_current = |name: &String, one: &mut PublishedName| {
            wanted.contains(name)
                && Some(one.address) == address
                && matches!(one.publisher.try_wait(), Ok(None))
        };
        self.published.retain(|name, one| {
            let stays = is_current(name, one);
            if stays {
                // The next failure is told again.
                self.failed.remove(name);
            } else {
                withdraw(one);
                // Without a running avahi-daemon, its program ends at once.
                if wanted.contains(name) && Some(one.address) == address && self.failed.insert(name.clone()) {
                    log(&format!("{name} is not announced: {PUBLISHER} has ended; does avahi-daemon run?"));
                }
            }
            stays
        });
        if let Some(address) = address {
            for name in wanted {
                self.publish(name, address);
            }
        }
        self.next = Some(now + CHECK_INTERVAL);
        self.next
    }

    fn publish(&mut self, name: String, address: IpAddr) {
        if self.published.contains_key(&name) {
            return;
        }
        match publisher(&name, address) {
            Ok(publisher) => _ = self.published.insert(name, PublishedName { address, publisher }),
            Err(why) => {
                if self.failed.insert(name.clone()) {
                    log(&format!("{name} is not announced: {why}"));
                }
            }
        }
    }

    /// Withdraws all names, such as before another program takes the place of this one.
    pub(super) fn withdraw_all(&mut self) {
        self.published.values_mut().for_each(withdraw);
        self.published.clear();
        self.next = None;
    }
}

/// Returns whether names can be announced.
pub(crate) fn is_announcer_installed() -> bool {
    find_program(PUBLISHER).is_some()
}

/// Returns the names that nginx serves and the host has assigned, to apps and to the status page. An app cannot have another name announced, such as
/// that of the router.
fn wanted_names(web: &WebServer) -> BTreeSet<String> {
    let apps = web.dir.list_apps().unwrap_or_default().into_iter();
    let names = apps.filter_map(|app| {
        let name = web.domain_name(&app)?;
        web.dir.read_metadata(&app)?.names.contains(&name).then_some(name)
    });
    let pages = web.page_names().into_iter().filter(|name| name.rsplit('.').next() == Some("local"));
    names.chain(pages).collect()
}

/// Starts a process that announces the name until it ends.
fn publisher(name: &str, address: IpAddr) -> Result<Child, String> {
    let program = find_program(PUBLISHER).ok_or_else(|| {
        format!("{PUBLISHER} is not installed: sudo apt-get install avahi-daemon avahi-utils")
    })?;
    // It ends also if this process is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    // The address has a name already, that of the machine.
    command.args(["--address", "--no-reverse", name]).arg(address.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|err| format!("cannot run 'setpriv': {err}"))
}

/// Ends the publisher; avahi then withdraws the name. SIGTERM is blocked in it, as in this process.
fn withdraw(one: &mut PublishedName) {
    let _ = one.publisher.kill();
    let _ = one.publisher.wait();
}
