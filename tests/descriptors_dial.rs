//! A node that has no descriptor left to dial with says so, tries again, and succeeds once there is one. Alone in its file:
//! the limit is the whole process's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skyharbor::harbor::{Event, Harbor, Join, Settings};
use skyharbor::net::{self, IoThread, PollerBell};
use skyharbor::queue::Lanes;
use skyharbor::runtime::{self, Runtime};
use skyharbor::sync::Doorbell;
use skyharbor::{HarborId, millis, secs};
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Takes every descriptor that the process may have.
fn take_all() -> Vec<Socket> {
    let all = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..all }).expect("less is always allowed");
    std::iter::from_fn(|| Socket::new(Domain::IPV4, Type::STREAM, None).ok()).collect()
}

#[test]
fn a_dial_without_descriptors_is_tried_again() {
    let master = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let bell = PollerBell::new().expect("a poller");
    let (sender, lanes) = Lanes::new(256, Arc::new(Doorbell::new(bell.clone())));
    let own = HarborId::new(2);
    let (runtime, _seats) = Runtime::new(runtime::Settings {
        harbor: own,
        first_local: 100,
        workers: 1,
        spin: millis(0),
        messages_max: 1 << 20,
        bytes_max: 1 << 30,
        uplink: Some(sender),
    });
    let address = master.local_addr().expect("it is bound").to_string();
    let join = Join { listen: "127.0.0.1:0".to_owned(), advertise: None, master: address.clone() };
    let harbor = Harbor::new(Settings { join: Some(join), ..Settings::new(own) });
    let (events, heard): (_, Receiver<Event>) = channel();
    let on_event = Box::new(move |event: &Event| events.send(event.clone()).expect("the test listens"));
    let mut taken = take_all();
    // One for the listener, none to dial with.
    taken.pop().expect("there was one");
    let settings = net::Settings { on_event, ..net::Settings::default() };
    let (mut io_thread, _resolver) = IoThread::new(settings, bell, harbor, runtime.inlet(), lanes);
    let failed = Event::ConnectFailed { address, kind: ErrorKind::QuotaExceeded };
    assert_eq!(heard.try_recv(), Ok(failed.clone()));
    while heard.try_recv().ok() != Some(failed.clone()) {
        let _ = io_thread.turn(Some(secs(20))).expect("it turns");
    }
    drop(taken);
    master.set_nonblocking(true).expect("a socket has this option");
    while master.accept().is_err() {
        let _ = io_thread.turn(Some(millis(10))).expect("it turns");
    }
    io_thread.finish();
}
