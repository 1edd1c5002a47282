//! The faults that hold now, lane by lane: the nemesis makes them, the pumps of the proxy obey.

use super::history::{Wound, WoundKind};
use parking_lot::Mutex;
use skyharbor::clock::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// The end of a lane that is the master and not a slot.
pub(super) const MASTER: u8 = u8::MAX;

/// One direction of the connections between two ends: slots, or a slot and the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) from: u8,
    pub(super) to: u8,
}

impl Lane {
    pub(super) fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }

    pub(super) fn is_of_master(self) -> bool {
        self.from == MASTER || self.to == MASTER
    }
}

/// What a lane does to its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Each chunk comes later, by `least` and up to `jitter` more; order stays.
    Delay { least: Duration, jitter: Duration },
    /// Nothing moves, then everything does.
    Stall,
    /// Bytes come one by one.
    Split,
    /// So many bytes a second.
    Cap { bytes: u32 },
    /// One bit of the next chunk is another.
    Flip,
    /// The next chunk ends in its middle, and with it the connection.
    Truncate,
    /// The connection is reset (RST).
    Reset,
    /// Nothing moves and nobody connects; in the end the connection is reset.
    Cut,
}

/// Faults that have a name of their own on the command line and in the result.
pub(super) const FAULTS: [&str; 8] = ["delay", "stall", "split", "cap", "flip", "truncate", "reset", "cut"];

impl Fault {
    /// Its place in [`FAULTS`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Delay { .. } => 0,
            Self::Stall => 1,
            Self::Split => 2,
            Self::Cap { .. } => 3,
            Self::Flip => 4,
            Self::Truncate => 5,
            Self::Reset => 6,
            Self::Cut => 7,
        }
    }

    /// Whether it may cost a connection.
    pub(super) fn is_hard(self) -> bool {
        match self {
            Self::Flip | Self::Truncate | Self::Reset | Self::Cut => true,
            Self::Delay { .. } | Self::Stall | Self::Split | Self::Cap { .. } => false,
        }
    }
}

/// What holds on one lane at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Air {
    pub(super) delay: Option<(Duration, Duration)>,
    pub(super) is_stalled: bool,
    pub(super) is_split: bool,
    pub(super) cap: Option<u32>,
    pub(super) is_cut: bool,
    /// Cuts that have begun so far.
    pub(super) cuts: u64,
    /// Happens once, to the connection that takes it.
    pub(super) shot: Option<Fault>,
}

/// All faults that hold, and the connections that were hurt.
#[derive(Default)]
pub(super) struct Sky {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lanes: BTreeMap<Lane, Vec<(Fault, Instant)>>,
    cuts: BTreeMap<Lane, u64>,
    wounds: Vec<Wound>,
}

impl Sky {
    /// From now on until then.
    pub(super) fn begin(&self, lane: Lane, fault: Fault, until: Instant) {
        let mut state = self.state.lock();
        state.lanes.entry(lane).or_default().push((fault, until));
        if fault == Fault::Cut {
            *state.cuts.entry(lane).or_default() += 1;
        }
    }

    /// What holds on a lane now. A fault that happens once is handed out once.
    pub(super) fn look(&self, lane: Lane, now: Instant) -> Air {
        let mut state = self.state.lock();
        let cuts = state.cuts.get(&lane).copied().unwrap_or_default();
        let mut air = Air { cuts, ..Air::default() };
        let Some(faults) = state.lanes.get_mut(&lane) else { return air };
        faults.retain(|(_, until)| *until > now);
        let mut taken = None;
        for (index, (fault, _)) in faults.iter().enumerate() {
            match *fault {
                Fault::Delay { least, jitter } => air.delay = Some((least, jitter)),
                Fault::Stall => air.is_stalled = true,
                Fault::Split => air.is_split = true,
                Fault::Cap { bytes } => air.cap = Some(bytes),
                Fault::Cut => air.is_cut = true,
                Fault::Flip | Fault::Truncate | Fault::Reset => taken = Some(index),
            }
        }
        air.shot = taken.map(|index| faults.remove(index).0);
        air
    }

    /// How many cuts have begun on a lane so far.
    pub(super) fn look_back(&self, lane: Lane) -> u64 {
        self.state.lock().cuts.get(&lane).copied().unwrap_or_default()
    }

    /// Whether nobody connects there now.
    pub(super) fn is_cut(&self, lane: Lane, now: Instant) -> bool {
        let state = self.state.lock();
        let faults = state.lanes.get(&lane).into_iter().flatten();
        faults.into_iter().any(|(fault, until)| *fault == Fault::Cut && *until > now)
    }

    /// Ends all faults.
    pub(super) fn clear(&self) {
        self.state.lock().lanes.clear();
    }

    /// A connection between two lives was hurt.
    pub(super) fn hurt(&self, lives: (u32, u32), kind: WoundKind, at: Instant, until: Instant) {
        self.state.lock().wounds.push(Wound { lives, kind, at, until });
    }

    /// All wounds.
    pub(super) fn take_wounds(&self) -> Vec<Wound> {
        std::mem::take(&mut self.state.lock().wounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn faults_hold_on_their_lane_until_they_end() {
        let (sky, lane) = (Sky::default(), Lane { from: 1, to: 2 });
        sky.begin(lane, Fault::Stall, at(10));
        sky.begin(lane, Fault::Cap { bytes: 5 }, at(20));
        sky.begin(lane, Fault::Cut, at(15));
        assert_eq!(sky.look(lane.back(), at(0)), Air::default());
        let air = sky.look(lane, at(9));
        assert!(air.is_stalled && air.is_cut && air.cap == Some(5) && sky.is_cut(lane, at(14)));
        assert!(!sky.look(lane, at(10)).is_stalled && !sky.is_cut(lane, at(15)));
        sky.clear();
        assert_eq!(
            sky.look(lane, at(16)),
            Air { cuts: 1, ..Air::default() },
            "who stood still in it can tell"
        );
    }

    #[test]
    fn a_shot_hits_once_or_is_over() {
        let (sky, lane) = (Sky::default(), Lane { from: 1, to: 2 });
        sky.begin(lane, Fault::Flip, at(10));
        assert_eq!(sky.look(lane, at(1)).shot, Some(Fault::Flip));
        assert_eq!(sky.look(lane, at(2)).shot, None);
        sky.begin(lane, Fault::Reset, at(10));
        assert_eq!(sky.look(lane, at(10)).shot, None);
    }
}
