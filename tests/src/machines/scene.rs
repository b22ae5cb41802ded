//! A build host and two target hosts on one LAN.

use std::fs;

use crate::lan::Lan;
use crate::repo::{Push, Repo};
use crate::world::World;

/// A build host with two target hosts.
pub struct Scene {
    /// Build host, which receives the pushes.
    pub builder: World,
    /// Target hosts, which receive releases.
    pub runners: [World; 2],
    /// Network between them.
    pub lan: Lan,
}

impl Scene {
    /// Port of nginx, in each one's own network.
    pub const HTTP_PORT: u16 = 8080;

    /// Starts all three; `None` if network namespaces are not permitted.
    #[must_use]
    pub fn new() -> Option<Self> {
        let lan = Lan::new(3)?;
        let runners = [1, 2].map(|at| lan.on(at, || World::listening_on("0.0.0.0", "")));
        let builder = lan.on(0, World::new);
        let key = builder.create_server_key("ship");
        for world in &runners {
            world.authorize_key("builder", &key.with_extension("pub"), &["blog"]);
        }
        let known: String = [0, 1].map(|at| known_host(at + 1, &runners[at])).concat();
        fs::write(builder.path("home/known"), known).expect("known hosts");
        Some(Self { builder, runners, lan })
    }

    /// Starts nginx on all three, on [`Self::HTTP_PORT`] of each.
    pub fn start_nginx(&mut self) {
        let Self { builder, runners: [one, two], lan } = self;
        for (at, world) in [builder, one, two].into_iter().enumerate() {
            world.set_settings(&Self::nginx_settings());
            lan.on(at, || world.start_nginx());
        }
    }

    fn nginx_settings() -> String {
        format!("nginx: {{http: '0.0.0.0:{}', https: [], ipv6: false}}", Self::HTTP_PORT)
    }

    /// Writes `deploy_to` for both apps, with `more` settings for each.
    pub fn deploy_to(&self, more: &str) {
        let machines = [0, 1].map(|at| {
            let world = &self.runners[at];
            format!("'{}@{}:{}'", world.user(), Lan::address(at + 1), world.ssh_port())
        });
        let home = self.builder.path("home");
        let of_app = format!(
            "{{machines: [{}], identity: '{home}/ship', known_hosts: '{home}/known', {more}}}",
            machines.join(", "),
            home = home.display()
        );
        let nginx = Self::nginx_settings();
        self.builder.set_settings(&format!("{nginx}\ndeploy_to:\n  blog: {of_app}\n  shop: {of_app}\n"));
    }

    /// Pushes to the build host.
    pub fn push(&self, repo: &Repo) -> Push {
        self.lan.on(0, || repo.push())
    }

    /// Returns the app's page on each target host.
    #[must_use]
    pub fn pages(&self) -> [String; 2] {
        [0, 1].map(|at| self.lan.on(at + 1, || self.runners[at].page("blog")))
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

    /// Stops all three, each in its own network.
    pub fn end(self) {
        let Self { builder, runners: [one, two], lan } = self;
        for (at, world) in [builder, one, two].into_iter().enumerate() {
            lan.on(at, || drop(world));
        }
    }
}

fn known_host(at: usize, world: &World) -> String {
    let key = fs::read_to_string(world.path("sshd/host_key.pub")).expect("a host key");
    format!("[{}]:{} {key}", Lan::address(at), world.ssh_port())
}
