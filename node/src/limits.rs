//! Every bound of the program.

use std::time::Duration;

/// How deep JSON may nest when values are shown: a table of packed values takes up to three levels, and the reader at
/// the other end of the control socket stops at 128.
pub(crate) const JSON_DEPTH_MAX: usize = 100;

/// Connections to the control socket at one time.
pub(crate) const CONTROL_CONNECTIONS_MAX: usize = 16;
/// The longest request line.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 20;
/// The longest answer line.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How long a control connection may take to write one answer to a client that does not read.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The longest deadline of a call through the control socket.
pub(crate) const CALL_TIME_MAX: Duration = Duration::from_secs(3600);
/// What a client waits longer than the deadline of its call.
pub(crate) const CLIENT_PATIENCE: Duration = Duration::from_secs(5);
/// How often a control connection looks whether its client still waits.
pub(crate) const CLIENT_LOOK: Duration = Duration::from_millis(250);
/// How long a node that starts waits for others that start in the folder of its control socket.
pub(crate) const FOLDER_LOCK_TIME_MAX: Duration = Duration::from_secs(2);
/// Things that wait for the main thread.
pub(crate) const EVENTS_MAX: usize = 64;

/// Log lines that wait to be written; more are lost, and the log says so.
pub(crate) const LOG_LINES_MAX: usize = 8192;
/// Bytes of log lines that are written at once.
pub(crate) const LOG_WRITE_BYTES: usize = 64 << 10;
/// How long a program that ends waits for its last log lines to be written.
pub(crate) const LOG_END_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a node takes to leave gracefully.
pub(crate) const LEAVE_TIME_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(JSON_DEPTH_MAX + 8 < 128);
const _: () = assert!(REQUEST_BYTES_MAX < ANSWER_BYTES_MAX);
