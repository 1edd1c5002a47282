//! Whole machines next to scripted peers that play real nodes, their faults included, with virtual time and no socket.
//!
//! ```text
//!  world                  time, connections, how bytes are cut on their way
//!  ours                   a harbor, with an echo service behind it
//!  skyharbor::sim::real   a real node: joins, links, names, its faults, its log; the master inside it
//! ```
//!
//! A played node does what real ones were seen to do, the harmful things too: it loses frames that come before it has
//! handed a link over, closes its listener after the join, sends into dead links, takes an id once, lets the second
//! registration win in its cache and the first in its table. What it would log as an error is kept, so that a test can
//! say that nobody made it complain.

mod faults;
mod joins;
mod kin;
mod limits;
mod lives;
mod names;
mod ours;
mod vacancies;
mod world;
