use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::api::local::Management;
use crate::meshd::lanes::Lanes;
use crate::types::UdpPort;

struct World {
    folder: tempfile::TempDir,
    config: Config,
    shared: Arc<Shared>,
}

const NOW: Wall = Wall::from_secs(1_800_000_000);
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let text = format!("management = ['m:1']\n[paths]\nstate = '{at}'\nkeys = '{at}'\n");
        let config = Config::parse("f", &text).unwrap();
        let lanes = Lanes::start(0, UdpPort::try_from(51820).unwrap(), old(), Default::default()).unwrap();
        let shared = Shared::new("a-1".parse().unwrap(), "a".parse().unwrap(), Management::Files, lanes);
        disk::save_secret(&folder.path().join(WIREGUARD_KEY), &old()).unwrap();
        Self { folder, config, shared }
    }

    /// As a start does it, whatever there is on disk.
    fn start(&self, wall: Wall) -> Keyring {
        Keyring::load(&self.config, disk::secret(&self.config).unwrap(), Mono::default(), wall).unwrap()
    }

    fn on_disk(&self) -> (PublicKey, Option<PublicKey>) {
        let held = self.start(NOW).held();
        (held.current, held.next)
    }
}

fn old() -> SecretKey {
    SecretKey::from_bytes([1; 32])
}

fn said(current: PublicKey, next: Option<PublicKey>, replace: bool) -> OwnKeys {
    OwnKeys { current, next, replace }
}

#[test]
fn a_change_goes_through_and_a_start_between_any_two_steps_goes_on_with_it() {
    let world = World::new();
    let was = public_key(&old());
    let follow = |said: OwnKeys| world.start(NOW).follow(Some(&said), &world.shared, Mono::default());
    follow(said(was, None, true));
    let (current, next) = world.on_disk();
    let next = next.unwrap();
    assert_eq!(current, was, "the old one stays in force");
    assert_eq!(world.shared.outgoing.borrow().next_key, Some(next), "and the new one is reported");
    follow(said(was, None, true));
    assert_eq!(world.on_disk(), (was, Some(next)), "it is not made twice, though the report was lost");

    let mut keys = world.start(NOW);
    keys.follow(Some(&said(was, Some(next), false)), &world.shared, Mono::default());
    assert_eq!(keys.for_lanes().iter().map(|key| public_key(&key.secret)).collect::<Vec<_>>(), [was, next]);
    keys.tend(&world.shared, Mono::default());
    assert_eq!(world.shared.outgoing.borrow().key_in_use, Some(next), "there is no peer to wait for");

    follow(said(next, None, false));
    assert_eq!(world.on_disk(), (next, None));
    assert!(!world.folder.path().join(NEXT_KEY).exists());
    assert_eq!(world.shared.outgoing.borrow().next_key, None);
    let mode = std::fs::metadata(world.folder.path().join(WIREGUARD_KEY)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_crash_in_the_middle_of_the_promotion_leaves_the_new_key() {
    let world = World::new();
    let was = public_key(&old());
    world.start(NOW).follow(Some(&said(was, None, true)), &world.shared, Mono::default());
    let next = world.on_disk().1.unwrap();
    std::fs::copy(world.folder.path().join(NEXT_KEY), world.folder.path().join(WIREGUARD_KEY)).unwrap();
    assert_eq!(world.on_disk(), (next, None));
    assert!(!world.folder.path().join(NEXT_KEY).exists(), "nor is it there twice");
    world.start(NOW).follow(Some(&said(was, Some(next), false)), &world.shared, Mono::default());
    assert_eq!(world.on_disk(), (next, None), "an older slice does not bring the old one back");
}

#[test]
fn a_clock_that_goes_back_far_makes_a_new_key_and_calls_under_the_old_one_go_on_from_its_mark() {
    let world = World::new();
    let was = public_key(&old());
    let mut keys = world.start(NOW);
    let at = |secs| Mono::default() + Duration::from_secs(secs);
    assert!(!keys.watch(&world.shared, at(1), NOW + Duration::from_secs(1)));
    assert!(!keys.watch(&world.shared, at(2), NOW + TEN_YEARS), "forward: told, no more");
    assert!(keys.watch(&world.shared, at(3), NOW + Duration::from_secs(3)));
    keys.follow(Some(&said(was, None, false)), &world.shared, at(3));
    assert!(world.on_disk().1.is_some());
    assert!(!keys.watch(&world.shared, at(4), NOW + Duration::from_secs(4)), "once is enough");

    let again = world.start(NOW + Duration::from_secs(10));
    assert!(again.for_lanes()[0].floor > NOW + TEN_YEARS, "peers may have heard of that time");
    let next = world.on_disk().1.unwrap();
    world.start(NOW).follow(Some(&said(next, None, false)), &world.shared, at(5));
    assert!(
        world.start(NOW).for_lanes()[0].floor < NOW + Duration::from_secs(3600),
        "the new key was never in the future"
    );
}

#[test]
fn a_start_with_the_clock_far_behind_its_mark_wants_a_new_key() {
    let world = World::new();
    world.start(NOW + TEN_YEARS).watch(&world.shared, Mono::default(), NOW + TEN_YEARS);
    let mut keys = world.start(NOW);
    assert!(keys.watch(&world.shared, Mono::default(), NOW));
    keys.follow(Some(&said(public_key(&old()), None, false)), &world.shared, Mono::default());
    assert!(world.on_disk().1.is_some());
}

#[test]
fn a_mark_that_cannot_be_written_is_a_finding_until_it_is() {
    let world = World::new();
    let mut keys = world.start(NOW);
    let state = keys.state.clone();
    // A file where the folder should be.
    keys.state = world.folder.path().join(WIREGUARD_KEY);
    keys.clock.not_kept();
    let at = |secs| Mono::default() + Duration::from_secs(secs);
    let codes = || world.shared.view().findings.values().flatten().map(|f| f.code.clone()).collect::<Vec<_>>();
    for secs in 1..4 {
        keys.watch(&world.shared, at(secs), NOW + Duration::from_secs(secs));
        assert_eq!(codes(), ["M0712"]);
    }
    keys.state = state;
    keys.watch(&world.shared, at(5), NOW + Duration::from_secs(5));
    assert!(codes().is_empty());
    assert!(world.start(NOW).for_lanes()[0].floor > NOW, "and the mark is there");
}

#[test]
fn a_key_that_is_not_held_has_a_harmless_cause_beside_the_bad_one() {
    let [theirs, own] = [1, 2].map(|byte| public_key(&SecretKey::from_bytes([byte; 32])));
    let finding = strange(theirs, own);
    for words in ["set back to an older state (a snapshot, a backup)", "somebody else may be this node"] {
        assert!(finding.what.contains(words), "{finding:?}");
    }
}
