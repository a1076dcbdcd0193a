//! The kinds of incidents: what each does, how long it lasts, what it keeps others from, and how often it comes.

use super::plan::{Act, Attack, Dice, INTERNET, Made, NODES, NODES_OF_PDC, Net, Side};

/// What an incident keeps for itself until its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lock {
    Daemon(usize),
    Cable(usize, Side),
    Devices(usize),
    Guest(usize, Net),
    Wire(usize),
    Loss(usize),
    Management,
    Intra(usize),
    Policy,
    Settings(Net),
}

/// Something that happens, and how it ends.
pub(super) struct Incident {
    pub(super) act: Act,
    /// After how many milliseconds what ends it.
    pub(super) undo: Option<(u64, Act)>,
    pub(super) locks: Vec<Lock>,
}

fn once(act: Act, locks: Vec<Lock>) -> Incident {
    Incident { act, undo: None, locks }
}

/// Longest time that management is away; locks of table changes outlive their incident by that, because their end may have to
/// wait for it.
pub(super) const LONGEST_OUTAGE: u64 = 5000;

/// Draws one incident, each kind as often as it stands here.
pub(super) fn draw(dice: &mut Dice, number: u16) -> Incident {
    match dice.index(30) {
        0..=2 => daemon(dice),
        3 => management(dice),
        4..=7 => link(dice),
        8 | 9 => mtu(dice),
        10..=13 => damage(dice),
        14..=18 => table(dice, number),
        19 | 20 => policy(dice, number),
        21 => member(dice),
        22 | 23 => clock(dice),
        24..=28 => attack(dice),
        _ => {
            let (node, net) = (dice.index(NODES), dice.net());
            once(Act::Spoof { node, net, seed: dice.roll() }, vec![Lock::Guest(node, net), Lock::Daemon(node)])
        }
    }
}

fn daemon(dice: &mut Dice) -> Incident {
    let node = dice.index(NODES);
    let act = dice.pick(&[Act::Kill { node }, Act::Kill { node }, Act::Stop { node }]);
    Incident { act, undo: Some((dice.range(50, 4000), Act::Start { node })), locks: vec![Lock::Daemon(node)] }
}

fn management(dice: &mut Dice) -> Incident {
    let undo = Some((dice.range(200, LONGEST_OUTAGE), Act::StartManagement));
    Incident { act: Act::KillManagement, undo, locks: vec![Lock::Management] }
}

fn link(dice: &mut Dice) -> Incident {
    let (node, side, after) = (dice.index(NODES), dice.side(), dice.range(100, 6000));
    let (act, undo, lock) = match dice.index(5) {
        0 | 1 => {
            (Act::Cable { node, side, up: false }, Act::Cable { node, side, up: true }, vec![Lock::Cable(node, side)])
        }
        2 => (
            Act::Interface { node, side, up: false },
            Act::Interface { node, side, up: true },
            vec![Lock::Cable(node, side)],
        ),
        3 => {
            let wire = dice.index(INTERNET + 1);
            (Act::Wire { wire, up: false }, Act::Wire { wire, up: true }, vec![Lock::Wire(wire)])
        }
        _ => {
            let (wire, percent) = (dice.index(INTERNET + 1), dice.pick(&[2, 10, 40]));
            (Act::Loss { wire, percent }, Act::Loss { wire, percent: 0 }, vec![Lock::Loss(wire)])
        }
    };
    Incident { act, undo: Some((after, undo)), locks: lock }
}

fn mtu(dice: &mut Dice) -> Incident {
    let (node, after) = (dice.index(NODES), dice.range(1000, 10_000));
    let bytes = dice.pick(&[1280, 1300, 1400, 1492]);
    let (act, undo) = if dice.index(2) == 0 {
        (Act::Mtu { node, bytes }, Act::Mtu { node, bytes: 1500 })
    } else {
        (Act::Narrow { node, bytes }, Act::Narrow { node, bytes: 1500 })
    };
    Incident { act, undo: Some((after, undo)), locks: vec![Lock::Cable(node, Side::Internet)] }
}

/// What another program, or a person, does to our things in the kernel.
fn damage(dice: &mut Dice) -> Incident {
    let (node, net) = (dice.index(NODES), dice.net());
    let made = dice.pick(&[Made::Vxlan, Made::Tap]);
    match dice.index(9) {
        0..=2 => once(Act::Flush { node }, vec![]),
        3 => once(Act::Delete { node, made: Made::Bridge, net }, vec![Lock::Devices(node)]),
        4 | 5 => once(Act::Delete { node, made, net }, vec![Lock::Devices(node)]),
        6 => once(Act::Unplug { node, made, net }, vec![Lock::Devices(node)]),
        7 => once(Act::Forget { node, made, net }, vec![Lock::Devices(node)]),
        _ => {
            let to = (node + 1 + dice.index(NODES - 1)) % NODES;
            let undo = Some((dice.range(500, 5000), Act::Detour { node, to, on: false }));
            let locks = vec![Lock::Cable(node, Side::Internet)];
            Incident { act: Act::Detour { node, to, on: true }, undo, locks }
        }
    }
}

fn table(dice: &mut Dice, number: u16) -> Incident {
    let (node, net, after) = (dice.index(NODES), dice.net(), dice.range(500, 8000));
    let (act, undo, locks) = match dice.index(8) {
        0 | 1 => {
            let on = dice.two_nodes();
            let locks = on.map(Lock::Daemon).to_vec();
            (Act::Network { number, on, present: true }, Act::Network { number, on, present: false }, locks)
        }
        2 | 3 => {
            let locks = vec![Lock::Guest(node, net), Lock::Daemon(node)];
            (Act::Port { node, net, present: false }, Act::Port { node, net, present: true }, locks)
        }
        4 | 5 => {
            let to = (node + 1 + dice.index(NODES - 1)) % NODES;
            let locks = vec![
                Lock::Guest(node, net),
                Lock::Devices(node),
                Lock::Devices(to),
                Lock::Daemon(node),
                Lock::Daemon(to),
            ];
            (Act::Move { node, net, to }, Act::Move { node, net, to: node }, locks)
        }
        6 => {
            let locks = vec![Lock::Settings(net)];
            (Act::Flood { net, replicate: true }, Act::Flood { net, replicate: false }, locks)
        }
        _ => {
            let bytes = Some(dice.pick(&[1280, 1350]));
            (Act::GuestMtu { net, bytes }, Act::GuestMtu { net, bytes: None }, vec![Lock::Settings(net)])
        }
    };
    Incident { act, undo: Some((after, undo)), locks }
}

fn policy(dice: &mut Dice, number: u16) -> Incident {
    let (pdc, between, after) = (dice.index(2), dice.two_nodes(), dice.range(500, 8000));
    match dice.index(5) {
        0 | 1 => Incident {
            act: Act::Intra { pdc, encrypted: true },
            undo: Some((after, Act::Intra { pdc, encrypted: false })),
            locks: vec![Lock::Intra(pdc)],
        },
        2 | 3 => {
            let forbid = dice.index(3) == 0;
            let [act, undo] = [true, false].map(|present| Act::Policy { number, between, forbid, present });
            let locks = vec![Lock::Policy, Lock::Daemon(between[0]), Lock::Daemon(between[1])];
            Incident { act, undo: Some((after, undo)), locks }
        }
        _ => once(Act::Token { pdc }, vec![]),
    }
}

fn member(dice: &mut Dice) -> Incident {
    let node = dice.index(NODES);
    let mut locks =
        vec![Lock::Daemon(node), Lock::Devices(node), Lock::Wire(INTERNET), Lock::Loss(INTERNET), Lock::Policy];
    locks.extend([Net::Blue, Net::Red].map(|net| Lock::Guest(node, net)));
    locks.extend([Side::Admin, Side::Internet].map(|side| Lock::Cable(node, side)));
    let undo = Some((dice.range(2000, 8000), Act::Member { node, present: true }));
    Incident { act: Act::Member { node, present: false }, undo, locks }
}

fn clock(dice: &mut Dice) -> Incident {
    const YEAR: i64 = 365 * 24 * 3600;
    let seconds = dice.pick(&[-3600, -5, 5, 300, 24 * 3600, 10 * YEAR]);
    let after = dice.range(500, LONGEST_OUTAGE);
    match dice.index(5) {
        0 => {
            let (act, undo) = (Act::Clock { node: None, seconds }, Act::Clock { node: None, seconds: 0 });
            Incident { act, undo: Some((after, undo)), locks: vec![Lock::Management] }
        }
        1 => {
            let node = dice.index(NODES);
            let seconds = dice.pick(&[3, 60, 200, 3600]);
            once(Act::Sleep { node, seconds }, vec![Lock::Daemon(node)])
        }
        _ => {
            let node = dice.index(NODES);
            let (act, undo) = (Act::Clock { node: Some(node), seconds }, Act::Clock { node: Some(node), seconds: 0 });
            Incident { act, undo: Some((after, undo)), locks: vec![Lock::Daemon(node)] }
        }
    }
}

fn attack(dice: &mut Dice) -> Incident {
    let kind = dice.pick(&[Attack::Vxlan, Attack::Vxlan, Attack::Garbage, Attack::Replay, Attack::Management]);
    let wire = if kind == Attack::Management { INTERNET } else { dice.index(INTERNET + 1) };
    let target = if wire == INTERNET { dice.index(NODES) } else { wire * NODES_OF_PDC + dice.index(NODES_OF_PDC) };
    once(Act::Attack { kind, wire, target, seed: dice.roll() }, vec![])
}
