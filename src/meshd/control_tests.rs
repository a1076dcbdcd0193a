use hyper::Method;
use serde_json::Value;

use super::super::lanes::Lanes;
use super::*;
use crate::api::local::{Event, Management, Status};
use crate::transport::client::Client;
use crate::types::{Psk, SecretKey, UdpPort};

fn shared() -> Arc<Shared> {
    let lanes =
        Lanes::start(0, UdpPort::try_from(51820).unwrap(), SecretKey::from_bytes([1; 32]), Default::default()).unwrap();
    Shared::new("a-1".parse().unwrap(), "a".parse().unwrap(), Management::Files, lanes)
}

async fn ask<T: serde::de::DeserializeOwned>(client: &Client, path: &str) -> Result<T, Problem> {
    client.call::<(), T>(Method::GET, path, None).await
}

#[tokio::test]
async fn the_socket_answers_and_tells_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared();
    let claim = claim(&folder.path().join("run")).unwrap();
    let socket = folder.path().join("run/meshd.sock");
    let listener = listen(&claim, &socket).unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    tokio::spawn(serve(listener, Arc::clone(&shared)));
    let client = Client::unix(&socket);

    let problem = ask::<Value>(&client, "/v1/slice").await.unwrap_err();
    assert_eq!(problem.exit, Exit::Degraded);
    let mut slice = super::super::disk::tests::slice(7);
    slice.peers.values_mut().next().unwrap().psk = Some(Psk::from_bytes([7; 32]));
    shared.view().slice = Some(Arc::new(slice));
    let text = ask::<Value>(&client, "/v1/slice").await.unwrap().to_string();
    assert!(text.contains("default/10") && !text.contains("psk") && !text.contains("BwcH"), "{text}");

    let status: Status = ask(&client, "/v1/status").await.unwrap();
    assert_eq!((status.networks.len(), status.peers.len()), (1, 1));
    shared.events.info("boot", "here");
    let events: Vec<Event> = ask(&client, "/v1/events").await.unwrap();
    assert_eq!(events.last().unwrap().kind, "boot");
    assert!(ask::<Vec<Value>>(&client, "/v1/tunnels").await.unwrap().is_empty());
    for (path, exit) in [
        ("/v1/explain", Exit::Usage),
        ("/v1/explain?from=a&to=b&c=d", Exit::Usage),
        ("/v1/explain?from=nobody&to=10.0.0.1", Exit::NotFound),
        ("/v1/nothing", Exit::NotFound),
    ] {
        assert_eq!(ask::<Value>(&client, path).await.unwrap_err().exit, exit, "{path}");
    }
}

#[tokio::test]
async fn a_dead_daemons_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("meshd.sock");
    let (lock, mode) = (folder.path().join(LOCK), |path: &Path| std::fs::metadata(path).unwrap().permissions().mode());
    std::fs::write(&lock, "").unwrap();
    std::fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
    let first = claim(folder.path()).unwrap();
    assert_eq!(mode(&lock) & 0o777, 0o600, "who can open it can hold the lock");
    drop(listen(&first, &socket).unwrap());
    let problem = claim(folder.path()).unwrap_err();
    assert_eq!((problem.code.as_str(), problem.exit), ("M0610", Exit::Conflict));
    assert!(problem.to_string().contains("nothing was changed"));
    drop(first);
    assert!(socket.exists(), "as after a crash");
    let second = claim(folder.path()).unwrap();
    listen(&second, &socket).unwrap();
}

#[test]
fn a_folder_that_may_not_be_used_is_told_with_who_may() {
    let of = |kind: io::ErrorKind| unclaimed(io::Error::new(kind, "meshd.lock: no")).help.join("; ");
    assert!(of(io::ErrorKind::PermissionDenied).contains("as root"));
    assert_eq!(of(io::ErrorKind::StorageFull), "");
}
