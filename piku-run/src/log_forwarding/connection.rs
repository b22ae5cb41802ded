//! A connection to a syslog receiver.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use piku_nss::find_addresses;

use super::address::{SyslogAddress, SyslogTransport};

/// Limit for connecting and for each write. Only log forwarding waits for a receiver.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Time for an ICMP error to a datagram to arrive.
const ICMP_WAIT: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) enum ReceiverConnection {
    Datagrams(UdpSocket),
    Stream(TcpStream),
}

impl ReceiverConnection {
    /// Connects to the first address of the host that accepts.
    pub(super) fn open(address: &SyslogAddress) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for to in find_addresses(&address.host, address.port, TIMEOUT)? {
            let opened = match address.transport {
                SyslogTransport::Udp => open_udp(to).map(Self::Datagrams),
                SyslogTransport::Counted | SyslogTransport::Lines => open_tcp(to).map(Self::Stream),
            };
            match opened {
                Ok(connection) => return Ok(connection),
                Err(err) => last = err,
            }
        }
        Err(last)
    }

    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send(message).map(drop),
            Self::Stream(stream) => stream.write_all(message),
        }
    }

    /// Waits for the error that a datagram to a closed port causes.
    pub(super) fn wait_for_error(&mut self) -> io::Result<()> {
        std::thread::sleep(ICMP_WAIT);
        self.check()
    }

    /// Fails if the receiver is known to be gone. Called when the socket becomes readable.
    pub(super) fn check(&mut self) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.take_error()?.map_or(Ok(()), Err),
            Self::Stream(stream) => {
                stream.set_nonblocking(true)?;
                let mut buffer = [0; 4096];
                let read = match stream.read(&mut buffer) {
                    Ok(0) => {
                        Err(io::Error::new(ErrorKind::ConnectionReset, "the receiver closed the connection"))
                    }
                    // Syslog has no replies; the bytes are ignored.
                    Ok(_) => Ok(()),
                    Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                        Ok(())
                    }
                    Err(err) => Err(err),
                };
                stream.set_nonblocking(false)?;
                read
            }
        }
    }
}

fn open_udp(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match to {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    // Only a connected socket gets the ICMP error for a closed port.
    socket.connect(to)?;
    Ok(socket)
}

fn open_tcp(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

impl AsFd for ReceiverConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Datagrams(socket) => socket.as_fd(),
            Self::Stream(stream) => stream.as_fd(),
        }
    }
}
