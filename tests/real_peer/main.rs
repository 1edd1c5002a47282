//! Whole machines next to scripted peers that play real nodes, their faults included, with virtual time and no socket.
//!
//! ```text
//!  world     time, connections, how bytes are cut on their way
//!  ours      a harbor, with an echo service behind it
//!  real      a real node as `wire.md` 3 to 5 tells it: joins, links, names, its faults, its log
//!  master    the master inside a real node
//! ```
//!
//! A played node does what real ones were seen to do, the harmful things too: it loses frames that come before it has
//! handed a link over, closes its listener after the join, sends into dead links, takes an id once, lets the second
//! registration win in its cache and the first in its table. What it would log as an error is kept, so that a test can
//! say that nobody made it complain.

mod faults;
mod frame;
mod joins;
mod kin;
mod limits;
mod lives;
mod master;
mod names;
mod ours;
mod real;
mod slots;
mod vacancies;
mod world;
