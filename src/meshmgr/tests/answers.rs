//! Who is there: by what nodes say, not by what is written to them.

use super::*;
use crate::api::stream::{ANSWERS, UNANSWERED};

/// Reads a stream for ever; answers as long as `answering` says so.
async fn follow(mut lines: Lines, answering: bool) {
    let mut answered = crate::clock::mono();
    while let Ok(Some(_)) = lines.next::<Value>().await {
        if answering && crate::clock::mono().since(answered) >= ANSWERS {
            lines.answer();
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
            loud.answer();
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
