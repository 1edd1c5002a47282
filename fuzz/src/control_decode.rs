//! Any bytes as control packets: no panic, the same packets whatever the chunks, and what was read is written and read
//! again as the same.

use skyharbor::wire::control::{ControlFault, Decoder, Packet, Received, encode};

fn decode(bytes: &[u8], chunk_len: usize) -> (Vec<Received>, Option<ControlFault>) {
    let mut decoder = Decoder::new();
    let mut all = Vec::new();
    for mut chunk in bytes.chunks(chunk_len) {
        loop {
            match decoder.feed(&mut chunk) {
                Ok(Some(received)) => all.push(received),
                Ok(None) => break,
                Err(fault) => return (all, Some(fault)),
            }
        }
    }
    (all, None)
}

/// One input.
pub fn check(input: &[u8]) {
    let Some((chunk_len, bytes)) = input.split_first() else { return };
    let split = decode(bytes, usize::from(*chunk_len).max(1));
    // As text, since NaN is not equal to itself.
    assert_eq!(format!("{split:?}"), format!("{:?}", decode(bytes, usize::MAX)));
    for received in split.0 {
        let mut written = Vec::new();
        let is_known = !matches!(received.packet, Packet::Unknown { .. });
        // Skynet's form of a value may be longer than the sender's.
        if is_known && encode(&received.packet, &received.extra, &mut written).is_ok() {
            assert!(written.len() <= 256);
            assert_eq!(format!("{:?}", decode(&written, 1)), format!("({:?}, None)", [received]));
        }
    }
}
