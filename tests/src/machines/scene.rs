//! A build host and target hosts on one LAN.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::lan::Lan;
use crate::repo::{Push, Repo};
use crate::world::World;

/// A build host with target hosts.
pub struct Scene {
    /// Build host, which receives the pushes.
    pub builder: World,
    /// Target hosts, which receive releases.
    pub runners: Vec<World>,
    /// Network between them.
    pub lan: Lan,
}

impl Scene {
    /// Port of nginx, in each one's own network.
    pub const HTTP_PORT: u16 = 8080;

    /// Starts a build host and two target hosts; `None` if network namespaces are not permitted.
    #[must_use]
    pub fn new() -> Option<Self> {
        Self::with_targets(2)
    }

    /// Does the same with this number of target hosts.
    #[must_use]
    pub fn with_targets(count: usize) -> Option<Self> {
        let lan = Lan::new(count + 1)?;
        let start = |at| lan.on(at, || World::listening_on("0.0.0.0", ""));
        let runners: Vec<World> = (1..=count).map(start).collect();
        let builder = lan.on(0, World::new);
        let key = builder.create_server_key("distribute");
        for world in &runners {
            world.authorize_key("builder", &key.with_extension("pub"), &["blog"]);
        }
        let known: String = (0..count).map(|at| known_host(at + 1, &runners[at])).collect();
        fs::write(builder.path("home/known"), known).expect("known hosts");
        Some(Self { builder, runners, lan })
    }

    /// Starts nginx on all, on [`Self::HTTP_PORT`] of each.
    pub fn start_nginx(&mut self) {
        self.start_nginx_with("");
    }

    /// Does the same with `more` settings of nginx on the target hosts.
    pub fn start_nginx_with(&mut self, more: &str) {
        let Self { builder, runners, lan } = self;
        builder.set_settings(&Self::nginx_settings(""));
        for world in runners.iter() {
            world.set_settings(&Self::nginx_settings(more));
        }
        for (at, world) in [builder].into_iter().chain(runners).enumerate() {
            lan.on(at, || world.start_nginx());
        }
    }

    fn nginx_settings(more: &str) -> String {
        format!("nginx: {{http: '0.0.0.0:{}', https: [], ipv6: false{more}}}", Self::HTTP_PORT)
    }

    /// Runs `script` on a machine in place of piku, for the builder's key.
    pub fn replace_machine(&self, world: &World, script: &str) {
        let path = world.path("machine");
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        let key = fs::read_to_string(self.builder.path("home/distribute.pub")).expect("a key");
        let line = format!("restrict,command=\"{}\" {key}", path.display());
        fs::write(world.authorized_keys(), line).expect("authorized_keys");
    }

    /// Writes `deploy_to` for both apps, with `more` settings for each.
    pub fn deploy_to(&self, more: &str) {
        let address = |(at, world): (usize, &World)| {
            format!("{}@{}:{}", world.user(), Lan::address(at + 1), world.ssh_port())
        };
        self.deploy_to_machines(&self.runners.iter().enumerate().map(address).collect::<Vec<_>>(), more);
    }

    /// Does the same for machines with these addresses.
    pub fn deploy_to_machines(&self, machines: &[String], more: &str) {
        let machines: Vec<_> = machines.iter().map(|machine| format!("'{machine}'")).collect();
        let home = self.builder.path("home");
        let of_app = format!(
            "{{machines: [{}], identity: '{home}/distribute', known_hosts: '{home}/known', {more}}}",
            machines.join(", "),
            home = home.display()
        );
        let nginx = Self::nginx_settings("");
        self.builder.set_settings(&format!("{nginx}\ndeploy_to:\n  blog: {of_app}\n  shop: {of_app}\n"));
    }

    /// Pushes to the build host.
    pub fn push(&self, repo: &Repo) -> Push {
        self.lan.on(0, || repo.push())
    }

    /// Returns the app's page on each target host.
    #[must_use]
    pub fn pages(&self) -> Vec<String> {
        let page = |at: usize| self.lan.on(at + 1, || self.runners[at].page("blog"));
        (0..self.runners.len()).map(page).collect()
    }

    /// Runs a verb on a target host.
    pub fn config(&self, at: usize, words: &str) {
        let out = self.lan.on(at + 1, || self.runners[at].ssh("laptop", words));
        assert!(out.status.success(), "{out:?}");
    }

    /// Returns the name of a target host in the output of a push.
    #[must_use]
    pub fn name(&self, at: usize) -> String {
        format!("{}:{}", Lan::address(at + 1), self.runners[at].ssh_port())
    }

    /// Stops all, each in its own network.
    pub fn end(self) {
        let Self { builder, runners, lan } = self;
        for (at, world) in [builder].into_iter().chain(runners).enumerate() {
            lan.on(at, || drop(world));
        }
    }
}

fn known_host(at: usize, world: &World) -> String {
    let key = fs::read_to_string(world.path("sshd/host_key.pub")).expect("a host key");
    format!("[{}]:{} {key}", Lan::address(at), world.ssh_port())
}
