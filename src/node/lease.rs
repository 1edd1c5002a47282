//! The file in which a node remembers its leased harbor id.
//!
//! ```text
//! skyharbor lease 1          what it is
//! id 201                     the last id
//! refused 0                  1: the master refused it
//! taken 1800000000 …         when new ids were taken, in seconds since 1970
//! sum 9f0c…                  FNV-1a over all before, 16 hexadecimal digits
//! ```
//!
//! It is written to a file beside it, flushed and renamed: a reader sees the old record or the new one. What is torn or
//! changed all the same is not believed; the node then starts over with the first id of its range.
//!
//! A node keeps a lock on a second file, `….lock`, for as long as it lives: two nodes with one record would take each other's
//! id at every start, and burn one id each time.

use crate::limits::{LEASE_BYTES_MAX, LEASES_DAY_MAX};
use crate::message::HarborId;
use crate::registry::{HarborRange, LeaseError, Record};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const HEAD: &str = "skyharbor lease 1";

/// A lease with its file.
pub(super) struct Lease {
    path: PathBuf,
    range: HarborRange,
    record: Record,
    /// Unlocked by the system when it is closed, however the process ends.
    _lock: File,
}

/// Why there is no id.
#[derive(Debug)]
pub(super) enum Denied {
    /// The limits say so.
    Limit(LeaseError),
    /// The file cannot be read or written, or another node uses it: an id that is not remembered is not taken.
    File(io::Error),
}

impl Lease {
    /// Locks and reads the file. One that is missing, torn or changed is as good as none; whether it was one of the latter two.
    pub(super) fn open(path: &Path, range: HarborRange) -> Result<(Self, bool), Denied> {
        let lock = lock(path).map_err(Denied::File)?;
        let (record, is_corrupt) = match read(path) {
            Ok(text) => match decode(&text) {
                Some(record) => (record, false),
                None => (Record::default(), true),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Record::default(), false),
            Err(error) => return Err(Denied::File(error)),
        };
        Ok((Self { path: path.to_owned(), range, record, _lock: lock }, is_corrupt))
    }

    /// The id to start with; it is remembered when this returns.
    pub(super) fn take(&mut self, now: u64) -> Result<HarborId, Denied> {
        let mut record = self.record.clone();
        let id = record.lease(self.range, now);
        if record != self.record {
            self.keep(record)?;
        }
        id.map_err(Denied::Limit)
    }

    /// The master refused the id.
    pub(super) fn refuse(&mut self) -> Result<(), Denied> {
        let mut record = self.record.clone();
        record.refuse();
        self.keep(record)
    }

    fn keep(&mut self, record: Record) -> Result<(), Denied> {
        replace(&self.path, encode(&record).as_bytes()).map_err(Denied::File)?;
        self.record = record;
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LEASE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn lock(path: &Path) -> io::Result<File> {
    let file = File::create(beside(path, ".lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(io::Error::new(io::ErrorKind::WouldBlock, "another node uses the file"))
        }
        Err(error) => Err(error.into()),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    beside.into()
}

/// Puts the bytes in the file's place, all or nothing.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path, ".new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn encode(record: &Record) -> String {
    let taken: Vec<String> = record.taken.iter().map(u64::to_string).collect();
    let (id, refused) = (record.id, u8::from(record.is_refused));
    let text = format!("{HEAD}\nid {id}\nrefused {refused}\ntaken {}\n", taken.join(" "));
    let sum = sum(&text);
    format!("{text}sum {sum:016x}\n")
}

/// The record, if every byte is as it was written.
fn decode(bytes: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.strip_prefix(HEAD)?.strip_prefix('\n')?.lines();
    let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
    let id = HarborId::new(value("id")?.parse().ok()?);
    let is_refused = value("refused")? == "1";
    let taken: Option<Vec<u64>> = value("taken")?.split(' ').map(|then| then.parse().ok()).collect();
    let record = Record { id, is_refused, taken: taken.filter(|taken| taken.len() <= LEASES_DAY_MAX)? };
    (encode(&record) == text).then_some(record)
}

/// FNV-1a (Fowler, Noll, Vo).
fn sum(text: &str) -> u64 {
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const NOON: u64 = 1_800_000_000;

    fn range() -> HarborRange {
        HarborRange::new(200, 254).unwrap()
    }

    fn open(path: &Path) -> (Lease, bool) {
        Lease::open(path, range()).unwrap()
    }

    #[test]
    fn the_next_start_remembers_the_id_and_its_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease");
        let (mut lease, is_corrupt) = open(&path);
        assert_eq!((lease.take(NOON).unwrap().get(), is_corrupt), (200, false));
        drop(lease);
        assert_eq!(open(&path).0.take(NOON + 1).unwrap().get(), 200);
        let (mut lease, _) = open(&path);
        lease.take(NOON + 2).unwrap();
        lease.refuse().unwrap();
        drop(lease);
        assert!(matches!(open(&path).0.take(NOON + 3), Err(Denied::Limit(LeaseError::TooSoon { .. }))));
        assert_eq!(open(&path).0.take(NOON + 60).unwrap().get(), 201);
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, ["lease", "lease.lock"], "nothing else is left beside it");
    }

    #[test]
    fn two_nodes_do_not_share_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease");
        let (first, _) = open(&path);
        match Lease::open(&path, range()) {
            Err(Denied::File(error)) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            Err(Denied::Limit(error)) => panic!("{error}"),
            Ok(_) => panic!("the first one lives"),
        }
        drop(first);
        open(&path);
    }

    #[test]
    fn a_clock_that_was_set_back_locks_out_for_a_minute_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease");
        let (mut lease, _) = open(&path);
        lease.take(NOON).unwrap();
        lease.refuse().unwrap();
        drop(lease);
        let before = NOON - 365 * 24 * 3600;
        assert!(matches!(open(&path).0.take(before), Err(Denied::Limit(LeaseError::TooSoon { .. }))));
        assert_eq!(open(&path).0.take(before + 60).unwrap().get(), 201);
    }

    #[test]
    fn a_torn_or_changed_file_is_not_believed_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease");
        let record = Record { id: HarborId::new(254), is_refused: false, taken: vec![NOON, NOON + 60] };
        let whole = encode(&record).into_bytes();
        let mut bad: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                bad.push(changed);
            }
        }
        bad.extend([[&whole[..], b"\n"].concat(), vec![0; 4096], vec![0xff; 1 << 20]]);
        for bytes in bad {
            assert_eq!(decode(&bytes), None, "{}", String::from_utf8_lossy(&bytes));
        }
        for torn in [&whole[..0], &whole[..20], &whole[..whole.len() - 1]] {
            fs::write(&path, torn).unwrap();
            let (mut lease, is_corrupt) = open(&path);
            assert_eq!((lease.take(NOON).unwrap().get(), is_corrupt), (200, true));
            drop(lease);
            assert!(!open(&path).1, "whole again");
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(open(&path).0.take(NOON + 61).unwrap().get(), 254);
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_the_record_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease");
        open(&path).0.take(NOON).unwrap();
        fs::write(folder.path().join("lease.new"), b"skyharbor le").unwrap();
        assert_eq!(open(&path).0.take(NOON + 1).unwrap().get(), 200);
    }

    #[test]
    fn an_id_that_cannot_be_remembered_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert!(matches!(Lease::open(&missing.join("lease"), range()), Err(Denied::File(_))));
        fs::create_dir(&missing).unwrap();
        assert!(matches!(Lease::open(&missing, range()), Err(Denied::File(_))), "a folder is no file");
        let (mut lease, _) = open(&missing.join("lease"));
        fs::remove_dir_all(&missing).unwrap();
        assert!(matches!(lease.take(NOON), Err(Denied::File(_))));
    }
}
