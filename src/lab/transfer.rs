//! Sends bytes from guest to guest over TCP and says what arrived.
//!
//! The bytes are made of a seed, look random, and carry [`MAGIC`] once in every 1024, so that a capture can tell them in clear.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::LabError;
use super::classify::MAGIC;
use crate::clock;

/// Bytes that are handled at a time.
const BLOCK: usize = 64 << 10;
/// A connection that carries nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(20);

/// What one end of a transfer counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 (hexadecimal) of them.
    pub sha256: String,
    /// From the first to the last byte.
    pub seconds: f64,
}

impl Report {
    /// Bits per second.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn bits_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.bytes as f64 * 8.0 / self.seconds } else { 0.0 }
    }
}

/// How much to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// For so long.
    Time(Duration),
}

/// Makes the bytes of a seed, block by block (splitmix64).
#[derive(Debug)]
pub struct Payload {
    state: u64,
}

impl Payload {
    /// From the beginning.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next bytes; `block` is a multiple of 1024 long but at the end.
    pub fn fill(&mut self, block: &mut [u8]) {
        for word in block.chunks_mut(8) {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..word.len()]);
        }
        for kilobyte in block.chunks_exact_mut(1024) {
            kilobyte[..MAGIC.len()].copy_from_slice(MAGIC);
        }
    }
}

/// Counts and hashes what goes by.
struct Tally {
    hash: Sha256,
    bytes: u64,
    started: crate::types::Mono,
}

impl Tally {
    fn start() -> Self {
        Self { hash: Sha256::new(), bytes: 0, started: clock::mono() }
    }

    fn add(&mut self, block: &[u8]) {
        self.hash.update(block);
        self.bytes += u64::try_from(block.len()).unwrap_or(0);
    }

    fn report(self) -> Report {
        let seconds = clock::mono().since(self.started).as_secs_f64();
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Report { bytes: self.bytes, sha256, seconds }
    }
}

/// `meshctl lab receive`: takes one connection to its end. Prints `+` once it listens, then the [`Report`].
///
/// # Errors
/// The connection breaks, or none comes.
pub fn receive(listen: SocketAddr, out: &mut dyn Write) -> Result<Report, LabError> {
    let trouble = || LabError::io(format!("cannot receive on {listen}"));
    let listener = TcpListener::bind(listen).map_err(trouble())?;
    out.write_all(b"+").and_then(|()| out.flush()).map_err(trouble())?;
    let (mut stream, _) = listener.accept().map_err(trouble())?;
    stream.set_read_timeout(Some(SILENCE)).map_err(trouble())?;
    let mut tally = Tally::start();
    let mut block = vec![0; BLOCK];
    loop {
        match stream.read(&mut block).map_err(trouble())? {
            0 => return Ok(tally.report()),
            length => tally.add(&block[..length]),
        }
    }
}

/// `meshctl lab send`: connects, sends, and waits until the other end has taken everything.
///
/// # Errors
/// The connection is refused or breaks.
pub fn send(to: SocketAddr, seed: u64, amount: Amount) -> Result<Report, LabError> {
    let trouble = || LabError::io(format!("cannot send to {to}"));
    let mut stream = TcpStream::connect_timeout(&to, SILENCE).map_err(trouble())?;
    stream.set_write_timeout(Some(SILENCE)).and_then(|()| stream.set_read_timeout(Some(SILENCE))).map_err(trouble())?;
    let mut tally = Tally::start();
    let mut payload = Payload::new(seed);
    let mut block = vec![0; BLOCK];
    loop {
        let length = match amount {
            Amount::Bytes(all) => usize::try_from(all - tally.bytes).unwrap_or(BLOCK).min(BLOCK),
            Amount::Time(limit) if clock::mono().since(tally.started) >= limit => 0,
            Amount::Time(_) => BLOCK,
        };
        if length == 0 {
            break;
        }
        payload.fill(&mut block[..length]);
        stream.write_all(&block[..length]).map_err(trouble())?;
        tally.add(&block[..length]);
    }
    stream.shutdown(std::net::Shutdown::Write).map_err(trouble())?;
    // The receiver closes when it has everything.
    match stream.read(&mut [0]) {
        Ok(_) => Ok(tally.report()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(trouble()(error)),
        Err(error) => Err(trouble()(error)),
    }
}

/// Where a transfer of the lab goes.
pub const fn target(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 5001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives_and_is_counted_alike() {
        let (tell, told) = std::sync::mpsc::channel();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let receiver = std::thread::spawn(move || {
            struct Tell(std::sync::mpsc::Sender<()>);
            impl Write for Tell {
                fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                    self.0.send(()).unwrap();
                    Ok(bytes.len())
                }
                fn flush(&mut self) -> io::Result<()> {
                    Ok(())
                }
            }
            receive(address, &mut Tell(tell)).unwrap()
        });
        told.recv().unwrap();
        let sent = send(address, 7, Amount::Bytes(1_000_003)).unwrap();
        let received = receiver.join().unwrap();
        assert_eq!((sent.bytes, &sent.sha256), (received.bytes, &received.sha256));
        assert_eq!(sent.bytes, 1_000_003);
    }

    #[test]
    fn the_bytes_of_a_seed_are_the_same_each_time_and_carry_the_magic() {
        let (mut one, mut two, mut three) = ([0; 4096], [0; 4096], [0; 4096]);
        Payload::new(1).fill(&mut one);
        Payload::new(1).fill(&mut two);
        Payload::new(2).fill(&mut three);
        assert_eq!(one, two);
        assert_ne!(one, three);
        assert!(one.chunks(1024).all(|kilobyte| kilobyte.starts_with(MAGIC)));
    }
}
