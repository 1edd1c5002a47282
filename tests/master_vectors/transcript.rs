//! Reads `tests/vectors/master.json`.

use skyharbor::clock::Instant;
use skyharbor::wire::control::{Decoder, Packet};

/// What a recorder saw.
pub(crate) struct Scenario {
    pub(crate) name: String,
    raw: Vec<Raw>,
}

struct Raw {
    dir: String,
    at_ms: f64,
    link: String,
    bytes: Option<Vec<u8>>,
    meaning: String,
}

/// One thing that happened, as the real node in one role saw it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) at_ms: f64,
    pub(crate) link: String,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// The peer wrote.
    In(Vec<u8>),
    /// The real node wrote.
    Out(Vec<u8>),
    /// A connection came up.
    Connected { by_us: bool },
    /// One end closed.
    Ended { by_us: bool },
    /// Silence, a link closed, and what else is not bytes.
    Note(String),
}

impl Row {
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos((self.at_ms * 1e6) as u64)
    }
}

pub(crate) fn load() -> Vec<Scenario> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/master.json");
    let text = std::fs::read_to_string(path).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["scenarios"].as_array().unwrap().iter().map(scenario).collect()
}

fn scenario(json: &serde_json::Value) -> Scenario {
    let text = |json: &serde_json::Value| json.as_str().unwrap().to_owned();
    let raw = json["transcript"].as_array().unwrap().iter().map(|row| Raw {
        dir: text(&row["dir"]),
        at_ms: row["at_ms"].as_f64().unwrap(),
        link: text(&row["link"]),
        bytes: bytes(row),
        meaning: row["meaning"].as_str().unwrap_or_default().trim().to_owned(),
    });
    Scenario { name: text(&json["name"]), raw: raw.collect() }
}

/// The bytes of a row; of long ones, which repeat one byte, only their ends are recorded.
fn bytes(row: &serde_json::Value) -> Option<Vec<u8>> {
    match row["hex"].as_str() {
        // The recorder of the sniffed scenario has no bytes for what TCP does.
        Some("") => return None,
        Some(hex) => return Some(bytes_of_hex(hex)),
        None => {}
    }
    let len = row["length"].as_u64()? as usize;
    let mut bytes = bytes_of_hex(row["first32"].as_str()?);
    let last = bytes_of_hex(row["last16"].as_str()?);
    assert_eq!(bytes.last(), last.first());
    bytes.resize(len - last.len(), last[0]);
    bytes.extend(last);
    Some(bytes)
}

pub(crate) fn bytes_of_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

impl Scenario {
    /// The rows from `from` to `until` that concern a role: `master` or `slave`, in the sniffed scenario `slave1` and so on.
    pub(crate) fn rows(&self, role: &str, from: f64, until: f64) -> Vec<Row> {
        let concerned = self.raw.iter().filter(|raw| from <= raw.at_ms && raw.at_ms < until);
        concerned
            .filter(|raw| role != "master" || !raw.link.starts_with("harbor"))
            .filter_map(|raw| Some(Row { at_ms: raw.at_ms, link: raw.link.clone(), what: raw.what(role)? }))
            .collect()
    }

    /// Id and address of the first `H` that this role wrote.
    pub(crate) fn hello(&self, role: &str) -> (u8, String) {
        for row in self.rows(role, 0.0, f64::MAX) {
            let What::Out(bytes) = row.what else { continue };
            let received = Decoder::new().feed(&mut &bytes[..]).unwrap().unwrap();
            let Packet::Hello { id, address } = received.packet else { panic!("{received:?}") };
            return (id.get(), address);
        }
        panic!("{} has no H", self.name)
    }

    /// Whom the witness saw die.
    pub(crate) fn reported_dead(&self) -> Option<u8> {
        let witnessed = self.raw.iter().filter(|raw| raw.link == "witness");
        witnessed.filter_map(|raw| raw.bytes.as_deref()).find_map(|bytes| match bytes {
            [4, 0x0c, b'D', 0x0a, id] => Some(*id),
            _ => None,
        })
    }
}

impl Raw {
    /// The row as `role` saw it; `None` if it does not concern it.
    fn what(&self, role: &str) -> Option<What> {
        let bytes = || self.bytes.clone().unwrap();
        match self.dir.as_str() {
            ">" => return Some(What::In(bytes())),
            "<" => return Some(What::Out(bytes())),
            "-" => return Some(What::Note(self.meaning.clone())),
            _ => {}
        }
        let (from, to) = self.dir.split_once('>').unwrap();
        if from != role && to != role {
            return None;
        }
        let by_us = from == role;
        Some(match (&self.bytes, by_us) {
            (Some(bytes), true) => What::Out(bytes.clone()),
            (Some(bytes), false) => What::In(bytes.clone()),
            (None, by_us) if self.meaning.starts_with("TCP connect") => What::Connected { by_us },
            (None, by_us) => What::Ended { by_us },
        })
    }
}
