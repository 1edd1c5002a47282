//! Any bytes as harbor frames: no panic, the same frames whatever the chunks, memory only for what arrived, and every
//! frame that may be sent is written back as the bytes that it was read from.

use skyharbor::HarborId;
use skyharbor::limits::FRAME_STEP_BYTES;
use skyharbor::message::Envelope;
use skyharbor::wire::{FrameDecoder, FrameFault, Outbox, Slices};

const OWN: HarborId = HarborId::new(2);

fn decode(bytes: &[u8], chunk_len: usize) -> (Vec<Envelope>, Option<FrameFault>) {
    let mut decoder = FrameDecoder::new(OWN);
    let mut envelopes = Vec::new();
    let mut fed = 0;
    for mut chunk in bytes.chunks(chunk_len) {
        fed += chunk.len();
        loop {
            match decoder.feed(&mut chunk) {
                Ok(Some(envelope)) => envelopes.push(envelope),
                Ok(None) => break,
                Err(fault) => return (envelopes, Some(fault)),
            }
        }
        assert!(chunk.is_empty());
        assert!(decoder.held_bytes() <= FRAME_STEP_BYTES.max(2 * fed));
    }
    (envelopes, None)
}

/// One input.
pub fn check(input: &[u8]) {
    let Some((chunk_len, bytes)) = input.split_first() else { return };
    let (envelopes, fault) = decode(bytes, usize::from(*chunk_len).max(1));
    let (whole, whole_fault) = decode(bytes, usize::MAX);
    assert_eq!(format!("{envelopes:?}{fault:?}"), format!("{whole:?}{whole_fault:?}"));

    let mut rest = bytes;
    for envelope in envelopes {
        let len = 16 + envelope.body.bytes().expect("frames are bytes").len();
        let (frame, later) = rest.split_at(len);
        rest = later;
        let mut outbox = Outbox::new();
        let may_leave = envelope.kind.may_leave();
        assert_eq!(outbox.push_frame(envelope).is_ok(), may_leave);
        let mut written = Vec::new();
        while !outbox.is_empty() {
            let mut slices = Slices::new();
            outbox.slices(&mut slices);
            let part = slices[0][..slices[0].len().min(usize::from(*chunk_len) + 1)].to_vec();
            drop(slices);
            outbox.advance(part.len());
            written.extend(part);
        }
        assert!(!may_leave || written == frame);
    }
}
