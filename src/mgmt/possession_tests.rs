use super::*;
use crate::mgmt::fixture;
use crate::types::Mac;

const NOW: Wall = Wall::from_secs(1_800_000_000);

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

fn public(n: u8) -> PublicKey {
    public_key(&secret(n))
}

/// Everything that a proof is of.
#[derive(Clone)]
struct World {
    installation: u8,
    node: NodeId,
    tls: String,
    by: u8,
    claim: (u8, u8, NodeFacts),
    /// A finding names an interface, which is written as the external MTU; a found guest has an address.
    line: bool,
    now: Wall,
}

impl World {
    fn new() -> Self {
        let (node, tls) = ("a-1".parse().unwrap(), "a".repeat(64));
        Self {
            installation: 1,
            node,
            tls,
            by: 3,
            claim: (0, 4, fixture::facts("10.0.0.1", "198.51.0.1")),
            line: false,
            now: NOW,
        }
    }

    fn claims(&self, work: impl FnOnce(Statement<'_>) -> bool) -> bool {
        let (old, new) = (public(3), public(self.claim.1));
        let line = self.claim.2.external_mtu.to_string().parse().ok().filter(|_| self.line);
        let found =
            [Finding::new("M0410", self.claim.1.to_string(), self.claim.2.version.to_string()).of_line(line.as_ref())];
        let paths = [MeasuredPath { node: "a-9".parse().unwrap(), bytes: 1400 + u16::from(self.claim.1), since: None }];
        let port = |ips: &[&str]| FoundPort {
            network: "default/10".parse().unwrap(),
            mac: Mac([2, 0, 0, 0, 0, self.claim.1]),
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        };
        let ports = if self.line { [port(&["10.0.0.1"])] } else { [port(&[])] };
        let text = format!("{:064}", self.claim.1);
        let claim = match self.claim.0 {
            0 => Claim::Join,
            1 => Claim::Change { old: &old, new: &new },
            2 => Claim::InUse,
            3 => Claim::Renew(&text),
            4 => Claim::Facts(&self.claim.2),
            5 => Claim::Findings(&found),
            6 => Claim::Paths(&paths),
            _ => Claim::Ports(&ports),
        };
        work(Statement { node: &self.node, tls_key: &self.tls, claim })
    }

    fn takes(&self, proof: &Proof) -> bool {
        let proofs = std::slice::from_ref(proof);
        self.claims(|said| shown(&secret(self.installation), proofs, said, &public(self.by), self.now))
    }

    fn proof(&self) -> Proof {
        let (challenge, mut made) = (challenge(&secret(self.installation), self.now, [7; 16]), None);
        self.claims(|said| {
            made = prove(&secret(self.by), &challenge, said);
            true
        });
        made.unwrap()
    }
}

type Change = (&'static str, fn(&mut World));

#[test]
fn a_proof_is_of_one_node_key_claim_and_time_and_of_nothing_else() {
    let changes: &[Change] = &[
        ("another installation", |w| w.installation = 2),
        ("another node", |w| w.node = "a-2".parse().unwrap()),
        ("another TLS key", |w| w.tls = "b".repeat(64)),
        ("another WireGuard key", |w| w.by = 4),
        ("too late", |w| w.now = NOW + LIFE + Duration::from_secs(1)),
        ("another claim", |w| w.claim.0 = (w.claim.0 + 1) % 8),
    ];
    for claim in 0..8 {
        let mut world = World::new();
        world.claim.0 = claim;
        let proof = world.proof();
        assert!(world.takes(&proof), "claim {claim}");
        assert!(World { now: NOW + LIFE, ..world.clone() }.takes(&proof));
        for (what, change) in changes {
            let mut other = world.clone();
            change(&mut other);
            assert!(!other.takes(&proof), "claim {claim}: {what}");
        }
    }
}

#[test]
fn each_part_of_what_is_claimed_is_bound() {
    for claim in [1, 3, 5, 6, 7] {
        let mut world = World::new();
        world.claim.0 = claim;
        let proof = world.proof();
        world.claim.1 = 5;
        assert!(!world.takes(&proof), "another new key, text, finding or size");
    }
    let mut world = World { line: true, ..World::new() };
    world.claim.0 = 7;
    assert!(!World { line: false, ..world.clone() }.takes(&world.proof()), "an address that is taken away");
    world.claim.0 = 5;
    let proof = world.proof();
    assert!(world.takes(&proof));
    assert!(!World { line: false, ..world.clone() }.takes(&proof), "an interface that is taken away");
    world.claim.2.external_mtu = 1400_u64.try_into().unwrap();
    assert!(!world.takes(&proof), "another interface");
    let parts: [fn(&mut NodeFacts); 8] = [
        |f| f.admin = "10.0.0.2".parse().ok(),
        |f| f.external = None,
        |f| f.admin_mtu = 9000_u64.try_into().unwrap(),
        |f| f.external_mtu = 1400_u64.try_into().unwrap(),
        |f| f.listen = 51821_u64.try_into().unwrap(),
        |f| f.lanes = 1,
        |f| f.aes = false,
        |f| f.version = "2".to_owned(),
    ];
    let mut world = World::new();
    world.claim.0 = 4;
    let proof = world.proof();
    for part in parts {
        let mut other = world.clone();
        part(&mut other.claim.2);
        assert!(!other.takes(&proof), "{:?}", other.claim.2);
    }
}

#[test]
fn what_is_damaged_or_made_up_proves_nothing() {
    let world = World::new();
    let good = world.proof();
    let spoilt: [fn(&mut Proof); 7] = [
        |p| p.mac = String::new(),
        |p| p.mac = "!".to_owned(),
        |p| p.mac = STANDARD.encode([0; 32]),
        |p| p.nonce = p.nonce.to_uppercase() + "a",
        |p| p.nonce.replace_range(47.., if p.nonce.ends_with('0') { "1" } else { "0" }),
        |p| p.nonce = "é".repeat(24),
        |p| p.by.0[31] ^= 0x80,
    ];
    for spoil in spoilt {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(!world.takes(&bad), "{bad:?}");
    }
    let many = [vec![Proof { mac: String::new(), ..good.clone() }; PROOFS_MAX], vec![good]].concat();
    assert!(!world.claims(|said| shown(&secret(1), &many, said, &public(3), NOW)), "work has a bound");
}

/// Who knows public keys alone, and the challenge, as every peer and every listener may.
#[test]
fn a_key_of_low_order_is_shown_by_nobody() {
    let zero = PublicKey([0; 32]);
    let (world, challenge) = (World::new(), challenge(&secret(1), NOW, [7; 16]));
    let forged = world.claims(|said| {
        let mac = fields(&[0; 32], &challenge.nonce, &challenge.key, said, &zero).sign();
        let proof = Proof { nonce: challenge.nonce.clone(), by: zero, mac: STANDARD.encode(mac.as_ref()) };
        shown(&secret(1), &[proof], said, &zero, NOW)
    });
    assert!(!forged);
    let hostile = Challenge { key: zero, ..challenge };
    assert!(!world.claims(|said| prove(&secret(3), &hostile, said).is_some()), "nor is one proved against");
}

#[test]
fn the_bytes_are_the_documented_ones() {
    // Made with Python's hmac and `cryptography`, from the description at the head of the file.
    let challenge = challenge(&secret(1), NOW, [7; 16]);
    assert_eq!(challenge.nonce, "000000006b49d20007070707070707070707070707070707");
    let node = "a-1".parse().unwrap();
    let said = Statement { node: &node, tls_key: "00", claim: Claim::Join };
    let proof = prove(&secret(3), &challenge, said).unwrap();
    assert_eq!(proof.mac, "+i3VzkJhTUjtOAnSebZ2MhbTS7uiXnjIiFjsUjOE3uo=");
}
