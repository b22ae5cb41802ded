//! Requests of the daemon's clients.

use super::DaemonLoop;
use crate::ipc::protocol::DaemonRequest;

impl DaemonLoop {
    pub(super) fn serve_clients(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(number) else { return };
        client.flush();
        match client.receive::<DaemonRequest>() {
            Some(Ok(DaemonRequest::Wake { app })) => {
                if self.apps.get(&app).is_none_or(|watch| watch.supervisor.is_none()) {
                    self.start_supervisor(&app, false);
                }
            }
            Some(Ok(DaemonRequest::Remove { withdrawn_of })) => self.removals.add(withdrawn_of),
            Some(Err(bad)) => return client.send_last(&Some(bad)),
            None => return,
        }
        if let Some(client) = self.clients.get_mut(number) {
            client.send_last(&None::<String>);
        }
    }
}
