//! One control connection, at either end: packets in, packets out.

use super::ConnId;
use super::desk::Desk;
use crate::limits::CONTROL_UNSENT_MAX;
use crate::wire::Outbox;
use crate::wire::control::{ControlFault, Decoder, Packet, encode};

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
    pub(super) fn read(&mut self, chunk: &mut &[u8]) -> Result<Option<Packet>, ControlFault> {
        let received = self.decoder.feed(chunk)?;
        Ok(received.map(|received| received.packet))
    }

    /// Appends a packet. Whether the peer still reads: it has not, if [`CONTROL_UNSENT_MAX`] bytes wait for it.
    pub(super) fn write(&mut self, packet: &Packet, desk: &mut Desk) -> bool {
        let mut bytes = Vec::new();
        // The registry's packets always fit.
        let fits = encode(packet, &[], &mut bytes).is_ok();
        debug_assert!(fits, "{packet:?} does not fit");
        if self.outbox.is_empty() && !bytes.is_empty() {
            desk.transmit(self.conn);
        }
        self.outbox.push_bytes(&bytes);
        self.outbox.len() <= CONTROL_UNSENT_MAX
    }
}
