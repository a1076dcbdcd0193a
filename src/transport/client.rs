//! An HTTP client for the two servers of this project: `meshmgr` over TLS at any of several addresses, `meshd` over its Unix
//! socket. One connection a call; every failure is a [`Problem`] that names the address.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::answers::{self, Answers, Sent};
use super::tls::{PinMismatch, management_name};
use crate::api::MANAGEMENT_NAME;
use crate::api::heard::{self, Heard, Names};
use crate::api::problem::{Exit, Problem};
use crate::api::stream::Answer;

/// Longest wait for a TCP connection and its TLS handshake, per address.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection that is being closed may take to say why.
const DIED: Duration = Duration::from_millis(250);
/// Longest wait for the head of an answer.
const HEAD: Duration = Duration::from_secs(30);
/// Longest wait for the next piece of a body that is not a stream.
const PIECE: Duration = Duration::from_secs(15);
/// Most bytes of one answer, and of one line of a stream.
const MOST: usize = 64 << 20;

/// Where to ask. Share it by reference.
#[derive(Debug)]
pub struct Client {
    target: Target,
    names: Mutex<Names>,
    unknown: Mutex<Vec<String>>,
}

#[derive(Debug)]
enum Target {
    Https { addresses: Vec<String>, tls: Arc<ClientConfig>, last_good: AtomicUsize },
    Unix { path: PathBuf },
}

/// A stream that can carry HTTP.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// One connected server.
struct Connection {
    sender: http1::SendRequest<Sent>,
    address: String,
    /// Drives the connection; ends with it.
    driver: Driver,
}

#[derive(Debug)]
struct Driver(tokio::task::JoinHandle<Option<hyper::Error>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Why a request failed. Where the connection ended before it could be sent, what that died of says more: a server that does not accept a
    /// certificate says so when the handshake is over for this end (RFC 8446 section 4.4.2.4).
    async fn failed(mut self, error: &hyper::Error) -> Problem {
        let died = if error.is_canceled() { timeout(DIED, &mut self.driver.0).await.ok() } else { None };
        let died = died.and_then(Result::ok).flatten();
        unreachable_at(&self.address, &broken(died.as_ref().unwrap_or(error)))
    }
}

impl Client {
    /// Over TLS. `addresses` are `host:port`, tried in order starting with the one that worked last.
    pub fn https(addresses: Vec<String>, tls: Arc<ClientConfig>) -> Self {
        Self::of(Target::Https { addresses, tls, last_good: AtomicUsize::new(0) })
    }

    fn of(target: Target) -> Self {
        Self { target, names: Mutex::default(), unknown: Mutex::default() }
    }

    /// Over a Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::of(Target::Unix { path: path.into() })
    }

    /// `host:port` of the servers; none over a Unix socket.
    pub fn addresses(&self) -> &[String] {
        match &self.target {
            Target::Https { addresses, .. } => addresses,
            Target::Unix { .. } => &[],
        }
    }

    /// Connects and says nothing: the server is there and has proved who it is. Returns its address.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn probe(&self) -> Result<String, Problem> {
        self.connect().await.map(|connection| connection.address)
    }

    /// Asks and reads the whole answer.
    ///
    /// # Errors
    /// The server's own [`Problem`]; M0101 where no address answers, M0102 where one is too slow, M0103 where the answer is not
    /// what this version understands, M0104 where the server cannot be believed, M0211 where its CA is not the pinned one.
    pub async fn call<B: Serialize + Sync, R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<R, Problem> {
        let Heard { said, unknown } = self.ask(method, path, body).await?;
        let kind = path.split('?').next().unwrap_or(path);
        let new = self.names.lock().unwrap_or_else(PoisonError::into_inner).new_of("", kind, &unknown);
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
        Ok(said)
    }

    /// What answers to [`Client::call`] said and this version does not know, each name once in the life of this client.
    pub fn unknown(&self) -> Vec<String> {
        std::mem::take(&mut self.unknown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As [`Client::call`], with the names of what this version does not know.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn ask<B: Serialize + Sync, R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Heard<R>, Problem> {
        let (response, connection) = self.send(method, path, body).await?;
        let address = &connection.address;
        let status = response.status();
        let bytes = whole(response.into_body(), address).await?;
        if !status.is_success() {
            return Err(refusal(&bytes, status, address));
        }
        heard::read(&bytes).map_err(|e| not_understood(address, &e.to_string()))
    }

    /// Asks for a stream of JSON lines.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn lines(&self, path: &str) -> Result<Lines, Problem> {
        let (response, connection) = self.send::<()>(Method::GET, path, None).await?;
        Self::read_on(response, connection, None).await
    }

    /// As [`Client::lines`], where the other end hears [`Lines::answer`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn conversation(&self, path: &str) -> Result<Lines, Problem> {
        let (answers, sent) = answers::answers();
        let (response, connection) = self.deliver(Method::GET, path, sent).await?;
        Self::read_on(response, connection, Some(answers)).await
    }

    async fn read_on(
        response: Response<Incoming>,
        connection: Connection,
        answers: Option<Answers>,
    ) -> Result<Lines, Problem> {
        let status = response.status();
        let body = response.into_body();
        if !status.is_success() {
            let bytes = whole(body, &connection.address).await?;
            return Err(refusal(&bytes, status, &connection.address));
        }
        Ok(Lines { body, buffer: Vec::new(), searched: 0, ended: false, answers, connection })
    }

    async fn send<B: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<(Response<Incoming>, Connection), Problem> {
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|e| not_understood("this program", &e.to_string()))?,
            None => Vec::new(),
        };
        self.deliver(method, path, Sent::Whole(Full::new(Bytes::from(bytes)))).await
    }

    async fn deliver(
        &self,
        method: Method,
        path: &str,
        sent: Sent,
    ) -> Result<(Response<Incoming>, Connection), Problem> {
        let mut connection = self.connect().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, MANAGEMENT_NAME)
            .header(CONTENT_TYPE, "application/json");
        if matches!(sent, Sent::Answers(_)) {
            // Without it hyper sends no body with GET.
            request = request.header(TRANSFER_ENCODING, "chunked");
        }
        let request = request.body(sent).map_err(|e| not_understood("this program", &e.to_string()))?;
        let answer = timeout(HEAD, connection.sender.send_request(request)).await;
        match answer.map_err(|_| too_slow(&connection.address, HEAD))? {
            Ok(response) => Ok((response, connection)),
            Err(error) => Err(connection.failed(&error).await),
        }
    }

    async fn connect(&self) -> Result<Connection, Problem> {
        match &self.target {
            Target::Unix { path } => {
                let address = path.display().to_string();
                let stream = UnixStream::connect(path).await.map_err(|e| no_daemon(&address, &e))?;
                http(stream, address).await
            }
            Target::Https { addresses, tls, last_good } => {
                let first = last_good.load(Ordering::Relaxed);
                let mut problem = Problem::new("M0101", Exit::Unreachable, "no management address is known")
                    .help("write management = [\"host:port\"] into meshd.toml");
                for index in (0..addresses.len()).map(|n| (first + n) % addresses.len()) {
                    let Some(address) = addresses.get(index) else { continue };
                    match over_tls(address, tls).await {
                        Ok(connection) => {
                            last_good.store(index, Ordering::Relaxed);
                            return Ok(connection);
                        }
                        Err(new) => problem = worse(problem, new),
                    }
                }
                Err(problem)
            }
        }
    }
}

/// Of the failures of several addresses the one to show: a server that is not believed matters more than one that is away.
fn worse(old: Problem, new: Problem) -> Problem {
    if old.exit == Exit::Denied { old } else { new }
}

async fn over_tls(address: &str, tls: &Arc<ClientConfig>) -> Result<Connection, Problem> {
    let attempt = async {
        let tcp = TcpStream::connect(address).await.map_err(|e| unreachable_at(address, &e.to_string()))?;
        // Requests are small and wait for their answer; a failure here costs only latency.
        let _ = tcp.set_nodelay(true);
        let connector = tokio_rustls::TlsConnector::from(tls.clone());
        connector.connect(management_name(), tcp).await.map_err(|e| not_believed(address, &e))
    };
    let stream = timeout(CONNECT, attempt).await.map_err(|_| too_slow(address, CONNECT))??;
    http(stream, address.to_owned()).await
}

async fn http(stream: impl Wire + 'static, address: String) -> Result<Connection, Problem> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable_at(&address, &broken(&e)))?;
    let driver = Driver(tokio::spawn(async move {
        // What goes wrong here also fails the request or the body, where it is told.
        connection.await.err()
    }));
    Ok(Connection { sender, address, driver })
}

async fn whole(mut body: Incoming, address: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    loop {
        let piece = timeout(PIECE, body.frame()).await.map_err(|_| too_slow(address, PIECE))?;
        let Some(frame) = piece else { return Ok(bytes) };
        let frame = frame.map_err(|e| unreachable_at(address, &broken(&e)))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > MOST {
                return Err(not_understood(address, "the answer has more than 64 MiB"));
            }
            bytes.extend_from_slice(data);
        }
    }
}

/// A stream of JSON lines. Dropping it closes the connection.
#[expect(missing_debug_implementations, reason = "holds a connection and bytes that may be secret")]
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are known to hold no line end.
    searched: usize,
    ended: bool,
    answers: Option<Answers>,
    connection: Connection,
}

impl Lines {
    /// Address that the stream comes from.
    pub fn address(&self) -> &str {
        &self.connection.address
    }

    /// Tells the other end that its lines are read, where it hears that.
    pub fn answer(&self, answer: Answer) {
        if let Some(answers) = &self.answers {
            answers.answer(answer);
        }
    }

    /// The next line; none at the end of the stream. May be dropped while it waits without losing anything.
    ///
    /// # Errors
    /// M0101 where the connection breaks, M0103 where a line is not a `T` or has more than 64 MiB.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Problem> {
        loop {
            if let Some(line) = self.take()? {
                return Ok(Some(line));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for more bytes; false at the end of the stream. A caller that wants to know that the server is alive although a
    /// long line is still on its way uses this with [`Lines::take`]. May be dropped while it waits.
    ///
    /// # Errors
    /// M0101 where the connection breaks, also in the middle of a line.
    pub async fn fill(&mut self) -> Result<bool, Problem> {
        match self.body.frame().await {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.buffer.extend_from_slice(data);
                }
                Ok(true)
            }
            Some(Err(error)) => Err(unreachable_at(self.address(), &broken(&error))),
            None if self.buffer.is_empty() || self.ended => Ok(false),
            None => {
                self.ended = true;
                Err(unreachable_at(self.address(), "the stream ended in the middle of a line"))
            }
        }
    }

    /// A line that has arrived already. Empty lines are skipped.
    ///
    /// # Errors
    /// M0103 where it is not a `T`, or has more than 64 MiB.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Problem> {
        let Some(line) = self.take_line()? else { return Ok(None) };
        let heard = heard::read(&line).map_err(|e| not_understood(self.address(), &e.to_string()))?;
        Ok(Some(heard.said))
    }

    /// The same as the bytes that it is.
    ///
    /// # Errors
    /// M0103 where it has more than 64 MiB.
    pub fn take_line(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Problem> {
        loop {
            let Some(end) = self.buffer.iter().skip(self.searched).position(|b| *b == b'\n') else {
                self.searched = self.buffer.len();
                let long = self.buffer.len() > MOST;
                return if long {
                    Err(not_understood(self.address(), "a line has more than 64 MiB"))
                } else {
                    Ok(None)
                };
            };
            let line: Vec<u8> = self.buffer.drain(..=self.searched + end).collect();
            self.searched = 0;
            if !line.trim_ascii().is_empty() {
                return Ok(Some(Zeroizing::new(line)));
            }
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}

/// The server's own words, if they are a [`Problem`].
fn refusal(bytes: &[u8], status: hyper::StatusCode, address: &str) -> Problem {
    heard::read(bytes)
        .map(|heard| heard.said)
        .unwrap_or_else(|_| not_understood(address, &format!("it answered {status}")))
}

/// hyper's errors hide their cause; the cause is what helps. A server that dies does not say goodbye in TLS, and the library's
/// words for that are about something else.
fn broken(error: &hyper::Error) -> String {
    // A request that is cut off with its connection hides it twice.
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let last = causes.last();
    let io = last.and_then(|cause| cause.downcast_ref::<io::Error>());
    if io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof) {
        return "it closed the connection".to_owned();
    }
    if let Some(why) = io.and_then(by_its_clock) {
        return why;
    }
    last.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn unreachable_at(address: &str, why: &str) -> Problem {
    if why.contains("UnknownCA") {
        let what = format!("{address} does not know this credential: it is of another installation");
        return Problem::new("M0104", Exit::Denied, what)
            .note("nothing was changed")
            .help("take the folder of the installation that answers there: meshctl --credential DIR status");
    }
    let problem = Problem::new("M0101", Exit::Unreachable, format!("{address} does not answer: {why}"));
    let port = address.rsplit_once(':').map(|(_, port)| port);
    let problem = if port.is_some_and(|port| port != PORT) {
        problem.help(format!("a management node listens on TCP {PORT} where nobody has said otherwise"))
    } else {
        problem
    };
    problem.help("check that the address is right, that the server runs there (systemctl status meshmgr), and that no firewall is in between")
}

/// TCP port of a management node that nobody has set otherwise.
const PORT: &str = "7443";

fn no_daemon(address: &str, error: &io::Error) -> Problem {
    let problem = |what: String| Problem::new("M0101", Exit::Unreachable, what);
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum that grows")]
    match error.kind() {
        io::ErrorKind::PermissionDenied => problem(format!("this user may not speak with meshd on {address}"))
            .help("run it as root or as a member of the socket's group"),
        io::ErrorKind::NotFound if still_listens(address) => problem(format!(
            "no meshd answers on {address}: the socket has gone from disk, and the meshd that made it still runs"
        ))
        .help("if its keys are there (ls /etc/vxmesh/keys): systemctl restart meshd; if not, it is what still has them: put them back first"),
        io::ErrorKind::NotFound => problem(format!("no meshd answers on {address}: there is no such socket"))
            .help("on a node: systemctl start meshd (without systemd: meshd run); where it does start and ends again: journalctl -u meshd")
            .help("on a machine that is to be a node: meshctl join; elsewhere a management node can be asked: meshctl --mesh status"),
        _ => problem(format!("no meshd answers on {address}: {error}"))
            .help("look why it has ended: journalctl -u meshd; then: systemctl start meshd"),
    }
}

/// True where a process listens on a socket of that name, whose file is gone: the kernel remembers the name (`/proc/net/unix`).
fn still_listens(address: &str) -> bool {
    std::fs::read_to_string("/proc/net/unix").is_ok_and(|all| all.lines().any(|line| is_of(line, address)))
}

/// True for a line of `/proc/net/unix` that is of a listening socket (`__SO_ACCEPTCON` in its flags, the fourth word) with that name.
fn is_of(line: &str, address: &str) -> bool {
    let flags = line.split_whitespace().nth(3).and_then(|word| u32::from_str_radix(word, 16).ok());
    flags.is_some_and(|flags| flags & (1 << 16) != 0) && line.split_whitespace().nth(7) == Some(address)
}

fn too_slow(address: &str, limit: Duration) -> Problem {
    let problem =
        Problem::new("M0102", Exit::Timeout, format!("{address} did not answer within {} s", limit.as_secs()));
    // What a socket of this machine says is told by who asks there.
    if address.starts_with('/') {
        return problem;
    }
    problem
        .help("look whether it is there, and how busy: systemctl status meshmgr on it; a firewall that drops says nothing either")
}

fn not_understood(address: &str, why: &str) -> Problem {
    Problem::new("M0103", Exit::Failed, format!("the answer of {address} is not understood: {why}"))
        .help("check that both ends run the same version, and that the address is the one of meshmgr")
}

/// A TLS handshake that failed: because of what the server showed, or for any lesser reason.
fn not_believed(address: &str, error: &io::Error) -> Problem {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(why)) = tls else {
        return unreachable_at(address, &format!("TLS handshake: {error}"));
    };
    let pin = matches!(why, rustls::CertificateError::Other(rustls::OtherError(e)) if e.is::<PinMismatch>());
    if pin {
        return Problem::new("M0211", Exit::Denied, format!("{address} is not the server that this token is for"))
            .note(PinMismatch.to_string())
            .note("the token's secret was not sent; nothing was changed")
            .help("somebody may stand in between, or the token is of another installation: make a new one with meshctl token create");
    }
    let problem = |why: String| {
        let what = format!("{address} cannot prove that it is a management server: {why}");
        Problem::new("M0104", Exit::Denied, what).note("nothing was sent to it")
    };
    match times(why) {
        None => problem(why.to_string()).help("check that the address is the one of meshmgr; the folder of that installation: meshctl --credential DIR status"),
        Some(times) => problem(format!("{times}; the clock of this machine says {}", crate::clock::wall()))
            .help("set the clock of this machine if it is wrong: timedatectl; else look at that of the server, and restart it"),
    }
}

/// What a certificate says of its time, where that is what is wrong with it.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum that grows")]
fn times(why: &rustls::CertificateError) -> Option<String> {
    let at = |time: &rustls::pki_types::UnixTime| crate::types::Wall::from_secs(time.as_secs());
    match why {
        rustls::CertificateError::NotValidYetContext { not_before, .. } => {
            Some(format!("its certificate begins at {}", at(not_before)))
        }
        rustls::CertificateError::ExpiredContext { not_after, .. } => {
            Some(format!("its certificate ended at {}", at(not_after)))
        }
        rustls::CertificateError::NotValidYet => Some("its certificate begins later".to_owned()),
        rustls::CertificateError::Expired => Some("its certificate has ended".to_owned()),
        _ => None,
    }
}

/// The server's word that the certificate shown to it is not valid now: by its clock, which may be right or not.
fn by_its_clock(error: &io::Error) -> Option<String> {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::AlertReceived(rustls::AlertDescription::CertificateExpired)) = tls else { return None };
    let now = crate::clock::wall();
    Some(format!(
        "by its clock the certificate that it was shown is not valid now; the clock of this machine says {now}: compare them (timedatectl)"
    ))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
