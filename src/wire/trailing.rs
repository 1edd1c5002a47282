//! What our nodes say behind the values of a control packet.
//!
//! | packet | values | from whom |
//! |---|---|---|
//! | `H`, `C`, `N` of `~sky.<id>` | `"sky.hello"`, incarnation, capabilities | the node that it is about |
//! | `W` | the same | the node of the master |
//! | `R` | `"sky.epoch"`, epoch | a node that registers its names again; 0: no master has confirmed this one |
//! | `N` | the same | the master: when the owner was confirmed |
//!
//! Real nodes pass over such values, and a real master passes none of them on. What does not fit into a packet with
//! them goes without.

use super::control::{EncodeError, Packet, Received, encode};
use crate::seri::Value;

const HELLO: &[u8] = b"sky.hello";
const EPOCH: &[u8] = b"sky.epoch";

/// What a node tells others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which life of the node this is; a later one has a higher number.
    pub incarnation: u64,
    /// What it can do besides what real nodes can, a bit each; unknown ones mean nothing.
    pub capabilities: u64,
}

impl Hello {
    /// The bit of a node that answers to PING.
    pub const PULSE: u64 = 1;
    /// The bit of a node that reads compressed messages ([`decompress`](super::decompress)).
    pub const READS_COMPRESSED: u64 = 2;

    /// Whether it reads compressed messages.
    pub const fn reads_compressed(&self) -> bool {
        self.capabilities & Self::READS_COMPRESSED != 0
    }
}

/// The values behind those of a packet, as far as they mean something to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trailing {
    /// None.
    #[default]
    Nothing,
    /// Who a node is.
    Hello(Hello),
    /// When a registration was confirmed: of two, the one with the lower number was first.
    Epoch(u64),
}

impl Trailing {
    /// Reads the values behind those of a packet. Values behind the known ones are for later versions.
    pub fn read(extra: &[Value]) -> Self {
        match extra {
            [Value::Bytes(word), Value::Int(incarnation), Value::Int(capabilities), ..] if word == HELLO => {
                let (incarnation, capabilities) = (unsigned(*incarnation), unsigned(*capabilities));
                Self::Hello(Hello { incarnation, capabilities })
            }
            [Value::Bytes(word), Value::Int(epoch), ..] if word == EPOCH => Self::Epoch(unsigned(*epoch)),
            _ => Self::Nothing,
        }
    }

    /// Appends a packet to `bytes` with these values behind its own, or without them if they do not fit.
    ///
    /// # Errors
    /// [`EncodeError`] if the packet does not fit either; `bytes` is then as it was.
    pub fn encode(self, packet: &Packet, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode(packet, &self.values(), bytes).or_else(|_| encode(packet, &[], bytes))
    }

    /// A packet as its receiver reads it.
    pub fn behind(self, packet: Packet) -> Received {
        Received { packet, extra: self.values() }
    }

    fn values(self) -> Vec<Value> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Hello(Hello { incarnation, capabilities }) => {
                vec![HELLO.into(), signed(incarnation), signed(capabilities)]
            }
            Self::Epoch(epoch) => vec![EPOCH.into(), signed(epoch)],
        }
    }

    /// Who a node is, if that is what stands there.
    pub fn hello(self) -> Option<Hello> {
        match self {
            Self::Hello(hello) => Some(hello),
            Self::Nothing | Self::Epoch(_) => None,
        }
    }

    /// When a registration was confirmed, if that is what stands there.
    pub fn epoch(self) -> Option<u64> {
        match self {
            Self::Epoch(epoch) => Some(epoch),
            Self::Nothing | Self::Hello(_) => None,
        }
    }
}

/// A packet with nothing behind its values.
impl From<Packet> for Received {
    fn from(packet: Packet) -> Self {
        Self { packet, extra: Vec::new() }
    }
}

fn signed(bits: u64) -> Value {
    Value::Int(i64::from_ne_bytes(bits.to_ne_bytes()))
}

fn unsigned(int: i64) -> u64 {
    u64::from_ne_bytes(int.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Handle, HarborId};
    use crate::wire::PacketName;
    use crate::wire::control::Decoder;

    fn read_again(packet: &Packet, trailing: Trailing) -> Trailing {
        let mut bytes = Vec::new();
        trailing.encode(packet, &mut bytes).unwrap();
        let received = Decoder::new().feed(&mut &bytes[..]).unwrap().unwrap();
        assert_eq!(received.packet, *packet);
        Trailing::read(&received.extra)
    }

    #[test]
    fn what_is_written_behind_a_packet_is_read_again() {
        let packet = Packet::Wait { n: 3 };
        for number in [0, 1, 1_800_000_000 << 24, u64::MAX] {
            let hello = Trailing::Hello(Hello { incarnation: number, capabilities: !number });
            for trailing in [Trailing::Nothing, hello, Trailing::Epoch(number)] {
                assert_eq!(read_again(&packet, trailing), trailing);
            }
        }
    }

    #[test]
    fn values_of_others_mean_nothing_and_later_ones_are_passed_over() {
        let epoch = |values: &[Value]| Trailing::read(values);
        assert_eq!(epoch(&[EPOCH.into(), Value::Int(7), Value::Nil]), Trailing::Epoch(7));
        for other in [&[Value::Int(7)][..], &["sky.epoch".into()], &["epoch".into(), Value::Int(7)], &[]] {
            assert_eq!(epoch(other), Trailing::Nothing, "{other:?}");
        }
        assert_eq!(epoch(&[EPOCH.into(), Value::Float(7.0)]), Trailing::Nothing);
    }

    #[test]
    fn a_packet_that_has_no_room_for_more_goes_without() {
        let hello = Trailing::Hello(Hello { incarnation: 1_800_000_000, capabilities: 0 });
        let named = |len| Packet::Name {
            name: PacketName::from(&vec![b'n'; len][..]),
            handle: Handle::new(HarborId::new(255), 8),
        };
        assert_eq!(read_again(&named(200), hello), hello);
        assert_eq!(read_again(&named(240), hello), Trailing::Nothing);
        assert!(hello.encode(&named(250), &mut Vec::new()).is_err());
        // Skynet's own longest address leaves no room; a usual one does.
        let greeting = |len| Packet::Hello { id: HarborId::new(255), address: "h".repeat(len) };
        assert_eq!(read_again(&greeting(248), hello), Trailing::Nothing);
        assert_eq!(read_again(&greeting(200), hello), hello);
    }
}
