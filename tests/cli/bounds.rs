//! What strangers and members leave behind in the log and the memory of a real `meshmgr`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use vxmesh::transport::client::Client;
use vxmesh::transport::tls::{client_config, pinned_client_config};

use crate::crash::{enroll, request};
use crate::online::Management;

/// How long each kind of stranger goes on.
const FLOOD: Duration = Duration::from_millis(1500);
/// What all of them may leave in the log, bytes.
const LOG_MAX: usize = 24 << 10;

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test that floods for a while")]
    Instant::now()
}

/// One thing that a stranger does, again and again.
type Deed = Box<dyn Fn(u64)>;

/// Everything that a stranger can do.
fn deeds(address: &str, pin: [u8; 32]) -> Vec<(&'static str, Deed)> {
    let runtime = Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let asks = |path: &'static str, method: Method, body: fn(u64) -> Value| -> Deed {
        let client = Client::https(vec![address.to_owned()], pinned_client_config(pin).unwrap());
        let runtime = Arc::clone(&runtime);
        Box::new(move |n| drop(runtime.block_on(client.call::<_, Value>(method.clone(), path, Some(&body(n))))))
    };
    let says = |bytes: &'static [u8]| -> Deed {
        let address = address.to_owned();
        Box::new(move |_| {
            let Ok(mut stream) = TcpStream::connect(&address) else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.write_all(bytes);
            let _ = stream.read(&mut [0; 16]);
        })
    };
    let guess = |n: u64| {
        json!({ "token": format!("t{n:010}"), "secret": "guess", "name": format!("eve-{n}"), "csr": "none",
            "publicKey": "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=",
            "facts": { "adminMtu": 1500, "externalMtu": 1500, "listen": 51820, "lanes": 1, "aes": true, "version": "\u{1b}[2J" } })
    };
    vec![
        ("asks for the status", asks("/v1/status", Method::GET, |_| json!({}))),
        ("reports as if it were a node", asks("/v1/report", Method::POST, |_| json!({}))),
        ("asks for what is not there", asks("/v1/nowhere", Method::GET, |_| json!({}))),
        ("guesses tokens", asks("/v1/enroll", Method::POST, guess)),
        ("sends what is no request", asks("/v1/enroll", Method::POST, |_| json!([1, 2, 3]))),
        ("speaks no TLS", says(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")),
        ("breaks off its greeting", says(b"\x16\x03\x01\x40\x00\x01")),
    ]
}

#[test]
fn whatever_strangers_do_leaves_little_in_the_log_and_is_counted() {
    let mesh = Management::start();
    mesh.good("pdc create a --intra plain --underlay 10.0.0.0/24");
    let (_, pin) = request(mesh.good("token create --pdc a").trim(), "n-1", 1);
    let before = mesh.log().len();
    let mut sum = 0;
    for (what, deed) in deeds(mesh.address(), pin) {
        let (until, from, mut tries) = (now() + FLOOD, mesh.log().len(), 0);
        while now() < until {
            deed(tries);
            tries += 1;
        }
        println!("{what}: {tries} times, {} bytes of log", mesh.log().len() - from);
        assert!(tries > 10, "{what}: {tries}");
        sum += tries;
    }
    let log = mesh.log();
    assert!(log.len() - before < LOG_MAX, "{sum} deeds of strangers, {} bytes of log", log.len() - before);
    let events: Value = serde_json::from_str(&mesh.good("events -n 100000 -o json")).unwrap();
    let refused = events["items"].as_array().unwrap().iter().filter(|event| event["what"] == "enroll-refused").count();
    assert!((1..=64).contains(&refused), "{refused} refusals in the audit log");
    assert!(log.contains("refused") && log.contains("kept_back=0"), "the first ones are there: {log}");
}

/// Members that report all that a report holds, each time anew.
#[test]
fn whatever_members_report_leaves_little_in_memory() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mesh = Management::start();
    mesh.good("pdc create a --intra plain --underlay 10.0.0.0/24");
    mesh.good("overlay create default");
    mesh.good("network create blue --overlay default --vni 10 --learning local --nodes other-*");
    let text = mesh.good("token create --pdc a --uses 4");
    let members: Vec<Client> = (1..=4_u8)
        .map(|n| {
            let name = format!("n-{n}");
            let (mut wish, pin) = request(text.trim(), &name, n);
            let made = vxmesh::mgmt::certs::new_request(&name.parse().unwrap()).unwrap();
            wish.csr = made.csr.clone();
            let answer = runtime.block_on(enroll(mesh.address().to_owned(), pin, n, wish)).unwrap();
            let config = client_config(&answer.ca, Some((&answer.certificate, &made.key))).unwrap();
            Client::https(vec![mesh.address().to_owned()], config)
        })
        .collect();
    let before = mesh.resident();
    for round in 0..4_u32 {
        for (n, member) in members.iter().enumerate() {
            let claims: Vec<Value> = (0..4_096_u32)
                .map(|k| {
                    let mac = format!("02:{n:02x}:{round:02x}:00:{:02x}:{:02x}", k >> 8, k & 255);
                    let ips: Vec<String> = (0..40).map(|ip| format!("fe80::{ip:x}")).collect();
                    json!({ "network": "default/10", "mac": mac, "ips": ips })
                })
                .collect();
            let paths: Vec<Value> =
                (0..10_000).map(|k| json!({ "node": format!("x-{round}-{k}"), "bytes": 1300 })).collect();
            let findings: Vec<Value> = (0..256)
                .map(|k| json!({"code": "M0001", "what": format!("{n} {k} {}", "w".repeat(1000)), "help": "h".repeat(1000)}))
                .collect();
            let said = json!({ "ports": claims, "paths": paths, "findings": findings });
            let answer: Result<Value, _> = runtime.block_on(member.call(Method::POST, "/v1/report", Some(&said)));
            answer.unwrap();
        }
    }
    let grown = mesh.resident().saturating_sub(before);
    println!("4 members, 16 reports of some 2 MB: {before} KiB before, {grown} KiB more");
    assert!(grown < 48 << 10, "{grown} KiB");
    let events: Value = serde_json::from_str(&mesh.good("events -n 100000 -o json")).unwrap();
    let refused = events["items"].as_array().unwrap().iter().filter(|event| event["what"] == "port-refused").count();
    assert!((4..=80).contains(&refused), "{refused}");
}
