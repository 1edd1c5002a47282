//! What is known to go wrong between real nodes: each defect provoked on real nodes, then the same situation with a node of
//! ours in it, which gives an error, keeps its links, or refuses.
//!
//! | defect | file |
//! |---|---|
//! | E1 a node dies and its callers wait for ever | `deaths.rs` |
//! | E2 a node that comes back with its id is refused, and ends with status 0 | `deaths.rs` |
//! | E4 one name has two owners | `names.rs` |
//! | E5 frames that are too short or too long | `frames.rs` |
//! | E6 a large message kills its sender, or the link without a word | `large.rs` |
//! | E7 a node waits for ever for one that never dials, and all later ones behind it | `starts.rs` |
//! | E8 a wrong configuration hangs, or ends with status 0 | `starts.rs` |
//! | E9 a cut control link | `control.rs` |
//! | E10 a name outlives its service | `names.rs` |
//! | E11 a message waits although a worker is idle | `handoff.rs` |
//! | E16 an acceptor that speaks first breaks the link | `frames.rs` |
//! | E17 one frame ends a node | `frames.rs` |

mod control;
mod deaths;
mod frames;
mod handoff;
mod large;
mod names;
mod starts;
