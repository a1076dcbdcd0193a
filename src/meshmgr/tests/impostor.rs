//! A man in the middle who shows a certificate that is valid somewhere, and writes down all that he is told.

use std::sync::Mutex;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::transport::tls;

/// What he was told, in clear.
#[derive(Default, Clone)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn holds(&self, text: &str) -> bool {
        let told = self.0.lock().unwrap();
        told.windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

fn shows(chain: Vec<CertificateDer<'static>>, key: &str) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, tls::private_key(key).unwrap());
    Arc::new(config.unwrap())
}

/// Stands before `world`: takes connections, writes down what comes, hands it on and back.
async fn stand_before(world: &World, config: Arc<ServerConfig>) -> (String, Told) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, told) = (listener.local_addr().unwrap().to_string(), Told::default());
    let (behind, pinned) = (world.address.clone(), pinned_client_config(world.keys.authority.pin()).unwrap());
    let writes = told.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config));
            let (behind, pinned, writes) = (behind.clone(), Arc::clone(&pinned), writes.clone());
            tokio::spawn(async move {
                let Ok(victim) = acceptor.accept(tcp).await else { return };
                let tcp = tokio::net::TcpStream::connect(behind).await.unwrap();
                let connector = tokio_rustls::TlsConnector::from(pinned);
                let server = connector.connect(tls::management_name(), tcp).await.unwrap();
                let ((mut from, mut back), (mut answers, mut on)) =
                    (tokio::io::split(victim), tokio::io::split(server));
                tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = from.read(&mut buffer).await {
                    writes.0.lock().unwrap().extend_from_slice(&buffer[..length]);
                    if on.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, told)
}

/// What `meshctl join` does with a token whose address is `address`.
async fn join(address: &str, pin: [u8; 32], request: &EnrollRequest) -> Result<EnrollAnswer, Problem> {
    let client = Client::https(vec![address.to_owned()], pinned_client_config(pin).unwrap());
    client.probe().await?;
    client.call(Method::POST, "/v1/enroll", Some(request)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_man_in_the_middle_with_a_valid_certificate_is_told_nothing() {
    let world = World::new().await;
    let insider = world.join("a-1", 1).await;
    let now = crate::clock::wall();
    let (his, _) = Authority::make(now, [7; 16]).unwrap();
    let server = his.server(now, [7; 16]).unwrap();
    let ours = tls::certificates(world.keys.ca()).unwrap();
    let with = |leaf: &str, cas: &[CertificateDer<'static>]| [tls::certificates(leaf).unwrap(), cas.to_vec()].concat();
    let his_ca = tls::certificates(his.certificate()).unwrap();
    let admin = world.keys.authority.person(&Role::Admin("root".parse().unwrap()), now, [8; 16]).unwrap();
    let old = Wall::from_secs(now.as_secs() - 200 * 86_400);
    let expired = world.keys.authority.server(old, [9; 16]).unwrap();
    let impostors = [
        ("a server of another installation", with(&server.certificate, &his_ca), server.key.as_str()),
        ("the same, with our CA beside it", with(&server.certificate, &ours), server.key.as_str()),
        ("both CAs", with(&server.certificate, &[his_ca.clone(), ours.clone()].concat()), server.key.as_str()),
        ("a node of ours", with(&insider.answer.certificate, &ours), insider.key.as_str()),
        ("an admin of ours", with(&admin.certificate, &ours), admin.key.as_str()),
        ("a server of ours whose time is over", with(&expired.certificate, &ours), expired.key.as_str()),
    ];
    let text = world.token(1).await;
    let request = world.proved(&request(&text, "a-2", 2).0).await;
    for (who, chain, key) in impostors {
        let (address, told) = stand_before(&world, shows(chain, key)).await;
        let refused = join(&address, world.keys.authority.pin(), &request).await.err().unwrap();
        assert!(
            ["M0211", "M0104"].contains(&refused.code.as_str()) && refused.exit == Exit::Denied,
            "{who}: {refused}"
        );
        let unsaid = refused.notes.iter().any(|note| note.contains("not sent") || note.contains("nothing was sent"));
        assert!(unsaid, "{who}: {refused}");
        assert!(told.is_empty(), "{who} was told something");
    }
    // He would write it down: whoever believes him, because the token is his own, tells him the secret.
    let (address, told) = stand_before(&world, shows(with(&server.certificate, &his_ca), &server.key)).await;
    join(&address, his.pin(), &request).await.unwrap();
    assert!(told.holds(&request.secret) && told.holds("POST /v1/enroll"), "the recorder works");
    // And the token was spent by that alone.
    assert_eq!(world.log().await.iter().filter(|(what, _)| what == "enroll").count(), 2);
}
