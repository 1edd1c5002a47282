//! The external ledger: what a life did, in a file that survives it.
//!
//! One file per life, one record of 64 bytes per event, one `write` per record: what is written is the system's, whatever
//! becomes of the process. A record never crosses a page, so that a kill cannot tear it. What a service is about to send is
//! recorded before it is sent, what it got before it is handled, so the ledger may say more than happened, never less.
//!
//! ```text
//!  0      1      2      3      4       8        16      24     28     32    36     38     40       56      64
//!  ├ what ┼ code ┼ form ┼ slot ┼ life ─┼ number ┼ at ───┼ handle ┼ bytes ┼ agent ┼ other ┼ 0 … ─┼ check ┤
//! ```

use super::letter::{Author, Form, Letter, Place};
use super::outcome::Outcome;
use crate::output::complain;
use crate::random::mix;
use skyharbor::clock::Instant;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Bytes of one record; a whole number of them makes a page.
const RECORD_BYTES: usize = 64;
const _: () = assert!(4096 % RECORD_BYTES == 0);

/// One thing that one life did or saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// This agent has this handle.
    Born { agent: u16, handle: u32 },
    /// The agent has its global name.
    Named { agent: u16 },
    /// The agent is about to send a letter.
    Sent { letter: Letter, bytes: u32 },
    /// The send was refused at once.
    Refused { agent: u16, number: u64, outcome: Outcome },
    /// A call of the agent ended; `life` answered, if one did.
    Ended { agent: u16, number: u64, outcome: Outcome, life: u32 },
    /// The agent got a letter; `asks` if its sender waits for an answer.
    Got { agent: u16, letter: Letter, asks: bool },
    /// The agent got something that is no letter.
    Corrupt { agent: u16 },
    /// The agent was told that the link to this node is up.
    Up { agent: u16, harbor: u8 },
    /// The agent was told that the link to this node is lost.
    Down { agent: u16, harbor: u8 },
    /// Nobody sends any more: so many calls are open, so many panics were caught.
    Quiet { outstanding: u32, panics: u32 },
}

/// A record and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Instant,
    pub(super) record: Record,
}

/// The writing end, shared by all services of a life.
pub(super) struct Ledger(File);

impl Ledger {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().append(true).create_new(true).open(path)?))
    }

    /// Records what happens now. A life without its ledger proves nothing: it ends.
    pub(super) fn write(&self, record: Record) {
        let entry = Entry { at: Instant::now(), record };
        if let Err(error) = (&self.0).write_all(&entry.to_bytes()) {
            complain(format_args!("cannot write the ledger: {error}"));
            std::process::exit(1);
        }
    }
}

/// All records of a ledger, oldest first, and whether every byte of it was one.
pub(super) fn read(path: &Path) -> io::Result<(Vec<Entry>, bool)> {
    let bytes = std::fs::read(path)?;
    let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
    let entries: Vec<Entry> = records.iter().map_while(Entry::from_bytes).collect();
    let is_whole = rest.is_empty() && entries.len() == records.len();
    Ok((entries, is_whole))
}

/// The fields of a record, by the places that they have in all of them.
#[derive(Default)]
struct Fields {
    what: u8,
    code: u8,
    form: u8,
    slot: u8,
    life: u32,
    number: u64,
    handle: u32,
    bytes: u32,
    agent: u16,
    other: u16,
    wait: u16,
}

impl Entry {
    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let fields = Fields::of(&self.record);
        let mut bytes = [0; RECORD_BYTES];
        bytes[..4].copy_from_slice(&[fields.what, fields.code, fields.form, fields.slot]);
        bytes[4..8].copy_from_slice(&fields.life.to_le_bytes());
        bytes[8..16].copy_from_slice(&fields.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.at.nanos().to_le_bytes());
        bytes[24..28].copy_from_slice(&fields.handle.to_le_bytes());
        bytes[28..32].copy_from_slice(&fields.bytes.to_le_bytes());
        bytes[32..34].copy_from_slice(&fields.agent.to_le_bytes());
        bytes[34..36].copy_from_slice(&fields.other.to_le_bytes());
        bytes[36..38].copy_from_slice(&fields.wait.to_le_bytes());
        let check = check(&bytes);
        bytes[CHECK..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        if u64::from_le_bytes(field(bytes, CHECK)) != check(bytes) {
            return None;
        }
        let fields = Fields {
            what: bytes[0],
            code: bytes[1],
            form: bytes[2],
            slot: bytes[3],
            life: u32::from_le_bytes(field(bytes, 4)),
            number: u64::from_le_bytes(field(bytes, 8)),
            handle: u32::from_le_bytes(field(bytes, 24)),
            bytes: u32::from_le_bytes(field(bytes, 28)),
            agent: u16::from_le_bytes(field(bytes, 32)),
            other: u16::from_le_bytes(field(bytes, 34)),
            wait: u16::from_le_bytes(field(bytes, 36)),
        };
        let at = Instant::from_nanos(u64::from_le_bytes(field(bytes, 16)));
        Some(Self { at, record: fields.record()? })
    }
}

const CHECK: usize = RECORD_BYTES - 8;

fn check(bytes: &[u8; RECORD_BYTES]) -> u64 {
    let words = bytes[..CHECK].as_chunks::<8>().0;
    words.iter().fold(0, |check, word| mix(check ^ u64::from_le_bytes(*word)))
}

fn field<const N: usize>(bytes: &[u8; RECORD_BYTES], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the field is inside the record")
}

impl Fields {
    fn of(record: &Record) -> Self {
        let empty = Self::default();
        match *record {
            Record::Born { agent, handle } => Self { what: 1, agent, handle, ..empty },
            Record::Named { agent } => Self { what: 2, agent, ..empty },
            Record::Sent { letter, bytes } => {
                Self { what: 3, agent: letter.from.agent, bytes, ..Self::of_letter(&letter) }
            }
            Record::Refused { agent, number, outcome } => {
                Self { what: 4, code: outcome as u8, agent, number, ..empty }
            }
            Record::Ended { agent, number, outcome, life } => {
                Self { what: 5, code: outcome as u8, agent, number, life, ..empty }
            }
            Record::Got { agent, letter, asks } => {
                let author = letter.from.agent.into();
                Self { what: 6, code: asks.into(), agent, bytes: author, ..Self::of_letter(&letter) }
            }
            Record::Corrupt { agent } => Self { what: 7, agent, ..empty },
            Record::Up { agent, harbor } => Self { what: 8, agent, slot: harbor, ..empty },
            Record::Down { agent, harbor } => Self { what: 9, agent, slot: harbor, ..empty },
            Record::Quiet { outstanding, panics } => {
                Self { what: 10, life: outstanding, handle: panics, ..empty }
            }
        }
    }

    fn of_letter(letter: &Letter) -> Self {
        Self {
            form: letter.form.bits(),
            slot: letter.to.slot,
            life: letter.from.life,
            number: letter.number,
            handle: letter.handle,
            other: letter.to.agent,
            wait: letter.wait,
            ..Self::default()
        }
    }

    fn letter(&self, author: u16) -> Letter {
        Letter {
            from: Author { life: self.life, agent: author },
            number: self.number,
            to: Place { slot: self.slot, agent: self.other },
            form: Form::of(self.form),
            handle: self.handle,
            wait: self.wait,
        }
    }

    fn record(&self) -> Option<Record> {
        let Self { agent, number, .. } = *self;
        let outcome = || Outcome::from_code(self.code);
        Some(match self.what {
            1 => Record::Born { agent, handle: self.handle },
            2 => Record::Named { agent },
            3 => Record::Sent { letter: self.letter(agent), bytes: self.bytes },
            4 => Record::Refused { agent, number, outcome: outcome()? },
            5 => Record::Ended { agent, number, outcome: outcome()?, life: self.life },
            6 => Record::Got { agent, letter: self.letter(self.bytes as u16), asks: self.code != 0 },
            7 => Record::Corrupt { agent },
            8 => Record::Up { agent, harbor: self.slot },
            9 => Record::Down { agent, harbor: self.slot },
            10 => Record::Quiet { outstanding: self.life, panics: self.handle },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let letter = Letter {
            from: Author { life: 70_000, agent: 3 },
            number: 1 << 33,
            to: Place { slot: 7, agent: 2 },
            form: Form { by_name: false, is_call: true },
            handle: 0xfe12_3456,
            wait: 20,
        };
        let (agent, number) = (9, u64::MAX);
        vec![
            Record::Born { agent, handle: 5 },
            Record::Named { agent },
            Record::Sent { letter, bytes: 1 << 24 },
            Record::Refused { agent, number, outcome: Outcome::Full },
            Record::Ended { agent, number, outcome: Outcome::Reply, life: 4 },
            Record::Got { agent, letter, asks: true },
            Record::Corrupt { agent },
            Record::Up { agent, harbor: 255 },
            Record::Down { agent, harbor: 1 },
            Record::Quiet { outstanding: 1, panics: 2 },
        ]
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let ledger = Ledger::create(&path).unwrap();
        records().into_iter().for_each(|record| ledger.write(record));
        let (entries, is_whole) = read(&path).unwrap();
        assert!(is_whole && entries.is_sorted_by_key(|entry| entry.at));
        assert_eq!(entries.iter().map(|entry| entry.record).collect::<Vec<_>>(), records());
        assert!(Ledger::create(&path).is_err(), "a ledger belongs to one life");
    }

    #[test]
    fn a_torn_record_ends_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let ledger = Ledger::create(&path).unwrap();
        records().into_iter().for_each(|record| ledger.write(record));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(5 * RECORD_BYTES + 1);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap().0.len(), 5);
        bytes[2 * RECORD_BYTES + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (entries, is_whole) = read(&path).unwrap();
        assert_eq!((entries.len(), is_whole), (2, false));
    }
}
