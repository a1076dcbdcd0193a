use super::*;
use crate::node::op::Op;
use crate::table::Row;
use crate::types::{Mac, Version};

/// A kernel that has dropped this.
#[derive(Default)]
struct Dropped {
    refused: Vec<Refused>,
    guard: Vec<(&'static str, u64)>,
    asked: usize,
}

impl Kernel for Dropped {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        Ok(Observed::default())
    }

    fn apply(&mut self, _: &[Op]) -> Result<(), KernelError> {
        Ok(())
    }

    fn filter_counters(&mut self) -> Result<BTreeMap<String, u64>, KernelError> {
        self.asked += 1;
        let mut counters: BTreeMap<_, _> =
            self.guard.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        for refused in &self.refused {
            *counters.entry(format!("guest_{}", refused.reason)).or_default() += refused.frames;
        }
        Ok(counters)
    }

    fn refused_guests(&mut self, reason: &str) -> Result<Vec<Refused>, KernelError> {
        Ok(self.refused.iter().filter(|refused| refused.reason == reason).cloned().collect())
    }
}

fn refused(interface: &str, mac: Option<Mac>, reason: &'static str, frames: u64) -> Refused {
    Refused { interface: interface.parse().unwrap(), mac, reason, frames }
}

fn slice() -> Slice {
    let mut slice = Slice::empty(Version::default(), "a".parse().unwrap(), "x".parse().unwrap());
    let row = Row { port: Some("db".parse().unwrap()), ..Row::of("a".parse().unwrap()) };
    slice.rows.insert("default/10/-/02:00:00:00:00:01".parse().unwrap(), row);
    slice
}

fn at(seconds: u64) -> Mono {
    Mono::default() + Duration::from_secs(seconds)
}

fn texts(events: &Events) -> Vec<(String, String)> {
    events.list().into_iter().map(|event| (event.kind, event.text)).collect()
}

#[test]
fn a_loop_is_told_with_the_interface_and_the_guest_whose_frames_come_back() {
    let (mut guests, events) = (Guests::default(), Events::default());
    let known = Some("02:00:00:00:00:01".parse().unwrap());
    let mut kernel = Dropped { refused: vec![refused("tap7", known, "mac", 9)], ..Dropped::default() };
    guests.look(&mut kernel, &slice(), &events, at(1)).unwrap();
    let told = texts(&events);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "guest-loop"));
    for word in ["tap7", "port db (02:00:00:00:00:01)", "default/10", "9 frames"] {
        assert!(told[0].1.contains(word), "{word}: {}", told[0].1);
    }
}

#[test]
fn frames_of_before_a_guest_was_declared_behind_their_interface_are_no_loop() {
    let known: Mac = "02:00:00:00:00:01".parse().unwrap();
    for (behind, at_place, told) in [("tap7", "default/10", 0), ("tap8", "default/10", 1), ("tap7", "default/11", 1)] {
        let (mut guests, events, mut slice) = (Guests::default(), Events::default(), slice());
        slice.rows.values_mut().for_each(|row| row.interface = behind.parse().ok());
        guests.places.insert("tap7".parse().unwrap(), at_place.parse().unwrap());
        guests.tell(&refused("tap7", Some(known), "mac", 9), "a wrong address", &slice, &events, at(1));
        assert_eq!(texts(&events).len(), told, "{behind} {at_place}: {:?}", texts(&events));
    }
}

#[test]
fn the_same_again_is_told_once_a_minute_and_a_flood_of_addresses_is_one_event() {
    let (mut guests, events) = (Guests::default(), Events::default());
    let strange = |n: u64| Some(Mac([6, 0, 0, 0, 0, n.to_le_bytes()[0]]));
    let mut kernel = Dropped::default();
    for second in 0..59 {
        kernel.refused = (0..200).map(|n| refused("tap7", strange(n), "mac", second + 1)).collect();
        guests.look(&mut kernel, &slice(), &events, at(2 * second)).unwrap();
    }
    assert_eq!(texts(&events).iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["guest-refused"; 2]);
}

#[test]
fn counters_are_read_at_their_own_pace_and_nothing_new_is_nothing_said() {
    let (mut guests, events) = (Guests::default(), Events::default());
    let mut kernel = Dropped { refused: vec![refused("tap7", None, "flood", 5)], ..Dropped::default() };
    for _ in 0..10 {
        guests.look(&mut kernel, &slice(), &events, at(1)).unwrap();
    }
    assert_eq!((kernel.asked, texts(&events).len()), (1, 1));
    guests.look(&mut kernel, &slice(), &events, at(100)).unwrap();
    assert_eq!((kernel.asked, texts(&events).len()), (2, 1), "a minute later nothing has been added");
}

#[test]
fn what_the_filters_have_dropped_is_told_without_what_passed_and_what_never_happened() {
    let (mut guests, events) = (Guests::default(), Events::default());
    let mut kernel = Dropped { refused: vec![refused("tap7", None, "flood", 5)], ..Dropped::default() };
    kernel.guard = [("in_accepted", 7), ("out_accepted", 8), ("in_unknown", 3), ("in_ttl", 0)].to_vec();
    guests.look(&mut kernel, &slice(), &events, at(1)).unwrap();
    let counts = [("guest_flood".to_owned(), 5), ("in_unknown".to_owned(), 3)];
    assert_eq!(guests.counts(), BTreeMap::from(counts));
}

#[test]
fn what_is_refused_of_a_guest_is_told_with_its_port_interface_network_and_node() {
    let mut slice = crate::node::plan::tests::slice("suppress", serde_json::json!({}));
    slice.rows.clear();
    let row = |port: &str| Row {
        port: Some(port.parse().unwrap()),
        interface: "tap7".parse().ok(),
        ..Row::of(slice.node.clone())
    };
    let (one, two) = (row("db"), row("web"));
    slice.rows.insert("default/10/-/02:00:00:00:00:01".parse().unwrap(), one);
    let strange = Some("06:00:00:00:00:09".parse().unwrap());
    let told = |slice: &Slice| {
        let (mut guests, events) = (Guests::default(), Events::default());
        guests.places.insert("tap7".parse().unwrap(), "default/10".parse().unwrap());
        let refused = ["tap7", "tap8"].map(|interface| refused(interface, strange, "mac", 9)).to_vec();
        guests.look(&mut Dropped { refused, ..Dropped::default() }, slice, &events, at(1)).unwrap();
        events.list()
    };
    let events = told(&slice);
    let value = serde_json::to_value(&events[0]).unwrap();
    let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        ["kind", "port", "interface", "network", "node"].map(field),
        ["guest-refused", "db", "tap7", "blue", slice.node.as_str()]
    );
    assert!(field("text").starts_with("tap7 of port db (network blue, default/10) on a: 9 frames"), "{value}");
    assert_eq!(events[1].port, None, "it stands in no network of ours");
    slice.rows.insert("default/10/-/02:00:00:00:00:02".parse().unwrap(), two);
    let events = told(&slice);
    assert!(events[0].text.starts_with("tap7 of ports db, web (network blue"), "{events:?}");
    assert_eq!(events[0].port, None, "which of them it was is not known");
    // Of an earlier version, and for one.
    let old = serde_json::json!({"at": value["at"], "kind": "guest-refused", "text": "x"});
    let read: crate::api::local::Event = serde_json::from_value(old.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), old);
}
