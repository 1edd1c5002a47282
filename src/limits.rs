//! Every bound with its unit, and the relations between them.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The longest payload of a harbor frame, in bytes: the length field counts the 12-byte trailer and its first byte must be 0.
pub const PAYLOAD_BYTES_MAX: usize = FRAME_LENGTH_MAX - TRAILER_BYTES;
/// The largest length field of a harbor frame.
pub const FRAME_LENGTH_MAX: usize = 0x00ff_ffff;
/// Source, type and destination, session.
pub const TRAILER_BYTES: usize = 12;
/// The most bytes of packed values in a control packet: its size is one byte.
pub const CONTROL_BYTES_MAX: usize = 255;

/// How deep packed tables may nest when they are written: Skynet's limit.
pub const SERI_WRITE_DEPTH_MAX: usize = 32;
/// How deep packed tables may nest when they are read. Real nodes have no limit and die.
pub const SERI_READ_DEPTH_MAX: usize = 128;
/// The most bytes of packed values in one message, written or read: a payload of a harbor frame.
pub const SERI_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;
/// Missing elements that the lists of one message may have beyond one for each of its bytes, when they are read into sequences.
pub const SERI_HOLES_MAX: usize = 4096;
/// How deep options and newtypes may nest around what is read from one message, since they take no bytes.
pub const SERI_WRAPPERS_MAX: usize = 4 * SERI_READ_DEPTH_MAX;

/// Slots of a node: one per harbor id.
pub const SLOTS: usize = 256;
/// Messages held for one peer that is not linked yet.
pub const HELD_MESSAGES_MAX: usize = 65_536;
/// Bytes held for one peer that is not linked yet, or for all names that nobody has.
pub const HELD_BYTES_MAX: usize = 64 << 20;
/// Bytes held for all peers that are not linked yet.
pub const HELD_BYTES_ALL_MAX: usize = 256 << 20;
/// How long a message is held for a peer that is not linked yet.
pub const HELD_TIME_MAX: Duration = Duration::from_secs(30);
/// Messages held for one name that nobody has yet.
pub const NAME_HELD_MESSAGES_MAX: usize = 8_192;
/// Names with waiters or held messages.
pub const NAMES_WAITED_MAX: usize = 65_536;
/// Waiters for names that nobody has yet, all names together.
pub const NAME_WAITERS_MAX: usize = 65_536;
/// Names that a node remembers.
pub const NAMES_MAX: usize = 1 << 20;
/// Calls to one peer that wait for their answers; as many again that were passed on to it for other nodes.
pub const PENDING_CALLS_MAX: usize = 1 << 20;
/// Unsent bytes of one link above which messages to it are refused.
pub const UNSENT_BYTES_MAX: usize = 256 << 20;
/// Unsent bytes of one link that are first warned of; then at each doubling (Skynet's `socket_server.c`).
pub const UNSENT_WARN_BYTES: usize = 1 << 20;
/// The payload of a message to or from a real node, in bytes, that is first warned of; then at each doubling. A real node
/// builds what it sends on its stack and dies at about 8 MB (`wire.md` 4.2), and a large request may have a large answer.
pub const LARGE_WARN_BYTES: usize = 4 << 20;
/// How long a handshake of a link may take.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a joiner waits for the links that `W` announced, before it goes on without them.
pub const JOIN_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a call that was passed on to a peer for another node is remembered, and any call once there is no room for
/// more.
pub const CALL_TIME_MAX: Duration = Duration::from_secs(600);
/// The first pause before a lost or refused connection is dialled again.
pub const REDIAL_TIME_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a lost or refused connection is dialled again.
pub const REDIAL_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a link to a node of our kind is silent before the node is asked whether it lives.
pub const HEARTBEAT_TIME: Duration = Duration::from_secs(1);
/// Instants in that time at which silent links are looked at, all of them together.
pub const HEARTBEAT_LOOKS: u64 = 4;
/// How long such a link is silent before it is given up.
pub const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a node has to show that it lives when somebody else comes with its id.
pub const PROBE_TIME_MAX: Duration = Duration::from_secs(2);
/// How long unsent bytes of a link may stand still before it is given up.
pub const STALL_TIME_MAX: Duration = Duration::from_secs(10);
/// Steps in which that time is counted.
pub const STALL_STEPS: u32 = 4;
/// Bytes that a node takes for messages and names, unless the configuration says otherwise.
pub const MEMORY_BYTES: usize = 2 << 30;
/// The fewest bytes that it can be told to take: some large frames on their way, in and out.
pub const MEMORY_BYTES_MIN: usize = 32 << 20;
/// Of these bytes, how many there have to be for each name that is remembered: an eighth of them are for names, which a master
/// keeps three times.
pub const NAME_SHARE_BYTES: usize = 2048;
/// Of these bytes, how many there have to be for each message in mailboxes.
pub const MESSAGE_SHARE_BYTES: usize = 128;
/// How often mailboxes are looked at while links wait for room in them.
pub const MEMORY_LOOK_TIME: Duration = Duration::from_millis(1);
/// The size of one read while memory is short, for a link that has none reserved.
pub const SHORT_READ_BYTES: usize = 16 << 10;
/// How long a link is not read because there is no memory for what it brings, before it is given up.
pub const PAUSE_TIME_MAX: Duration = Duration::from_secs(10);
/// While others wait for memory, a frame that has some brings at least [`FRAME_PACE_BYTES`] in this time.
pub const FRAME_PACE_TIME: Duration = Duration::from_secs(5);
/// See [`FRAME_PACE_TIME`].
pub const FRAME_PACE_BYTES: usize = 1 << 20;
/// The largest message from one node of our kind to another's reserved id; others are for nobody.
pub const KIN_BYTES_MAX: usize = 256;
/// How long a leaving node tries to hand its last bytes to its connections.
pub const LEAVE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long whoever registers a name waits for the master's word on it, before it has the name inside the node alone.
pub const CLAIM_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a master that was away waits for those who registered a name meanwhile, before the first of them has it for good:
/// the longest pause before they dial it, the time that dialling takes, and that of a join.
pub const TIE_TIME_MAX: Duration = Duration::from_secs(20);
/// Unsent bytes of a control link above which its peer is taken for dead.
pub const CONTROL_UNSENT_MAX: usize = 4 << 20;
/// Accepted connections that have not said who they are: all nodes of a cluster may dial a joiner at once, and real ones
/// do so once.
pub const STRANGERS_MAX: usize = SLOTS;
/// Services that wait for a link to come up or to be lost, or for the master to be lost.
pub const WAITERS_MAX: usize = 65_536;

/// Connections to the master that have not introduced themselves.
pub const GUESTS_MAX: usize = 256;
/// The longest address (`host:port`) that fits in a control packet: letter, id and the string's head take seven bytes.
pub const ADDRESS_BYTES_MAX: usize = CONTROL_BYTES_MAX - 7;

/// Frames up to this many bytes are copied into the link's chunk, longer ones are written from where they are (measured crossover).
pub const COPY_BYTES_MAX: usize = 1024;
/// The smallest payload that may be compressed on its way to a node of our kind.
pub const COMPRESS_BYTES_MIN: usize = 1024;
/// How much of a payload must be saved, in percent, for it to leave compressed.
pub const COMPRESS_SAVED_PERCENT_MIN: usize = 20;
/// Bytes that one byte of an LZ4 block can stand for.
pub const COMPRESS_RATIO_MAX: usize = 255;
/// The size of a chunk of outgoing frames.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Sent chunks that a connection keeps for its next frames.
pub const CHUNKS_SPARE_MAX: usize = 1;
/// Memory that the first bytes of a frame may take; from there it is at most twice what has arrived.
pub const FRAME_STEP_BYTES: usize = 64 << 10;
/// The size of one read.
pub const READ_BYTES: usize = 256 << 10;
/// Slices of one `writev`.
pub const IOVEC_MAX: usize = 64;
/// Writes to one connection in one turn of the I/O thread.
pub const WRITES_MAX: usize = 8;
/// How long the I/O thread looks on for more after work, before it sleeps: a few wake-ups of a halted CPU.
pub const IO_BUSY_POLL_TIME: Duration = Duration::from_micros(100);
/// When the I/O thread gives way for longer, others want its CPU.
pub const IO_YIELD_TIME_MAX: Duration = Duration::from_micros(300);
/// How long the I/O thread does not look on once others wanted its CPU.
pub const IO_CROWDED_TIME: Duration = Duration::from_millis(20);
/// How often the I/O thread looks for more messages of services in one turn, without a look at its sockets.
pub const LANE_LOOKS_MAX: usize = 4;
/// A sender that comes so soon after one that stood in for the sleeping I/O thread wakes it: it then writes many at once.
pub const STAND_IN_PAUSE: Duration = Duration::from_micros(20);
/// Messages that the I/O thread takes from its lanes in one turn.
pub const UPLINK_TURN_MESSAGES_MAX: usize = 4096;
/// Events that one wait of the I/O thread reports.
pub const EVENTS_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Connections accepted from one listener in one turn of the I/O thread.
pub const ACCEPTS_MAX: usize = 64;
/// Connections that the system keeps for a listener.
pub const LISTEN_BACKLOG: i32 = 1024;
/// How long nothing is accepted once no descriptor is left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a node that starts waits for the names of its listening addresses to be resolved.
pub const LISTEN_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a dialled name may take to be resolved and all its addresses to be tried; each gets its share of what is left.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(4);
/// Addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 8;
/// Names that wait for the resolver.
pub const QUESTIONS_MAX: usize = 1024;
/// How long a closed connection waits for its peer to close too.
pub const LINGER_TIME_MAX: Duration = Duration::from_millis(250);
/// Closed connections that wait for their peers; others are closed at once.
pub const LINGERING_MAX: usize = 64;
/// How long a peer's machine may be unreachable before its connections end.
pub const UNREACHABLE_TIME_MAX: Duration = Duration::from_secs(15);
/// Probes of the system in that time.
pub const KEEPALIVE_PROBES: u32 = 3;
/// The shortest time between two of them: systems count in seconds.
pub const KEEPALIVE_TIME_MIN: Duration = Duration::from_secs(1);

/// Messages of one turn of a service.
pub const TURN_MESSAGES_MAX: u32 = 64;
/// Time of one turn of a service; the message that exceeds it is the turn's last.
pub const TURN_TIME_MAX: Duration = Duration::from_micros(50);
/// How many services run from the LIFO slot before the ring gets its turn.
pub const LIFO_TURNS_MAX: u32 = 32;
/// Turns between two looks at the global queue.
pub const GLOBAL_TURNS_MAX: u32 = 61;
/// Time between two looks at the global queue, if a turn does not take longer.
pub const GLOBAL_TIME_MAX: Duration = Duration::from_micros(200);

/// How long a worker without work looks on before it sleeps: about what sleeping and being woken costs.
pub const SPIN_TIME: Duration = Duration::from_micros(20);
/// Calls of one service that wait for their replies.
pub const CALLS_MAX: usize = 1 << 20;
/// Places of a service's calls that are looked at, between two of its messages, for those of a callee that died.
pub const SWEEP_PLACES_MAX: usize = 1024;
/// Timers of one service.
pub const TIMERS_MAX: usize = 1 << 20;
/// How deep services may spawn services in `start`, each inside the start of the one before.
pub const SPAWN_DEPTH_MAX: u32 = 64;

/// Service ids of a node: the low 24 bits of a handle.
pub const SERVICE_IDS: u32 = 1 << 24;
/// The lowest service id that is given out; the ids below are reserved, 0 is nobody.
pub const SERVICE_ID_FREE_MIN: u32 = 8;
/// The service id that never is a service: a dead owner's names are given to it, so that calls to them fail.
pub const SERVICE_ID_VACANT: u32 = 6;
/// The service id that nodes of our kind have in common: their hellos go to it.
pub const SERVICE_ID_KIN: u32 = 7;
/// Names of one dead node that are given up for it. Calls to the rest wait as they do in Skynet.
pub const VACANT_NAMES_MAX: usize = 16_384;
/// How long a node of which nothing is left may come back to its names under a real master, before they are given up for it.
pub const VACATE_PAUSE: Duration = Duration::from_secs(1);
/// Names of a node that had another owner before and that it registers again for each newcomer of a real master.
pub const CONTESTED_NAMES_MAX: usize = 1024;
/// Names that the master is asked for at once before they are registered.
pub const CLAIMS_ASKED_MAX: usize = 4096;
/// The pause between two new harbor ids that a node takes from its range.
pub const LEASE_INTERVAL: Duration = Duration::from_secs(60);
/// The time in which a node takes at most [`LEASES_DAY_MAX`] new ids.
pub const LEASE_DAY: Duration = Duration::from_secs(24 * 3600);
/// How long after a death newcomers are first looked after that may wait for the dead; it doubles with each try.
pub const NUDGE_PAUSE: Duration = Duration::from_secs(1);
/// How often a newcomer is looked after for one death.
pub const NUDGES_MAX: u32 = 3;
/// New harbor ids that a node takes from its range in a day.
pub const LEASES_DAY_MAX: usize = 10;
/// The largest file of a lease.
pub const LEASE_BYTES_MAX: u64 = 4096;
/// How long a start with a leased id waits for the master's word on it.
pub const LEASE_TIME_MAX: Duration = Duration::from_secs(10);
/// Services in a worker's ring, above which half of it goes to the global queue.
pub const RING_SERVICES_MAX: usize = 256;
/// Message nodes that move between threads at once. The budget of messages is counted in these steps.
pub const POOL_CHUNK_NODES: usize = 64;
/// Chunks of free message nodes that a node keeps; what is free above goes back to the allocator.
pub const DEPOT_CHUNKS_MAX: usize = 2048;
/// Bytes of the node's budget that a thread takes or returns at once.
pub const BYTES_LEASE: u64 = 64 << 10;
/// Messages in one lane to the I/O thread, above which sends are refused.
pub const LANE_MESSAGES_MAX: u64 = 65_536;
/// Messages in one lane to the I/O thread, above which even answers are refused: a peer of our kind has not more calls open.
pub const LANE_ANSWERS_MAX: u64 = PENDING_CALLS_MAX as u64;
/// Bytes that the messages in one lane to the I/O thread hold outside themselves, above which sends are refused; twice as
/// many for answers, whose callers then get an ERROR instead, which holds none.
pub const LANE_BYTES_MAX: u64 = 64 << 20;
/// Rounds that a mailbox's owner waits for a sender between its two steps, before it lets others run.
pub const GAP_SPINS_MAX: u32 = 32;

/// The deadline of calls that bring none, unless the configuration says otherwise.
pub const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Worker threads of a node.
pub const THREADS_MAX: u32 = 256;
/// The longest local name, without its dot.
pub const LOCAL_NAME_BYTES_MAX: usize = 255;

/// Keys of the built-in key-value service.
pub const KV_ENTRIES_MAX: usize = 1 << 20;
/// Bytes of packed keys and values of the built-in key-value service.
pub const KV_BYTES_MAX: usize = 256 << 20;

/// Channels that the multicast service of one node knows.
pub const MULTICAST_CHANNELS_MAX: usize = 1 << 16;
/// Services of one node that subscribe to one channel.
pub const MULTICAST_SUBSCRIBERS_MAX: usize = 1 << 16;
/// Members of all channels of one multicast service: services of its node, and other nodes that subscribe to its channels.
pub const MULTICAST_SUBSCRIPTIONS_MAX: usize = 1 << 20;
/// Messages that wait until the multicast service of one other node is found; subscriptions that wait for the owners of
/// their channels.
pub const MULTICAST_WAITING_MAX: usize = 8192;
/// Bytes of the messages that wait until multicast services of other nodes are found.
pub const MULTICAST_WAITING_BYTES_MAX: usize = 64 << 20;
/// How long the owner of a channel may be away before its channels have ended for their subscribers here.
pub const MULTICAST_RETURN_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a multicast service waits for the data center, or for another node's multicast service.
pub const MULTICAST_TIME_MAX: Duration = Duration::from_secs(5);
/// Keys of the built-in data center, those of tables included.
pub const DATACENTER_ENTRIES_MAX: usize = 1 << 20;
/// Bytes of strings in the built-in data center, keys and values.
pub const DATACENTER_BYTES_MAX: usize = 256 << 20;
/// Keys of one path in the built-in data center.
pub const DATACENTER_KEYS_MAX: usize = 128;
/// Calls that wait for values of the built-in data center.
pub const DATACENTER_WAITERS_MAX: usize = 65_536;
/// Bytes of strings in the path that one call waits for.
pub const DATACENTER_WAIT_BYTES_MAX: usize = 4096;
/// Bytes of the copies of one new value that those who waited for it in the built-in data center are answered with.
pub const DATACENTER_WAKE_BYTES_MAX: usize = 64 << 20;
/// The longest name of a unique service.
pub const UNIQUE_NAME_BYTES_MAX: usize = 255;
/// Calls that wait for unique services.
pub const UNIQUE_WAITERS_MAX: usize = 65_536;
/// How long a service manager of another node is waited for when all unique services are listed.
pub const UNIQUE_LIST_TIME_MAX: Duration = Duration::from_secs(2);

/// The largest configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Errors of one configuration that are reported, and as many warnings.
pub const CONFIG_PROBLEMS_MAX: usize = 500;
/// Services that a configuration starts.
pub const CONFIG_SERVICES_MAX: usize = 1024;
/// Files of one configuration.
pub const INCLUDE_FILES_MAX: usize = 64;
/// Included files inside each other.
pub const INCLUDE_DEPTH_MAX: usize = 16;
/// The longest path of a local socket that every system takes (`sun_path` of Linux without its end).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

const _: () = assert!(KV_BYTES_MAX > PAYLOAD_BYTES_MAX);
const _: () = assert!(MULTICAST_CHANNELS_MAX < 1 << 23, "channel ids have 23 bits of their own");
const _: () = assert!(MULTICAST_WAITING_BYTES_MAX > PAYLOAD_BYTES_MAX);
const _: () = assert!(DATACENTER_BYTES_MAX > PAYLOAD_BYTES_MAX);
const _: () = assert!(DATACENTER_WAKE_BYTES_MAX > PAYLOAD_BYTES_MAX);
const _: () = assert!(DATACENTER_WAKE_BYTES_MAX >= DATACENTER_WAITERS_MAX << 10, "a kilobyte reaches all");
const _: () = assert!(PAYLOAD_BYTES_MAX == 16_777_203);
const _: () = assert!(LARGE_WARN_BYTES <= 8_000_000 / 2 + 300_000);
const _: () = assert!(COPY_BYTES_MAX + TRAILER_BYTES + 4 <= CHUNK_BYTES);
const _: () = assert!(CHUNK_BYTES <= READ_BYTES);
const _: () = assert!(READ_BYTES * COMPRESS_RATIO_MAX <= HELD_BYTES_MAX, "what one read may become");
const _: () = assert!(COMPRESS_BYTES_MIN >= COPY_BYTES_MAX);
const _: () = assert!(UPLINK_TURN_MESSAGES_MAX as u64 <= LANE_MESSAGES_MAX);
const _: () = assert!(LANE_MESSAGES_MAX < LANE_ANSWERS_MAX);
const _: () = assert!(PAYLOAD_BYTES_MAX as u64 <= LANE_BYTES_MAX);
const _: () = assert!(ACCEPTS_MAX <= LISTEN_BACKLOG as usize);
const _: () = assert!(LINGER_TIME_MAX.as_nanos() < LEAVE_TIME_MAX.as_nanos());
const _: () = assert!(SERI_WRITE_DEPTH_MAX < SERI_READ_DEPTH_MAX);
const _: () = assert!(SERI_BYTES_MAX < 1 << 31, "array lengths are signed 32-bit numbers");
const _: () = assert!(REDIAL_TIME_MIN.as_nanos() <= REDIAL_TIME_MAX.as_nanos());
const _: () =
    assert!(CONNECT_TIME_MAX.as_nanos() < HANDSHAKE_TIME_MAX.as_nanos(), "all addresses are tried before");
const _: () = assert!(
    REDIAL_TIME_MAX.as_nanos() + HANDSHAKE_TIME_MAX.as_nanos() + JOIN_TIME_MAX.as_nanos()
        <= TIE_TIME_MAX.as_nanos()
);
const _: () = assert!(2 * HEARTBEAT_TIME.as_nanos() <= HEARTBEAT_DEADLINE.as_nanos());
const _: () =
    assert!(STALL_TIME_MAX.as_nanos() < UNREACHABLE_TIME_MAX.as_nanos(), "the system also ends what stalls");
const _: () = assert!(HELD_BYTES_MAX <= UNSENT_BYTES_MAX);
const _: () = assert!(HELD_BYTES_MAX <= HELD_BYTES_ALL_MAX);
const _: () = assert!(MEMORY_BYTES / NAME_SHARE_BYTES == NAMES_MAX && MEMORY_BYTES / 8 == HELD_BYTES_ALL_MAX);
const _: () = assert!(PAYLOAD_BYTES_MAX < MEMORY_BYTES_MIN && MEMORY_BYTES_MIN < MEMORY_BYTES);
const _: () = assert!(SHORT_READ_BYTES <= FRAME_STEP_BYTES && FRAME_STEP_BYTES <= READ_BYTES);
const _: () = assert!(
    FRAME_PACE_TIME.as_nanos() < PAUSE_TIME_MAX.as_nanos(),
    "who is slow goes before who waits for it"
);
const _: () = assert!(SWEEP_PLACES_MAX < CALLS_MAX);
const _: () = assert!(SERVICE_ID_FREE_MIN < SERVICE_IDS);
const _: () = assert!(SERVICE_ID_VACANT < SERVICE_ID_KIN && SERVICE_ID_KIN < SERVICE_ID_FREE_MIN);
const _: () = assert!(0 < SERVICE_ID_VACANT && SERVICE_ID_VACANT < SERVICE_ID_FREE_MIN);
const _: () =
    assert!(VACANT_NAMES_MAX * 32 < CONTROL_UNSENT_MAX, "a slave must be able to hear of all of them");
const _: () = assert!(POOL_CHUNK_NODES * DEPOT_CHUNKS_MAX < u32::MAX as usize);
const _: () = assert!(BYTES_LEASE < MEMORY_BYTES_MIN as u64);
