//! Transcripts of the control link, taken from real Skynet nodes, replayed against the registry's machines.
//!
//! Where the real node was the master, our master gets the bytes of its slaves and must write the bytes that the real
//! one wrote, link by link. Where it was a slave, our slave gets the bytes of the master and the id bytes of harbor links.
//! What ours does otherwise on purpose is in [`differences`], each with its reason; a difference that does not
//! show up is an error. Harbor frames in these transcripts belong to the tests of `harbor`: [`FRAMES_IN`] names them.

mod bench;
mod differences;
mod transcript;

use bench::{Bench, CONTROL, MasterBench, SlaveBench, name_of, script};
use differences::{Difference, Ours, differences};
use skyharbor::Handle;
use skyharbor::registry::SlaveEvent;
use skyharbor::wire::PacketName;
use std::collections::BTreeSet;
use transcript::{Row, Scenario, What, bytes_of_hex};

/// Scenarios in which harbor frames follow the handshake of a link.
const FRAMES_IN: [&str; 9] = [
    "fake_master_C_after_lost_link",
    "fake_master_C_before_ready",
    "fake_master_D_for_living_link",
    "fake_master_SERVICE_answers_error",
    "fake_master_harbor_200",
    "fake_master_odd_packages",
    "fake_master_register_query",
    "fake_master_standalone_services",
    "real_master_and_three_slaves",
];

/// What a slave knows when its transcript ends.
const OWNERS: [(&str, &str, u32); 5] = [
    ("fake_master_C_before_ready", "EARLY", 0x0300_0007),
    ("fake_master_odd_packages", "TWICE", 0x0200_0002),
    ("fake_master_odd_packages", "NEG", 0xff00_0002),
    ("fake_master_register_query", "MINE", 0x0200_0055),
    ("fake_master_register_query", "UNK", 0x0200_0066),
];

/// Replays the rows and says which of the differences showed up.
struct Replay<'b, 'd> {
    bench: &'b mut dyn Bench,
    open: Vec<&'d Difference>,
}

impl Replay<'_, '_> {
    fn run(&mut self, rows: &[Row]) {
        for row in rows {
            self.bench.turn(row);
            match &row.what {
                What::In(bytes) => self.bench.input(&row.link, bytes),
                What::Out(bytes) => self.written(row, bytes),
                What::Connected { by_us } => self.bench.connected(&row.link, *by_us),
                What::Ended { by_us: false } => self.bench.ended(&row.link),
                What::Ended { by_us: true } => {
                    let link = self.bench.links().get(&row.link);
                    assert!(link.is_none_or(|link| link.closed), "{row:?}: ours is open");
                }
                What::Note(text) => self.note(row, text),
            }
        }
        self.nothing_is_left();
    }

    /// The real node wrote these bytes.
    fn written(&mut self, row: &Row, theirs: &[u8]) {
        self.bench.expected(&row.link, theirs);
        if self.read(&row.link, theirs) {
            return;
        }
        let otherwise = |ours: &Ours| match ours {
            Ours::Silent { link, theirs: hex } | Ours::Writes { link, theirs: hex, .. } => {
                *link == row.link && bytes_of_hex(hex) == theirs
            }
            Ours::WritesUnseen { .. } | Ours::Closes { .. } | Ours::NotAs { .. } => false,
        };
        let ours = match self.take(otherwise) {
            Some(Difference { ours: Ours::Writes { ours, .. }, .. }) => bytes_of_hex(ours),
            Some(_) => return,
            None => theirs.to_vec(),
        };
        let is_written = self.read(&row.link, &ours);
        let unread = self.bench.links().get(&row.link).map(|link| link.unread.clone());
        assert!(is_written, "{row:?}: expected {ours:02x?}, written {unread:02x?}");
    }

    /// Takes these bytes from what the machine wrote to the link, if they come next.
    fn read(&mut self, link: &str, bytes: &[u8]) -> bool {
        let Some(link) = self.bench.links().get_mut(link) else { return false };
        let is_next = link.unread.starts_with(bytes);
        if is_next {
            link.unread.drain(..bytes.len());
        }
        is_next
    }

    /// What the recorder noted about the real node.
    fn note(&mut self, row: &Row, text: &str) {
        let not_so = |ours: &Ours| matches!(ours, Ours::NotAs { note } if text.starts_with(note));
        if self.take(not_so).is_some() {
            return;
        }
        let closes = |ours: &Ours| matches!(ours, Ours::Closes { link } if *link == row.link);
        let closed = self.bench.links().get(&row.link).is_some_and(|link| link.closed);
        let unread = self.bench.links().get(&row.link).map_or(0, |link| link.unread.len());
        if text.starts_with("link still open") && self.take(closes).is_some() {
            assert!(closed && unread == 0, "{row:?}");
        } else if text.starts_with("link still open") {
            assert!(!closed && unread == 0, "{row:?}");
        } else if text.starts_with("node closed the link") || text.starts_with("no answer (EOFError)") {
            assert!(closed && unread == 0, "{row:?}");
        } else if text.starts_with("nothing from the node for") {
            assert_eq!(unread, 0, "{row:?}");
        } else if let Some(rest) = text.strip_prefix("no connect") {
            let id =
                rest.split(' ').find_map(|word| word.parse::<u8>().ok()).filter(|_| rest.starts_with(" to"));
            assert!(!self.bench.dials(id), "{row:?}");
        } else if text.contains(" closes") || text.ends_with(" is lost") {
            self.bench.ended(&row.link);
        } else {
            panic!("a note that the test does not understand: {row:?}");
        }
    }

    fn nothing_is_left(&mut self) {
        let links = std::mem::take(self.bench.links());
        // The standalone node's own link is in no transcript that a fake slave recorded.
        for (name, link) in links.iter().filter(|(name, _)| *name != "node") {
            let unseen = |ours: &Ours| match ours {
                Ours::WritesUnseen { link: at, ours } => at == name && bytes_of_hex(ours) == link.unread,
                _ => false,
            };
            assert!(link.unread.is_empty() || self.take(unseen).is_some(), "{name}: {:02x?}", link.unread);
        }
    }

    fn take(&mut self, is_wanted: impl Fn(&Ours) -> bool) -> Option<&Difference> {
        let at = self.open.iter().position(|difference| is_wanted(&difference.ours))?;
        Some(self.open.remove(at))
    }
}

/// Which roles the real nodes of a scenario played.
fn roles(scenario: &str) -> &'static [&'static str] {
    match scenario {
        "real_master_and_three_slaves" => &["master", "slave1", "slave2", "slave3"],
        name if name.starts_with("fake_master") => &["slave"],
        name if name.starts_with("fake_slaves") => &["master"],
        name if name.starts_with("first_package") || name.starts_with("later_package") => &["master"],
        _ => &[],
    }
}

/// Replays one role of one scenario; what is left of its differences, and whether frames were passed over.
fn replay<'a>(scenario: &Scenario, role: &str, open: Vec<&'a Difference>) -> (Vec<&'a Difference>, bool) {
    // From here on the sniffed nodes are taken down.
    let rows = scenario.rows(role, 0.0, 12_000.0);
    if role == "master" {
        let mut bench = MasterBench::new();
        bench.set_up(scenario);
        let mut replay = Replay { bench: &mut bench, open };
        replay.run(&rows);
        return (replay.open, false);
    }
    let (own, address) = scenario.hello(role);
    let mut bench = SlaveBench::new(own, address, script(&scenario.name, role));
    if role == "slave" {
        bench.connected(CONTROL, true);
    }
    // Slave 2 is killed at 1798 ms; its second life is a test of its own.
    let until = if role == "slave2" { 1_798.0 } else { 12_000.0 };
    let mut replay = Replay { bench: &mut bench, open };
    replay.run(&scenario.rows(role, 0.0, until));
    let open = replay.open;
    for (_, name, handle) in OWNERS.iter().filter(|(name, _, _)| *name == scenario.name) {
        assert_eq!(bench.slave.owner(&name_of(name)), Some(Handle::from_bits(*handle)), "{name}");
    }
    (open, bench.frames)
}

#[test]
fn every_transcript_of_the_control_link() {
    let scenarios = transcript::load();
    let differences = differences();
    let mut replayed = 0;
    let mut frames = BTreeSet::new();
    for scenario in &scenarios {
        let mut open: Vec<&Difference> =
            differences.iter().filter(|difference| difference.scenario == scenario.name).collect();
        for role in roles(&scenario.name) {
            println!("{} as {role}", scenario.name);
            let has_frames;
            (open, has_frames) = replay(scenario, role, open);
            if has_frames {
                frames.insert(scenario.name.as_str());
            }
        }
        let left: Vec<&str> = open.iter().map(|difference| difference.why).collect();
        assert_eq!(left, [""; 0], "{}: these differences did not show up", scenario.name);
        replayed += usize::from(!roles(&scenario.name).is_empty());
    }
    assert_eq!((replayed, scenarios.len()), (58, 58));
    let unknown =
        |difference: &&Difference| scenarios.iter().all(|scenario| scenario.name != difference.scenario);
    assert_eq!(differences.iter().filter(unknown).count(), 0, "a difference of no scenario");
    assert_eq!(frames, FRAMES_IN.into_iter().collect());
}

#[test]
fn a_killed_slave_that_comes_back_with_its_id_is_refused() {
    let scenarios = transcript::load();
    let scenario = scenarios.iter().find(|scenario| scenario.name == "real_master_and_three_slaves").unwrap();
    let mut bench = SlaveBench::new(2, "127.0.0.1:21302".into(), vec![]);
    let rows = scenario.rows("slave2", 10_000.0, 10_312.0);
    Replay { bench: &mut bench, open: vec![] }.run(&rows);
    assert_eq!(bench.events, [SlaveEvent::Refused { was_ready: false }]);
}

#[test]
fn events_that_transcripts_cannot_show() {
    let scenarios = transcript::load();
    let events = |name: &str| {
        let scenario = scenarios.iter().find(|scenario| scenario.name == name).unwrap();
        let (own, address) = scenario.hello("slave");
        let mut bench = SlaveBench::new(own, address, script(name, "slave"));
        bench.connected(CONTROL, true);
        for row in scenario.rows("slave", 0.0, 12_000.0) {
            bench.turn(&row);
            if let What::In(bytes) = &row.what {
                bench.input(&row.link, bytes);
            }
        }
        bench.events
    };
    let (ours, theirs) = (Handle::from_bits(0x0500_0008), Handle::from_bits(0x0200_0055));
    let lost = SlaveEvent::NameLost { name: name_of("MINE"), ours, theirs };
    assert!(events("fake_master_register_query").contains(&lost));
    let name = PacketName::from(&b"BBBBBBBBBBBBBBBB"[..]);
    let bad = SlaveEvent::BadName { name, handle: Handle::from_bits(0x0200_0044) };
    assert!(events("fake_master_C_after_lost_link").contains(&bad));
}
