use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A certificate authority of a test.
pub(crate) struct Ca {
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn pin(&self) -> [u8; 32] {
        spki_hash(&self.der).unwrap()
    }

    /// A server certificate as meshmgr shows it, unless `change` spoils it.
    pub(crate) fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let key = key();
        let mut params = CertificateParams::new(vec![MANAGEMENT_NAME.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let chain = vec![leaf, self.der.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let versions = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
        Arc::new(versions.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

/// What a client and a server make of each other: the client's outcome, and the bytes that reached the server.
async fn meet(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> (std::io::Result<()>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        if let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(server).accept(tcp).await {
            let _ = stream.read_to_end(&mut heard).await;
        }
        heard
    });
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let talk = async {
        let mut stream = tokio_rustls::TlsConnector::from(client).connect(management_name(), tcp).await?;
        stream.write_all(b"the secret").await?;
        stream.shutdown().await
    };
    let outcome = talk.await;
    (outcome, serving.await.unwrap())
}

#[tokio::test]
async fn a_pinned_server_is_believed() {
    let ca = Ca::new();
    let (outcome, heard) = meet(pinned_client_config(ca.pin()).unwrap(), ca.server(|_| ())).await;
    outcome.unwrap();
    assert_eq!(heard, b"the secret");
}

#[tokio::test]
async fn a_foreign_ca_is_refused_before_anything_is_said() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let (outcome, heard) = meet(pinned_client_config(ours.pin()).unwrap(), theirs.server(|_| ())).await;
    let error = outcome.unwrap_err();
    assert!(format!("{error:?}").contains("PinMismatch"), "{error:?}");
    assert!(heard.is_empty());
}

#[tokio::test]
async fn showing_the_pinned_ca_beside_a_leaf_of_another_is_not_enough() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let key = key();
    let params = CertificateParams::new(vec![MANAGEMENT_NAME.to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &theirs.issuer).unwrap().der().clone();
    let server = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(vec![leaf, ours.der.clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let (outcome, heard) = meet(pinned_client_config(ours.pin()).unwrap(), Arc::new(server)).await;
    assert!(outcome.is_err());
    assert!(heard.is_empty());
}

#[tokio::test]
async fn a_leaf_that_is_not_the_management_server_is_refused() {
    let ca = Ca::new();
    type Spoil = (&'static str, fn(&mut CertificateParams));
    let spoils: [Spoil; 4] = [
        ("a node's certificate", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ("another name", |p| {
            p.subject_alt_names = CertificateParams::new(vec!["x.example".into()]).unwrap().subject_alt_names
        }),
        ("expired", |p| p.not_after = rcgen::date_time_ymd(2001, 1, 1)),
        ("not yet valid", |p| p.not_before = rcgen::date_time_ymd(2999, 1, 1)),
    ];
    for (what, spoil) in spoils {
        for client in [pinned_client_config(ca.pin()).unwrap(), client_config(&ca.pem, None).unwrap()] {
            let (outcome, heard) = meet(client, ca.server(spoil)).await;
            assert!(outcome.is_err(), "{what}");
            assert!(heard.is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn the_key_exchange_is_post_quantum() {
    let ca = Ca::new();
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = tokio_rustls::TlsAcceptor::from(ca.server(|_| ()));
    let accepted = tokio::spawn(async move { server.accept(far).await.unwrap() });
    let client = tokio_rustls::TlsConnector::from(client_config(&ca.pem, None).unwrap());
    let stream = client.connect(management_name(), near).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    drop(accepted.await);
}

#[test]
fn texts_that_are_no_certificates_are_refused() {
    assert!(matches!(client_config("", None), Err(TlsError::NoCertificate)));
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    assert!(matches!(client_config(broken, None), Err(TlsError::Pem(_))));
    let (ca, other) = (Ca::new(), key());
    assert!(client_config(&ca.pem, Some((&ca.pem, &other.serialize_pem()))).is_err(), "key of another certificate");
}
