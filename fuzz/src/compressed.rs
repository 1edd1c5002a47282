//! Any bytes as a compressed message: no panic, a fault or a message no larger than a frame carries and than its block can
//! hold; the message is the same again when it is compressed by ourselves. And any payload comes out as it went in.

use skyharbor::limits::{COMPRESS_RATIO_MAX, PAYLOAD_BYTES_MAX, SERVICE_ID_KIN};
use skyharbor::message::{Body, Envelope, Kind, Payload, Session};
use skyharbor::wire::{compress, decompress, is_compressed};
use skyharbor::{Handle, HarborId};

const OWN: HarborId = HarborId::new(2);
const PEER: HarborId = HarborId::new(3);

fn to_us(body: &[u8], from: u32, to: u32) -> Envelope {
    let (source, dest) = (Handle::new(PEER, from), Handle::new(OWN, to));
    let body = Body::Bytes(Payload::from(body));
    Envelope { source, dest, session: Session::NONE, kind: Kind(255), body }
}

fn words(message: &Envelope) -> String {
    format!("{message:?} {}", message.body.bytes().expect("bytes").escape_ascii())
}

/// One input.
pub fn check(input: &[u8]) {
    let frame = to_us(input, SERVICE_ID_KIN, SERVICE_ID_KIN);
    assert!(is_compressed(&frame, PEER));
    if let Ok(message) = decompress(&frame) {
        let len = message.body.bytes().expect("bytes").len();
        assert!(len <= PAYLOAD_BYTES_MAX && len < COMPRESS_RATIO_MAX * (input.len() + 1));
        comes_back(message);
    }
    comes_back(to_us(input, 9, 8));
}

fn comes_back(message: Envelope) {
    let (before, source) = (words(&message), message.source);
    let sent = compress(message, PEER);
    match is_compressed(&sent, PEER) {
        true => {
            let read = decompress(&sent).expect("we wrote it");
            assert_eq!(before, words(&read));
            assert_eq!(read.source, source);
        }
        false => assert_eq!(before, words(&sent)),
    }
}
