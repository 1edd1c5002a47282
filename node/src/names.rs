//! `skyharbor names`: what a running node knows of its cluster.

use crate::control::{self, Answer, Failure, NameLine, Names, PeerLine, Request};
use crate::limits::CLIENT_PATIENCE;
use crate::outcome::{Failed, say};
use skyharbor::message::{LinkState, Status};
use std::fmt::Write;
use std::path::Path;

/// Prints the names and peers of the node behind `socket`.
///
/// # Errors
/// No node answers there.
pub(crate) fn names(socket: &Path, json: bool) -> Result<(), Failed> {
    match control::ask(socket, &Request::Names {}, CLIENT_PATIENCE).map_err(Failed::new)? {
        Answer::Names(names) if json => {
            say(serde_json::to_string(&names)
                .map_err(|error| Failed::new(format_args!("no JSON: {error}")))?)
        }
        Answer::Names(names) => say(table(&names).trim_end()),
        Answer::Error(Failure { text, .. }) => Err(Failed::new(text)),
        Answer::Reply(_) => Err(Failed::new("the node answered another question")),
    }
}

/// A node's picture of its cluster in the form that the control socket sends.
pub(crate) fn of_status(status: &Status) -> Names {
    let mut names: Vec<_> = status
        .names
        .iter()
        .map(|entry| NameLine { name: entry.name.to_string(), handle: entry.handle.to_string() })
        .collect();
    names.sort_by(|one, other| one.name.cmp(&other.name));
    let mut peers: Vec<_> = status
        .peers
        .iter()
        .map(|peer| PeerLine {
            harbor: peer.harbor.get(),
            address: peer.address.clone(),
            state: state(peer.state).to_owned(),
            held: peer.held,
            pending: peer.pending,
        })
        .collect();
    peers.sort_by_key(|peer| peer.harbor);
    Names {
        harbor: status.harbor.get(),
        master_up: status.master_up,
        complete: status.names_complete,
        names,
        peers,
    }
}

fn state(state: LinkState) -> &'static str {
    match state {
        LinkState::Wait => "wait",
        LinkState::Handshake => "handshake",
        LinkState::Header | LinkState::Content => "up",
        LinkState::Down => "down",
    }
}

/// For people.
fn table(names: &Names) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = match (names.harbor, names.master_up) {
        (0, _) => writeln!(out, "a node without a harbor id"),
        (harbor, true) => writeln!(out, "node {harbor}, master up"),
        (harbor, false) => writeln!(out, "node {harbor}, master not reached"),
    };
    if !names.peers.is_empty() {
        let _ = writeln!(out, "\n{:>4}  {:<9}  {:>6}  {:>7}  address", "peer", "state", "held", "pending");
    }
    for PeerLine { harbor, state, held, pending, address } in &names.peers {
        // It is what the peer said of itself, and goes to a terminal.
        let address = address.as_deref().unwrap_or("-").escape_debug();
        let _ = writeln!(out, "{harbor:>4}  {state:<9}  {held:>6}  {pending:>7}  {address}");
    }
    let completeness = if names.complete {
        "complete"
    } else {
        "perhaps not all: only a master knows every name, this node knows what it asked for or was told"
    };
    let _ = writeln!(out, "\nnames ({completeness})");
    for NameLine { name, handle } in &names.names {
        let _ = writeln!(out, "  {handle}  {name}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use skyharbor::message::{NameEntry, PeerStatus};
    use skyharbor::{Handle, HarborId};

    #[test]
    fn a_peers_address_cannot_speak_to_the_terminal() {
        let address = Some("a:1\u{1b}[2J\n  :01000008  ECHO".to_owned());
        let peer = PeerLine { harbor: 2, address, state: "up".to_owned(), held: 0, pending: 0 };
        let names = Names { harbor: 1, master_up: true, complete: true, names: vec![], peers: vec![peer] };
        let text = table(&names);
        assert!(!text.contains('\u{1b}') && !text.contains("\n  :01"), "{text:?}");
    }

    #[test]
    fn a_picture_is_sorted_and_printed() {
        let peer = |harbor, state| PeerStatus {
            harbor: HarborId::new(harbor),
            address: (harbor == 1).then(|| "a:1".to_owned()),
            state,
            held: 3,
            pending: 0,
        };
        let name =
            |name: &str, bits| NameEntry { name: name.parse().unwrap(), handle: Handle::from_bits(bits) };
        let status = Status {
            harbor: HarborId::new(2),
            master_up: true,
            names_complete: false,
            names: vec![name("KV", 0x0200_0009), name("ECHO", 0x0100_0008)],
            peers: vec![peer(3, LinkState::Down), peer(1, LinkState::Content)],
            ..Status::default()
        };
        let names = of_status(&status);
        assert_eq!(
            table(&names),
            "node 2, master up\n\npeer  state        held  pending  address\n   1  up              3        0  a:1\n   \
             3  down            3        0  -\n\nnames (perhaps not all: only a master knows every name, this node \
             knows what it asked for or was told)\n  :01000008  ECHO\n  :02000009  KV\n"
        );
        assert_eq!(
            table(&of_status(&Status::default())),
            "a node without a harbor id\n\nnames (perhaps not all: only a master knows every name, this node knows what it asked for or was told)\n"
        );
    }
}
