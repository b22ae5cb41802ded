//! The way to a receiver, as long as it holds.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use piku_nss::find_addresses;

use super::address::{SyslogAddress, SyslogTransport};

/// How long a receiver may take to answer, and to take what it is sent. A drain waits for nothing else, and nobody for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the answer to a datagram may take.
const ANSWER: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) enum ReceiverConnection {
    Datagrams(UdpSocket),
    Stream(TcpStream),
}

impl ReceiverConnection {
    /// Connects to the first of the name's addresses that takes it.
    pub(super) fn open(address: &SyslogAddress) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for to in find_addresses(&address.host, address.port, PATIENCE)? {
            let opened = match address.transport {
                SyslogTransport::Udp => datagrams(to).map(Self::Datagrams),
                SyslogTransport::Counted | SyslogTransport::Lines => stream(to).map(Self::Stream),
            };
            match opened {
                Ok(link) => return Ok(link),
                Err(err) => last = err,
            }
        }
        Err(last)
    }

    /// Sends one framed message, all of it or with an error.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send(message).map(drop),
            Self::Stream(stream) => stream.write_all(message),
        }
    }

    /// Waits for the answer that nobody listens.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        std::thread::sleep(ANSWER);
        self.check()
    }

    /// Whether the receiver is still there, as far as is known; called when there is something to read.
    pub(super) fn check(&mut self) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.take_error()?.map_or(Ok(()), Err),
            Self::Stream(stream) => {
                stream.set_nonblocking(true)?;
                let mut buffer = [0; 4096];
                let read = match stream.read(&mut buffer) {
                    Ok(0) => Err(io::Error::new(ErrorKind::ConnectionReset, "the receiver has hung up")),
                    // Whatever it has to say.
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

fn datagrams(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match to {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    // Connected, so that it is told when nobody listens there.
    socket.connect(to)?;
    Ok(socket)
}

fn stream(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
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
