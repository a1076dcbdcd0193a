//! Who is there: by what nodes say, not by what is written to them.

use super::*;
use crate::api::stream::{ANSWERS, Answer, UNANSWERED};

/// Reads a stream for ever; answers as long as `answering` says so.
async fn follow(mut lines: Lines, answering: bool) {
    let mut answered = crate::clock::mono();
    while let Ok(Some(_)) = lines.next::<Value>().await {
        if answering && crate::clock::mono().since(answered) >= ANSWERS {
            lines.answer(Answer::default());
            answered = crate::clock::mono();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_there_while_it_answers_and_one_of_an_older_version_while_its_connection_is() {
    let world = World::new().await;
    let mut nodes = Vec::new();
    for (n, name) in ["answers", "mute", "older", "floods"].into_iter().enumerate() {
        nodes.push(world.join(name, u8::try_from(n + 1).unwrap()).await);
    }
    let answers = run_of("/v1/slice?answers=true");
    let streams = [
        (&nodes[0], world.node(&nodes[0]).conversation(&answers).await.unwrap(), true),
        // Its kernel takes every line, and nobody reads them.
        (&nodes[1], world.node(&nodes[1]).conversation(&answers).await.unwrap(), false),
        (&nodes[2], world.node(&nodes[2]).lines(&run_of("/v1/slice")).await.unwrap(), false),
    ];
    let reading: Vec<_> =
        streams.into_iter().map(|(_, lines, answering)| tokio::spawn(follow(lines, answering))).collect();
    // One that answers without end is read at an even pace, and is there.
    let loud = world.node(&nodes[3]).conversation(&answers).await.unwrap();
    let flood = tokio::spawn(async move {
        loop {
            loud.answer(Answer::default());
            tokio::task::yield_now().await;
        }
    });
    let line = async |name: &str| {
        let status: MeshStatus = world.get("/v1/status").await;
        status.nodes.into_iter().find(|node| node.node.as_str() == name).unwrap()
    };
    let began = crate::clock::wall();
    tokio::time::sleep(UNANSWERED / 2).await;
    for name in ["answers", "mute", "older", "floods"] {
        assert!(line(name).await.connected, "{name} has not been silent for long");
    }
    flood.abort();
    tokio::time::sleep(UNANSWERED / 2 + Duration::from_secs(3)).await;
    for (name, there) in [("answers", true), ("mute", false), ("older", true)] {
        let line = line(name).await;
        assert_eq!(line.connected, there, "{name}");
        let late = crate::clock::wall().since(line.seen.unwrap());
        assert_eq!(late < ANSWERS + Duration::from_secs(4), there, "{name} was seen {late:?} ago");
    }
    assert!(line("mute").await.seen.unwrap() <= began + Duration::from_secs(2), "it has said nothing since it came");
    let node: Value = world.get("/v1/objects/node/mute").await;
    assert_eq!(node["status"]["connected"], json!(false), "the list of nodes knows it too");
    reading.iter().for_each(|task| task.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_of_before_is_told_that_it_is_replaced_and_takes_nothing_of_the_new_one_with_it() {
    let world = World::new().await;
    let old = world.join("a-1", 1).await;
    let mut before = world.node(&old).lines(&run_of("/v1/slice")).await.unwrap();
    snapshot(&mut before).await;
    let wish = json!({ "pdc": "a", "namePattern": "a-1", "uses": 1, "replace": true });
    let made: MadeToken = world.admin().call(Method::POST, "/v1/tokens", Some(&wish)).await.unwrap();
    let (request, key) = request(&made.token, "a-1", 2);
    let answer = world.enroll(&request).await.unwrap();
    let new = Node { name: "a-1".to_owned(), key, answer };
    let mut lines = world.node(&new).lines(&run_of("/v1/slice")).await.unwrap();
    snapshot(&mut lines).await;
    assert!(matches!(news(&mut before).await, Message::Removed));
    assert_eq!(world.node(&old).lines(&run_of("/v1/slice")).await.err().unwrap().code, "M0802");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let status: MeshStatus = world.get("/v1/status").await;
    assert!(status.nodes[0].connected, "the new machine is there");
    let log = world.log().await;
    assert!(log.iter().any(|(what, text)| what == "enroll" && text.contains("whose keys are taken back")), "{log:?}");
    let leaves = async |proofs: &[(u8, Claim<'_>)]| {
        let left = Report { leaving: true, ..Report::default() };
        world.report(&new, left, proofs).await.unwrap();
    };
    leaves(&[]).await;
    leaves(&[(3, Claim::Leaving), (2, Claim::InUse)]).await;
    let log = world.log().await;
    assert!(!log.iter().any(|(what, _)| what == "node-left"), "a thief of the TLS key cannot say it: {log:?}");
    assert!(log.iter().any(|(what, text)| what == "leave-refused" && text.contains("without proof")), "{log:?}");
    leaves(&[(2, Claim::Leaving)]).await;
    leaves(&[(2, Claim::Leaving)]).await;
    let status: MeshStatus = world.get("/v1/status").await;
    assert!(status.nodes[0].connected && !status.nodes[0].left, "who is there has not left, whatever is said");
    drop(lines);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status: MeshStatus = world.get("/v1/status").await;
    assert!(status.nodes[0].left && !status.nodes[0].connected);
    assert_eq!(world.log().await.iter().filter(|(what, _)| what == "node-left").count(), 1, "once");
}

#[tokio::test]
async fn a_server_certificate_that_a_wrong_clock_made_is_made_anew_and_a_good_one_is_kept() {
    let world = World::new().await;
    let (now, life) = (crate::clock::wall(), Lives::default().server);
    let first = world.keys.server(life, now).unwrap().chain;
    assert_eq!(world.keys.server(life, now).unwrap().chain, first, "it is good");
    let year = Duration::from_secs(365 * 86_400);
    let future = world.keys.server(life, now + year).unwrap().chain;
    assert_ne!(future, first, "by then it has ended");
    let again = world.keys.server(life, now).unwrap();
    assert_ne!(again.chain, future, "nobody takes it for a year");
    let (begins, ends) = certs::validity_of_pem(&again.chain).unwrap();
    assert!(begins <= now && now < ends);
}
