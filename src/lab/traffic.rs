//! Traffic between guests: pings and transfers, measured where the guests are.

use std::io::Read as _;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use super::layout::Guest;
use super::transfer::{self, Amount, Report};
use super::{LabError, shell};

/// What a run of pings saw.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pings {
    /// Requests sent.
    pub sent: u32,
    /// Answers received.
    pub received: u32,
    /// Mean round-trip time in milliseconds; none without answers.
    pub mean: Option<f64>,
}

/// Sends `count` pings of `size` payload bytes, `gap` milliseconds apart, fragmentation forbidden.
///
/// # Errors
/// `ping` cannot be run.
pub fn ping(from: &str, to: IpAddr, count: u32, gap: u32, size: u16) -> Result<Pings, LabError> {
    let mut command = shell::command(Some(from), "ping");
    let interval = format!("{}.{:03}", gap / 1000, gap % 1000);
    command.args(["-n", "-q", "-M", "do", "-W", "2", "-c", &count.to_string(), "-i", &interval]);
    command.args(["-s", &size.to_string(), &to.to_string()]);
    let output = command.output().map_err(LabError::io("cannot run `ping` (Debian: iputils-ping)"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    parse_ping(&said).ok_or_else(|| LabError::Command {
        line: format!("ping {to} in {from}"),
        why: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// The summary of iputils `ping -q`.
fn parse_ping(text: &str) -> Option<Pings> {
    let counts = text.lines().find(|line| line.contains(" packets transmitted"))?;
    let mut numbers = counts.split(", ").map(|part| part.split_ascii_whitespace().next()?.parse().ok());
    let (sent, received) = (numbers.next()??, numbers.next()??);
    let times = text.lines().find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = "));
    let mean = times.and_then(|line| line.split('/').nth(1)?.parse().ok());
    Some(Pings { sent, received, mean })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_ping_is_read() {
        let text = "PING 10.1.0.2 (10.1.0.2) 56(84) bytes of data.\n\n--- 10.1.0.2 ping statistics ---\n\
                    10 packets transmitted, 9 received, +1 errors, 10% packet loss, time 91ms\n\
                    rtt min/avg/max/mdev = 0.286/0.345/0.512/0.010 ms\n";
        assert_eq!(parse_ping(text), Some(Pings { sent: 10, received: 9, mean: Some(0.345) }));
        let none = "3 packets transmitted, 0 received, 100% packet loss, time 2050ms\n\n";
        assert_eq!(parse_ping(none), Some(Pings { sent: 3, received: 0, mean: None }));
        assert_eq!(parse_ping("ping: connect: Network is unreachable"), None);
    }
}
