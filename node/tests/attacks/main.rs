//! A real process of the program under attack, with little memory to spare: it lives, its memory stays bounded, and it
//! serves a healthy peer all the while.
//!
//! ```text
//!  attackers ──(raw sockets, as many as they like)──► victim: skyharbor run, may grow by GROWTH_MAX
//!                                                        ▲
//!  healthy node in this process ──(calls, every reply checked)──┘
//! ```
//!
//! Only loopback; each attack is bounded in count, and whoever waits does so for something that comes.

mod control;
mod hostile;
mod links;
#[path = "../played/mod.rs"]
mod played;
#[path = "../program/mod.rs"]
mod program;
mod victim;
