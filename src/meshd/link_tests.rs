use super::*;
use crate::api::objects::Any;
use crate::api::stream::Message;
use crate::meshd::disk::tests::slice;
use crate::meshd::lanes::Lanes;
use crate::meshmgr::tests::World;
use crate::mgmt::certs::Lives;
use crate::mgmt::fixture;
use crate::table::{Delta, Slice, delta};
use crate::transport::server::Limits;
use crate::types::{SecretKey, Version};

fn outgoing(revision: u64) -> Outgoing {
    Outgoing { applied: Some(Version { incarnation: 1, revision }), ..Outgoing::default() }
}

#[test]
fn a_new_connection_is_told_everything_and_later_only_what_changed() {
    let first = difference(None, &outgoing(1));
    assert_eq!((first.applied.map(|v| v.revision), first.ports), (Some(1), Some(Vec::new())));
    let next = difference(Some(&outgoing(1)), &outgoing(2));
    assert_eq!((next.applied.map(|v| v.revision), next.ports), (Some(2), None));
    let same = difference(Some(&outgoing(2)), &outgoing(2));
    assert!(same.applied.is_none() && same.facts.is_none() && same.ports.is_none());
    let again = difference(Some(&outgoing(2)), &Outgoing { ports_said: 1, ..outgoing(2) });
    assert_eq!((again.applied, again.ports), (None, Some(Vec::new())), "said again though nothing changed");
}

/// A daemon's link and what it leads to, without engine, lanes and kernel.
struct Daemon {
    shared: Arc<Shared>,
    commands: std::sync::mpsc::Receiver<Command>,
    keys: tempfile::TempDir,
    tasks: tokio::task::JoinSet<()>,
}

/// Who `a-1` in PDC `a` is, with this certificate.
fn identity(certificate: &str, ca: &str, key: &str) -> Identity {
    Identity {
        name: "a-1".parse().unwrap(),
        pdc: "a".parse().unwrap(),
        validity: certs::validity_of_pem(certificate).unwrap(),
        certificate: certificate.to_owned(),
        ca: ca.to_owned(),
        tls_key: key.to_owned().into(),
    }
}

impl Daemon {
    /// Follows, reports and renews from now on.
    fn start(address: &str, identity: Identity) -> Self {
        let lanes = Lanes::start(0, "51820".parse().unwrap(), SecretKey::from_bytes([1; 32]), Default::default());
        let away = Management::Away { since: wall(), why: "not connected yet".into() };
        let shared = Shared::new(identity.name.clone(), identity.pdc.clone(), away, lanes.unwrap());
        let (engine, commands) = std::sync::mpsc::channel();
        let (keys, node) = (tempfile::tempdir().unwrap(), identity.name.clone());
        let addresses = vec![address.to_owned()];
        let link = Link::new(Arc::clone(&shared), engine, identity, addresses, keys.path().to_owned()).unwrap();
        let sync = Sync::new(node, Some("a".parse().unwrap()), None, mono());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&link).follow(sync));
        tasks.spawn(Arc::clone(&link).report());
        tasks.spawn(link.renew());
        Self { shared, commands, keys, tasks }
    }

    /// The next order to the engine, with the revision of its slice.
    async fn order(&self) -> Option<u64> {
        for _ in 0..2000 {
            let order = self.commands.try_recv().ok();
            match &order {
                Some(Command::Slice(slice)) => return Some(slice.version.revision),
                Some(Command::Removed) => return None,
                None => sleep(Duration::from_millis(10)).await,
                Some(_) => panic!("{order:?}"),
            }
        }
        panic!("no order in 20 s: {:?}", self.told());
    }

    fn told(&self) -> Vec<String> {
        self.shared.events.list().into_iter().map(|event| format!("{}: {}", event.kind, event.text)).collect()
    }

    async fn tells(&self, words: &str) {
        for _ in 0..2000 {
            if self.told().iter().any(|line| line.contains(words)) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{words:?} is not in {:#?}", self.told());
    }
}

/// A management server that says what its script says, one entry a connection, and then nothing more.
struct Liar {
    script: Mutex<std::collections::VecDeque<String>>,
    asked: Mutex<Vec<String>>,
}

async fn says(
    axum::extract::State(liar): axum::extract::State<Arc<Liar>>,
    uri: axum::http::Uri,
) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    liar.asked.lock().unwrap().push(uri.to_string());
    let next = liar.script.lock().unwrap().pop_front();
    match next {
        Some(text) => text.into_response(),
        None => std::future::pending().await,
    }
}

/// A liar that has the CA's key, and a daemon that believes that CA.
async fn lied_to(script: Vec<String>) -> (Arc<Liar>, Daemon, watch::Sender<bool>) {
    let (ca, _) = certs::Authority::make(wall(), [1; 16]).unwrap();
    let server = ca.server(wall(), [2; 16]).unwrap();
    let chain = format!("{}{}", server.certificate, ca.certificate());
    let tls = crate::transport::server::server_config(ca.certificate(), &chain, &server.key).unwrap();
    let liar = Arc::new(Liar { script: Mutex::new(script.into()), asked: Mutex::default() });
    let router = axum::Router::new()
        .route("/v1/slice", axum::routing::get(says))
        .route("/v1/report", axum::routing::post(|| async { "{}" }))
        .with_state(Arc::clone(&liar));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopping) = watch::channel(false);
    let tls = Arc::new(arc_swap::ArcSwap::new(tls));
    tokio::spawn(crate::transport::server::serve(listener, tls, Default::default(), router, stopping));
    let name = "a-1".parse().unwrap();
    let made = certs::new_request(&name).unwrap();
    let key = certs::Request::read(&made.csr).unwrap();
    let certificate = ca.node(key, &name, &"a".parse().unwrap(), wall(), [3; 16]).unwrap();
    (liar, Daemon::start(&address, identity(&certificate, ca.certificate(), &made.key)), stop)
}

fn line(message: &Message) -> String {
    format!("{}\n", serde_json::to_string(message).unwrap())
}

/// A sign of life, so that the daemon comes back at once, and then a lie.
fn after_life(revision: u64, lie: &str) -> String {
    line(&Message::Current {
        version: Version { incarnation: 1, revision },
        at: None,
        contested: Vec::new(),
        peers: Vec::new(),
    }) + lie
}

fn whole(slice: Slice) -> Message {
    let hash = delta::hash(&slice);
    Message::Snapshot { slice: Box::new(slice), hash }
}

fn change(from: u64, to: u64) -> Delta {
    let mut after = slice(to);
    after.rows.clear();
    Delta { from: slice(from).version, to: slice(to).version, ..Delta::between(&slice(from), &after) }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_stream_says_the_last_good_slice_stands_and_the_lie_is_told() {
    let mut foreign = slice(9);
    foreign.node = "b-1".parse().unwrap();
    let mut moved = slice(9);
    moved.pdc = "b".parse().unwrap();
    let wrong = Message::Delta { delta: Box::new(Delta { hash: "0".repeat(64), ..change(5, 6) }) };
    let damaged = Message::Snapshot { slice: Box::new(slice(9)), hash: "0".repeat(64) };
    let cut = line(&whole(slice(9)));
    let script = vec![
        line(&whole(slice(5))),
        after_life(5, &line(&wrong)),
        after_life(5, &line(&Message::Delta { delta: Box::new(change(5, 6)) })),
        after_life(5, &line(&whole(slice(4)))),
        after_life(5, &line(&whole(foreign))),
        after_life(5, &line(&whole(moved))),
        after_life(5, &line(&damaged)),
        after_life(5, &cut[..cut.len() / 2]),
        after_life(5, "{\"type\":\"snapshot\",\"slice\":[]}\n"),
        after_life(5, &line(&whole(slice(6)))),
        after_life(6, &line(&Message::Delta { delta: Box::new(change(7, 8)) })),
        after_life(6, &line(&whole(slice(8)))),
    ];
    let (liar, daemon, _stop) = lied_to(script).await;
    assert_eq!([daemon.order().await, daemon.order().await, daemon.order().await], [Some(5), Some(6), Some(8)]);
    for words in [
        "[M0212] the slice after the delta to 1/6 hashes to",
        "[M0212] a delta came before any snapshot",
        "[M0212] version 1/4 is older than 1/5 here; it is refused",
        "[M0212] the slice is for node 'b-1'; it is refused",
        "[M0212] the slice is for PDC 'b', but this node's file says 'a'",
        "[M0212] the snapshot of version 1/9 does not match its hash",
        "away: it closed the stream",
        "is not understood",
        "[M0212] the delta starts at version 1/7, the slice here is 1/6",
    ] {
        daemon.tells(words).await;
    }
    let asked = liar.asked.lock().unwrap().clone();
    let fresh = |asked: &str| asked.starts_with("/v1/slice?incarnation=0&revision=0&hash=&");
    assert!(asked[1].contains("revision=5"), "it asks from where it is: {asked:?}");
    assert!(fresh(&asked[2]) && fresh(&asked[11]), "after a misfit it asks for everything: {asked:?}");
    let instance = |asked: &str| {
        asked.split_once("&instance=").unwrap().1.split_once("&connection=").map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    let calls: Vec<_> = asked.iter().map(|asked| instance(asked).unwrap()).collect();
    assert!(calls.iter().zip(1..).all(|(call, nth)| *call == (calls[0].0.clone(), nth.to_string())), "{calls:?}");
    assert!(daemon.commands.try_recv().is_err(), "nothing else reached the engine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_far_from_the_servers_is_told_and_one_that_is_not_told_is_not_judged() {
    let life = |at: Option<Wall>| {
        line(&Message::Current {
            version: Version { incarnation: 1, revision: 5 },
            at,
            contested: Vec::new(),
            peers: Vec::new(),
        })
    };
    let near = wall();
    let (late, early) = (Wall::from_secs(near.as_secs() - 600), Wall::from_secs(near.as_secs() + 600));
    for (theirs, words) in [(late, "10m"), (early, "behind that of the management node")] {
        let mut script =
            vec![line(&whole(slice(5))), life(None), life(Some(near)), life(Some(theirs)), life(Some(theirs))];
        script.extend([life(None), life(Some(theirs)), life(Some(near))]);
        let (liar, daemon, _stop) = lied_to(script).await;
        daemon.tells("problem: [M0690] the clock of this machine is ").await;
        daemon.tells(words).await;
        assert!(liar.script.lock().unwrap().len() <= 2, "three looks in a row");
        daemon.tells("solved: [M0690]").await;
    }
}

/// Life of certificates in the test of renewal, seconds; the daemon renews every six. The rest is what a busy machine may take for it.
const SHORT: u64 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn certificates_renew_at_two_thirds_under_load_and_nobody_is_cut_off() {
    let short = Duration::from_secs(SHORT);
    let lives = Lives { node: short, server: short, ..Lives::default() };
    let world = World::with(lives, Limits::default(), |store| Arc::new(store)).await;
    let node = world.join("a-1", 1).await;
    let _other = world.join("a-2", 2).await;
    let identity = identity(&node.answer.certificate, &node.answer.ca, &node.key);
    let first = identity.validity;
    let daemon = Daemon::start(&world.address, identity);
    daemon.order().await;
    let renewals = || daemon.told().iter().filter(|line| line.contains("renewed until")).count();
    let (begun, mut changes) = (mono(), 0_u32);
    // Twice, and past the end of the first: however long that takes.
    while renewals() < 2 || wall() < first.1 + Duration::from_secs(1) {
        changes += 1;
        let item = fixture::port("p", "blue", "a-2", changes, "192.168.10.9");
        world.apply(vec![Any::Port(item)]).await.unwrap();
        assert!(daemon.order().await.is_some(), "change {changes} arrives");
        sleep(Duration::from_millis(20)).await;
    }
    let told = daemon.told();
    let most = mono().since(begun).as_secs() / (SHORT * 2 / 3) + 1;
    let count = |words: &str| told.iter().filter(|line| line.contains(words)).count();
    let renewed = count("renewed until");
    assert!(u64::try_from(renewed).unwrap() <= most, "not before two thirds: {told:#?}");
    assert_eq!((count("connected to"), count("away"), count("problem")), (1, 0, 0), "one session: {told:#?}");
    let pem = std::fs::read_to_string(daemon.keys.path().join(CERTIFICATE)).unwrap();
    assert!(certs::validity_of_pem(&pem).unwrap().1 > first.1 + short, "the newest is on disk");
    let log: crate::api::admin::Events = world.admin().call::<(), _>(Method::GET, "/v1/events", None).await.unwrap();
    let logged = log.items.iter().filter(|event| event.what == "renew").count();
    assert!((renewed..=renewed + 1).contains(&logged), "{logged} are in the log");
    // Whoever comes anew meets a later certificate of the server, and shows its own.
    let key = &node.key;
    world.client(Some((&pem, key))).lines("/v1/slice").await.unwrap();
    println!("{changes} changes, {renewed} renewals, {} connections", count("connected to"));
}

/// A certificate of `a-1` that was made some days ago, for thirty.
fn aged(world: &World, key: &str, days: u64) -> String {
    let (name, pdc) = ("a-1".parse().unwrap(), "a".parse().unwrap());
    let read = certs::Request::read(&certs::renew_request(&name, key).unwrap()).unwrap();
    let then = Wall::from_secs(wall().as_secs() - days * 86_400);
    world.authority().node(read, &name, &pdc, then, [4; 16]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_node_that_was_not_removed_comes_back_by_itself_and_a_removed_one_does_not() {
    let world = World::with(Lives::default(), Limits::default(), |store| Arc::new(store)).await;
    let node = world.join("a-1", 1).await;
    let start = |days| {
        let old = aged(&world, &node.key, days);
        Daemon::start(&world.address, identity(&old, &node.answer.ca, &node.key))
    };
    let late = start(35);
    assert!(late.order().await.is_some(), "it has its slice again");
    late.tells("certificate: renewed until").await;
    late.tells("connected to").await;
    drop(late);
    let too_late = start(61);
    too_late.tells("[M0213] the certificate ends at").await;
    assert!(too_late.commands.try_recv().is_err() && !too_late.told().iter().any(|line| line.contains("connected to")));
    let _: serde_json::Value = world.admin().call::<(), _>(Method::DELETE, "/v1/objects/node/a-1", None).await.unwrap();
    let removed = start(35);
    removed.tells("[M0213]").await;
    removed.tells("no member").await;
    assert!(!removed.told().iter().any(|line| line.contains("renewed until") || line.contains("connected to")));
    assert_eq!(removed.tasks.len(), 3, "it goes on asking");
}
