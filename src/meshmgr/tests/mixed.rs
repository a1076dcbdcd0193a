//! A node and a management node of two versions: what either says more than the other knows is no obstacle.

use super::*;

/// Puts one field more into every object of `value`, but those that hold names and not fields.
fn more(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(more);
            members.insert("zzNew".into(), json!({ "deep": [1, null] }));
        }
        Value::Array(items) => items.iter_mut().for_each(more),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_node_joins_reports_and_renews() {
    let world = World::new().await;
    let text = world.token(1).await;
    let (asked, key) = request(&text, "a-1", 1);
    let mut asked = serde_json::to_value(world.proved(&asked).await).unwrap();
    more(&mut asked);
    let pinned = pinned_client_config(world.keys.authority.pin()).unwrap();
    let stranger = Client::https(vec![world.address.clone()], pinned);
    let answer: EnrollAnswer = stranger.call(Method::POST, "/v1/enroll", Some(&asked)).await.unwrap();
    let node = Node { name: "a-1".to_owned(), key, answer };
    let client = world.node(&node);
    let slice = snapshot(&mut client.lines("/v1/slice").await.unwrap()).await;

    let proofs = world.proofs(&node, &[(1, Claim::Facts(&facts(7)))]).await;
    let mut said = json!({
        "applied": slice.version, "facts": facts(7), "proofs": proofs,
        "paths": [{ "node": "a-2", "bytes": 1400 }],
        "ports": [{ "network": "default/10", "mac": "02:00:00:00:00:77", "ips": [] }],
    });
    more(&mut said);
    client.call::<_, Value>(Method::POST, "/v1/report", Some(&said)).await.unwrap();
    let status: MeshStatus = world.get("/v1/status").await;
    let line = status.nodes.iter().find(|line| line.node.as_str() == "a-1").unwrap();
    assert_eq!(line.acknowledged, Some(slice.version), "what is known of a report counts");

    let csr = certs::renew_request(&"a-1".parse().unwrap(), &node.key).unwrap();
    let asked = json!({ "csr": csr, "zzNew": 5 });
    client.call::<_, RenewAnswer>(Method::POST, "/v1/renew", Some(&asked)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_says_more_than_is_known_is_refused() {
    let world = World::new().await;
    let admin = world.admin();
    let pdc = json!({ "kind": "Pdc", "metadata": { "name": "z" }, "spec": { "intra": "plain", "underlay": [] } });
    for at in ["", "/metadata", "/spec"] {
        let mut item = pdc.clone();
        item.pointer_mut(at).unwrap()["zzNew"] = json!(1);
        let put = admin.call::<_, Value>(Method::PUT, "/v1/objects/pdc/z", Some(&item)).await.unwrap_err();
        let body = json!({ "items": [item] });
        let apply = admin.call::<_, Value>(Method::POST, "/v1/apply", Some(&body)).await.unwrap_err();
        assert_eq!((put.code.as_str(), apply.code.as_str()), ("M0335", "M0335"), "{at}");
        assert!(put.what.contains("zzNew"), "{put}");
    }
    let token = json!({ "pdc": "a", "zzNew": 1 });
    let refused = admin.call::<_, Value>(Method::POST, "/v1/tokens", Some(&token)).await.unwrap_err();
    assert_eq!(refused.code, "M0335");
    admin.call::<_, Value>(Method::PUT, "/v1/objects/pdc/z", Some(&pdc)).await.unwrap();
}
