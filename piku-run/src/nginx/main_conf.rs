//! The main file of nginx. It has a server for unknown hosts on each TLS socket, from which the apps inherit the
//! certificate: also on those that only files from before a change of host.yaml have, until these are refreshed.

use std::collections::BTreeSet;

use super::WebServer;
use super::master::NginxMaster;
use super::nginx_dir;
use super::program::NginxProgram;
use super::site::tls_sockets;

impl WebServer {
    /// Writes the main file for the next reload or start. The caller holds the locks of reloads and of the files.
    pub(super) fn write_main_conf(&self, nginx: &NginxProgram) -> anyhow::Result<()> {
        nginx_dir::write_private(&self.dir.main_conf(), self.render_main_conf(nginx)?.as_bytes())
    }

    /// Renders the main file, with the TLS sockets of the installed files too.
    fn render_main_conf(&self, nginx: &NginxProgram) -> anyhow::Result<String> {
        let mut instance = self.build_instance(nginx)?;
        for (_, text) in self.dir.read_app_confs()? {
            instance.earlier_tls_sockets.extend(tls_sockets(&text).map(str::to_owned));
        }
        instance.render()
    }

    /// Has nginx close the TLS sockets that no app's file has after a refresh.
    pub(super) fn close_earlier_sockets(&self) -> anyhow::Result<()> {
        let nginx = NginxProgram::require(&self.dir)?;
        let _reloads = self.dir.lock_reload()?;
        let files = self.dir.lock()?;
        let sockets = |text: &str| tls_sockets(text).map(str::to_owned).collect::<BTreeSet<String>>();
        if sockets(&self.dir.read_main_conf()) == sockets(&self.render_main_conf(&nginx)?) {
            return Ok(());
        }
        self.write_main_conf(&nginx)?;
        if let Some(master) = NginxMaster::find(&self.dir) {
            self.reload_nginx(master, Some(&files))?;
            self.dir.finish_all_reloads()?;
        }
        Ok(())
    }
}
