//! `meshctl join`: from a token to a running node, one line a step. Each step can be repeated: what was made before it failed
//! is used again, and nothing is kept of a refused token but the keys.

mod beside;
mod leave;
mod preflight;
mod sides;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use hyper::Method;
use zeroize::Zeroizing;

pub use self::leave::LeaveArgs;
pub(super) use self::leave::leave;
use super::out::{self, Done, Format};
use super::remote::{Access, with_port};
use crate::api::enroll::EnrollAnswer;
use crate::api::problem::{Exit, Problem, printable};
use crate::api::proof::Challenge;
use crate::clock::random;
use crate::config::Source;
use crate::config::meshd::{Attach, Config};
use crate::linux::{file, host, terminal};
use crate::mgmt::certs;
use crate::node::enroll::{
    Authority, CERTIFICATE, EnrollError, Folder, Keys, Member, TLS_KEY, Token, WIREGUARD_KEY, Waiting, Wish, wrong_pdc,
};
use crate::transport::client::Client;
use crate::transport::tls;
use crate::tunnel;
use crate::types::{NodeId, SecretKey, UdpPort};

/// Where `meshd.toml` is where nobody says otherwise; only then the unit of the system is started.
pub const CONFIG: &str = "/etc/vxmesh/meshd.toml";
/// How many steps there are.
const STEPS: usize = 7;

/// Join this machine to a mesh.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// Management node (`HOST[:PORT]`; the token names it too), and the token. A token here can be seen in the process list:
    /// better let it be asked for.
    #[arg(value_name = "MGMT|TOKEN", num_args = 0..=2)]
    words: Vec<String>,
    /// File that holds the token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Name of this node; default: the first label of the host's name.
    #[arg(long)]
    name: Option<NodeId>,
    /// Interface or address used inside the PDC.
    #[arg(long, value_name = "IF|ADDR")]
    admin: Option<Attach>,
    /// Interface or address used between PDCs.
    #[arg(long, value_name = "IF|ADDR")]
    external: Option<Attach>,
    /// UDP port of lane 0.
    #[arg(long, value_name = "UDP PORT")]
    listen: Option<UdpPort>,
    /// Written if it is not there; if it is, it counts.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Neither enable nor start meshd.service.
    #[arg(long)]
    no_start: bool,
    /// Stop after this step.
    #[arg(long, value_enum)]
    phase: Option<Phase>,
}

/// Steps that can be tried alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Phase {
    /// Only look whether this machine could run meshd; needs no token.
    Preflight,
}

/// What the file says, or will say.
struct Setup {
    text: String,
    config: Config,
    exists: bool,
}

/// Joins.
///
/// # Errors
/// A [`Problem`] that says which step failed and what was left behind.
pub(super) async fn join(access: &Access, args: JoinArgs) -> Done {
    alone(&args)?;
    let token = if args.phase.is_none() { Some(read_token(access, &args)?) } else { None };
    let setup = setup(&args, token.as_ref())?;
    not_joined(&setup.config)?;
    beside::refuse(&setup.config.paths.keys)?;
    let (facts, found) = preflight::run(&setup.config)?;
    step(1, "preflight", &found);
    let Some(token) = token else { return Ok(()) };
    let client =
        Client::https(token.addresses().to_vec(), tls::pinned_client_config(token.pin()).map_err(|e| library(&e))?);
    let address = soon(access, client.probe()).await?;
    step(2, "pin", &format!("{address}, CA pin matches the token"));
    let name = name(&args, &setup.config)?;
    let (keys, old) = keys(&setup.config.paths.keys, &name)?;
    step(3, "keys", if old { "those of an earlier attempt, never sent" } else { "made on this host, never sent" });
    let admin = facts.admin.filter(|_| setup.config.underlay.admin.is_none());
    let wish = Wish { name, pdc: setup.config.node.pdc.clone(), facts };
    let challenge: Challenge = soon(access, client.call::<(), _>(Method::GET, "/v1/challenge", None)).await?;
    let (request, waiting) = token.request(wish, keys, &challenge).map_err(|e| refused(&e))?;
    let answer: EnrollAnswer = soon(access, client.call(Method::POST, "/v1/enroll", Some(&request)))
        .await
        .map_err(|problem| with_place(kept(problem, &setup.config.paths.keys), &args.config, &setup))?;
    for name in client.unknown() {
        say(&format!("note: the management node says what this version does not know: {name}"));
    }
    step(4, "request", &format!("node {}, PDC {} (from the token)", printable(answer.name.as_str()), answer.pdc));
    let member = accept(waiting, answer, &args.config, &setup)?;
    step(5, "certificate", &format!("valid until {}, renews by itself", member.identity.ends));
    write(&member, &setup, &args)?;
    let slice = &member.slice;
    let rows = slice.rows.len();
    step(6, "table", &format!("revision {}, {} networks, {rows} rows", slice.version, slice.networks.len()));
    sides::note(admin, slice, &args.config).iter().for_each(|note| say(note));
    step(7, "service", &service(&args)?);
    say(&format!("joined as {} in PDC {}. Next: meshctl status", member.name, member.pdc));
    match access.output {
        Format::Table => Ok(()),
        format @ (Format::Json | Format::Yaml) => {
            out::value(format, &serde_json::json!({ "node": member.name, "pdc": member.pdc, "table": slice.version }))
        }
    }
}

/// Waits as long as was said.
async fn soon<T>(access: &Access, asked: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let limit = access.timeout;
    tokio::time::timeout(limit.0, asked).await.unwrap_or_else(|_| {
        let what = format!("no answer of the management node within {limit}");
        Err(Problem::new("M0102", Exit::Timeout, what)
            .note("joining again goes on from here, with the same token")
            .help("the same with --timeout 2m waits longer; without --timeout it is 30s"))
    })
}

/// Refuses what a look at the machine has no use for.
fn alone(args: &JoinArgs) -> Result<(), Problem> {
    let given = [
        (!args.words.is_empty(), "a management node or token"),
        (args.token_file.is_some(), "--token-file"),
        (args.name.is_some(), "--name"),
        (args.no_start, "--no-start"),
    ];
    let useless = given.iter().find(|(given, _)| *given && args.phase.is_some());
    useless.map_or(Ok(()), |(_, what)| {
        let what = format!("--phase preflight looks at this machine alone, and has no use for {what}");
        Err(Problem::new("M0136", Exit::Usage, what).note("nothing was changed").help("meshctl join --phase preflight"))
    })
}

/// One line on standard error.
fn say(text: &str) {
    // Nobody listens: the work goes on.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn step(number: usize, name: &str, found: &str) {
    say(&format!(" [{number}/{STEPS}] {name:<13} ok    {found}"));
}

fn library(error: &tls::TlsError) -> Problem {
    Problem::new("M0221", Exit::Failed, error.to_string()).note("nothing was changed")
}

/// The token: from a file, the environment, an argument, or a person.
fn read_token(access: &Access, args: &JoinArgs) -> Result<Token, Problem> {
    let env = std::env::var("VXMESH_TOKEN").ok();
    one_token(args, env.as_deref())?;
    one_address(args)?;
    let given = args.words.iter().find(|word| is_token(word));
    let address = args.words.iter().find(|word| !is_token(word));
    let text = if let Some(path) = &args.token_file {
        let bytes = Zeroizing::new(file::read(path).map_err(|e| unreadable(&e))?);
        Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
    } else if let Some(token) = given {
        say(
            "warning: other users see a token given as an argument in the process list; better: --token-file, or let it be asked for",
        );
        Zeroizing::new(token.clone())
    } else if let Some(token) = env {
        Zeroizing::new(token)
    } else {
        // Nobody is asked for a secret that could not be used.
        preflight::rights().map_err(|problem| problem.note("nothing was changed and no token was asked for"))?;
        if args.config.exists() {
            not_joined(&setup(args, None)?.config)?;
        }
        terminal::read_hidden("Token (hidden): ").map_err(|e| unreadable(&e))?
    };
    let mut token = Token::parse(&text).map_err(|error| in_pieces(&text, error.problem()))?;
    for address in access.management.iter().rev() {
        token.prefer(with_port(address));
    }
    if let Some(address) = address {
        token.prefer(with_port(address));
    }
    Ok(token)
}

/// Refuses two tokens: which of them is meant cannot be known, and one would be spent.
fn one_token(args: &JoinArgs, env: Option<&str>) -> Result<(), Problem> {
    let words = args.words.iter().filter(|word| is_token(word));
    // The same one twice is one.
    let other = |text: &&str| !args.words.iter().any(|word| word.trim() == text.trim());
    let given = words.count() + usize::from(args.token_file.is_some());
    if given + usize::from(given > 0 && env.as_ref().is_some_and(other)) < 2 {
        return Ok(());
    }
    Err(Problem::new("M0135", Exit::Usage, "two tokens are given, and one is used")
        .note("nothing was changed")
        .help("give one: at the prompt, with --token-file FILE, or in VXMESH_TOKEN"))
}

/// Refuses a second word that is no token: it is a piece of one, or a second management node.
fn one_address(args: &JoinArgs) -> Result<(), Problem> {
    let others: Vec<&String> = args.words.iter().filter(|word| !is_token(word)).collect();
    let piece = others.iter().any(|word| word.len() > 63 && !word.contains(['.', ':']));
    if piece {
        return Err(Problem::new(
            "M0243",
            Exit::Invalid,
            "the join token is in pieces: it was cut by a space or a line break",
        )
        .note("nothing was sent and nothing was changed")
        .help("paste it as one line, at the prompt that asks for it"));
    }
    match others.as_slice() {
        [_, second, ..] => {
            let what = format!("'{}' is neither a token nor another management node to ask", printable(second));
            Err(Problem::new("M0242", Exit::Invalid, what)
                .note("a token starts with 'vxm1.'; nothing was changed")
                .help("several management nodes: --management HOST,HOST"))
        }
        _ => Ok(()),
    }
}

/// What is wrong with a text that is no token, where its spaces tell that.
fn in_pieces(text: &str, problem: Problem) -> Problem {
    if text.trim().is_empty() {
        return Problem { what: "the token is empty".to_owned(), ..problem };
    }
    if text.trim().contains(char::is_whitespace) {
        return problem.note("there are spaces or line breaks in it: it was copied in pieces");
    }
    problem
}

fn is_token(word: &str) -> bool {
    word.trim_start().starts_with(crate::api::enroll::TOKEN_PREFIX)
}

fn unreadable(error: &std::io::Error) -> Problem {
    Problem::new("M0201", Exit::Usage, format!("no token: {error}"))
        .note("nothing was changed")
        .help("meshctl token create --pdc PDC on the management side prints one")
        .help("give it at the prompt, with --token-file FILE, or in VXMESH_TOKEN")
}

/// The file that is there, or else the one that the flags stand for.
fn setup(args: &JoinArgs, token: Option<&Token>) -> Result<Setup, Problem> {
    let file = args.config.display().to_string();
    if args.config.exists() {
        let failed = |why: String| Problem::new("M0601", Exit::Failed, why).note("nothing was changed");
        let bytes = file::read(&args.config).map_err(|e| failed(e.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|e| {
            Problem::new("M0305", Exit::Invalid, format!("{file} is not UTF-8 text: {e}")).note("nothing was changed")
        })?;
        let config = Config::parse(&file, &text)?;
        if args.admin.is_some() || args.external.is_some() || args.listen.is_some() {
            // Of a machine that has joined the file is not what is in the way.
            not_joined(&config)?;
            return Err(Problem::new(
                "M0217",
                Exit::Usage,
                format!("{file} exists, so --admin, --external and --listen do not count"),
            )
            .note("nothing was changed")
            .help(format!(
                "write them into [underlay] of {file} (admin, external, listen) and leave the flags out; where nothing else stands in it, remove {file}, and the flags count"
            )));
        }
        return Ok(Setup { text, config, exists: true });
    }
    let none: [String; 1] = ["localhost:7443".into()];
    let mut text = config_text(args, token.map_or(&none, |token| token.addresses()));
    if args.config == Path::new(CONFIG) && beside::management(Path::new(beside::KEYS)) {
        text.push_str(beside::PATHS);
    }
    let config = Config::parse(&file, &text)?;
    Ok(Setup { text, config, exists: false })
}

/// A `meshd.toml` with what is known and nothing else.
fn config_text(args: &JoinArgs, addresses: &[String]) -> String {
    // A JSON text is a TOML basic string: both escape the same way.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let addresses: Vec<String> = addresses.iter().map(|a| quoted(a)).collect();
    let mut text = format!(
        "# Written by meshctl join. Every other key has a default: see meshd.toml in the examples.\nmanagement = [{}]\n",
        addresses.join(", ")
    );
    if args.admin.is_some() || args.external.is_some() || args.listen.is_some() {
        text.push_str("\n[underlay]\n");
    }
    for (key, attach) in [("admin", &args.admin), ("external", &args.external)] {
        if let Some(attach) = attach {
            text.push_str(&format!("{key} = {}\n", quoted(&attach.to_string())));
        }
    }
    if let Some(listen) = args.listen {
        text.push_str(&format!("listen = {listen}\n"));
    }
    text
}

fn not_joined(config: &Config) -> Result<(), Problem> {
    let path = config.paths.keys.join(CERTIFICATE);
    if !path.exists() {
        return Ok(());
    }
    let who = std::fs::read_to_string(&path).ok().and_then(|pem| certs::identity_of_pem(&pem).ok());
    let who = who.map_or_else(String::new, |identity| format!(" as {}", identity.role.title()));
    Err(Problem::new("M0216", Exit::Conflict, format!("this machine has joined already{who}"))
        .note("nothing was changed and the token was not used")
        .help("meshctl status; or meshctl leave first"))
}

fn name(args: &JoinArgs, config: &Config) -> Result<NodeId, Problem> {
    match (&args.name, &config.node.name) {
        (Some(flag), Some(file)) if flag != file => Err(Problem::new(
            "M0350",
            Exit::Invalid,
            format!("--name says '{flag}', {} says '{file}'", args.config.display()),
        )
        .note("nothing was changed")),
        (Some(name), _) | (None, Some(name)) => Ok(name.clone()),
        (None, None) => {
            let text = host::name().unwrap_or_default();
            if is_nobodys(&text) {
                let what = format!("this host is called '{text}', as many are: say which node it is to be");
                return Err(Problem::new("M0222", Exit::Invalid, what).note("nothing was changed").help("--name NAME"));
            }
            text.parse().map_err(|e| {
                Problem::new("M0222", Exit::Invalid, format!("the host's name '{text}' cannot be a node's name: {e}"))
                    .note("nothing was changed")
                    .help("give one with --name")
            })
        }
    }
}

/// A host's name that nobody gave it.
pub(super) fn is_nobodys(name: &str) -> bool {
    name == "localhost" || (!name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()))
}

/// The keys of an earlier attempt, or new ones, written before anybody hears of them: a lost answer is asked for again with the
/// same keys.
fn keys(folder: &Path, name: &NodeId) -> Result<(Keys, bool), Problem> {
    let failed = |why: String| Problem::new("M0601", Exit::Failed, why).note("the token was not used");
    let io = |e: std::io::Error| failed(e.to_string());
    file::ensure_dir(folder, 0o700).map_err(io)?;
    file::clean(folder).map_err(io)?;
    let (wireguard_path, tls_path) = (folder.join(WIREGUARD_KEY), folder.join(TLS_KEY));
    let old = wireguard_path.exists() && tls_path.exists();
    let keys = if old {
        let wireguard: SecretKey = file::read_secret(&wireguard_path).map_err(io)?.trim().parse().map_err(|e| {
            failed(format!("{}: {e}", wireguard_path.display())).help("remove the file: a new key is made")
        })?;
        let tls = file::read_secret(&tls_path).map_err(io)?;
        let csr = certs::renew_request(name, &tls)
            .map_err(|e| failed(format!("{}: {e}", tls_path.display())).help("remove the file: a new key is made"))?;
        Keys { public: tunnel::public_key(&wireguard), wireguard, tls, csr }
    } else {
        let request = certs::new_request(name).map_err(|e| failed(e.to_string()))?;
        let wireguard = SecretKey::from_bytes(random());
        Keys { public: tunnel::public_key(&wireguard), wireguard, tls: request.key, csr: request.csr }
    };
    if !old {
        for file in keys.files() {
            file::write(&folder.join(file.name), file.text.as_bytes(), file.mode).map_err(io)?;
        }
    }
    Ok((keys, old))
}

/// A refusal of the server: what it says that it did not change is its own, and the keys of this machine stay.
fn kept(mut problem: Problem, folder: &Path) -> Problem {
    let unchanged = problem.notes.iter_mut().find(|note| note.as_str() == "nothing was changed");
    if let Some(note) = unchanged {
        *note = format!(
            "nothing was changed on the management node; this machine has made keys in {}, and the next join uses them",
            folder.display()
        );
    }
    problem
}

/// A refusal because of the PDC points at the line that asserts it.
fn with_place(problem: Problem, path: &Path, setup: &Setup) -> Problem {
    let asserted = setup.config.node.pdc.as_ref().filter(|_| problem.place.is_none());
    match asserted {
        Some(file) if ["M0248", "M0312"].contains(&problem.code.as_str()) => {
            let name = path.display().to_string();
            let place = wrong_pdc(Source::new(&name, &setup.text), file, file, "").place;
            Problem { place, ..problem }
        }
        Some(_) | None => problem,
    }
}

/// Signatures by the same library that TLS uses.
struct WebPki;

impl Authority for WebPki {
    fn pin(&self, ca: &str) -> Option<[u8; 32]> {
        tls::spki_hash(tls::certificates(ca).ok()?.first()?)
    }

    fn vouches(&self, ca: &str, certificate: &str) -> Result<(), String> {
        tls::vouches(ca, certificate).map_err(|e| e.to_string())
    }
}

fn accept(waiting: Waiting, answer: EnrollAnswer, path: &Path, setup: &Setup) -> Result<Member, Problem> {
    waiting.accept(answer, &WebPki).map_err(|error| match error {
        EnrollError::OtherPdc { token, file } => {
            wrong_pdc(Source::new(&path.display().to_string(), &setup.text), &file, &token, "the token")
        }
        EnrollError::Request(_) | EnrollError::Answer(_) => refused(&error),
    })
}

fn refused(error: &EnrollError) -> Problem {
    Problem::new("M0218", Exit::Denied, error.to_string())
        .note("nothing was kept but the keys of this machine; the same token works again with them")
        .help("check that management node and this machine run the same version, then join again")
}

fn write(member: &Member, setup: &Setup, args: &JoinArgs) -> Result<(), Problem> {
    let failed = |e: std::io::Error| {
        Problem::new("M0601", Exit::Failed, e.to_string())
            .help("make room, then join again: the same token works with the same keys")
    };
    let paths = &setup.config.paths;
    file::ensure_dir(&paths.state, 0o755).map_err(failed)?;
    if !setup.exists {
        if let Some(folder) = args.config.parent() {
            file::ensure_dir(folder, 0o755).map_err(failed)?;
        }
        file::write(&args.config, setup.text.as_bytes(), 0o644).map_err(failed)?;
    }
    for file in member.files().map_err(|e| refused(&e))? {
        let folder = match file.folder {
            Folder::Keys => &paths.keys,
            Folder::State => &paths.state,
            Folder::Run => &paths.run,
        };
        file::write(&folder.join(file.name), file.text.as_bytes(), file.mode).map_err(failed)?;
    }
    Ok(())
}

/// Enables and starts the unit, where that is ours to do.
fn service(args: &JoinArgs) -> Result<String, Problem> {
    if args.no_start {
        return Ok("left alone (--no-start)".into());
    }
    let command = format!("meshd run --config {}", args.config.display());
    if args.config != Path::new(CONFIG) {
        return Ok(format!("left alone (not the system's file); run: {command}"));
    }
    if !sd_notify::booted().unwrap_or(false) {
        return Ok(format!("systemd does not run here; run: {command}"));
    }
    if beside::management(Path::new(beside::KEYS)) {
        beside::write_unit(Path::new(beside::UNIT))?;
        systemctl(&["daemon-reload"])?;
    }
    systemctl(&["enable", "--now", "meshd.service"])?;
    Ok("meshd.service is enabled and started".into())
}

fn systemctl(words: &[&str]) -> Result<(), Problem> {
    let line = format!("systemctl {}", words.join(" "));
    let failed =
        |why: &str| Problem::new("M0628", Exit::Failed, format!("{line} failed: {}", why.trim())).help(line.clone());
    let output = std::process::Command::new("systemctl").args(words).output().map_err(|e| failed(&e.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(&String::from_utf8_lossy(&output.stderr))) }
}

/// The chain of [`crate::node::enroll`], with real signatures.
#[cfg(test)]
#[path = "join/enroll_tests.rs"]
mod enroll_tests;

#[cfg(test)]
#[path = "join/tests.rs"]
mod tests;
