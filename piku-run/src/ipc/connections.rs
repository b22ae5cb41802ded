//! Client connections of a socket: bounded in number and in time, so that a client that sends or reads
//! nothing delays no other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::ipc::socket::ClientConnection;

/// Largest number of clients at once.
const MAX_CLIENTS: usize = 128;

/// Connections by number; numbers are not used again.
#[derive(Debug, Default)]
pub(crate) struct ClientTable {
    connections: BTreeMap<u64, ClientConnection>,
    counter: u64,
}

impl ClientTable {
    /// Adds a connection and returns its number. If there are too many, the one that has been sending its
    /// request for longest is closed.
    pub(crate) fn add(&mut self, connection: ClientConnection) -> u64 {
        if self.connections.len() >= MAX_CLIENTS {
            let oldest = self.connections.iter().find(|(_, one)| one.is_asking()).map(|(number, _)| *number);
            let oldest = oldest.or_else(|| self.connections.keys().next().copied());
            if let Some(number) = oldest {
                self.connections.remove(&number);
            }
        }
        self.counter += 1;
        self.connections.insert(self.counter, connection);
        self.counter
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut ClientConnection> {
        self.connections.get_mut(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &ClientConnection)> {
        self.connections.iter().map(|(number, connection)| (*number, connection))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Removes connections that are closed or out of time.
    pub(crate) fn remove_gone(&mut self) {
        self.connections.retain(|_, connection| !connection.is_gone());
    }

    /// Returns the time until [`Self::remove_gone`] may have work; `None` if no client has a deadline.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let first = self.connections.values().filter_map(ClientConnection::deadline).min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::socket::{ClientSocket, ControlSocket};

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn silent_clients_make_room_for_those_that_ask() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let mut listener = ControlSocket::bind(&path).unwrap();
        let mut clients = ClientTable::default();
        let mut asker = ClientSocket::connect(&path, PATIENCE).unwrap();
        asker.ask(&1).unwrap();
        let first = clients.add(listener.accept().unwrap());
        assert_eq!(clients.get_mut(first).unwrap().receive::<u8>(), Some(Ok(1)));
        let silent: Vec<ClientSocket> = (0..MAX_CLIENTS * 2)
            .map(|_| {
                let asker = ClientSocket::connect(&path, PATIENCE).unwrap();
                clients.add(listener.accept().unwrap());
                asker
            })
            .collect();
        assert_eq!(clients.iter().count(), MAX_CLIENTS);
        // A silent client has a deadline; one that waits for a response has none.
        assert!(clients.time_left().is_some());
        assert!(clients.get_mut(first).unwrap().deadline().is_none());
        clients.get_mut(first).unwrap().send_last(&2);
        assert_eq!(asker.answer::<u8>().unwrap(), Some(2));
        clients.remove_gone();
        assert!(clients.get_mut(first).is_none());
        drop(silent);
    }

    #[test]
    fn a_client_that_never_reads_has_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let mut listener = ControlSocket::bind(&path).unwrap();
        let mut asker = ClientSocket::connect(&path, PATIENCE).unwrap();
        asker.ask(&0).unwrap();
        let mut connection = listener.accept().unwrap();
        assert_eq!(connection.receive::<u8>(), Some(Ok(0)));
        connection.send_last(&"x".repeat(2 * 1024 * 1024));
        assert!(!connection.is_gone() && connection.deadline().is_some());
        // A response that exceeds the buffer closes the connection.
        let mut asker = ClientSocket::connect(&path, PATIENCE).unwrap();
        asker.ask(&0).unwrap();
        let mut connection = listener.accept().unwrap();
        assert_eq!(connection.receive::<u8>(), Some(Ok(0)));
        connection.send(&"x".repeat(8 * 1024 * 1024));
        assert!(connection.is_gone());
    }
}
