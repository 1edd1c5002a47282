//! Packets of the control link between a node and the master.
//!
//! | from | letter | values |
//! |---|---|---|
//! | slave | `H` | own id, address `host:port` where it listens |
//! | slave | `R` | name, handle |
//! | slave | `Q` | name |
//! | master | `W` | how many slaves will connect |
//! | master | `C` | id and address of a newcomer |
//! | master | `N` | name, handle |
//! | master | `D` | id |
//!
//! Reading is as lenient as a real node's, with one rule for what makes no sense (R13): a packet from which a real
//! receiver dies closes the link, any other is [`Packet::Unknown`]. An `H`, `R` or `W` cannot be passed over, because
//! its sender goes by it; a `C`, `D`, `N` or `Q` for an id or name that cannot exist can.

use super::name::PacketName;
use crate::limits::CONTROL_BYTES_MAX;
use crate::message::{Handle, HarborId};
use crate::seri::{self, PackError, UnpackError, Value};

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `H`: a slave introduces itself.
    Hello {
        /// Its id, 1–255.
        id: HarborId,
        /// Where it listens, `host:port`.
        address: String,
    },
    /// `R`: this service takes this name.
    Register {
        /// The name.
        name: PacketName,
        /// The service.
        handle: Handle,
    },
    /// `Q`: who has this name?
    Query {
        /// The name.
        name: PacketName,
    },
    /// `W`: the slave is taken in.
    Wait {
        /// How many slaves will connect to it.
        n: u8,
    },
    /// `C`: connect to this newcomer.
    Connect {
        /// Its id, 1–255.
        id: HarborId,
        /// Where it listens, `host:port`.
        address: String,
    },
    /// `N`: this name has this owner.
    Name {
        /// The name.
        name: PacketName,
        /// The service.
        handle: Handle,
    },
    /// `D`: this slave lost its control link.
    Dead {
        /// Its id, 1–255.
        id: HarborId,
    },
    /// A packet that says nothing we know; never sent.
    Unknown {
        /// Its letter, or whatever stands in its place; a number as decimal text.
        letter: Vec<u8>,
    },
}

/// A packet that was read, with the values behind those that it needs (R10).
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The packet.
    pub packet: Packet,
    /// Values behind the known ones. For [`Packet::Unknown`]: all values behind the letter.
    pub extra: Vec<Value>,
}

/// What a peer did wrong on a control link. The link cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlFault {
    /// The size byte is 0.
    #[error("control packet of size 0")]
    Empty,
    /// The bytes are not packed values.
    #[error("control packet is not packed values: {0}")]
    Malformed(UnpackError),
    /// The first value is neither a string nor a number.
    #[error("control packet without a letter")]
    NoLetter,
    /// The id of an `H` is not an integer of 1–255.
    #[error("a slave with an id that is not 1..=255")]
    BadId,
    /// The address of an `H` is not text.
    #[error("a slave without an address")]
    BadAddress,
    /// The name of an `R` is not a string.
    #[error("registration of a name that is not a string")]
    BadName,
    /// The handle of an `R` is not an integer of 32 bits.
    #[error("registration of a handle that is not an integer of 32 bits")]
    BadHandle,
    /// The count of a `W` is not an integer.
    #[error("a wait count that is not an integer")]
    BadCount,
}

/// Why a packet cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Its values have more than [`CONTROL_BYTES_MAX`] bytes.
    #[error("control packet of {0} bytes, more than {CONTROL_BYTES_MAX}")]
    TooLong(usize),
    /// Its extra values cannot be packed.
    #[error("extra values of a control packet: {0}")]
    Extra(PackError),
}

/// Appends a packet to `bytes`, with `extra` values behind its own (R10).
///
/// # Errors
/// [`EncodeError`]; `bytes` is then as it was.
///
/// ```
/// use skyharbor::HarborId;
/// use skyharbor::wire::control::{Packet, encode};
///
/// let mut bytes = Vec::new();
/// encode(&Packet::Dead { id: HarborId::new(3) }, &[], &mut bytes).unwrap();
/// assert_eq!(bytes, b"\x04\x0cD\x0a\x03");
/// ```
pub fn encode(packet: &Packet, extra: &[Value], bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = bytes.len();
    bytes.push(0);
    let packed = seri::pack_into(&packet.values(), bytes).and_then(|()| seri::pack_into(extra, bytes));
    let len = bytes.len() - start - 1;
    let result = match (packed, u8::try_from(len)) {
        (Err(error), _) => Err(EncodeError::Extra(error)),
        (Ok(()), Err(_)) => Err(EncodeError::TooLong(len)),
        (Ok(()), Ok(size)) => {
            bytes[start] = size;
            Ok(())
        }
    };
    if result.is_err() {
        bytes.truncate(start);
    }
    result
}

impl Packet {
    /// Whether the packet can be written.
    pub fn fits(&self) -> bool {
        encode(self, &[], &mut Vec::new()).is_ok()
    }

    fn values(&self) -> Vec<Value> {
        match self {
            Self::Hello { id, address } => vec!["H".into(), id_value(*id), address.as_str().into()],
            Self::Register { name, handle } => vec!["R".into(), name.as_bytes().into(), handle.bits().into()],
            Self::Query { name } => vec!["Q".into(), name.as_bytes().into()],
            Self::Wait { n } => vec!["W".into(), u32::from(*n).into()],
            Self::Connect { id, address } => vec!["C".into(), id_value(*id), address.as_str().into()],
            Self::Name { name, handle } => vec!["N".into(), name.as_bytes().into(), handle.bits().into()],
            Self::Dead { id } => vec!["D".into(), id_value(*id)],
            Self::Unknown { letter } => vec![letter.as_slice().into()],
        }
    }
}

fn id_value(id: HarborId) -> Value {
    u32::from(id.get()).into()
}

/// Reads control packets from the chunks of one link. Holds at most [`CONTROL_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What there is of a packet that is not complete, without its size.
    body: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Size,
    Body {
        len: usize,
    },
    Broken(ControlFault),
}

impl Decoder {
    /// A decoder for a new link.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `chunk` up to the end of the next packet. `None`: the chunk is used up and the
    /// packet is not complete; what there is of it is kept.
    ///
    /// # Errors
    /// The link is broken: every later call returns the same fault.
    pub fn feed(&mut self, chunk: &mut &[u8]) -> Result<Option<Received>, ControlFault> {
        loop {
            match self.state {
                State::Size => {
                    let Some((size, rest)) = chunk.split_first() else { return Ok(None) };
                    *chunk = rest;
                    self.body.clear();
                    self.state = match size {
                        0 => State::Broken(ControlFault::Empty),
                        size => State::Body { len: usize::from(*size) },
                    };
                }
                State::Body { len } => {
                    let (now, later) = chunk.split_at(chunk.len().min(len - self.body.len()));
                    self.body.extend_from_slice(now);
                    *chunk = later;
                    if self.body.len() < len {
                        return Ok(None);
                    }
                    let received = read(&self.body);
                    self.state = match received {
                        Ok(_) => State::Size,
                        Err(fault) => State::Broken(fault),
                    };
                    return received.map(Some);
                }
                State::Broken(fault) => return Err(fault),
            }
        }
    }
}

/// Reads the values of one packet.
fn read(body: &[u8]) -> Result<Received, ControlFault> {
    let mut values = seri::unpack(body).map_err(ControlFault::Malformed)?;
    // The text of a number is none of the letters.
    let letter = match values.first() {
        Some(Value::Bytes(letter)) => letter.clone(),
        Some(Value::Int(number)) => number.to_string().into_bytes(),
        Some(Value::Float(number)) => number.to_string().into_bytes(),
        Some(Value::Nil | Value::Bool(_) | Value::Pointer(_) | Value::Table(_)) | None => {
            return Err(ControlFault::NoLetter);
        }
    };
    let (first, second) = (values.get(1), values.get(2));
    let known = match letter.as_slice() {
        b"H" => {
            let id = harbor_id(first).ok_or(ControlFault::BadId)?;
            let address = text(second).ok_or(ControlFault::BadAddress)?;
            Some((Packet::Hello { id, address }, 3))
        }
        b"R" => {
            let name = packet_name(first).ok_or(ControlFault::BadName)?;
            let handle = handle(second).ok_or(ControlFault::BadHandle)?;
            Some((Packet::Register { name, handle }, 3))
        }
        b"W" => {
            let n = first.and_then(Value::as_int).ok_or(ControlFault::BadCount)?;
            Some((Packet::Wait { n: n.clamp(0, 255) as u8 }, 2))
        }
        b"Q" => packet_name(first).map(|name| (Packet::Query { name }, 2)),
        b"C" => harbor_id(first).zip(text(second)).map(|(id, address)| (Packet::Connect { id, address }, 3)),
        b"N" => {
            packet_name(first).zip(handle(second)).map(|(name, handle)| (Packet::Name { name, handle }, 3))
        }
        b"D" => harbor_id(first).map(|id| (Packet::Dead { id }, 2)),
        _ => None,
    };
    let (packet, used) = known.unwrap_or((Packet::Unknown { letter }, 1));
    Ok(Received { packet, extra: values.split_off(used) })
}

fn harbor_id(value: Option<&Value>) -> Option<HarborId> {
    let id = u8::try_from(value?.as_int()?).ok()?;
    (id != 0).then_some(HarborId::new(id))
}

/// A handle of 32 bits, also written as a negative number (R12).
fn handle(value: Option<&Value>) -> Option<Handle> {
    let number = value?.as_int()?;
    let unsigned = u32::try_from(number).ok();
    let bits = unsigned.or_else(|| i32::try_from(number).ok().map(|signed| signed as u32))?;
    Some(Handle::from_bits(bits))
}

fn text(value: Option<&Value>) -> Option<String> {
    value?.as_str().map(str::to_owned)
}

fn packet_name(value: Option<&Value>) -> Option<PacketName> {
    value?.as_bytes().map(PacketName::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u8) -> HarborId {
        HarborId::new(id)
    }

    fn name(name: &str) -> PacketName {
        PacketName::from(name.as_bytes())
    }

    fn handle(bits: u32) -> Handle {
        Handle::from_bits(bits)
    }

    /// Captured from real nodes; the first four are notes §4.9.
    fn captured() -> Vec<(Packet, &'static [u8])> {
        vec![
            (
                Packet::Hello { id: id(2), address: "127.0.0.1:43102".into() },
                b"\x14\x0cH\x0a\x02\x7c127.0.0.1:43102",
            ),
            (Packet::Wait { n: 0 }, b"\x03\x0cW\x02"),
            (Packet::Wait { n: 1 }, b"\x04\x0cW\x0a\x01"),
            (
                Packet::Name { name: name("FOO2"), handle: handle(0x0300_0005) },
                b"\x0c\x0cN\x24FOO2\x22\x05\0\0\x03",
            ),
            (Packet::Dead { id: id(3) }, b"\x04\x0cD\x0a\x03"),
            (Packet::Query { name: name("SERVICE") }, b"\x0a\x0cQ\x3cSERVICE"),
            (
                Packet::Register { name: name("ECHO2"), handle: handle(0x0200_0008) },
                b"\x0d\x0cR\x2cECHO2\x22\x08\0\0\x02",
            ),
            (
                Packet::Connect { id: id(200), address: "127.0.0.1:21302".into() },
                b"\x14\x0cC\x0a\xc8\x7c127.0.0.1:21302",
            ),
            // R11: from 2³¹ on a handle takes eight bytes.
            (
                Packet::Register { name: name("HIGH"), handle: handle(0xc800_0008) },
                b"\x10\x0cR\x24HIGH\x32\x08\0\0\xc8\0\0\0\0",
            ),
        ]
    }

    /// Everything that comes out of one decoder for these chunks, and the fault that ended it.
    fn decode(chunks: &[&[u8]]) -> (Vec<Received>, Option<ControlFault>) {
        let mut decoder = Decoder::new();
        let mut all = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            loop {
                match decoder.feed(&mut rest) {
                    Ok(Some(received)) => all.push(received),
                    Ok(None) => break,
                    Err(fault) => {
                        assert_eq!(decoder.feed(&mut &b"\x03\x0cW\x02"[..]), Err(fault), "broken for good");
                        return (all, Some(fault));
                    }
                }
            }
        }
        (all, None)
    }

    fn one(values: &[u8]) -> Result<Received, ControlFault> {
        let bytes = [&[values.len() as u8], values].concat();
        match decode(&[&bytes]) {
            (mut all, None) => {
                assert_eq!(all.len(), 1);
                Ok(all.remove(0))
            }
            (_, Some(fault)) => Err(fault),
        }
    }

    #[test]
    fn r9_r11_the_bytes_of_real_nodes_both_ways() {
        for (packet, bytes) in captured() {
            let mut written = vec![0xee];
            encode(&packet, &[], &mut written).unwrap();
            assert_eq!(&written[1..], bytes, "{packet:?}");
            assert_eq!(one(&bytes[1..]).unwrap(), Received { packet, extra: vec![] });
        }
    }

    #[test]
    fn any_split_gives_the_same_packets() {
        let bytes: Vec<u8> = captured().iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        let whole = decode(&[&bytes]);
        assert_eq!((whole.0.len(), whole.1), (captured().len(), None));
        for cut in 0..=bytes.len() {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(decode(&[left, right]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), whole);
    }

    #[test]
    fn r9_a_broken_packet_breaks_the_link() {
        let good = b"\x03\x0cW\x02";
        let (before, fault) = decode(&[&[&good[..], &[0], good].concat()]);
        assert_eq!((before.len(), fault), (1, Some(ControlFault::Empty)));
        let malformed = |values| matches!(one(values), Err(ControlFault::Malformed(_)));
        assert!(malformed(&[7, 7]) && malformed(b"\x0cQ\x1c") && malformed(b"\x0cW\x52"));
        for values in [&b"\x00"[..], b"\x09", b"\x03\0\0\0\0\0\0\0\0", b"\x06\0"] {
            assert_eq!(one(values), Err(ControlFault::NoLetter));
        }
    }

    #[test]
    fn r10_values_behind_the_known_ones_are_kept() {
        let received = one(b"\x0cD\x0a\x03\x2cextra\x0a\x05").unwrap();
        assert_eq!(received.packet, Packet::Dead { id: id(3) });
        assert_eq!(received.extra, [Value::from("extra"), Value::Int(5)]);
        let mut bytes = Vec::new();
        encode(&received.packet, &received.extra, &mut bytes).unwrap();
        assert_eq!(bytes, b"\x0c\x0cD\x0a\x03\x2cextra\x0a\x05");
    }

    #[test]
    fn r12_numbers_are_read_as_lua_reads_them() {
        let float = |value: f64| [&[0x42][..], &value.to_le_bytes()].concat();
        let register =
            |number: &[u8]| match one(&[b"\x0cR\x0cA", number].concat()).map(|received| received.packet) {
                Ok(Packet::Register { handle, .. }) => Ok(handle.bits()),
                Ok(other) => panic!("{other:?}"),
                Err(fault) => Err(fault),
            };
        assert_eq!(register(&float(50_331_718.0)), Ok(0x0300_0046));
        assert_eq!(register(b"\x22\x02\0\0\xff"), Ok(0xff00_0002), "negative in four bytes");
        assert_eq!(register(b"\x32\x02\0\0\xff\0\0\0\0"), Ok(0xff00_0002));
        assert_eq!(register(b"\x02"), Ok(0));
        for bad in [
            &float(0.5)[..],
            &float(f64::NAN),
            &float(4_294_967_296.0),
            b"\x32\0\0\0\0\x01\0\0\0",
            b"\x0c7",
            b"",
        ] {
            assert_eq!(register(bad), Err(ControlFault::BadHandle), "{bad:?}");
        }
        let wait = |number: &[u8]| one(&[b"\x0cW", number].concat()).map(|received| received.packet);
        assert_eq!(wait(&float(3.0)), Ok(Packet::Wait { n: 3 }));
        assert_eq!(wait(b"\x22\xff\xff\xff\xff"), Ok(Packet::Wait { n: 0 }));
        assert_eq!(wait(b"\x12\0\x01"), Ok(Packet::Wait { n: 255 }));
        assert_eq!(wait(b"\x0c0"), Err(ControlFault::BadCount));
        assert_eq!(
            one(&[b"\x0cH", &float(32.0)[..], b"\x0ca"].concat()).unwrap().packet,
            Packet::Hello { id: id(32), address: "a".into() }
        );
    }

    #[test]
    fn r13_what_cannot_be_passed_over_is_a_fault_of_its_own() {
        for (values, fault) in [
            (&b"\x0cH\x02\x0ca"[..], ControlFault::BadId),
            (b"\x0cH\x12\x2c\x01\x0ca", ControlFault::BadId),
            (b"\x0cH\x22\xfd\xff\xff\xff\x0ca", ControlFault::BadId),
            (b"\x0cH\x0c1\x0ca", ControlFault::BadId),
            (b"\x0cH", ControlFault::BadId),
            (b"\x0cH\x0a\x1e", ControlFault::BadAddress),
            (b"\x0cH\x0a\x1e\x0c\xff", ControlFault::BadAddress),
            (b"\x0cR\x00\x0a\x05", ControlFault::BadName),
            (b"\x0cR\x0a\x0c\x0a\x05", ControlFault::BadName),
            (b"\x0cR\x0cA", ControlFault::BadHandle),
            (b"\x0cW", ControlFault::BadCount),
        ] {
            assert_eq!(one(values), Err(fault), "{}", values.escape_ascii());
        }
    }

    #[test]
    fn r13_the_rest_is_unknown() {
        for (values, letter) in [
            (&b"\x0cZ\x0a\x01"[..], &b"Z"[..]),
            (b"\x0cq\x0cA", b"q"),
            (b"\x1cHHH", b"HHH"),
            (b"\x04", b""),
            (b"\x0a\x51\x0cA", b"81"),
            (b"\x0cQ\x00", b"Q"),
            (b"\x0cQ", b"Q"),
            (b"\x0cC\x12\x2c\x01\x0ca", b"C"),
            (b"\x0cC\x0a\x07", b"C"),
            (b"\x0cN\x0a\x0c\x0a\x05", b"N"),
            (b"\x0cN\x0cA\x0ca", b"N"),
            (b"\x0cD\x02", b"D"),
        ] {
            let received = one(values).unwrap();
            assert_eq!(received.packet, Packet::Unknown { letter: letter.into() });
            assert_eq!(received.extra, seri::unpack(values).unwrap()[1..]);
        }
    }

    #[test]
    fn a_packet_that_does_not_fit_leaves_no_byte() {
        let named =
            |len| Packet::Register { name: PacketName::from(&vec![b'n'; len][..]), handle: handle(7) };
        let mut bytes = vec![1, 2, 3];
        encode(&named(248), &[], &mut bytes).unwrap();
        assert_eq!((bytes.len(), bytes[3], named(248).fits()), (3 + 256, 255, true));
        bytes.truncate(3);
        assert_eq!(encode(&named(249), &[], &mut bytes), Err(EncodeError::TooLong(256)));
        assert!(!named(249).fits());
        let mut deep = Value::Nil;
        for _ in 0..40 {
            deep = Value::Table(seri::Table::from_array(vec![deep]));
        }
        assert_eq!(encode(&named(1), &[deep], &mut bytes), Err(EncodeError::Extra(PackError::TooDeep)));
        assert_eq!(bytes, [1, 2, 3]);
    }
}
