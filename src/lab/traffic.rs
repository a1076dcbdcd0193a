//! Traffic between guests: pings and transfers, measured where the guests are.

use std::io::Read as _;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use super::layout::Guest;
pub use super::ping::Pings;
use super::transfer::{self, Amount, Report};
use super::{LabError, shell};

/// Sends `count` pings of `size` payload bytes, `gap` milliseconds apart, fragmentation forbidden; each may take two seconds.
///
/// # Errors
/// It cannot be run, or there is no route.
pub fn ping(from: &str, to: IpAddr, count: u16, gap: u16, size: u16) -> Result<Pings, LabError> {
    let mut command = shell::command(Some(from), shell::program("meshctl")?);
    let option = |name: &str, value: &dyn std::fmt::Display| [format!("--{name}"), value.to_string()];
    command.args(["lab", "ping"]).args(option("to", &to)).args(option("count", &count));
    command.args(option("gap", &gap)).args(option("size", &size));
    serde_json::from_str(&shell::run(command)?).map_err(|e| LabError::io("the answer of a ping")(e.into()))
}

/// One transfer from guest to guest.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// What was sent.
    pub sent: Report,
    /// What arrived.
    pub received: Report,
}

impl Transfer {
    /// True where everything arrived as it was sent.
    pub fn intact(&self) -> bool {
        (self.sent.bytes, &self.sent.sha256) == (self.received.bytes, &self.received.sha256)
    }
}

/// Sends bytes over TCP between two guests.
///
/// # Errors
/// An end cannot be started, or the connection breaks.
pub fn transfer(from: &Guest, to: &Guest, amount: Amount) -> Result<Transfer, LabError> {
    let ip = *to.ips.first().ok_or_else(|| LabError::Shape(format!("{} has no address", to.namespace)))?;
    transfer_to(&from.namespace, &to.namespace, ip, amount)
}

/// As [`transfer()`], between any two namespaces.
///
/// # Errors
/// As [`transfer()`].
pub fn transfer_to(from: &str, to: &str, ip: IpAddr, amount: Amount) -> Result<Transfer, LabError> {
    let target = transfer::target(ip).to_string();
    let mut receiver = Receiver::start(to, &target)?;
    let mut command = shell::command(Some(from), shell::program("meshctl")?);
    command.args(["lab", "send", "--to", &target]);
    match amount {
        Amount::Bytes(bytes) => command.args(["--bytes", &bytes.to_string()]),
        Amount::Time(time) => command.args(["--millis", &time.as_millis().to_string()]),
    };
    let sent = report(&shell::run(command)?)?;
    let received = receiver.end()?;
    Ok(Transfer { sent, received })
}

fn report(text: &str) -> Result<Report, LabError> {
    serde_json::from_str(text.trim_start_matches('+')).map_err(|e| LabError::io("an end of a transfer")(e.into()))
}

/// The receiving end; killed when dropped early.
struct Receiver(Child);

impl Receiver {
    fn start(namespace: &str, listen: &str) -> Result<Self, LabError> {
        let trouble = || LabError::io(format!("cannot receive in {namespace}"));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(shell::program("meshctl")?);
        command.args(["lab", "receive", "--listen", listen]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut this = Self(command.spawn().map_err(trouble())?);
        let mut ready = [0];
        let out = this.0.stdout.as_mut().ok_or_else(|| trouble()(std::io::ErrorKind::BrokenPipe.into()))?;
        out.read_exact(&mut ready).map_err(trouble())?;
        Ok(this)
    }

    fn end(&mut self) -> Result<Report, LabError> {
        let mut text = String::new();
        if let Some(out) = &mut self.0.stdout {
            out.read_to_string(&mut text).map_err(LabError::io("cannot hear the receiver"))?;
        }
        report(&text)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It has ended by itself unless the sender failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
