//! A case from a seed: how many nodes, what they do, and which classes of faults happen how often (a *swarm*: each run has
//! classes of its own, so that rare combinations come up).

use super::case::{Act, CLASSES, Case, Doors, Fault, Place, Plan, STRANGERS, Step, Stranger, Way};
use super::rng::Rng;

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Half a second with small bounds, much traffic and a fault every few milliseconds.
    Short,
    /// Minutes with the bounds of a real node, a few messages a second, a fault every few seconds.
    Long,
}

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// The size of a message that no frame can carry.
pub(super) const OVERSIZE: u32 = u32::MAX;

/// Names that several services claim.
pub(super) const SHARED_NAMES: u64 = 3;

impl Case {
    /// The case of this seed.
    pub fn draw(seed: u64, scale: Scale) -> Self {
        let mut rng = Rng::new(seed);
        let plan = match scale {
            Scale::Short => short(seed, &mut rng),
            Scale::Long => long(seed, &mut rng),
        };
        let mut case = Self { plan, steps: Vec::new() };
        let mut draw = Draw::new(&case.plan, scale, &mut rng);
        draw.services(&mut case.steps);
        draw.faults(&mut case.steps);
        if draw.weights[class_of("flip")] + draw.weights[class_of("truncate")] > 0 {
            case.plan.loose_names = draw.garbles_control.into();
        }
        case.steps.sort_by_key(|step| step.at);
        case
    }
}

fn nodes(rng: &mut Rng) -> u64 {
    if rng.chance(8) { rng.in_range(8..17) } else { rng.in_range(2..6) }
}

/// Which nodes are real: mostly none.
fn reals(nodes: u64, rng: &mut Rng) -> u64 {
    if !rng.chance(20) {
        return 0;
    }
    // At least one of ours.
    let ours = rng.in_range(0..nodes);
    rng.bits() & ((1 << nodes) - 1) & !(1 << ours)
}

fn short(seed: u64, rng: &mut Rng) -> Plan {
    let nodes = nodes(rng);
    let window_min = if rng.chance(20) { rng.in_range(256..500) } else { 500 };
    let reals = reals(nodes, rng);
    let kin = rng.chance(80);
    Plan {
        seed,
        nodes,
        services: rng.in_range(1..4),
        reals,
        busy: rng.in_range(150..500) * MILLI,
        settle: 9 * SECOND,
        delay_max: rng.in_range(50..6_000) * MICRO,
        window_min,
        window_max: rng.in_range(1_000..40_000),
        dead_after: rng.in_range(200..900) * MILLI,
        keeps_ids: (kin && reals == 0 && rng.chance(40)).into(),
        kin: kin.into(),
        default_bounds: 0,
        loose_names: 0,
    }
}

fn long(seed: u64, rng: &mut Rng) -> Plan {
    let nodes = if rng.chance(5) { rng.in_range(8..17) } else { rng.in_range(3..7) };
    let reals = reals(nodes, rng);
    let kin = rng.chance(80);
    Plan {
        seed,
        nodes,
        services: rng.in_range(1..3),
        reals,
        busy: rng.in_range(120..600) * SECOND,
        settle: 150 * SECOND,
        delay_max: rng.in_range(200..20_000) * MICRO,
        window_min: 4_000,
        window_max: rng.in_range(8_000..200_000),
        dead_after: 60 * SECOND,
        keeps_ids: (kin && reals == 0 && rng.chance(40)).into(),
        kin: kin.into(),
        default_bounds: 1,
        loose_names: 0,
    }
}

pub(super) fn class_of(name: &str) -> usize {
    CLASSES.iter().position(|class| *class == name).unwrap_or(0)
}

/// What is drawn from, and how often.
struct Draw<'a> {
    plan: &'a Plan,
    rng: &'a mut Rng,
    scale: Scale,
    weights: [u64; CLASSES.len()],
    /// The mean time between two acts of a service, and between two faults.
    act_every: u64,
    fault_every: u64,
    /// The longest time that a fault takes.
    time_max: u64,
    padding_max: u64,
    garbles_control: bool,
    claims: bool,
}

impl<'a> Draw<'a> {
    fn new(plan: &'a Plan, scale: Scale, rng: &'a mut Rng) -> Self {
        let mut weights = [0; CLASSES.len()];
        if rng.chance(85) {
            for weight in &mut weights {
                *weight = if rng.chance(35) { rng.in_range(1..10) } else { 0 };
            }
        }
        let garbage = [class_of("flip"), class_of("truncate")];
        // Rarer than the others for want of something to spoil.
        garbage.iter().for_each(|class| weights[*class] *= 3);
        if rng.chance(40) {
            garbage.iter().for_each(|class| weights[*class] = 0);
        }
        let (act_every, fault_every, time_max) = match scale {
            Scale::Short => (
                rng.in_range(2_000..20_000) * MICRO,
                rng.in_range(8..100) * MILLI,
                rng.in_range(5..250) * MILLI,
            ),
            Scale::Long => {
                (rng.in_range(300..3_000) * MILLI, rng.in_range(1..15) * SECOND, rng.in_range(1..40) * SECOND)
            }
        };
        let padding_max = if rng.chance(25) { 8_000 } else { 200 };
        let garbles_control = plan.keeps_ids == 1 && rng.chance(30);
        let claims = rng.chance(40) && plan.reals == 0;
        Self {
            plan,
            rng,
            scale,
            weights,
            act_every,
            fault_every,
            time_max,
            padding_max,
            garbles_control,
            claims,
        }
    }

    fn place(&mut self) -> Place {
        let node = self.rng.in_range(0..self.plan.nodes) as u8;
        Place { node, slot: self.rng.in_range(0..self.plan.services) as u8 }
    }

    fn node(&mut self) -> u8 {
        self.rng.in_range(0..self.plan.nodes) as u8
    }

    /// A node of ours.
    fn ours(&mut self) -> u8 {
        loop {
            let node = self.node();
            if !self.plan.is_real(node.into()) {
                return node;
            }
        }
    }

    /// Around `mean`, never 0.
    fn around(&mut self, mean: u64) -> u64 {
        self.rng.in_range(mean / 2..mean * 3 / 2 + 1) + 1
    }

    // Services.

    fn services(&mut self, steps: &mut Vec<Step>) {
        let (nodes, services) = (self.plan.nodes as u8, self.plan.services as u8);
        for from in (0..nodes).flat_map(|node| (0..services).map(move |slot| Place { node, slot })) {
            let mut at = self.around(self.act_every);
            while at < self.plan.busy {
                let act = self.act(from);
                steps.push(Step { at, act });
                at += self.around(self.act_every);
            }
        }
    }

    fn act(&mut self, from: Place) -> Act {
        let faults = self.weights.iter().sum::<u64>() > 0;
        match self.rng.index(200) {
            0 if faults => Act::Kill { who: from },
            1..4 => Act::Watch { who: from, node: self.node(), is_loss: self.rng.chance(50) },
            4..8 => Act::Ask { who: from, about: self.place(), time: self.around(self.time_max) },
            8..14 if self.claims => Act::Claim { who: from, name: self.rng.in_range(0..SHARED_NAMES) as u8 },
            14 if faults => self.flood(from),
            15 => self.oversize(from),
            _ => self.speak(from),
        }
    }

    fn speak(&mut self, from: Place) -> Act {
        let way = match self.rng.index(100) {
            0..35 => Way::Name,
            35..60 => Way::Known,
            60..95 => Way::Handle,
            95..97 if self.claims => Way::Shared,
            97..99 => Way::Nobody,
            _ => Way::Nowhere,
        };
        let mut to = self.place();
        if way == Way::Shared {
            to.slot = self.rng.in_range(0..SHARED_NAMES) as u8;
        }
        let count = self.rng.in_range(1..4) as u8;
        let bytes = self.rng.in_range(0..self.padding_max) as u32;
        let (is_call, is_hasty) = (self.rng.chance(60), self.rng.chance(15));
        Act::Speak { from, to, way, is_call, is_hasty, count, bytes }
    }

    /// One message that no frame can carry.
    fn oversize(&mut self, from: Place) -> Act {
        match self.speak(from) {
            Act::Speak { from, to, way, is_call, is_hasty, .. } => {
                Act::Speak { from, to, way, is_call, is_hasty, count: 1, bytes: OVERSIZE }
            }
            other => other,
        }
    }

    /// Many messages at once: bounds are reached.
    fn flood(&mut self, from: Place) -> Act {
        let way = [Way::Name, Way::Handle, Way::Nobody, Way::Nowhere][self.rng.index(4)];
        let bytes = if self.rng.chance(20) { 5_000 } else { self.rng.in_range(0..100) as u32 };
        let is_call = self.rng.chance(70);
        Act::Speak { from, to: self.place(), way, is_call, is_hasty: false, count: 120, bytes }
    }

    // Faults.

    fn faults(&mut self, steps: &mut Vec<Step>) {
        let total: u64 = self.weights.iter().sum();
        if total == 0 {
            return;
        }
        let mut at = self.around(self.fault_every);
        while at < self.plan.busy {
            let mut ticket = self.rng.in_range(0..total);
            let class = self.weights.iter().position(|weight| {
                let is_it = ticket < *weight;
                ticket = ticket.saturating_sub(*weight);
                is_it
            });
            self.fault(CLASSES[class.unwrap_or(0)], at, steps);
            at += self.around(self.fault_every);
        }
    }

    fn fault(&mut self, class: &str, at: u64, steps: &mut Vec<Step>) {
        let fault = match class {
            "stall" if self.rng.chance(20) => return self.swizzle(at, steps),
            "crash" | "power" | "leave" => self.ending(class),
            "pause" | "slow" | "jump" | "descriptors" | "full" | "memory" => self.condition(class),
            "cut" | "master-cut" | "one-way" => self.cut(class),
            _ => self.connection(class),
        };
        steps.push(Step { at, act: Act::Fault(fault) });
    }

    /// A node's process ends.
    fn ending(&mut self, class: &str) -> Fault {
        let node = self.node();
        let down = self.around(match self.scale {
            Scale::Short => 40 * MILLI,
            Scale::Long => 5 * SECOND,
        });
        match class {
            "crash" => Fault::Crash { node, down },
            "power" => Fault::PowerLoss { node, down },
            _ if self.plan.is_real(node.into()) => Fault::Crash { node, down },
            _ => Fault::Leave { node, down },
        }
    }

    /// A node is not well.
    fn condition(&mut self, class: &str) -> Fault {
        let time = self.around(self.time_max / 2);
        match class {
            "pause" => Fault::Pause { node: self.node(), time },
            "slow" => {
                let longest = self.plan.delay_max * 4;
                Fault::Slow { node: self.node(), time, cost: self.rng.in_range(longest / 50..longest) }
            }
            "jump" => Fault::Jump { node: self.ours(), by: self.around(self.time_max * 4) },
            "descriptors" => Fault::NoDescriptors { node: self.ours(), time },
            // Meanwhile the mailboxes are looked at each millisecond: mostly it is over soon.
            "memory" => {
                let longest = if self.rng.chance(85) { SECOND / 2 } else { 12 * SECOND };
                let time = (self.time_max * 2).min(self.around(longest / 2));
                Fault::Memory { node: self.ours(), time }
            }
            _ => Fault::Full { node: self.ours(), time },
        }
    }

    fn cut(&mut self, class: &str) -> Fault {
        let all = (1u64 << self.plan.nodes) - 1;
        let one = (self.rng.bits() & all) as u16;
        let other = if self.rng.chance(70) { all as u16 & !one } else { (self.rng.bits() & all) as u16 };
        let doors = if self.rng.chance(30) { Doors::All } else { Doors::Links };
        let time = self.around(self.time_max / 2);
        match class {
            "cut" => Fault::Cut { one, other, doors, time },
            "master-cut" => Fault::Cut { one: 1, other: all as u16 & !1, doors: Doors::Control, time },
            _ => Fault::OneWay { from: one, to: other, doors, time },
        }
    }

    /// Links of some nodes are stopped one by one, and go on in another order.
    fn swizzle(&mut self, at: u64, steps: &mut Vec<Step>) {
        let chosen = self.rng.bits();
        for from in 0..self.plan.nodes as u8 {
            for to in (0..self.plan.nodes as u8).filter(|to| *to != from && chosen >> to & 1 == 1) {
                let later = self.rng.in_range(0..self.time_max / 4 + 1);
                let time = self.around(self.time_max / 2);
                let act = Act::Fault(Fault::Stall { from, to, time });
                steps.push(Step { at: at + later, act });
            }
        }
    }

    fn connection(&mut self, class: &str) -> Fault {
        let (one, other) = (self.node(), self.node());
        let time = self.around(self.time_max / 2);
        let is_control =
            class != "reset" && self.garbles_control || class == "reset" && self.plan.keeps_ids == 1;
        let doors = if is_control && self.rng.chance(20) { Doors::Control } else { Doors::Links };
        match class {
            "stall" => Fault::Stall { from: one, to: other, time },
            "reset" => Fault::Reset { one, other, doors },
            "hole" => Fault::Hole { one, other },
            "half-open" => Fault::HalfOpen { forgets: one, other },
            "refuse" => Fault::Refuse { node: one, time },
            "silence" => Fault::Silence { node: one, time },
            "late-end" => {
                let late = self.rng.in_range(1..self.plan.delay_max * 20);
                Fault::LateEnd { node: one, time, late }
            }
            "flip" => Fault::Flip { from: one, to: other, doors },
            "truncate" => Fault::Truncate { from: one, to: other, doors },
            _ => Fault::Stranger { node: self.ours(), who: self.stranger() },
        }
    }

    /// A member that says no hello is a real node to a master of our kind, which burns ids from then on (G2).
    fn stranger(&mut self) -> Stranger {
        match STRANGERS[self.rng.index(STRANGERS.len())] {
            Stranger::UsedHello if self.plan.keeps_ids == 1 => Stranger::Silent,
            who => who,
        }
    }
}
