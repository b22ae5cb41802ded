//! Refreshes the sites of apps after a change of host.yaml, or when nginx starts.

use piku_layout::name::AppName;

use crate::app_request;
use crate::desired::resting_app;
use crate::instance::environment::ReleaseContext;
use crate::ipc::client::{self, AskPatience};
use crate::ipc::fan_out::ask_all;
use crate::ipc::protocol::SupervisorRequest;
use crate::nginx::WebServer;
use crate::nginx::front::FrontSite;
use crate::nginx::service::log;
use crate::releases::current;

impl WebServer {
    /// Asks the app's supervisor to refresh its site; for a site of files alone, one is started. A stopped app has
    /// none, and its site is refreshed here.
    fn refresh_site(&self, app: &AppName) -> anyhow::Result<()> {
        if let Some(front) = FrontSite::find(&self.root, app)? {
            return front.apply();
        }
        if client::is_supervised(&self.root, app) || resting_app::is_resting(&self.root, app) {
            app_request::ask_within(&self.root, app, &SupervisorRequest::Route, AskPatience::EACH)?;
            return Ok(());
        }
        let dir = self.root.app(app);
        let Some(number) = current::live_release(&dir)?.filter(|_| dir.is_stopped()) else { return Ok(()) };
        let prepared = self.prepare_site(&ReleaseContext::read(&self.root, app, number)?, None)?;
        // A supervisor that starts only now waits for the lock, which is held until the end.
        if dir.is_stopped() && !client::is_supervised(&self.root, app) {
            prepared.apply()?;
        }
        Ok(())
    }
}

/// Refreshes the sites of all apps. Runs in threads: nginx is watched meanwhile, and a supervisor that does not
/// answer delays no other.
pub(in crate::nginx) fn spawn_refresh(web: &WebServer) {
    let web = web.clone();
    std::thread::spawn(move || {
        let refresh = |app: &AppName| {
            if let Err(err) = web.refresh_site(app) {
                log(&format!("{app}: {err:#}"));
            }
        };
        let apps = web.root.apps().unwrap_or_default();
        ask_all(&apps, refresh);
        if let Err(err) = web.close_earlier_sockets() {
            log(&format!("{err:#}"));
        }
    });
}
