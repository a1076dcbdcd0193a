use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

use super::super::tls::{client_config, pinned_client_config, tests::Ca};
use super::*;

/// A server on a Unix socket that answers one request with `answer`, byte for byte.
fn canned(answer: impl Into<Vec<u8>>) -> (tempfile::TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let answer = answer.into();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(&answer).await.unwrap();
    });
    (folder, Client::unix(path))
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn get(client: &Client) -> Result<Value, Problem> {
    client.call::<(), Value>(Method::GET, "/v1/status", None).await
}

#[tokio::test]
async fn a_refusal_is_the_servers_own_problem() {
    let problem = Problem::new("M0207", Exit::Denied, "this token was used by another machine").note("by cn-09");
    let (_folder, client) = canned(answer("403 Forbidden", &serde_json::to_string(&problem).unwrap()));
    assert_eq!(get(&client).await.unwrap_err(), problem);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told_with_the_address() {
    for text in [answer("200 OK", "<html>"), answer("502 Bad Gateway", "nginx")] {
        let (folder, client) = canned(text);
        let problem = get(&client).await.unwrap_err();
        assert_eq!(problem.code, "M0103");
        assert!(problem.what.contains(folder.path().to_str().unwrap()), "{problem}");
    }
    let (_folder, client) = canned("SSH-2.0-OpenSSH\r\n");
    assert_eq!(get(&client).await.unwrap_err().code, "M0101");
}

#[tokio::test]
async fn no_daemon_and_no_server_say_what_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let problem = get(&Client::unix(folder.path().join("meshd.sock"))).await.unwrap_err();
    assert_eq!((problem.code.as_str(), problem.exit), ("M0101", Exit::Unreachable));
    assert!(problem.to_string().contains("systemctl start meshd"), "{problem}");
    let tls = client_config(&Ca::new().pem, None).unwrap();
    let problem = get(&Client::https(Vec::new(), tls)).await.unwrap_err();
    assert_eq!(problem.exit, Exit::Unreachable);
}

#[tokio::test]
async fn lines_arrive_one_by_one_however_they_are_cut() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = ["{\"n\":", "1}\n{\"n\":2}\n\n{\"n\"", ":3}\n"];
    let body: String = chunks.iter().map(|c| format!("{:x}\r\n{c}\r\n", c.len())).collect();
    let (_folder, client) = canned(format!("{head}{body}0\r\n\r\n"));
    let mut lines = client.lines("/v1/slice").await.unwrap();
    for n in 1..=3 {
        assert_eq!(lines.next::<Value>().await.unwrap(), Some(json!({ "n": n })));
    }
    assert_eq!(lines.next::<Value>().await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_line_is_an_error() {
    let (_folder, client) = canned("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"n\"\r\n0\r\n\r\n");
    let mut lines = client.lines("/v1/slice").await.unwrap();
    assert_eq!(lines.next::<Value>().await.unwrap_err().code, "M0101");
}

/// A TLS server that answers every connection with `answer` and returns what it heard of the first one that got through.
async fn tls_server(config: Arc<rustls::ServerConfig>) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(config).accept(tcp).await else { return Vec::new() };
        let mut heard = vec![0; 4096];
        let n = stream.read(&mut heard).await.unwrap();
        heard.truncate(n);
        stream.write_all(answer("200 OK", "{\"ok\":true}").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        heard
    });
    (address, task)
}

#[tokio::test]
async fn a_man_in_the_middle_never_hears_the_secret() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let (address, heard) = tls_server(theirs.server(|_| ())).await;
    let client = Client::https(vec![address.clone()], pinned_client_config(ours.pin()).unwrap());
    let outcome = client.call::<_, Value>(Method::POST, "/v1/enroll", Some(&json!({"secret": "hunter2"}))).await;
    let problem = outcome.unwrap_err();
    assert_eq!((problem.code.as_str(), problem.exit), ("M0211", Exit::Denied));
    assert!(problem.what.contains(&address), "{problem}");
    assert!(heard.await.unwrap().is_empty());
}

#[tokio::test]
async fn the_next_address_is_tried_where_one_is_dead() {
    let ca = Ca::new();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let (address, heard) = tls_server(ca.server(|_| ())).await;
    let client = Client::https(vec![dead, address], pinned_client_config(ca.pin()).unwrap());
    let answer: Value = client.call(Method::POST, "/v1/enroll", Some(&json!({"secret": "hunter2"}))).await.unwrap();
    assert_eq!(answer, json!({"ok": true}));
    assert!(String::from_utf8(heard.await.unwrap()).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn a_certificate_that_a_clock_makes_wrong_names_the_clock_of_this_machine() {
    let ca = Ca::new();
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    for (from, to, says) in [(2099, 2100, "begins at 2099-01-01"), (2001, 2002, "ended at 2002-01-01")] {
        let (address, _heard) =
            tls_server(ca.server(|params| (params.not_before, params.not_after) = (year(from), year(to)))).await;
        let client = Client::https(vec![address], pinned_client_config(ca.pin()).unwrap());
        let problem = client.call::<_, Value>(Method::POST, "/v1/enroll", Some(&json!({}))).await.unwrap_err();
        assert_eq!(problem.code, "M0104", "{problem}");
        let now = crate::clock::wall().to_string();
        let clock = format!("the clock of this machine says {}", now.split_at(13).0);
        assert!(problem.what.contains(says) && problem.what.contains(&clock), "{problem}");
    }
}

#[test]
fn a_socket_whose_file_has_gone_is_not_taken_for_a_daemon_that_does_not_run() {
    let listens = "ffff8d41: 00000002 00000000 00010000 0001 01 12345 /run/vxmesh/meshd.sock";
    assert!(is_of(listens, "/run/vxmesh/meshd.sock") && !is_of(listens, "/run/vxmesh/other.sock"));
    let ended = "ffff8d41: 00000003 00000000 00000000 0001 03 12345 /run/vxmesh/meshd.sock";
    assert!(!is_of(ended, "/run/vxmesh/meshd.sock"), "a connection of before listens no more");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meshd.sock");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let told = || no_daemon(&path.display().to_string(), &io::Error::from(io::ErrorKind::NotFound)).to_string();
    assert!(told().contains("still runs") && told().contains("restart"), "{}", told());
    drop(socket);
    assert!(told().contains("systemctl start meshd"), "{}", told());
}
