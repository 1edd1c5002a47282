//! TCP sockets as this node uses them: non-blocking, without Nagle's delay, and ended when the peer's machine is not there.
//!
//! A connection on which nothing moves is probed by the system, three times until it is given up (`SO_KEEPALIVE`), and one
//! whose bytes are not acknowledged is given up after the same time (`TCP_USER_TIMEOUT`, tcp(7)). A machine that came back
//! and does not know the connection says so to the first probe.

use crate::limits::{KEEPALIVE_PROBES, KEEPALIVE_TIME_MIN, LISTEN_BACKLOG};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

/// A listening socket. `SO_REUSEADDR`: a node that comes back gets its port while old connections linger.
pub(super) fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = stream(address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket)
}

/// Where a socket listens, as [`Action::Listen`](crate::harbor::Action::Listen) wants it reported.
pub(super) fn local_name(socket: &Socket) -> io::Result<String> {
    let address = socket.local_addr()?.as_socket();
    Ok(address.ok_or(io::ErrorKind::Unsupported)?.to_string())
}

/// A socket that dials; [`dialled`] says how it went once it is writable.
pub(super) fn dial(address: SocketAddr, unreachable: Duration) -> io::Result<Socket> {
    let socket = stream(address)?;
    tune(&socket, unreachable)?;
    match socket.connect(&SockAddr::from(address)) {
        Err(error) if !is_under_way(&error) => Err(error),
        Ok(()) | Err(_) => Ok(socket),
    }
}

/// How dialling went; none: it is still under way.
pub(super) fn dialled(socket: &Socket) -> Option<io::Result<()>> {
    match socket.take_error() {
        Err(error) | Ok(Some(error)) => return Some(Err(error)),
        Ok(None) => {}
    }
    match (socket.peer_addr(), socket.local_addr()) {
        // A dialled port of this machine on which nobody listens may be the very port that the system chose for us.
        (Ok(peer), Ok(local)) if peer == local => Some(Err(io::ErrorKind::ConnectionRefused.into())),
        (Ok(_), _) => Some(Ok(())),
        (Err(error), _) if error.kind() == io::ErrorKind::NotConnected => None,
        (Err(error), _) => Some(Err(error)),
    }
}

/// Accepts one connection.
pub(super) fn accept(listener: &Socket, unreachable: Duration) -> Result<Socket, AcceptFailure> {
    let (socket, _) = listener.accept().map_err(AcceptFailure::of)?;
    // A connection that cannot be made ready was lost meanwhile.
    let ready = socket.set_nonblocking(true).and_then(|()| tune(&socket, unreachable));
    ready.map(|()| socket).map_err(|_| AcceptFailure::Lost)
}

/// Writes what the socket takes. A connection whose peer is gone is an error, never a SIGPIPE, whatever the host program
/// made of that signal.
pub(super) fn write(socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    socket.send_vectored_with_flags(slices, NO_SIGNAL)
}

#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: i32 = rustix::net::SendFlags::NOSIGNAL.bits().cast_signed();
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: i32 = 0;

fn stream(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn tune(socket: &Socket, unreachable: Duration) -> io::Result<()> {
    #[cfg(target_vendor = "apple")]
    socket.set_nosigpipe(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(unreachable))?;
    keep_alive(socket, unreachable / KEEPALIVE_PROBES)?;
    socket.set_tcp_nodelay(true)
}

/// Has the system probe the connection at once, if it is silent for a second, and then each second.
pub(super) fn probe(socket: &Socket) -> io::Result<()> {
    keep_alive(socket, KEEPALIVE_TIME_MIN)
}

/// Ends what [`probe`] began.
pub(super) fn probe_no_more(socket: &Socket, unreachable: Duration) -> io::Result<()> {
    keep_alive(socket, unreachable / KEEPALIVE_PROBES)
}

/// The first probe after a silence of `interval`, which systems take in seconds, and the others with this distance.
fn keep_alive(socket: &Socket, interval: Duration) -> io::Result<()> {
    let interval = interval.max(KEEPALIVE_TIME_MIN);
    let keepalive =
        TcpKeepalive::new().with_time(interval).with_interval(interval).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

/// What kind of error kept a socket from being made: the standard library has no name for descriptors that run out.
pub(super) fn kind_of(error: &io::Error) -> io::ErrorKind {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => io::ErrorKind::QuotaExceeded,
        Some(_) | None => error.kind(),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INPROGRESS | Errno::INTR))
}

/// What an accept that failed means.
#[derive(Debug)]
pub(super) enum AcceptFailure {
    /// Nobody is waiting.
    Nobody,
    /// That one connection was lost before it was accepted.
    Lost,
    /// No descriptor or memory is left: the next try would fail at once too.
    Exhausted(io::Error),
}

impl AcceptFailure {
    fn of(error: io::Error) -> Self {
        use Errno as E;
        match Errno::from_io_error(&error) {
            Some(E::AGAIN) => Self::Nobody,
            // accept(2): errors of the new connection are reported by accept and mean "try again".
            Some(
                E::INTR
                | E::CONNABORTED
                | E::CONNRESET
                | E::PROTO
                | E::NOPROTOOPT
                | E::NETDOWN
                | E::NETUNREACH
                | E::HOSTDOWN
                | E::HOSTUNREACH
                | E::PERM,
            ) => Self::Lost,
            Some(_) | None => Self::Exhausted(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREACHABLE: Duration = Duration::from_secs(12);

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn sockets_have_the_options_of_a_link() {
        let listener = listen(loopback(0)).unwrap();
        assert!(listener.reuse_address().unwrap() && listener.nonblocking().unwrap());
        let at = listener.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(local_name(&listener).unwrap(), at.to_string());
        assert!(matches!(accept(&listener, UNREACHABLE), Err(AcceptFailure::Nobody)));
        let dialling = dial(at, UNREACHABLE).unwrap();
        while dialled(&dialling).is_none() {}
        for socket in [dialling, accept(&listener, UNREACHABLE).unwrap()] {
            assert!(
                socket.nonblocking().unwrap() && socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap()
            );
            let step = Duration::from_secs(4);
            assert_eq!(socket.tcp_keepalive_time().unwrap(), step);
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNREACHABLE));
            probe(&socket).unwrap();
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_TIME_MIN);
            probe_no_more(&socket, UNREACHABLE).unwrap();
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), step);
        }
    }

    #[test]
    fn ipv6_listens_too() {
        let address = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
        // A machine without IPv6 says so.
        match listen(address) {
            Ok(socket) => assert!(local_name(&socket).unwrap().starts_with("[::1]:")),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "{error}"),
        }
    }

    #[test]
    fn a_port_in_use_is_refused() {
        let listener = listen(loopback(0)).unwrap();
        let at = listener.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(listen(at).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn dialling_oneself_is_refused() {
        let socket = stream(loopback(0)).unwrap();
        socket.bind(&loopback(0).into()).unwrap();
        let own = socket.local_addr().unwrap();
        let _ = socket.connect(&own);
        let refused = dialled(&socket).expect("decided at once").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn accept_failures_are_told_apart() {
        let of = |errno: Errno| AcceptFailure::of(errno.into());
        assert!(matches!(of(Errno::AGAIN), AcceptFailure::Nobody));
        for errno in [Errno::INTR, Errno::CONNABORTED, Errno::PROTO, Errno::PERM] {
            assert!(matches!(of(errno), AcceptFailure::Lost), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::INVAL] {
            assert!(matches!(of(errno), AcceptFailure::Exhausted(_)), "{errno}");
        }
    }
}
