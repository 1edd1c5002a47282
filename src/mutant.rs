//! Bugs on purpose, one at a time, to see that the simulator finds them (`tests/mutants.rs`).
//!
//! A line that has one reads `if mutant::is(Mutant::…)` or `mutant::unless(Mutant::…, || …)`. Without the feature `mutants`
//! both are constants and leave nothing behind. With it, [`choose`] turns one bug on for the thread that calls it.

/// One bug each. What is said is what the broken program does.
#[cfg_attr(not(feature = "mutants"), expect(unreachable_pub, reason = "public with the feature"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    // Links and messages: `harbor`.
    /// A message is not counted as accepted.
    AcceptedUncounted,
    /// A message that failed is not counted.
    FailedUncounted,
    /// Messages on a link that is lost are not counted as unknown.
    UnknownUncounted,
    /// Unsent messages of a link that is lost are not counted as failed.
    UnsentUncounted,
    /// What an answer proves is counted once too often.
    DeliveredMiscounted,
    /// An answer proves more than was sent.
    EverythingConfirmed,
    /// A message that waited for a name is counted twice.
    NamelessMiscounted,
    /// The caller of a message that failed is not told.
    FailedUntold,
    /// The caller of an answer that failed is not told.
    AnswerLost,
    /// What is held for a peer that is reported dead is dropped.
    HeldDroppedAtDeath,
    /// What is held is dropped when the link comes up (Skynet: names flushed without their handles).
    HeldForgotten,
    /// What is held leaves in the wrong order.
    HeldReversed,
    /// What is held waits for ever, as in Skynet.
    HeldForEver,
    /// What is held expires without a word.
    HeldExpiresInSilence,
    /// One message more is held than may be.
    HeldOneTooMany,
    /// What waits for a name waits for ever, as in Skynet.
    NamelessForEver,
    /// Callers of a name that nobody has are not told.
    NamelessInSilence,
    /// What waited for a name and then for a link loses its service, as in Skynet.
    LowHalfLost,
    /// A name is learnt and not published.
    NameUnpublished,
    /// A link that is lost is not dialled again, as in Skynet.
    NoRedial,
    /// Whoever answers is taken for the node that was dialled.
    WrongIdTaken,
    /// The listener for links is closed after the join, as in Skynet.
    ListenerClosed,
    /// UP is not reported.
    UpSkipped,
    /// DOWN is not reported, as in Skynet.
    DownSkipped,
    /// DOWN comes before the failures of calls.
    DownFirst,
    /// Calls on a link that is lost do not fail, as in Skynet.
    PendingKept,
    /// Calls that were sent are said not to have been.
    UnknownCalledUnsent,
    /// A frame that is written in full counts as unsent until the next one.
    WrittenLate,
    /// A call is not remembered.
    PendingForgotten,
    /// One call more is pending than may be.
    PendingOneTooMany,
    /// What does not fit into the unsent bytes vanishes.
    FullInSilence,
    /// Answers are not given to their callers.
    AnswerDropped,
    /// An answer to a call that is over reaches its caller.
    AnyAnswer,
    /// Messages of reserved types reach services, as in Skynet.
    ReservedDelivered,
    /// Anybody may say that a service is dead.
    AnyoneBuries,
    /// Calls to a dead service are forgotten.
    BuriedInSilence,
    /// Callers of a missing service are not told.
    MissingInSilence,
    /// Callers of a full service are not told.
    OverflowInSilence,
    /// A waiter is answered twice.
    WaiterTwice,
    /// PING is not answered.
    PongMissing,
    /// A silent link stays up, as in Skynet.
    SilenceUnseen,
    /// A link is given up after one interval of silence.
    Impatience,
    /// The master is not dialled again, as in Skynet.
    MasterForgotten,
    /// A node that leaves waits for its peers without end.
    LeaveForEver,
    /// Who comes with an id in use takes over its link.
    LinkTakenOver,
    /// A link whose first bytes never move is not given up.
    FirstBytesUnwatched,
    /// Unsent bytes have no bound, as in Skynet.
    UnsentUnbounded,
    /// Who connects and says nothing may stay, as in Skynet.
    StrangersStay,
    /// Real nodes are sent compressed messages.
    CompressedForAll,
    /// A link whose unsent bytes stand still stays up, as in Skynet.
    StallUnseen,
    /// Links end with the link to the master.
    LinksLostWithMaster,
    /// Who does not read for want of memory does not say so.
    PauseUntold,
    /// A link that was not read is never read again.
    PausedForEver,
    /// What came behind the message that has to wait is lost.
    RestLost,

    // Members and names: `registry`.
    /// The loser of a name is broadcast, the winner kept, as in Skynet.
    LoserBroadcast,
    /// A new name is told to nobody.
    NameUntold,
    /// A query for a name that is known is not answered.
    QueryUnanswered,
    /// A newcomer is not announced.
    NewcomerUntold,
    /// A newcomer waits for one link too many.
    WaitTooMany,
    /// What came during the join is forgotten.
    KeptForgotten,
    /// The next master does not hear of a node's names, as in Skynet.
    OwnNamesForgotten,
    /// A question for a name has no deadline, as in Skynet.
    QuestionForEver,
    /// Who waited for a name is not told of it.
    WaitersForgotten,
    /// The first owner that is heard of stays for ever, as in Skynet.
    OldNameKept,
    /// The master tells nobody of a death.
    DeathUntold,
    /// The last registration of a name wins, as with a real master.
    NameStolen,
    /// An id serves once, as in Skynet, among nodes of our kind too.
    IdsBurnt,
    /// What was heard from an earlier master is believed for ever.
    OldMasterBelieved,

    // Bytes: `wire`.
    /// A frame is written twice.
    FrameTwice,
    /// A trailer that comes in two pieces loses the first one.
    FrameSplit,
    /// Only the low bits of a session are written.
    SessionCut,
    /// The source of a message loses its node, as with Skynet's names.
    SourceUnmarked,
    /// A frame shorter than its trailer is accepted, as in Skynet.
    ShortFrameTaken,
    /// A frame that is too long is accepted.
    LongFrameTaken,
    /// A large payload is written one byte too early.
    LargeMisplaced,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 75] = [
        Self::AcceptedUncounted,
        Self::FailedUncounted,
        Self::UnknownUncounted,
        Self::UnsentUncounted,
        Self::DeliveredMiscounted,
        Self::EverythingConfirmed,
        Self::NamelessMiscounted,
        Self::FailedUntold,
        Self::AnswerLost,
        Self::HeldDroppedAtDeath,
        Self::HeldForgotten,
        Self::HeldReversed,
        Self::HeldForEver,
        Self::HeldExpiresInSilence,
        Self::HeldOneTooMany,
        Self::NamelessForEver,
        Self::NamelessInSilence,
        Self::LowHalfLost,
        Self::NameUnpublished,
        Self::NoRedial,
        Self::WrongIdTaken,
        Self::ListenerClosed,
        Self::UpSkipped,
        Self::DownSkipped,
        Self::DownFirst,
        Self::PendingKept,
        Self::UnknownCalledUnsent,
        Self::WrittenLate,
        Self::PendingForgotten,
        Self::PendingOneTooMany,
        Self::FullInSilence,
        Self::AnswerDropped,
        Self::AnyAnswer,
        Self::ReservedDelivered,
        Self::AnyoneBuries,
        Self::BuriedInSilence,
        Self::MissingInSilence,
        Self::OverflowInSilence,
        Self::WaiterTwice,
        Self::PongMissing,
        Self::SilenceUnseen,
        Self::Impatience,
        Self::MasterForgotten,
        Self::LeaveForEver,
        Self::LinkTakenOver,
        Self::FirstBytesUnwatched,
        Self::UnsentUnbounded,
        Self::StrangersStay,
        Self::CompressedForAll,
        Self::StallUnseen,
        Self::LinksLostWithMaster,
        Self::PauseUntold,
        Self::PausedForEver,
        Self::RestLost,
        Self::LoserBroadcast,
        Self::NameUntold,
        Self::QueryUnanswered,
        Self::NewcomerUntold,
        Self::WaitTooMany,
        Self::KeptForgotten,
        Self::OwnNamesForgotten,
        Self::QuestionForEver,
        Self::WaitersForgotten,
        Self::OldNameKept,
        Self::DeathUntold,
        Self::NameStolen,
        Self::IdsBurnt,
        Self::OldMasterBelieved,
        Self::FrameTwice,
        Self::FrameSplit,
        Self::SessionCut,
        Self::SourceUnmarked,
        Self::ShortFrameTaken,
        Self::LongFrameTaken,
        Self::LargeMisplaced,
    ];
}

#[cfg(feature = "mutants")]
mod chosen {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// This thread has this bug from now on, and no other.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }

    pub(crate) fn is(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub use chosen::choose;
#[cfg(feature = "mutants")]
pub(crate) use chosen::is;

/// Whether this thread has this bug.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}

/// Does what the bug would leave out.
pub(crate) fn unless(mutant: Mutant, act: impl FnOnce()) {
    if !is(mutant) {
        act();
    }
}

/// Does what only the bug does.
pub(crate) fn when(mutant: Mutant, act: impl FnOnce()) {
    if is(mutant) {
        act();
    }
}
