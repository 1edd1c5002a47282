//! The captured transcripts, as rows of bytes.

use serde_json::Value;

/// Who wrote a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The scripted peer.
    In,
    /// The real node.
    Out,
    /// Nobody: a remark.
    Note,
    /// In the sniffed scenario: from, to.
    Between(String, String),
}

/// One row.
pub(crate) struct Row {
    pub(crate) direction: Direction,
    pub(crate) at_ms: f64,
    pub(crate) link: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) meaning: String,
}

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
}

/// All scenarios of a file.
pub(crate) fn load(text: &str) -> Vec<Scenario> {
    let file: Value = serde_json::from_str(text).expect("the vectors are JSON");
    let scenarios = file["scenarios"].as_array().expect("scenarios");
    scenarios.iter().map(scenario).collect()
}

fn scenario(value: &Value) -> Scenario {
    let rows = value["transcript"].as_array().map(|rows| rows.iter().map(row).collect());
    Scenario { name: text(value, "name"), rows: rows.unwrap_or_default() }
}

fn row(value: &Value) -> Row {
    let direction = match text(value, "dir").as_str() {
        ">" => Direction::In,
        "<" => Direction::Out,
        "-" => Direction::Note,
        between => {
            let (from, to) = between.split_once('>').expect("a>b");
            Direction::Between(from.to_owned(), to.to_owned())
        }
    };
    let bytes = match value["length"].as_u64() {
        Some(length) => long_bytes(value, length as usize),
        None => unhex(&text(value, "hex")),
    };
    let at_ms = value["at_ms"].as_f64().unwrap_or(0.0);
    Row { direction, at_ms, link: text(value, "link"), bytes, meaning: text(value, "meaning") }
}

/// How long a row may be for its hash to be computed: this takes seconds for the longest in a debug build.
const HASHED_BYTES_MAX: usize = 2 << 20;

/// Long rows are one repeated byte between a known head and a known tail; the hash says whether that is so.
fn long_bytes(value: &Value, length: usize) -> Vec<u8> {
    let (head, tail) = (unhex(&text(value, "first32")), unhex(&text(value, "last16")));
    let mut bytes = head.clone();
    bytes.resize(length - tail.len(), head[head.len() - 1]);
    bytes.extend_from_slice(&tail);
    if length <= HASHED_BYTES_MAX {
        assert_eq!(hex(&sha256(&bytes)), text(value, "sha256"), "a long row is one repeated byte");
    }
    bytes
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 (FIPS 180-4); its constants are the fractions of the roots of the first primes.
fn sha256(message: &[u8]) -> [u8; 32] {
    let primes: Vec<u64> = (2u64..312).filter(|n| (2..*n).all(|d| n % d != 0)).take(64).collect();
    let fraction = |root: f64| ((root - root.floor()) * 4_294_967_296.0) as u32;
    let rounds: Vec<u32> = primes.iter().map(|prime| cube_root_fraction(*prime)).collect();
    let mut state: Vec<u32> = primes[..8].iter().map(|prime| fraction((*prime as f64).sqrt())).collect();
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(8 * message.len() as u64).to_be_bytes());
    for block in padded.chunks(64) {
        compress(&mut state, &rounds, block);
    }
    let mut digest = [0; 32];
    for (part, word) in digest.chunks_mut(4).zip(&state) {
        part.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// The first 32 bits of the fraction of the cube root, exactly: the largest r with r³ ≤ prime · 2⁹⁶.
fn cube_root_fraction(prime: u64) -> u32 {
    let target = u128::from(prime) << 96;
    let (mut low, mut high) = (0u128, 8u128 << 32);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if middle * middle * middle <= target { low = middle } else { high = middle }
    }
    low as u32
}

fn compress(state: &mut [u32], rounds: &[u32], block: &[u8]) {
    let mut words: Vec<u32> =
        block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
    for t in 16..64 {
        let (a, b) = (words[t - 15], words[t - 2]);
        let small = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
        let large = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
        words.push(words[t - 16].wrapping_add(small).wrapping_add(words[t - 7]).wrapping_add(large));
    }
    let mut v = state.to_vec();
    for t in 0..64 {
        let sum1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
        let choice = (v[4] & v[5]) ^ (!v[4] & v[6]);
        let first =
            v[7].wrapping_add(sum1).wrapping_add(choice).wrapping_add(rounds[t]).wrapping_add(words[t]);
        let sum0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
        let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        v.rotate_right(1);
        v[4] = v[4].wrapping_add(first);
        v[0] = first.wrapping_add(sum0).wrapping_add(majority);
    }
    for (sum, word) in state.iter_mut().zip(v) {
        *sum = sum.wrapping_add(word);
    }
}

#[test]
fn the_hash_is_sha_256() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex(&sha256(b"abc")), abc);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex(&sha256(b"")), empty);
}
