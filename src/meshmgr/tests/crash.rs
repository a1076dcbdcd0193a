//! A server that dies between spending a token and answering, at every step; a store whose disk fails at every step.

use std::sync::Mutex;

use super::*;
use crate::store::{Change, Embedded, Entry, Range, StoreError, Transaction};

/// What happens to one order to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The process dies before it is done.
    DiesBefore,
    /// The process dies when it is done.
    DiesAfter,
    /// The disk is full; nothing was written.
    Full,
    /// It was written, and the disk says that it was not.
    Unsure,
}

/// A store that fails once, when told.
struct Failing {
    inner: Arc<Embedded>,
    /// After how many orders, and how.
    plan: Mutex<Option<(usize, Fault)>>,
}

impl Failing {
    fn set(&self, plan: Option<(usize, Fault)>) {
        *self.plan.lock().unwrap() = plan;
    }

    /// True: it has happened.
    fn is_over(&self) -> bool {
        self.plan.lock().unwrap().is_none()
    }

    fn around<T>(&self, order: impl FnOnce(&Embedded) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let fault = {
            let mut plan = self.plan.lock().unwrap();
            match plan.take() {
                Some((0, fault)) => Some(fault),
                Some((left, fault)) => {
                    *plan = Some((left - 1, fault));
                    None
                }
                None => None,
            }
        };
        let full = || StoreError::DiskFull(std::io::Error::from_raw_os_error(libc::ENOSPC));
        match fault {
            None => order(&self.inner),
            Some(Fault::DiesBefore) => panic!("a process that dies"),
            Some(Fault::Full) => Err(full()),
            Some(Fault::DiesAfter) => {
                let _done = order(&self.inner);
                panic!("a process that dies")
            }
            Some(Fault::Unsure) => order(&self.inner).and(Err(full())),
        }
    }
}

impl Store for Failing {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.around(|store| store.get(key))
    }
    fn range(&self, prefix: &str) -> Result<Range, StoreError> {
        self.around(|store| store.range(prefix))
    }
    fn commit(&self, transaction: &Transaction) -> Result<u64, StoreError> {
        self.around(|store| store.commit(transaction))
    }
    fn changes(&self, revision: u64) -> Result<Vec<Change>, StoreError> {
        self.around(|store| store.changes(revision))
    }
    fn head(&self) -> watch::Receiver<u64> {
        self.inner.head()
    }
}

async fn failing() -> (World, Arc<Failing>) {
    let mut made = None;
    let world = World::with(Lives::default(), ROOM, |store| {
        let failing = Arc::new(Failing { inner: Arc::new(store), plan: Mutex::new(None) });
        made = Some(Arc::clone(&failing));
        failing
    });
    (world.await, made.unwrap())
}

/// One key is in, and the token was used once.
async fn in_once(world: &World, name: &str, answer: &EnrollAnswer) {
    let node: Value = world.get(&format!("/v1/objects/node/{name}")).await;
    let key = certs::identity_of_pem(&answer.certificate).unwrap().key;
    assert_eq!(node["status"]["tlsKey"], key);
    assert_eq!(node["status"]["tunnelAddress"], json!(answer.slice.tunnel_address));
    let tokens: Value = world.get("/v1/objects/token").await;
    let used: Vec<_> =
        tokens["items"].as_array().unwrap().iter().flat_map(|t| t["status"]["used"].as_array()).collect();
    let of_name = used.iter().flat_map(|used| used.iter()).filter(|one| one["node"] == name).count();
    assert_eq!(of_name, 1, "the token was used once for {name}");
    let joined = world.log().await.into_iter().filter(|(what, text)| what == "enroll" && text.contains(name));
    assert_eq!(joined.count(), 1, "and it is noted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_at_any_step_answers_the_same_key_the_same_when_it_is_back() {
    let (mut world, store) = failing().await;
    let mut n = 0;
    for fault in [Fault::DiesBefore, Fault::DiesAfter, Fault::Full, Fault::Unsure] {
        for step in 0.. {
            n += 1;
            let name = format!("a-{n}");
            let text = world.token(1).await;
            let (wish, _) = request(&text, &name, n);
            store.set(Some((step, fault)));
            let first = world.enroll(&wish).await;
            let over = store.is_over();
            store.set(None);
            assert!(!over || first.is_err(), "{fault:?} at {step} was not noticed");
            if fault == Fault::DiesBefore || fault == Fault::DiesAfter {
                world = world.again(Arc::clone(&store) as Arc<dyn Store>).await;
            }
            let answer = world.enroll(&wish).await.unwrap_or_else(|e| panic!("{fault:?} at {step}: {e}"));
            in_once(&world, &name, &answer).await;
            // Whoever else has the token is too late, whatever happened.
            let (other, _) = request(&text, &format!("b-{n}"), n + 100);
            assert_eq!(world.enroll(&other).await.unwrap_err().code, "M0246", "{fault:?} at {step}");
            let (taken, _) = request(&text, &name, n + 100);
            assert_eq!(world.enroll(&taken).await.unwrap_err().code, "M0247", "{fault:?} at {step}");
            if !over {
                assert!(step > 0, "{fault:?}: no step was reached");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_at_any_write_leaves_the_state_of_before_and_says_so() {
    let (world, store) = failing().await;
    let node = world.join("a-1", 1).await;
    let mut lines = world.node(&node).lines("/v1/slice").await.unwrap();
    let slice = snapshot(&mut lines).await;
    let network = |name: &str, vni| vec![Any::Network(fixture::network(name, "default", vni, "192.168.30.0/24"))];
    for (fault, vni) in [(Fault::Full, 30), (Fault::Unsure, 31)] {
        let name = format!("n{vni}");
        store.set(Some((0, fault)));
        let refused = world.apply(network(&name, vni)).await.unwrap_err();
        assert_eq!(refused.code, "M0702");
        assert!(store.is_over());
        let there = world.admin().call::<(), Value>(Method::GET, &format!("/v1/objects/network/{name}"), None).await;
        assert!(there.is_err(), "{fault:?}: what was not confirmed is not shown");
        // The next change finds out what is on the disk, and goes on from there.
        let next = world.apply(network(&name, vni)).await.unwrap();
        let expected = if fault == Fault::Full { "create" } else { "unchanged" };
        assert_eq!(next["changes"][0]["change"], expected, "{fault:?}");
    }
    store.set(Some((0, Fault::Full)));
    let claim = FoundPort {
        network: "default/10".parse().unwrap(),
        mac: crate::types::Mac([2, 0, 0, 0, 0, 1]),
        ips: Default::default(),
    };
    let report = world.of_found(&node, &Report { ports: Some(vec![claim]), ..Report::default() }).await;
    let refused = world.node(&node).call::<_, Value>(Method::POST, "/v1/report", Some(&report)).await.unwrap_err();
    assert_eq!(refused.code, "M0702");
    let _: Value = world.node(&node).call(Method::POST, "/v1/report", Some(&report)).await.unwrap();
    assert_eq!(after_delta(&mut lines, &slice).await.rows.len(), 1, "and the members follow what was kept");
}
