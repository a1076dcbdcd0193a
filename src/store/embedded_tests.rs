use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use redb::{BackendError, StorageBackend};

use super::*;

fn put(key: &str, value: &str) -> Transaction {
    Transaction::new().write(key, value)
}

/// A disk that keeps what was written, can run full, and can lose power: what was not synced is gone then.
#[derive(Debug, Clone)]
struct Disk {
    synced: Arc<Mutex<Vec<u8>>>,
    written: Arc<Mutex<Vec<u8>>>,
    /// Operations left until everything fails.
    left: Arc<AtomicI64>,
    error: i32,
}

impl Disk {
    fn new() -> Self {
        let left = Arc::new(AtomicI64::new(i64::MAX));
        Self { synced: Arc::default(), written: Arc::default(), left, error: libc::ENOSPC }
    }

    fn step(&self) -> io::Result<()> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            n if n > 0 => Ok(()),
            _ => Err(io::Error::from_raw_os_error(self.error)),
        }
    }

    /// As after a power cut: a disk with what was synced, which works again.
    fn after_power_cut(&self) -> Self {
        let synced = self.synced.lock().unwrap().clone();
        Self { written: Arc::new(Mutex::new(synced.clone())), synced: Arc::new(Mutex::new(synced)), ..Self::new() }
    }

    fn store(&self) -> Result<Embedded, StoreError> {
        let disk = self.clone();
        Embedded::from_opener(Box::new(move || Builder::new().create_with_backend(disk.clone()).map_err(fault)))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.lock().unwrap().len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.written.lock().unwrap()[at..at + out.len()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step()?;
        self.written.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.step()?;
        *self.synced.lock().unwrap() = self.written.lock().unwrap().clone();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step()?;
        let at = usize::try_from(offset).unwrap();
        self.written.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
    fn try_lock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}

#[test]
fn a_full_disk_is_named_loses_nothing_and_is_overcome() {
    let disk = Disk::new();
    let store = disk.store().unwrap();
    store.commit(&put("a", "1")).unwrap();
    disk.left.store(0, Ordering::SeqCst);
    for _ in 0..2 {
        assert!(matches!(store.commit(&put("a", &"2".repeat(10_000))), Err(StoreError::DiskFull(_))));
    }
    disk.left.store(i64::MAX, Ordering::SeqCst);
    assert_eq!(store.get("a").unwrap(), Some(Entry { revision: 1, value: b"1".to_vec() }));
    assert_eq!(store.commit(&put("a", "3")).unwrap(), 2);
}

#[test]
fn a_power_cut_at_any_step_leaves_the_whole_transaction_or_none_of_it() {
    let (mut before, mut after) = (0, 0);
    for steps in 0.. {
        let disk = Disk::new();
        let store = disk.store().unwrap();
        store.commit(&put("a", "1").write("b", "1")).unwrap();
        disk.left.store(steps, Ordering::SeqCst);
        let done = store.commit(&put("a", "2").delete("b").write("c", "2".repeat(20_000)));
        let again = disk.after_power_cut().store().unwrap();
        let range = again.range("").unwrap();
        let keys: Vec<_> = range.entries.iter().map(|(key, entry)| (key.as_str(), entry.revision)).collect();
        match range.revision {
            1 => assert_eq!(keys, [("a", 1), ("b", 1)], "{steps}"),
            2 => assert_eq!(keys, [("a", 2), ("c", 2)], "{steps}"),
            other => panic!("revision {other} after {steps} steps"),
        }
        assert!(done.is_err() || range.revision == 2, "what was confirmed is there");
        assert_eq!(again.changes(0).unwrap().iter().map(|c| c.revision).max(), Some(range.revision));
        before += u32::from(range.revision == 1);
        after += u32::from(range.revision == 2);
        if done.is_ok() {
            break;
        }
    }
    assert!(before > 2 && after > 0, "{before} cuts before, {after} after");
}

#[test]
fn a_second_process_is_refused_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let first = Embedded::open(&path).unwrap();
    assert!(matches!(Embedded::open(&path), Err(StoreError::Busy(named)) if named.ends_with("store")));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    first.commit(&put("a", "1")).unwrap();
    drop(first);
    let again = Embedded::open(&path).unwrap();
    assert_eq!((again.range("").unwrap().revision, *again.head().borrow()), (1, 1));
}

#[test]
fn a_file_that_is_no_store_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let refused = Embedded::open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupted(_)), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), vec![7; 100_000]);
}

#[test]
fn a_store_cut_in_half_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Embedded::open(&path).unwrap();
    store.commit(&put("a", &"1".repeat(3_000_000))).unwrap();
    drop(store);
    let length = std::fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    assert!(Embedded::open(&path).is_err());
}

#[test]
fn packed_changes_come_back() {
    let mut packed = Vec::new();
    pack("a", Some(b"xyz"), &mut packed).unwrap();
    pack("b", None, &mut packed).unwrap();
    pack("c", Some(b""), &mut packed).unwrap();
    let mut changes = Vec::new();
    unpack(7, &packed, &mut changes).unwrap();
    let got: Vec<_> = changes.iter().map(|c| (c.key.as_str(), c.value.as_deref())).collect();
    assert_eq!(got, [("a", Some(&b"xyz"[..])), ("b", None), ("c", Some(&b""[..]))]);
    for cut in 0..packed.len() {
        let mut partly = Vec::new();
        let done = unpack(7, &packed[..cut], &mut partly);
        assert!(partly.len() < 3 && changes.starts_with(&partly), "{cut}: {done:?}");
    }
}
