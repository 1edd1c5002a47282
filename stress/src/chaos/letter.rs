//! What agents write to each other, with a check over every byte: a letter that was changed on its way is not taken.
//!
//! ```text
//!  0      4       6      7      8        10     12       16       24      32        size
//!  ├ life ┼ agent ┼ form ┼ slot ┼ its agent ┼ wait ┼ handle ┼ number ┼ check ┼ fill ┤      little endian
//!   who wrote it          for whom            ms     believed
//! ```
//!
//! An answer is the head of the letter that it answers with the life of who answers in `handle`.

use crate::random::mix;

/// Bytes of a letter without fill, and of an answer.
pub(super) const HEAD_BYTES: usize = 32;

/// One agent of one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Author {
    pub(super) life: u32,
    pub(super) agent: u16,
}

/// Where an agent is, whichever life is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) slot: u8,
    pub(super) agent: u16,
}

/// How a letter is addressed and what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// By global name; otherwise by handle.
    pub(super) by_name: bool,
    /// It wants an answer.
    pub(super) is_call: bool,
}

/// One letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) from: Author,
    /// Counts the letters of its author, from 1.
    pub(super) number: u64,
    pub(super) to: Place,
    pub(super) form: Form,
    /// Where its author believes the receiver to be: bits of a handle, 0 if it does not know.
    pub(super) handle: u32,
    /// How long the receiver waits before it answers, in milliseconds.
    pub(super) wait: u16,
}

const ANSWER: u8 = 1 << 7;

/// Writes and reads the letters of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pen {
    seed: u64,
}

impl Pen {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A letter of `size` bytes, at least [`HEAD_BYTES`].
    pub(super) fn write(self, letter: &Letter, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size.max(HEAD_BYTES));
        self.head(&mut bytes, letter, letter.form.bits(), letter.handle);
        let mut fill = letter.number;
        while bytes.len() < size {
            fill = mix(fill);
            let room = (size - bytes.len()).min(8);
            bytes.extend_from_slice(&fill.to_le_bytes()[..room]);
        }
        self.seal(&mut bytes);
        bytes
    }

    /// The answer of `life` to a letter.
    pub(super) fn answer(self, letter: &Letter, life: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        self.head(&mut bytes, letter, letter.form.bits() | ANSWER, life);
        self.seal(&mut bytes);
        bytes
    }

    /// The letter in these bytes, if they are one of this run and whole.
    pub(super) fn read(self, bytes: &[u8]) -> Option<Letter> {
        let (letter, form) = self.open(bytes)?;
        (form & ANSWER == 0).then_some(letter)
    }

    /// The life that answered the letter `number` of `author`, if these bytes are such an answer.
    pub(super) fn read_answer(self, bytes: &[u8], author: Author, number: u64) -> Option<u32> {
        let (letter, form) = self.open(bytes)?;
        (form & ANSWER != 0 && letter.from == author && letter.number == number).then_some(letter.handle)
    }

    fn head(self, bytes: &mut Vec<u8>, letter: &Letter, form: u8, handle: u32) {
        bytes.extend_from_slice(&letter.from.life.to_le_bytes());
        bytes.extend_from_slice(&letter.from.agent.to_le_bytes());
        bytes.extend_from_slice(&[form, letter.to.slot]);
        bytes.extend_from_slice(&letter.to.agent.to_le_bytes());
        bytes.extend_from_slice(&letter.wait.to_le_bytes());
        bytes.extend_from_slice(&handle.to_le_bytes());
        bytes.extend_from_slice(&letter.number.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
    }

    fn seal(self, bytes: &mut [u8]) {
        let check = self.check(bytes);
        bytes[CHECK..HEAD_BYTES].copy_from_slice(&check.to_le_bytes());
    }

    fn open(self, bytes: &[u8]) -> Option<(Letter, u8)> {
        if bytes.len() < HEAD_BYTES || u64::from_le_bytes(field(bytes, CHECK)?) != self.check(bytes) {
            return None;
        }
        let form = bytes[6];
        let letter = Letter {
            from: Author {
                life: u32::from_le_bytes(field(bytes, 0)?),
                agent: u16::from_le_bytes(field(bytes, 4)?),
            },
            number: u64::from_le_bytes(field(bytes, 16)?),
            to: Place { slot: bytes[7], agent: u16::from_le_bytes(field(bytes, 8)?) },
            form: Form::of(form),
            handle: u32::from_le_bytes(field(bytes, 12)?),
            wait: u16::from_le_bytes(field(bytes, 10)?),
        };
        Some((letter, form))
    }

    /// A check of all bytes but its own.
    fn check(self, bytes: &[u8]) -> u64 {
        let (head, rest) = (&bytes[..CHECK], &bytes[HEAD_BYTES..]);
        let words = head.chunks(8).chain(rest.chunks(8)).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        words.fold(mix(self.seed ^ bytes.len() as u64), |check, word| mix(check ^ word))
    }
}

/// Where the check stands.
const CHECK: usize = 24;

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Form {
    pub(super) fn bits(self) -> u8 {
        u8::from(self.by_name) | u8::from(self.is_call) << 1
    }

    pub(super) fn of(bits: u8) -> Self {
        Self { by_name: bits & 1 != 0, is_call: bits & 2 != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        Letter {
            from: Author { life: 70_000, agent: 1 },
            number: 1 << 40,
            to: Place { slot: 7, agent: 300 },
            form: Form { by_name: true, is_call: true },
            handle: 0xfe00_0009,
            wait: 400,
        }
    }

    #[test]
    fn a_letter_comes_out_as_it_went_in() {
        let pen = Pen::new(5);
        for size in [0, 32, 33, 40, 5000] {
            let bytes = pen.write(&letter(), size);
            assert_eq!((bytes.len(), pen.read(&bytes)), (size.max(HEAD_BYTES), Some(letter())));
        }
        assert_eq!(Pen::new(6).read(&pen.write(&letter(), 32)), None, "of another run");
    }

    #[test]
    fn one_changed_bit_anywhere_or_a_missing_byte_is_seen() {
        let pen = Pen::new(5);
        let whole = pen.write(&letter(), 51);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(pen.read(&bytes), None, "bit {bit}");
        }
        for len in 0..whole.len() {
            assert_eq!(pen.read(&whole[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn an_answer_belongs_to_one_letter() {
        let pen = Pen::new(5);
        let answer = pen.answer(&letter(), 9);
        let Letter { from, number, .. } = letter();
        assert_eq!(pen.read_answer(&answer, from, number), Some(9));
        assert_eq!(pen.read_answer(&answer, from, number + 1), None);
        assert_eq!(pen.read_answer(&answer, Author { agent: 0, ..from }, number), None);
        assert_eq!(pen.read(&answer), None, "an answer is no letter");
        assert_eq!(pen.read_answer(&pen.write(&letter(), 32), from, number), None, "a letter is no answer");
    }
}
