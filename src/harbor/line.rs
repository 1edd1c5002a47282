//! One control connection, at either end: packets in, packets out.

use super::ConnId;
use super::desk::Desk;
use crate::limits::CONTROL_UNSENT_MAX;
use crate::wire::control::{ControlFault, Decoder, Packet, Received};
use crate::wire::{Outbox, Trailing};

/// A control connection that is established.
pub(super) struct Line {
    pub(super) conn: ConnId,
    pub(super) outbox: Outbox,
    decoder: Decoder,
}

impl Line {
    pub(super) fn new(conn: ConnId) -> Self {
        Self { conn, outbox: Outbox::new(), decoder: Decoder::new() }
    }

    /// Takes the next packet from the chunk.
    ///
    /// # Errors
    /// The bytes are no packets; the connection is of no use any more.
    pub(super) fn read(&mut self, chunk: &mut &[u8]) -> Result<Option<Received>, ControlFault> {
        self.decoder.feed(chunk)
    }

    /// Appends a packet. Whether the peer still reads: it has not, if [`CONTROL_UNSENT_MAX`] bytes wait for it.
    pub(super) fn write(&mut self, packet: &Packet, trailing: Trailing, desk: &mut Desk) -> bool {
        let mut bytes = Vec::new();
        // The registry's packets always fit.
        let fits = trailing.encode(packet, &mut bytes).is_ok();
        debug_assert!(fits, "{packet:?} does not fit");
        if self.outbox.is_empty() && !bytes.is_empty() {
            desk.transmit(self.conn);
        }
        self.outbox.push_bytes(&bytes);
        self.outbox.len() <= CONTROL_UNSENT_MAX
    }
}
