//! `meshctl tunnel`

use serde_json::Value;

use super::objects::or_none;
use super::out::{self, Done, Lines};
use super::remote::Access;
use crate::api::local::{PlainPeer, PlainState, Silence, TunnelStatus};
use crate::api::problem::{Exit, Problem};
use crate::table::Suite;

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every tunnel of this node, and every plain path that it watches
    List,
}

/// Runs a verb.
///
/// # Errors
/// No `meshd` answers.
pub(super) async fn run(access: &Access, command: Command) -> Done {
    let Command::List = command;
    let tunnels: Vec<TunnelStatus> = access.node().get("/v1/tunnels").await?;
    let plain: Vec<PlainPeer> = access.node().get("/v1/plain").await?;
    let mut lines = Lines::new(&HEAD);
    for tunnel in &tunnels {
        lines.add([
            tunnel.node.to_string(),
            or_none(tunnel.endpoint),
            state(tunnel).to_owned(),
            lanes(tunnel),
            age(tunnel.handshake_age),
            suite(tunnel.suite).to_owned(),
            bytes(tunnel.received),
            bytes(tunnel.sent),
            String::new(),
            or_none(tunnel.loss.map(|loss| format!("{loss} %"))),
            String::new(),
        ]);
    }
    for peer in &plain {
        let Some(vtep) = peer.vtep else { continue };
        lines.add([
            peer.node.to_string(),
            std::net::SocketAddr::new(vtep, peer.plain.udp_port.get()).to_string(),
            peer.plain.state.word().to_owned(),
            String::new(),
            String::new(),
            "plain".to_owned(),
            String::new(),
            String::new(),
            or_none(peer.plain.rtt_micros.map(rtt)),
            or_none(peer.plain.loss.map(|loss| format!("{loss} %"))),
            or_none(peer.plain.bytes),
        ]);
    }
    let items = both(&tunnels, &plain).map_err(|e| Problem::new("M0110", Exit::Failed, e.to_string()))?;
    out::list(access.output, "tunnel", &items, &lines)
}

const HEAD: [&str; 11] =
    ["PEER", "ENDPOINT", "STATE", "LANES", "HANDSHAKE", "SUITE", "RECEIVED", "SENT", "RTT", "LOSS", "BYTES"];

/// For programs: each with its kind of path, and whether it carries.
fn both(tunnels: &[TunnelStatus], plain: &[PlainPeer]) -> serde_json::Result<Vec<Value>> {
    let tunnels = tunnels.iter().map(|tunnel| Ok((serde_json::to_value(tunnel)?, "tunnel", tunnel.up)));
    let carries = |state| matches!(state, PlainState::Answers | PlainState::Small | PlainState::Legs);
    let plain = plain.iter().map(|peer| Ok((serde_json::to_value(peer)?, "plain", carries(peer.plain.state))));
    let marked = |one: serde_json::Result<(Value, &str, bool)>| {
        let (mut value, path, up) = one?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("path".to_owned(), path.into());
            fields.insert("up".to_owned(), up.into());
        }
        Ok(value)
    };
    tunnels.chain(plain).map(marked).collect()
}

/// A round trip, for people.
fn rtt(micros: u64) -> String {
    if micros < 10_000 { format!("{micros} us") } else { format!("{} ms", micros / 1000) }
}

/// Whether it carries.
pub(super) const fn state(tunnel: &TunnelStatus) -> &'static str {
    match (tunnel.up, tunnel.silence) {
        (false, _) if tunnel.starting => "starting",
        (false, _) => "down",
        (true, None) if tunnel.little.is_some() => "small packets only",
        (true, None) => "up",
        (true, Some(Silence::Unknown)) => "silent",
        (true, Some(Silence::Out)) => "dead from here",
        (true, Some(Silence::In)) => "dead to here",
    }
}

/// How many lanes have a session, of those that the pair uses.
fn lanes(tunnel: &TunnelStatus) -> String {
    format!("{}/{}", tunnel.lanes.iter().filter(|lane| lane.up).count(), tunnel.lanes.len())
}

const fn suite(suite: Suite) -> &'static str {
    match suite {
        Suite::Chacha => "chacha",
        Suite::Aesgcm => "aesgcm",
    }
}

/// How long ago, for people.
pub(super) fn age(seconds: Option<u64>) -> String {
    match seconds {
        None => "never".to_owned(),
        Some(s @ 0..=119) => format!("{s} s ago"),
        Some(s @ 120..=7199) => format!("{} min ago", s / 60),
        Some(s @ 7200..=172_799) => format!("{} h ago", s / 3600),
        Some(s) => format!("{} d ago", s / 86_400),
    }
}

/// A number of bytes, for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| count >= *size) {
        None => format!("{count} B"),
        Some((unit, size)) if count / size >= 100 => format!("{} {unit}", count / size),
        Some((unit, size)) => format!("{}.{} {unit}", count / size, count % size * 10 / size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_ages_are_short() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (200 << 20, "200 MiB")];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(u64::MAX), "16777215 TiB");
        for (seconds, text) in
            [(None, "never"), (Some(59), "59 s ago"), (Some(3600), "60 min ago"), (Some(1 << 20), "12 d ago")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
