//! Strangers who sit, drip, flood, break off and shout, while the members' changes arrive within two seconds.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use super::*;
use crate::transport::tls;

/// The promise.
const IN_SYNC: Duration = Duration::from_secs(2);

/// What attackers share.
struct Target {
    server: SocketAddr,
    pin: [u8; 32],
    connections: AtomicUsize,
    refused: AtomicUsize,
}

impl Target {
    fn of(world: &World) -> Arc<Self> {
        let (server, pin) = (world.address.parse().unwrap(), world.keys.authority.pin());
        Arc::new(Self { server, pin, connections: AtomicUsize::new(0), refused: AtomicUsize::new(0) })
    }

    /// A connection from a loopback address of the attacker's own; members come from 127.0.0.1.
    async fn connect(&self, from: u32) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        let source = Ipv4Addr::from_bits(0x7f01_0001 + from);
        socket.bind((source, 0).into()).ok()?;
        let stream = tokio::time::timeout(Duration::from_secs(5), socket.connect(self.server)).await;
        match stream {
            Ok(Ok(stream)) => {
                self.connections.fetch_add(1, Ordering::Relaxed);
                Some(stream)
            }
            Ok(Err(_)) | Err(_) => None,
        }
    }

    async fn greet(&self, from: u32) -> Option<TlsStream<TcpStream>> {
        let tcp = self.connect(from).await?;
        let connector = tokio_rustls::TlsConnector::from(pinned_client_config(self.pin).unwrap());
        let greeted =
            tokio::time::timeout(Duration::from_secs(10), connector.connect(tls::management_name(), tcp)).await;
        let greeted = greeted.ok().and_then(Result::ok);
        self.refused.fetch_add(usize::from(greeted.is_none()), Ordering::Relaxed);
        greeted
    }

    /// Opens and says nothing, or half of a hello, and comes again when it is closed.
    async fn half_open(self: Arc<Self>, from: u32, hello: &'static [u8]) {
        loop {
            if let Some(mut stream) = self.connect(from).await {
                let _ = stream.write_all(hello).await;
                let _ = stream.read(&mut [0; 64]).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Greets well and then drips what it has to say.
    async fn drip(self: Arc<Self>, from: u32, text: &'static str) {
        loop {
            if let Some(mut stream) = self.greet(from).await {
                for byte in text.bytes().chain(std::iter::repeat(b'x')) {
                    if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Announces ten gigabytes and sends as much as it can.
    async fn shout(self: Arc<Self>, from: u32) {
        let head = b"POST /v1/enroll HTTP/1.1\r\nhost: m\r\ncontent-type: application/json\r\ncontent-length: 10000000000\r\n\r\n";
        let much = vec![b' '; 1 << 16];
        loop {
            if let Some(mut stream) = self.greet(from).await {
                let _ = stream.write_all(head).await;
                for _ in 0..64 {
                    if stream.write_all(&much).await.is_err() {
                        break;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Connects and breaks off at once, before or after the handshake.
    async fn reset(self: Arc<Self>, from: u32, greets: bool) {
        loop {
            if greets {
                if let Some(stream) = self.greet(from).await {
                    let _ = stream.get_ref().0.set_zero_linger();
                }
            } else if let Some(stream) = self.connect(from).await {
                let _ = stream.set_zero_linger();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Asks to be let in with tokens that are none, one after the other.
    async fn guess(self: Arc<Self>, from: u32) {
        let made = certs::new_request(&"eve".parse().unwrap()).unwrap();
        let body = json!({ "token": "t0000000000", "secret": "guess", "name": "eve", "csr": made.csr,
            "publicKey": PublicKey([9; 32]), "facts": facts(9) })
        .to_string();
        let text = format!(
            "POST /v1/enroll HTTP/1.1\r\nhost: m\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        loop {
            if let Some(mut stream) = self.greet(from).await {
                let mut answer = [0; 4096];
                while stream.write_all(text.as_bytes()).await.is_ok()
                    && stream.read(&mut answer).await.is_ok_and(|length| length > 0)
                {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Everybody at once, `many` of each kind, from `hosts` addresses.
fn besiege(target: &Arc<Target>, many: u32, hosts: u32) -> tokio::task::JoinSet<()> {
    let mut all = tokio::task::JoinSet::new();
    for n in 0..many * 16 {
        let hello: &[u8] = if n % 2 == 0 { b"" } else { b"\x16\x03\x01\x40\x00\x01" };
        all.spawn(Arc::clone(target).half_open(n % hosts, hello));
    }
    for n in 0..many {
        let from = n % hosts;
        all.spawn(Arc::clone(target).drip(from, "GET /v1/status HTTP/1.1\r\nx-slow: "));
        all.spawn(Arc::clone(target).drip(
            from,
            "POST /v1/enroll HTTP/1.1\r\nhost: m\r\ncontent-type: application/json\r\ncontent-length: 16000\r\n\r\n{",
        ));
        all.spawn(Arc::clone(target).drip(from, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    }
    for n in 0..many.div_ceil(4) {
        let from = n % hosts;
        all.spawn(Arc::clone(target).shout(from));
        all.spawn(Arc::clone(target).reset(from, false));
        all.spawn(Arc::clone(target).reset(from, true));
        all.spawn(Arc::clone(target).guess(from));
    }
    all
}

/// How long a change takes from the administrator's command to the member's slice; each comes by a connection of its own.
async fn change_arrives(world: &World, lines: &mut Lines, slice: &Slice, n: u32) -> (Slice, Duration) {
    let begun = crate::clock::mono();
    let port = fixture::port(&format!("p{n}"), "blue", "a-2", n, &format!("192.168.10.{n}"));
    world.apply(vec![Any::Port(port)]).await.unwrap();
    let slice = after_delta(lines, slice).await;
    (slice, crate::clock::mono().since(begun))
}

/// Besieges a server with such limits, `many` of each kind, and returns what ten changes took.
async fn siege(limits: Limits, many: u32, hosts: u32) -> Vec<Duration> {
    let world = World::with(Lives::default(), limits, |store| Arc::new(store)).await;
    let (one, _two) = (world.join("a-1", 1).await, world.join("a-2", 2).await);
    let mut lines = world.node(&one).lines("/v1/slice").await.unwrap();
    let mut slice = snapshot(&mut lines).await;
    let target = Target::of(&world);
    let attackers = besiege(&target, many, hosts);
    // More of them than there are places.
    let all = tokio::time::timeout(Duration::from_secs(60), async {
        while target.connections.load(Ordering::Relaxed) < limits.strangers * 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    all.await.expect("the siege begins");
    let mut took = Vec::new();
    for n in 1..=10 {
        let (next, time) = change_arrives(&world, &mut lines, &slice, n).await;
        slice = next;
        took.push(time);
        let begun = crate::clock::mono();
        let report = Report { applied: Some(slice.version), ..Report::default() };
        let _: Value = world.node(&one).call(Method::POST, "/v1/report", Some(&report)).await.unwrap();
        took.push(crate::clock::mono().since(begun));
    }
    // One who comes back gets in as well.
    let begun = crate::clock::mono();
    let mut again = world.node(&one).lines("/v1/slice").await.unwrap();
    snapshot(&mut again).await;
    took.push(crate::clock::mono().since(begun));
    let (came, refused) = (target.connections.load(Ordering::Relaxed), target.refused.load(Ordering::Relaxed));
    println!("{} attackers, {came} connections, {refused} handshakes failed", attackers.len());
    let log = world.log().await.into_iter().filter(|(what, _)| what == "enroll-refused").count();
    assert!(log < 200, "strangers do not fill the audit log: {log}");
    took
}

fn in_sync(mut took: Vec<Duration>) {
    took.sort();
    println!("members: median {:?}, longest {:?}", took[took.len() / 2], took[took.len() - 1]);
    assert!(took.iter().all(|time| *time < IN_SYNC), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_stay_in_sync_while_strangers_besiege_the_server() {
    let limits = Limits { strangers: 64, per_source: 16, total: 512, ..ROOM };
    in_sync(siege(limits, 8, 8).await);
}

/// The limits as they are shipped, against more connections than the server takes. Needs `ulimit -n 20000`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "ten thousand open files; see docs/testing.md"]
async fn members_stay_in_sync_while_thousands_besiege_the_server() {
    in_sync(siege(Limits::default(), 250, 100).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_has_few_places_and_a_handshake_little_time() {
    let limits = Limits { handshake: Duration::from_millis(300), per_source: 4, ..ROOM };
    let world = World::with(Lives::default(), limits, |store| Arc::new(store)).await;
    let target = Target::of(&world);
    let begun = crate::clock::mono();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(target.connect(0).await.unwrap());
    }
    let mut fifth = target.connect(0).await.unwrap();
    assert_eq!(fifth.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
    assert!(crate::clock::mono().since(begun) < Duration::from_millis(300));
    assert!(target.greet(1).await.is_some(), "another source is not concerned");
    for stream in &mut held {
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "its time is over");
    }
    assert!(crate::clock::mono().since(begun) < Duration::from_secs(5));
    assert!(target.greet(0).await.is_some(), "and its places are free again");
}

/// A member that has gone bad keeps nobody else out.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_few_places() {
    let limits = Limits { per_key: 4, total: 8, ..ROOM };
    let world = World::with(Lives::default(), limits, |store| Arc::new(store)).await;
    let (bad, good) = (world.join("a-1", 1).await, world.join("a-2", 2).await);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(world.node(&bad).lines(&run_of("/v1/slice")).await.unwrap());
    }
    assert_eq!(
        world.node(&bad).lines(&run_of("/v1/slice")).await.err().unwrap().exit,
        Exit::Unreachable,
        "one too many"
    );
    world.node(&good).lines(&run_of("/v1/slice")).await.unwrap();
    world.get::<MeshStatus>("/v1/status").await;
    held.pop();
    let begun = crate::clock::mono();
    while world.node(&bad).lines(&run_of("/v1/slice")).await.is_err() {
        assert!(crate::clock::mono().since(begun) < Duration::from_secs(10), "its place is free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_or_head_that_is_too_large_is_refused_early() {
    let world = World::new().await;
    let target = Target::of(&world);
    let says = async |text: &[u8]| {
        let mut stream = target.greet(0).await.unwrap();
        let mut heard = Vec::new();
        let _ = stream.write_all(text).await;
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut heard)).await.expect("an end");
        String::from_utf8_lossy(&heard).into_owned()
    };
    let body = [
        b"POST /v1/enroll HTTP/1.1\r\nhost: m\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 10000000\r\n\r\n",
        vec![b' '; 40_000].as_slice(),
    ]
    .concat();
    let answer = says(&body).await;
    assert!(answer.contains("M0335") && answer.contains("larger than 16384 bytes"), "{answer}");
    let heads = ["x: y\r\n".repeat(100), format!("x: {}\r\n", "y".repeat(1 << 20))];
    for head in heads {
        let answer = says(format!("GET /v1/status HTTP/1.1\r\nhost: m\r\n{head}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let answer = says(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!answer.contains("HTTP/2") && !answer.starts_with("HTTP/1.1 2"), "HTTP/2 is not spoken: {answer}");
}
