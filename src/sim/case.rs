//! A run as data: its plan, what its services do, what goes wrong, each at its time. A case is drawn from a seed, can be
//! made smaller, written down as text and read again.

use std::fmt;
use std::str::FromStr;

/// The numbers of a run. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What connections, pauses of redialling and answers draw from.
    pub seed: u64,
    /// Nodes; node 0 hosts the master.
    pub nodes: u64,
    /// Services of each node of ours.
    pub services: u64,
    /// Which nodes are played real ones: one bit each.
    pub reals: u64,
    /// How long services act and faults come.
    pub busy: u64,
    /// How long after that everything may take to settle.
    pub settle: u64,
    /// The longest delay of a piece of bytes.
    pub delay_max: u64,
    /// Bytes of one direction of a connection that may be under way, at least.
    pub window_min: u64,
    /// The same, at most.
    pub window_max: u64,
    /// After what time the system gives up a connection whose other end does not answer.
    pub dead_after: u64,
    /// Whether a node comes back under its id, with a higher incarnation (1), or under a fresh one (0).
    pub keeps_ids: u64,
    /// Whether nodes of ours look for their kind (1).
    pub kin: u64,
    /// Whether the machines have their default bounds (1) or small ones (0).
    pub default_bounds: u64,
    /// Whether control links may carry garbage (1): what names mean is not judged then.
    pub loose_names: u64,
}

impl Plan {
    /// All numbers with their names, as they are written.
    fn fields(&mut self) -> [(&'static str, &mut u64); 14] {
        [
            ("seed", &mut self.seed),
            ("nodes", &mut self.nodes),
            ("services", &mut self.services),
            ("reals", &mut self.reals),
            ("busy", &mut self.busy),
            ("settle", &mut self.settle),
            ("delay_max", &mut self.delay_max),
            ("window_min", &mut self.window_min),
            ("window_max", &mut self.window_max),
            ("dead_after", &mut self.dead_after),
            ("keeps_ids", &mut self.keeps_ids),
            ("kin", &mut self.kin),
            ("default_bounds", &mut self.default_bounds),
            ("loose_names", &mut self.loose_names),
        ]
    }

    /// Whether this node is a played real one.
    pub fn is_real(&self, node: usize) -> bool {
        self.reals >> node & 1 == 1
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 0,
            nodes: 2,
            services: 1,
            reals: 0,
            busy: 300_000_000,
            settle: 4_000_000_000,
            delay_max: 1_000_000,
            window_min: 500,
            window_max: 40_000,
            dead_after: 1_000_000_000,
            keeps_ids: 0,
            kin: 1,
            default_bounds: 0,
            loose_names: 0,
        }
    }
}

/// A service slot of a node: whoever lives in it when it is its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The node.
    pub node: u8,
    /// The service's place in it.
    pub slot: u8,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the receiver's name.
    Name,
    /// By the handle that the receiver has now, whoever told it.
    Handle,
    /// By the handle that this node knows for the receiver's name, or by the name.
    Known,
    /// By one of the names that many services claim: the slot of the receiver is its number.
    Shared,
    /// By a name that nobody ever takes.
    Nobody,
    /// To a node that never comes.
    Nowhere,
}

const WAYS: [Way; 6] = [Way::Name, Way::Handle, Way::Known, Way::Shared, Way::Nobody, Way::Nowhere];

/// Which connections a fault of the network means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doors {
    /// Links and control links.
    All,
    /// Links between nodes.
    Links,
    /// Control links to the master.
    Control,
}

const DOORS: [Doors; 3] = [Doors::All, Doors::Links, Doors::Control];

/// What a stranger sends who connects to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Nothing: it sits there for a while.
    Silent,
    /// The id byte of the node itself.
    OwnId,
    /// The id byte of a node that has a link.
    UsedId,
    /// An id that nobody has, then messages of types that no peer may send.
    Reserved,
    /// An id that nobody has, then a frame that is too short.
    Short,
    /// An id that nobody has, then a frame that is too long.
    Long,
    /// An id that nobody has, then the head of a large frame that never ends.
    Endless,
    /// Random bytes, to the master.
    Noise,
    /// A second `H` with the id of a member, to the master.
    UsedHello,
    /// Connects and closes.
    Closes,
}

/// All of them.
pub const STRANGERS: [Stranger; 10] = [
    Stranger::Silent,
    Stranger::OwnId,
    Stranger::UsedId,
    Stranger::Reserved,
    Stranger::Short,
    Stranger::Long,
    Stranger::Endless,
    Stranger::Noise,
    Stranger::UsedHello,
    Stranger::Closes,
];

/// One thing that happens in a run by plan. Sets of nodes have one bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A service sends or calls, `count` times, with so many bytes; hasty callers give up soon.
    #[expect(missing_docs, reason = "the words say it")]
    Speak { from: Place, to: Place, way: Way, is_call: bool, is_hasty: bool, count: u8, bytes: u32 },
    /// A service claims a name that others claim too.
    #[expect(missing_docs, reason = "the words say it")]
    Claim { who: Place, name: u8 },
    /// A service asks for the owner of another's name.
    #[expect(missing_docs, reason = "the words say it")]
    Ask { who: Place, about: Place, time: u64 },
    /// A service waits for a link to come up (or to be lost).
    #[expect(missing_docs, reason = "the words say it")]
    Watch { who: Place, node: u8, is_loss: bool },
    /// A service ends; another one takes its slot.
    #[expect(missing_docs, reason = "the words say it")]
    Kill { who: Place },
    /// Something goes wrong.
    Fault(Fault),
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Fault {
    /// The process ends; its system closes or resets its connections. It comes back after `down`.
    Crash { node: u8, down: u64 },
    /// The machine is without power: nobody is told anything.
    PowerLoss { node: u8, down: u64 },
    /// The node says farewell.
    Leave { node: u8, down: u64 },
    /// The process is stopped; its system goes on.
    Pause { node: u8, time: u64 },
    /// Everything takes the process so long.
    Slow { node: u8, time: u64, cost: u64 },
    /// The node's clock leaps.
    Jump { node: u8, by: u64 },
    /// No descriptor is left: neither dialling nor accepting works.
    NoDescriptors { node: u8, time: u64 },
    /// The mailboxes of its services are full.
    Full { node: u8, time: u64 },
    /// It has no memory for what its peers send.
    Memory { node: u8, time: u64 },
    /// Nothing goes between two sets of nodes.
    Cut { one: u16, other: u16, doors: Doors, time: u64 },
    /// Nothing goes from one set of nodes to the other.
    OneWay { from: u16, to: u16, doors: Doors, time: u64 },
    /// One direction between two nodes stands still.
    Stall { from: u8, to: u8, time: u64 },
    /// A connection is reset in the middle.
    Reset { one: u8, other: u8, doors: Doors },
    /// The network forgets a connection.
    Hole { one: u8, other: u8 },
    /// One end forgets the connection without a word.
    HalfOpen { forgets: u8, other: u8 },
    /// Connections to it are refused.
    Refuse { node: u8, time: u64 },
    /// Connections to it are never answered.
    Silence { node: u8, time: u64 },
    /// The end of its connections comes late.
    LateEnd { node: u8, time: u64, late: u64 },
    /// One bit of what comes next is wrong.
    Flip { from: u8, to: u8, doors: Doors },
    /// Some of what comes next is missing.
    Truncate { from: u8, to: u8, doors: Doors },
    /// Somebody connects who is no node.
    Stranger { node: u8, who: Stranger },
}

/// What the classes of faults are called, by [`Fault::class`].
pub const CLASSES: [&str; 22] = [
    "crash",
    "power",
    "leave",
    "pause",
    "slow",
    "jump",
    "descriptors",
    "full",
    "cut",
    "master-cut",
    "one-way",
    "stall",
    "reset",
    "hole",
    "half-open",
    "refuse",
    "silence",
    "late-end",
    "flip",
    "truncate",
    "stranger",
    "memory",
];

impl Fault {
    /// Its class, an index of [`CLASSES`].
    pub const fn class(&self) -> usize {
        match self {
            Self::Crash { .. } => 0,
            Self::PowerLoss { .. } => 1,
            Self::Leave { .. } => 2,
            Self::Pause { .. } => 3,
            Self::Slow { .. } => 4,
            Self::Jump { .. } => 5,
            Self::NoDescriptors { .. } => 6,
            Self::Full { .. } => 7,
            Self::Cut { doors: Doors::All | Doors::Links, .. } => 8,
            Self::Cut { doors: Doors::Control, .. } => 9,
            Self::OneWay { .. } => 10,
            Self::Stall { .. } => 11,
            Self::Reset { .. } => 12,
            Self::Hole { .. } => 13,
            Self::HalfOpen { .. } => 14,
            Self::Refuse { .. } => 15,
            Self::Silence { .. } => 16,
            Self::LateEnd { .. } => 17,
            Self::Flip { .. } => 18,
            Self::Truncate { .. } => 19,
            Self::Stranger { .. } => 20,
            Self::Memory { .. } => 21,
        }
    }

    /// Word and numbers, as they are written.
    fn to_words(self) -> (&'static str, Vec<u64>) {
        let doors_no = |doors: Doors| DOORS.iter().position(|other| *other == doors).unwrap_or(0) as u64;
        match self {
            Self::Crash { node, down } => ("crash", vec![node.into(), down]),
            Self::PowerLoss { node, down } => ("power", vec![node.into(), down]),
            Self::Leave { node, down } => ("leave", vec![node.into(), down]),
            Self::Pause { node, time } => ("pause", vec![node.into(), time]),
            Self::Slow { node, time, cost } => ("slow", vec![node.into(), time, cost]),
            Self::Jump { node, by } => ("jump", vec![node.into(), by]),
            Self::NoDescriptors { node, time } => ("descriptors", vec![node.into(), time]),
            Self::Full { node, time } => ("full", vec![node.into(), time]),
            Self::Memory { node, time } => ("memory", vec![node.into(), time]),
            Self::Cut { one, other, doors, time } => {
                ("cut", vec![one.into(), other.into(), doors_no(doors), time])
            }
            Self::OneWay { from, to, doors, time } => {
                ("one-way", vec![from.into(), to.into(), doors_no(doors), time])
            }
            Self::Stall { from, to, time } => ("stall", vec![from.into(), to.into(), time]),
            Self::Reset { one, other, doors } => ("reset", vec![one.into(), other.into(), doors_no(doors)]),
            Self::Hole { one, other } => ("hole", vec![one.into(), other.into()]),
            Self::HalfOpen { forgets, other } => ("half-open", vec![forgets.into(), other.into()]),
            Self::Refuse { node, time } => ("refuse", vec![node.into(), time]),
            Self::Silence { node, time } => ("silence", vec![node.into(), time]),
            Self::LateEnd { node, time, late } => ("late-end", vec![node.into(), time, late]),
            Self::Flip { from, to, doors } => ("flip", vec![from.into(), to.into(), doors_no(doors)]),
            Self::Truncate { from, to, doors } => ("truncate", vec![from.into(), to.into(), doors_no(doors)]),
            Self::Stranger { node, who } => {
                let who = STRANGERS.iter().position(|other| *other == who).unwrap_or(0);
                ("stranger", vec![node.into(), who as u64])
            }
        }
    }

    fn of_words(word: &str, numbers: &[u64]) -> Option<Self> {
        Some(match (word, numbers) {
            ("crash", [node, down]) => Self::Crash { node: *node as u8, down: *down },
            ("power", [node, down]) => Self::PowerLoss { node: *node as u8, down: *down },
            ("leave", [node, down]) => Self::Leave { node: *node as u8, down: *down },
            ("pause", [node, time]) => Self::Pause { node: *node as u8, time: *time },
            ("slow", [node, time, cost]) => Self::Slow { node: *node as u8, time: *time, cost: *cost },
            ("jump", [node, by]) => Self::Jump { node: *node as u8, by: *by },
            ("descriptors", [node, time]) => Self::NoDescriptors { node: *node as u8, time: *time },
            ("full", [node, time]) => Self::Full { node: *node as u8, time: *time },
            ("memory", [node, time]) => Self::Memory { node: *node as u8, time: *time },
            ("cut", [one, other, doors, time]) => {
                let doors = doors_of(*doors)?;
                Self::Cut { one: *one as u16, other: *other as u16, doors, time: *time }
            }
            ("one-way", [from, to, doors, time]) => {
                let doors = doors_of(*doors)?;
                Self::OneWay { from: *from as u16, to: *to as u16, doors, time: *time }
            }
            ("stall", [from, to, time]) => Self::Stall { from: *from as u8, to: *to as u8, time: *time },
            ("reset", [one, other, doors]) => {
                Self::Reset { one: *one as u8, other: *other as u8, doors: doors_of(*doors)? }
            }
            ("hole", [one, other]) => Self::Hole { one: *one as u8, other: *other as u8 },
            ("half-open", [forgets, other]) => {
                Self::HalfOpen { forgets: *forgets as u8, other: *other as u8 }
            }
            ("refuse", [node, time]) => Self::Refuse { node: *node as u8, time: *time },
            ("silence", [node, time]) => Self::Silence { node: *node as u8, time: *time },
            ("late-end", [node, time, late]) => Self::LateEnd { node: *node as u8, time: *time, late: *late },
            ("flip", [from, to, doors]) => {
                Self::Flip { from: *from as u8, to: *to as u8, doors: doors_of(*doors)? }
            }
            ("truncate", [from, to, doors]) => {
                Self::Truncate { from: *from as u8, to: *to as u8, doors: doors_of(*doors)? }
            }
            ("stranger", [node, who]) => {
                Self::Stranger { node: *node as u8, who: *STRANGERS.get(*who as usize)? }
            }
            _ => return None,
        })
    }
}

fn doors_of(number: u64) -> Option<Doors> {
    DOORS.get(usize::try_from(number).ok()?).copied()
}

impl Act {
    fn to_words(self) -> (&'static str, Vec<u64>) {
        let place = |place: Place| [u64::from(place.node), u64::from(place.slot)];
        match self {
            Self::Speak { from, to, way, is_call, is_hasty, count, bytes } => {
                let way = WAYS.iter().position(|other| *other == way).unwrap_or(0) as u64;
                let manner = way | u64::from(is_call) << 8 | u64::from(is_hasty) << 9;
                let rest = [manner, count.into(), bytes.into()];
                ("speak", [&place(from)[..], &place(to), &rest].concat())
            }
            Self::Claim { who, name } => ("claim", [&place(who)[..], &[name.into()]].concat()),
            Self::Ask { who, about, time } => ("ask", [&place(who)[..], &place(about), &[time]].concat()),
            Self::Watch { who, node, is_loss } => {
                ("watch", [&place(who)[..], &[node.into(), is_loss.into()]].concat())
            }
            Self::Kill { who } => ("kill", place(who).to_vec()),
            Self::Fault(fault) => fault.to_words(),
        }
    }

    fn of_words(word: &str, numbers: &[u64]) -> Option<Self> {
        let place = |node: u64, slot: u64| Place { node: node as u8, slot: slot as u8 };
        Some(match (word, numbers) {
            ("speak", [node, slot, to_node, to_slot, manner, count, bytes]) => Self::Speak {
                from: place(*node, *slot),
                to: place(*to_node, *to_slot),
                way: *WAYS.get(*manner as usize & 0xff)?,
                is_call: manner >> 8 & 1 == 1,
                is_hasty: manner >> 9 & 1 == 1,
                count: *count as u8,
                bytes: *bytes as u32,
            },
            ("claim", [node, slot, name]) => Self::Claim { who: place(*node, *slot), name: *name as u8 },
            ("ask", [node, slot, about_node, about_slot, time]) => {
                Self::Ask { who: place(*node, *slot), about: place(*about_node, *about_slot), time: *time }
            }
            ("watch", [node, slot, peer, is_loss]) => {
                Self::Watch { who: place(*node, *slot), node: *peer as u8, is_loss: *is_loss == 1 }
            }
            ("kill", [node, slot]) => Self::Kill { who: place(*node, *slot) },
            _ => Self::Fault(Fault::of_words(word, numbers)?),
        })
    }
}

/// One act at its time, in nanoseconds from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: u64,
    /// What.
    pub act: Act,
}

/// A run as data; as text: one line for each number of the plan, `name value`, then one for each step, `@time word numbers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its numbers.
    pub plan: Plan,
    /// Its acts, in the order of time.
    pub steps: Vec<Step>,
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, number) in self.plan.clone().fields() {
            writeln!(out, "{name} {number}")?;
        }
        for step in &self.steps {
            let (word, numbers) = step.act.to_words();
            write!(out, "@{} {word}", step.at)?;
            numbers.iter().try_for_each(|number| write!(out, " {number}"))?;
            writeln!(out)?;
        }
        Ok(())
    }
}

/// A line that is no line of a case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of a case: {0}")]
pub struct BadLine(String);

impl FromStr for Case {
    type Err = BadLine;

    /// Empty lines and lines that begin with `#` are passed over.
    fn from_str(text: &str) -> Result<Self, BadLine> {
        let mut case = Self { plan: Plan::default(), steps: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            case.read(line).ok_or_else(|| BadLine(line.to_owned()))?;
        }
        Ok(case)
    }
}

impl Case {
    fn read(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        if let Some(at) = first.strip_prefix('@') {
            let word = words.next()?;
            let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
            let step = Step { at: at.parse().ok()?, act: Act::of_words(word, &numbers.ok()?)? };
            self.steps.push(step);
            return Some(());
        }
        let number = words.next()?.parse().ok()?;
        let mut fields = self.plan.fields().into_iter();
        *fields.find(|(name, _)| *name == first)?.1 = number;
        Some(())
    }
}
