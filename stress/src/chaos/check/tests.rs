//! Histories with an error planted in each: the checker finds it, and nothing in the history without it.

use super::super::history::{End, History, Life, Strain, Wound, WoundKind};
use super::super::ledger::{Entry, Record};
use super::super::letter::{Author, Form, Letter, Place};
use super::super::outcome::Outcome;
use super::{Verdict, Violation, check};
use skyharbor::clock::Instant;
use std::time::Duration;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// When everything is quiet and all are told to end.
const END: u64 = 60_000;

/// Lives 1, 2, 3 in the slots 0, 1, 2 with the ids 11, 12, 13 and one agent each, which see each other's links come up.
struct Story(History);

impl Story {
    fn new() -> Self {
        let lives = (1..=3).map(|life| Life {
            life,
            slot: life as u8 - 1,
            harbor: 10 + life as u8,
            end: End::Ended(at(END)),
            stops: Vec::new(),
            entries: Vec::new(),
            is_whole: true,
        });
        let (deadline, slack) = (Duration::from_secs(2), Duration::from_secs(3));
        let mut story = Self(History { lives: lives.collect(), deadline, slack, ..History::default() });
        for life in 1..=3 {
            story.notes(life, 0, Record::Born { agent: 0, handle: handle(life) });
            for other in (1..=3).filter(|other| *other != life) {
                story.notes(life, 1, Record::Up { agent: 0, harbor: 10 + other as u8 });
            }
        }
        story
    }

    fn life(&mut self, life: u32) -> &mut Life {
        &mut self.0.lives[life as usize - 1]
    }

    fn notes(&mut self, life: u32, millis: u64, record: Record) {
        self.life(life).entries.push(Entry { at: at(millis), record });
    }

    fn sends(&mut self, millis: u64, letter: Letter) {
        self.notes(letter.from.life, millis, Record::Sent { letter, bytes: 32 });
    }

    fn gets(&mut self, life: u32, millis: u64, letter: Letter) {
        self.notes(life, millis, Record::Got { agent: 0, letter, asks: letter.form.is_call });
    }

    fn ends(&mut self, millis: u64, letter: Letter, outcome: Outcome, who: u32) {
        let number = letter.number;
        self.notes(letter.from.life, millis, Record::Ended { agent: 0, number, outcome, life: who });
    }

    fn is_killed(&mut self, life: u32, millis: u64) {
        self.life(life).end = End::Killed(at(millis));
    }

    fn is_hurt(&mut self, lives: (u32, u32), kind: WoundKind, from: u64, until: u64) {
        self.0.wounds.push(Wound { lives, kind, at: at(from), until: at(until) });
    }

    /// Everybody who lives says that all is quiet, and the checker judges.
    fn judge(mut self) -> Verdict {
        for life in 1..=3 {
            if self.life(life).end == End::Ended(at(END)) {
                self.notes(life, END, Record::Quiet { outstanding: 0, panics: 0 });
            }
            self.life(life).entries.sort_by_key(|entry| entry.at);
        }
        check(&self.0)
    }

    fn violations(self) -> Vec<Violation> {
        self.judge().violations
    }
}

fn handle(life: u32) -> u32 {
    (10 + life) << 24 | 500
}

fn letter(from: u32, number: u64, to: u32) -> Letter {
    Letter {
        from: Author { life: from, agent: 0 },
        number,
        to: Place { slot: to as u8 - 1, agent: 0 },
        form: Form { by_name: false, is_call: false },
        handle: handle(to),
        wait: 0,
    }
}

fn call(from: u32, number: u64, to: u32) -> Letter {
    Letter { form: Form { by_name: false, is_call: true }, ..letter(from, number, to) }
}

/// A letter and a call that go as they should.
fn healthy() -> Story {
    let mut story = Story::new();
    story.sends(10, letter(1, 1, 2));
    story.gets(2, 11, letter(1, 1, 2));
    story.sends(12, call(1, 2, 2));
    story.gets(2, 13, call(1, 2, 2));
    story.ends(14, call(1, 2, 2), Outcome::Reply, 2);
    story
}

#[test]
fn a_healthy_history_has_no_violation_and_balances() {
    let verdict = healthy().judge();
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.fates.letters, verdict.fates.calls, verdict.fates.got), (2, 1, 2));
    assert!(verdict.fates.balances());
}

#[test]
fn a_duplicate_is_found_on_the_same_node_and_on_another() {
    for life in [2, 3] {
        let mut story = healthy();
        story.gets(life, 20, letter(1, 1, 2));
        let found = story.violations();
        assert!(
            found.contains(&Violation::Duplicate { letter: letter(1, 1, 2), lives: vec![2, life] }),
            "{found:?}"
        );
    }
}

#[test]
fn a_reorder_is_found_between_name_and_handle_too() {
    let mut story = healthy();
    let by_name = Letter { form: Form { by_name: true, is_call: false }, ..letter(1, 3, 2) };
    story.sends(20, by_name);
    story.sends(21, letter(1, 4, 2));
    story.gets(2, 22, letter(1, 4, 2));
    story.gets(2, 23, by_name);
    assert_eq!(story.violations(), [Violation::Reordered { letter: by_name, life: 2, after: 4 }]);
}

#[test]
fn a_missing_outcome_is_found_unless_the_caller_died_before_it_had_to_come() {
    let question = call(1, 3, 2);
    let hung = |end: End| {
        let mut story = healthy();
        story.sends(1000, question);
        story.gets(2, 1001, question);
        story.life(1).end = end;
        let found = story.violations();
        found
            .iter()
            .any(|violation| matches!(violation, Violation::Hung { letter, .. } if *letter == question))
    };
    assert!(hung(End::Ended(at(END))));
    assert!(hung(End::Killed(at(7000))) && hung(End::Left(at(7000))));
    assert!(!hung(End::Killed(at(5000))) && !hung(End::Left(at(5000))));
}

#[test]
fn a_stop_of_the_caller_does_not_count_as_waiting() {
    let question = call(1, 3, 2);
    let late = |stops: Vec<(Instant, Instant)>| {
        let mut story = healthy();
        story.sends(1000, question);
        story.gets(2, 1001, question);
        story.ends(9000, question, Outcome::Timeout, 0);
        story.life(1).stops = stops;
        story.violations()
    };
    let waited = Duration::from_secs(8);
    assert_eq!(late(Vec::new()), [Violation::Late { letter: question, waited }]);
    assert_eq!(late(vec![(at(500), at(3000)), (at(4000), at(6000))]), []);
}

#[test]
fn a_second_outcome_is_found_and_one_of_nothing() {
    let mut story = healthy();
    story.ends(30, call(1, 2, 2), Outcome::Timeout, 0);
    let outcomes = vec![Outcome::Reply, Outcome::Timeout];
    assert_eq!(story.violations(), [Violation::EndedAgain { letter: call(1, 2, 2), outcomes }]);
    let mut story = healthy();
    story.ends(30, letter(1, 1, 2), Outcome::Timeout, 0);
    story.ends(31, letter(1, 9, 2), Outcome::Timeout, 0);
    let nothing = |number| Violation::EndOfNothing { life: 1, agent: 0, number };
    assert_eq!(story.violations(), [nothing(9), nothing(1)]);
}

#[test]
fn a_lie_about_not_sent_is_found() {
    for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.denies_delivery()) {
        let question = call(1, 3, 2);
        let mut story = healthy();
        story.sends(20, question);
        story.gets(2, 21, question);
        story.ends(22, question, outcome, 0);
        assert_eq!(story.violations(), [Violation::Lie { letter: question, outcome }]);
        let mut story = healthy();
        story.sends(20, letter(1, 3, 2));
        story.gets(2, 21, letter(1, 3, 2));
        story.notes(1, 20, Record::Refused { agent: 0, number: 3, outcome });
        assert_eq!(story.violations(), [Violation::Lie { letter: letter(1, 3, 2), outcome }]);
    }
    for outcome in [Outcome::Timeout, Outcome::Unknown, Outcome::Remote] {
        let mut story = healthy();
        story.sends(20, call(1, 3, 2));
        story.gets(2, 21, call(1, 3, 2));
        story.ends(22, call(1, 3, 2), outcome, 0);
        assert_eq!(story.violations(), [], "{outcome:?} says that nothing is known");
    }
}

#[test]
fn an_answer_must_come_from_who_got_the_letter() {
    let mut story = healthy();
    story.sends(20, call(1, 3, 2));
    story.gets(2, 21, call(1, 3, 2));
    story.ends(22, call(1, 3, 2), Outcome::Reply, 3);
    assert_eq!(story.violations(), [Violation::Lie { letter: call(1, 3, 2), outcome: Outcome::Reply }]);
    let mut story = healthy();
    story.sends(20, call(1, 3, 2));
    story.gets(2, 21, call(1, 3, 2));
    story.ends(22, call(1, 3, 2), Outcome::WrongReply, 0);
    assert_eq!(story.violations(), [Violation::Lie { letter: call(1, 3, 2), outcome: Outcome::WrongReply }]);
}

#[test]
fn a_letter_for_somebody_else_or_from_nobody_is_found() {
    let mut story = healthy();
    story.sends(20, letter(1, 3, 2));
    story.gets(3, 21, letter(1, 3, 2));
    let misaddressed = Violation::Misaddressed { letter: letter(1, 3, 2), life: 3, agent: 0 };
    assert_eq!(story.violations(), [misaddressed]);
    let mut story = healthy();
    story.gets(3, 21, letter(1, 3, 3));
    assert_eq!(story.violations(), [Violation::FromNowhere { letter: letter(1, 3, 3), life: 3 }]);
    let mut story = healthy();
    story.sends(20, letter(1, 3, 2));
    story.notes(2, 21, Record::Got { agent: 0, letter: letter(1, 3, 2), asks: true });
    assert_eq!(story.violations(), [Violation::Session { letter: letter(1, 3, 2), life: 2 }]);
}

#[test]
fn a_letter_lost_on_a_link_that_stays_up_is_found() {
    let lost = |story: &mut Story| story.sends(5000, letter(1, 3, 2));
    let mut story = healthy();
    lost(&mut story);
    assert_eq!(story.violations(), [Violation::Lost { letter: letter(1, 3, 2), at: at(5000), target: 2 }]);
    let mut story = healthy();
    lost(&mut story);
    story.is_hurt((2, 1), WoundKind::Hard, 5500, 5500);
    story.notes(1, 5501, Record::Down { agent: 0, harbor: 12 });
    assert_eq!(story.violations(), []);
    let mut story = healthy();
    lost(&mut story);
    story.is_killed(2, 5001);
    assert_eq!(story.violations(), []);
}

#[test]
fn a_down_without_a_reason_is_found() {
    let down = Record::Down { agent: 0, harbor: 12 };
    let mut story = healthy();
    story.notes(1, 5000, down);
    assert_eq!(story.violations(), [Violation::FalseDown { life: 1, harbor: 12, at: at(5000) }]);
    let mut story = healthy();
    story.notes(1, 5000, down);
    story.is_killed(2, 4990);
    assert_eq!(story.violations(), []);
    let mut story = healthy();
    story.notes(1, 5000, down);
    story.0.strains.push(Strain { slots: (1, 0), at: at(2000), until: at(4000) });
    assert_eq!(story.violations(), []);
    // The other end never saw the second link: it had dialled the life before.
    let mut story = healthy();
    story.is_hurt((1, 2), WoundKind::Hard, 100, 100);
    story.notes(1, 100, down);
    story.notes(1, 55_000, Record::Up { agent: 0, harbor: 12 });
    story.notes(1, 55_001, down);
    assert_eq!(story.violations(), []);
}

#[test]
fn a_letter_of_the_dead_behind_their_down_is_found() {
    let mut story = healthy();
    story.sends(20, letter(2, 1, 1));
    story.is_killed(2, 21);
    story.notes(1, 30, Record::Down { agent: 0, harbor: 12 });
    story.gets(1, 31, letter(2, 1, 1));
    assert_eq!(story.violations(), [Violation::AfterDown { letter: letter(2, 1, 1), life: 1 }]);
}

#[test]
fn a_letter_of_the_former_life_behind_one_of_the_next_is_found() {
    let mut story = healthy();
    story.life(3).harbor = 12;
    story.sends(20, letter(2, 1, 1));
    story.is_killed(2, 21);
    story.sends(25, letter(3, 1, 1));
    story.gets(1, 30, letter(3, 1, 1));
    story.gets(1, 31, letter(2, 1, 1));
    let found = Violation::OldIncarnation { letter: letter(2, 1, 1), life: 1, newer: 3 };
    assert_eq!(story.violations(), [found]);
}

#[test]
fn last_words_must_be_said_and_say_that_all_is_well() {
    for record in [Record::Quiet { outstanding: 1, panics: 0 }, Record::Quiet { outstanding: 0, panics: 1 }] {
        let mut story = healthy();
        story.notes(1, END + 1, record);
        assert!(matches!(story.violations()[..], [Violation::LastWords { life: 1, .. }]));
    }
    let mut story = healthy();
    story.sends(20, letter(1, 4, 2));
    story.gets(2, 21, letter(1, 4, 2));
    assert!(matches!(story.violations()[..], [Violation::LastWords { life: 1, .. }]), "a record is missing");
    let mut story = healthy();
    story.life(2).is_whole = false;
    assert!(matches!(story.violations()[..], [Violation::LastWords { life: 2, .. }]));
}

#[test]
fn a_changed_bit_exempts_its_two_lives_for_its_time_and_nobody_else() {
    let spoilt = |lives: (u32, u32), when: u64| {
        let mut story = healthy();
        story.is_hurt(lives, WoundKind::Flip, when, when + 100);
        story.sends(20, call(1, 3, 2));
        story.notes(2, 21, Record::Corrupt { agent: 0 });
        story.ends(22, call(1, 3, 2), Outcome::WrongReply, 0);
        story.violations().len()
    };
    assert_eq!(spoilt((1, 2), 20), 0);
    assert_eq!(spoilt((1, 2), 30_000), 2, "too late to have done it");
    assert_eq!(spoilt((1, 3), 20), 3, "another connection: it is lost, too");
}

#[test]
fn what_waited_for_a_killed_process_is_measured_on_healthy_links() {
    let waits = |strain: Option<Strain>| {
        let mut story = healthy();
        story.sends(4000, call(1, 3, 2));
        story.is_killed(2, 5000);
        story.ends(5020, call(1, 3, 2), Outcome::Unknown, 0);
        story.notes(1, 5030, Record::Down { agent: 0, harbor: 12 });
        story.0.strains.extend(strain);
        story.judge().measures
    };
    let millis = |value: u64| (value + 500_000) / 1_000_000;
    let measures = waits(None);
    assert_eq!((measures.last_failed.len(), millis(measures.last_failed.max())), (1, 20));
    assert_eq!((measures.down.len(), millis(measures.down.max())), (1, 30));
    let measures = waits(Some(Strain { slots: (0, 1), at: at(4900), until: at(5100) }));
    assert_eq!((measures.last_failed.len(), measures.last_failed_any.len(), measures.down.len()), (0, 1, 0));
}
