//! What guests, members, strangers and other programs can make large, and what an operator's word costs meanwhile: a change of the table
//! reaches the kernel, a removed node is cut off, and the daemon stays small.

mod makers;

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use vxmesh::clock::mono;
use vxmesh::linux::Kernel;
use vxmesh::node::desired::Hold;
use vxmesh::node::discover::PORTS_OF_INTERFACE;
use vxmesh::node::reconcile;

use self::makers::{FLOODS, Flood};
use crate::harness::{Space, can_run, guest, wait_until};
use crate::labs::Lab;
use crate::node::{BRIDGE, VXLAN, host, local, planned, row, settle, slice, text};

/// The port that comes and goes.
const LATE: &str = "02:76:78:09:09:01";
const BRIDGE_OF_LAB: &str = "vb10.12b5";

/// What one flood has cost.
struct Figures {
    flood: Flood,
    /// Seconds from the operator's command to the kernel of the flooded node, sorted.
    changes: Vec<f64>,
    /// Seconds from the operator's command to the last answer that the removed node got.
    cut: f64,
    /// `VmHWM` of the daemon in kB, before and after.
    memory: (u64, u64),
    made: u64,
}

impl Figures {
    fn quantile(&self, part: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        let at = (part * self.changes.len() as f64).ceil() as usize;
        self.changes[at.clamp(1, self.changes.len()) - 1]
    }

    fn line(&self) -> String {
        let (before, after) = self.memory;
        format!(
            "| {:?} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {before} | {after} |",
            self.flood,
            self.made,
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0),
            self.cut,
        )
    }
}

fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn pid(lab: &Lab, node: &str) -> u32 {
    let record = std::fs::read(lab.home.record(node)).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    record["pid"].as_u64().unwrap().try_into().unwrap()
}

/// True where the kernel of `a-1` knows the port.
fn known(lab: &Lab) -> bool {
    let space = lab.layout().node("a-1").unwrap().namespace.clone();
    let words = ["netns", "exec", &space, "bridge", "fdb", "get", LATE, "br", BRIDGE_OF_LAB].map(str::to_owned);
    Command::new("ip").args(words).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

/// One change after the other, each awaited in the kernel of the flooded node.
fn changes(lab: &Lab, count: usize) -> Vec<f64> {
    let create = format!("port create late --network blue --node b-2 --mac {LATE} --ip 192.168.10.99");
    let mut took: Vec<f64> = (0..count)
        .map(|number| {
            let (words, wanted) = if number % 2 == 0 { (create.as_str(), true) } else { ("port delete late", false) };
            let start = mono();
            lab.admin(&words.split(' ').collect::<Vec<_>>());
            wait_until("the kernel follows", Duration::from_secs(60), || known(lab) == wanted);
            mono().since(start).as_secs_f64()
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took
}

/// Removes node `b-1`, which does not hear of it and goes on sending. Seconds until a guest there got its last answer from `a-1`.
fn cut_off(lab: &Lab) -> f64 {
    let layout = lab.layout();
    let removed = layout.node("b-1").unwrap();
    let deaf = "add table inet deaf\nadd chain inet deaf i { type filter hook input priority 0; }\nadd rule inet deaf i ip saddr 198.18.255.1 drop";
    for line in deaf.lines() {
        let status = Command::new("ip").args(["netns", "exec", &removed.namespace, "nft", line]).status().unwrap();
        assert!(status.success());
    }
    let (from, to) = (&removed.guests[0].namespace, lab.guest("a-1").1.to_string());
    let words = ["netns", "exec", from, "ping", "-n", "-D", "-i", "0.02", "-w", "6", &to];
    let pings = Command::new("ip").args(words).stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    let start = wall();
    lab.admin(&["node", "delete", "b-1", "--cascade"]);
    let output = String::from_utf8(pings.wait_with_output().unwrap().stdout).unwrap();
    let answers = output.lines().filter(|line| line.contains("bytes from"));
    let last = answers.filter_map(|line| line.strip_prefix('[')?.split(']').next()?.parse::<f64>().ok()).next_back();
    let last = last.expect("it was answered before");
    (last - start).max(0.0)
}

fn wall() -> f64 {
    Duration::from_nanos(vxmesh::clock::wall().as_nanos()).as_secs_f64()
}

/// A whole lab under one flood.
fn measure(flood: Flood, count: usize, entries: u32) -> Figures {
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2", "--guests", "2"]);
    wait_until("across", Duration::from_secs(10), || lab.answers("b-1", "a-1"));
    let daemon = pid(&lab, "a-1");
    let before = memory(daemon);
    makers::prepare(flood, &lab.layout(), entries);
    let running = makers::start(flood, &lab.layout());
    thread::sleep(Duration::from_millis(500));
    let changes = changes(&lab, count);
    let cut = cut_off(&lab);
    let made = running.made();
    assert!(made > 0 || matches!(flood, Flood::Calm | Flood::Table), "{flood:?} floods");
    Figures { flood, changes, cut, memory: (before, memory(daemon)), made }
}

fn table(all: &[Figures]) -> String {
    let mut text = String::from(
        "| flood | frames or rounds | change p50, s | p99, s | max, s | cut off after, s | VmHWM before, kB | after, kB |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    all.iter().for_each(|figures| writeln!(text, "{}", figures.line()).unwrap());
    text
}

/// 64 MB, debug build included: a daemon that reads what a flood leaves grows to three times that.
const MEMORY: u64 = 64 << 10;

fn judge(all: &[Figures], p99: f64, cut: f64) {
    eprintln!("{}", table(all));
    for figures in all {
        let flood = figures.flood;
        assert!(figures.quantile(0.99) < p99, "{flood:?}: a change took {:.2} s", figures.quantile(0.99));
        assert!(figures.cut < cut, "{flood:?}: a removed node went on for {:.2} s", figures.cut);
        assert!(figures.memory.1 < MEMORY, "{flood:?}: the daemon grew to {} kB", figures.memory.1);
    }
}

/// The short form: the floods that once stalled a node, a few changes each, with bars that a busy machine keeps.
#[test]
fn no_flood_delays_what_an_operator_says() {
    if !can_run() {
        return;
    }
    let floods = [Flood::Sources, Flood::Table, Flood::Interfaces];
    let all: Vec<Figures> = floods.into_iter().map(|flood| measure(flood, 6, 100_000)).collect();
    judge(&all, 5.0, 5.0);
}

/// `FLOODS=Sources,Table` measures these only; `CHANGES` is how many, 100 unless told.
#[test]
#[ignore = "ten minutes: cargo test --release --test netns -- --ignored --nocapture --exact floods::a_hundred_changes_under_each_flood"]
fn a_hundred_changes_under_each_flood() {
    if !can_run() {
        return;
    }
    let wanted = std::env::var("FLOODS").ok();
    let count = std::env::var("CHANGES").ok().map_or(100, |count| count.parse().unwrap());
    let is_wanted =
        |flood: &Flood| wanted.as_ref().is_none_or(|wanted| wanted.split(',').any(|name| name == format!("{flood:?}")));
    let all: Vec<Figures> = FLOODS.into_iter().filter(is_wanted).map(|flood| measure(flood, count, 300_000)).collect();
    judge(&all, 1.0, 5.0);
}

/// What a bridge holds after a flood, on a host without anything else.
fn flooded(tag: &str, entries: u32) -> (Space, Space) {
    let host = host(tag, "10.9.0.1");
    let rows = serde_json::json!({
        "default/10/-/02:00:00:00:00:02": row("b", &["192.168.10.12"], &[]),
        "default/10/-/02:00:00:00:00:03": row("b", &["192.168.10.13"], &[]),
    });
    let plan = planned(&slice("a", rows), &local("10.9.0.1"));
    host.enter(|| settle(&mut Kernel::new().unwrap(), &plan));
    let evil = guest(&host, BRIDGE, "evil", "02:00:00:00:00:07", &[]);
    let lines: String = (0..entries)
        .map(|n| {
            let [a, b, c, d] = n.to_be_bytes();
            format!("fdb add 06:07:{a:02x}:{b:02x}:{c:02x}:{d:02x} dev evil master dynamic\n")
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    host.sh(&format!("bridge -batch {}", file.path().display()));
    (host, evil)
}

#[test]
fn a_bridge_full_of_invented_addresses_is_read_in_no_time_and_its_own_entries_are_seen() {
    if !can_run() {
        return;
    }
    let (host, _evil) = flooded("full", 100_000);
    let rows = serde_json::json!({
        "default/10/-/02:00:00:00:00:02": row("b", &["192.168.10.12"], &[]),
        "default/10/-/02:00:00:00:00:03": row("b", &["192.168.10.13"], &[]),
    });
    let plan = planned(&slice("a", rows), &local("10.9.0.1"));
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        let start = mono();
        let observed = kernel.observe().unwrap();
        let took = mono().since(start);
        assert!(took < Duration::from_millis(1500), "{took:?}");
        let table = &observed.bridge_fdb[&BRIDGE.parse().unwrap()];
        let learned = table.values().filter(|entry| entry.hold == Hold::Learned).count();
        assert_eq!(learned, PORTS_OF_INTERFACE + 1, "one more than counts, so that it is known that there are more");
        let ours = table.values().filter(|entry| entry.port.as_str() == VXLAN).count();
        assert_eq!(ours, 2, "and what is ours is all there");
        // What is kept of a flood is the same with each look.
        let again = kernel.observe().unwrap();
        assert_eq!(again.bridge_fdb, observed.bridge_fdb);
        // An entry of ours behind the flood is set once, and then seen.
        let (mac, port) = ("02:00:00:00:00:07".parse().unwrap(), "evil".parse().unwrap());
        kernel.apply(&[reconcile::Op::Pin { port, mac }]).unwrap();
        host.sh("for n in $(seq 1 600); do echo fdb add 06:08:00:00:$(printf %02x $((n / 256))):$(printf %02x $((n % 256))) dev evil master dynamic; done | bridge -batch -");
        let observed = kernel.observe().unwrap();
        assert_eq!(observed.bridge_fdb[&BRIDGE.parse().unwrap()][&mac].hold, Hold::Pinned);
        kernel.apply(&[reconcile::Op::Unpin { port: "evil".parse().unwrap(), mac }]).unwrap();
        let hold = kernel.observe().unwrap().bridge_fdb[&BRIDGE.parse().unwrap()].get(&mac).map(|entry| entry.hold);
        assert_ne!(hold, Some(Hold::Pinned), "and when it is gone, that is seen too");
        let ops = reconcile::diff(&plan.desired, &kernel.observe().unwrap());
        // The flag keeps what is for nobody from that interface.
        let few = |op: &reconcile::Op| {
            use reconcile::Op;
            matches!(op, Op::ChangeFence { .. } | Op::LoadFence(_) | Op::LoadGuard(_) | Op::SetPort { .. })
        };
        assert!(ops.iter().all(few), "{}", text(&ops));
    });
}

#[test]
fn interfaces_that_come_and_go_keep_nobody_from_reading_the_kernel() {
    if !can_run() {
        return;
    }
    let host = host("flap", "10.9.0.1");
    let plan = planned(&slice("a", serde_json::json!({})), &local("10.9.0.1"));
    host.enter(|| settle(&mut Kernel::new().unwrap(), &plan));
    // Enough that a dump takes several datagrams, so that a change falls into it.
    host.sh("for n in $(seq 1 300); do echo link add c$n type veth peer name p$n; done | ip -batch -");
    let flapping = makers::flapping(host.name());
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        for look in 0..100 {
            let observed = kernel.observe().unwrap_or_else(|error| panic!("look {look}: {error}"));
            assert!(observed.links.contains_key(&BRIDGE.parse().unwrap()), "look {look}");
            assert!(observed.links.len() < 20, "links of others are passed over: {}", observed.links.len());
            let side = vxmesh::linux::underlay::addresses().unwrap();
            assert!(side.iter().any(|side| side.address.to_string() == "10.9.0.1"), "look {look}: {side:?}");
        }
    });
    assert!(flapping.made() > 1, "they did come and go");
}

#[test]
fn packet_filters_are_read_in_no_time_however_full_their_sets_are() {
    if !can_run() {
        return;
    }
    let host = host("sets", "10.9.0.1");
    let plan = planned(&slice("a", serde_json::json!({})), &local("10.9.0.1"));
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        settle(&mut kernel, &plan);
        let before = kernel.observe().unwrap();
        for (reason, _) in vxmesh::node::fence_text::REASONS {
            let elements: Vec<String> = (0..4000).map(|n| format!("\"i{n}\"")).collect();
            let pairs: Vec<String> =
                (0..4000).map(|n| format!("\"i{n}\" . 02:00:00:00:{:02x}:{:02x}", n / 256, n % 256)).collect();
            for set in [elements, pairs] {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(
                    file.path(),
                    format!("add element bridge vxmesh_guests by_{reason} {{ {} }}", set.join(", ")),
                )
                .unwrap();
                host.try_sh(&format!("nft -f {}", file.path().display()));
            }
        }
        let start = mono();
        let after = kernel.observe().unwrap();
        let took = mono().since(start);
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(
            (after.guard, after.fence),
            (before.guard, before.fence),
            "what the kernel keeps for itself is no change"
        );
        // Any other change is seen: rules, elements and chains, taken away and added.
        for change in [
            "flush chain bridge vxmesh_guests arriving",
            "add element inet vxmesh shut { \"eth0\" }",
            "add chain bridge vxmesh_guests extra",
            "delete table inet vxmesh",
            "delete table bridge vxmesh_guests",
        ] {
            settle(&mut kernel, &plan);
            let before = kernel.observe().unwrap();
            let done = host.try_sh(&format!("nft '{change}'"));
            let after = kernel.observe().unwrap();
            let changed = (after.guard, after.fence) != (before.guard, before.fence);
            assert_eq!(changed, done.status.success(), "{change}");
        }
    });
}
