use super::*;

fn now() -> Wall {
    Wall::from_secs(1_795_000_000)
}

fn authority(seed: u8) -> Authority {
    Authority::make(now(), [seed; 16]).unwrap().0
}

fn node_role() -> Role {
    Role::Node { name: "fra-1".parse().unwrap(), pdc: "fra".parse().unwrap() }
}

#[test]
fn a_node_certificate_says_who_it_is_and_with_which_key() {
    let request = new_request(&"fra-1".parse().unwrap()).unwrap();
    let read = Request::read(&request.csr).unwrap();
    let hash = read.key_hash().to_owned();
    let pem = authority(1).node(read, &"fra-1".parse().unwrap(), &"fra".parse().unwrap(), now(), [2; 16]).unwrap();
    let identity = identity_of_pem(&pem).unwrap();
    assert_eq!(identity, Identity { role: node_role(), key: hash, ends: now() + NODE_LIFE });
    let (from, until) = validity_of_pem(&pem).unwrap();
    assert!(from < now() && until == now() + NODE_LIFE);
}

#[test]
fn the_names_in_a_request_are_ignored() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("vxmesh://admin/eve".try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    let read = Request::read(&csr).unwrap();
    let pem = authority(1).node(read, &"fra-1".parse().unwrap(), &"fra".parse().unwrap(), now(), [2; 16]).unwrap();
    assert_eq!(identity_of_pem(&pem).unwrap().role, node_role());
    let der = der_of_pem(&pem).unwrap();
    let certificate = parse(&der).unwrap();
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
}

#[test]
fn a_request_signed_by_another_key_is_refused() {
    let name = "fra-1".parse().unwrap();
    let request = new_request(&name).unwrap();
    let (_, block) = x509_parser::pem::parse_x509_pem(request.csr.as_bytes()).unwrap();
    let other = new_request(&name).unwrap();
    let (_, donor) = x509_parser::pem::parse_x509_pem(other.csr.as_bytes()).unwrap();
    // The body of one request under the signature of the other: a stolen public key.
    let body = x509_parser::certification_request::X509CertificationRequest::from_der(&block.contents).unwrap().1;
    let spki = body.certification_request_info.subject_pki.raw;
    let donor_body = x509_parser::certification_request::X509CertificationRequest::from_der(&donor.contents).unwrap().1;
    let donor_spki = donor_body.certification_request_info.subject_pki.raw;
    let at = donor.contents.windows(donor_spki.len()).position(|w| w == donor_spki).unwrap();
    let mut forged = donor.contents.clone();
    forged[at..at + spki.len()].copy_from_slice(spki);
    let forged = pem_of("CERTIFICATE REQUEST", &forged);
    assert!(matches!(Request::read(&forged), Err(CertError::Request(_))));
    assert!(matches!(Request::read("hello"), Err(CertError::Request(_))));
}

fn pem_of(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[test]
fn each_kind_has_its_own_use_and_names() {
    let ca = authority(1);
    let admin = ca.person(&Role::Admin("root".parse().unwrap()), now(), [3; 16]).unwrap();
    assert_eq!(identity_of_pem(&admin.certificate).unwrap().role.title(), "admin/root");
    let tenant = ca.person(&Role::Tenant("acme".parse().unwrap()), now(), [4; 16]).unwrap();
    assert_eq!(identity_of_pem(&tenant.certificate).unwrap().role.title(), "tenant/acme");
    let server = ca.server(now(), [5; 16]).unwrap();
    assert_eq!(identity_of_pem(&server.certificate), Err(CertError::Role), "a server is no client");
    let der = der_of_pem(&server.certificate).unwrap();
    let certificate = parse(&der).unwrap();
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    assert_eq!(identity_of_pem(ca.certificate()), Err(CertError::Role), "nor is the authority");
}

#[test]
fn a_certificate_with_two_roles_is_nobody() {
    let ca = authority(1);
    let make = |names: &[&str]| {
        let mut params = leaf(&Purpose::Client(&node_role()), now(), NODE_LIFE, [6; 16]).unwrap();
        params.subject_alt_names = names.iter().map(|n| SanType::URI((*n).try_into().unwrap())).collect();
        let key = KeyPair::generate().unwrap();
        identity_of_pem(&params.signed_by(&key, &ca.issuer).unwrap().pem())
    };
    for names in [
        &["vxmesh://node/a", "vxmesh://pdc/p", "vxmesh://admin/a"][..],
        &["vxmesh://node/a"],
        &["vxmesh://pdc/p"],
        &["vxmesh://node/a", "vxmesh://pdc/p", "vxmesh://pdc/q"],
        &["vxmesh://admin/a", "vxmesh://pdc/p"],
        &["spiffe://admin/a"],
        &["vxmesh://root/a"],
        &[],
    ] {
        assert_eq!(make(names), Err(CertError::Role), "{names:?}");
    }
    assert!(matches!(make(&["vxmesh://admin/../etc"]), Err(CertError::Name(_))));
}

#[test]
fn the_pin_is_the_hash_of_the_authoritys_key() {
    let (ca, issued) = Authority::make(now(), [9; 16]).unwrap();
    assert_eq!(ca.pin(), spki_hash(&der_of_pem(&issued.certificate).unwrap()).unwrap());
    let again = Authority::load(&issued.certificate, &issued.key).unwrap();
    assert_eq!(again.pin(), ca.pin());
    let (_, other) = Authority::make(now(), [9; 16]).unwrap();
    assert!(matches!(Authority::load(&issued.certificate, &other.key), Err(CertError::Library(_))));
}

#[test]
fn a_renewal_request_keeps_the_key() {
    let name = "fra-1".parse().unwrap();
    let first = new_request(&name).unwrap();
    let again = renew_request(&name, &first.key).unwrap();
    assert_eq!(Request::read(&first.csr).unwrap().key_hash(), Request::read(&again).unwrap().key_hash());
}

#[test]
fn certificates_are_renewed_at_two_thirds_of_their_life_however_short() {
    let now = Wall::from_secs(1_000_000);
    for life in [6, 600, 3600, 30 * 86_400] {
        let (ca, _) = Authority::make(now, [1; 16]).unwrap();
        let lives = Lives { node: Duration::from_secs(life), ..Lives::default() };
        let request = Request::read(&new_request(&"a-1".parse().unwrap()).unwrap().csr).unwrap();
        let ca = ca.with_lives(lives);
        let made = ca.node(request, &"a-1".parse().unwrap(), &"a".parse().unwrap(), now, [2; 16]).unwrap();
        let due = renewal(validity_of_pem(&made).unwrap());
        assert_eq!(due.as_secs(), now.as_secs() + life / 3 * 2, "of {life} s");
    }
    let at = Wall::from_secs;
    assert!(renewal((at(4000), at(1000))) <= at(4000), "an impossible certificate is renewed at once");
}
