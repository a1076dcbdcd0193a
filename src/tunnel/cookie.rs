//! MACs and cookies: proof that a sender knows whom it calls, and under load that it is where it says (whitepaper 5.3, 5.4.4,
//! 5.4.7, 6.6).

use std::net::{IpAddr, SocketAddr};

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::interface::Random;
use super::limits::{COOKIE_SECRET_TIME, COOKIE_TIME};
use super::mac;
use super::message::{self, Kind, MAC, cookie};
use crate::types::{Mono, PublicKey};

/// The two MACs at the end of a handshake message, and what each of them covers.
struct Macs<'a> {
    /// Everything before the first.
    body: &'a [u8],
    one: &'a [u8; MAC],
    two: &'a [u8; MAC],
}

/// Splits a handshake message; its length is known from [`Kind::of`], so there is always room for both.
fn macs(handshake: &[u8]) -> Option<Macs<'_>> {
    let (rest, two) = handshake.split_last_chunk()?;
    let (body, one) = rest.split_last_chunk()?;
    Some(Macs { body, one, two })
}

/// Checks the MACs of what we receive, and makes cookies.
pub(super) struct Checker {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    /// What cookies are made with, and since when. None before the first one is needed.
    secret: Option<(Zeroizing<[u8; 32]>, Mono)>,
}

impl Checker {
    /// For messages to the owner of `public`.
    pub(super) fn new(public: &PublicKey) -> Self {
        Self { mac1_key: mac::mac1_key(public), cookie_key: mac::cookie_key(public), secret: None }
    }

    /// Whether the first MAC is made with our public key.
    pub(super) fn first_holds(&self, handshake: &[u8]) -> bool {
        macs(handshake).is_some_and(|m| mac::equal(m.one, &mac::keyed(&self.mac1_key, &[m.body])))
    }

    /// Whether the second MAC is made with the cookie of `from`.
    pub(super) fn second_holds(
        &mut self,
        handshake: &[u8],
        from: SocketAddr,
        now: Mono,
        random: &mut dyn Random,
    ) -> bool {
        let cookie = self.cookie(from, now, random);
        macs(handshake).is_some_and(|m| mac::equal(m.two, &mac::keyed(&cookie, &[m.body, m.one])))
    }

    /// The reply that tells `from` its cookie. `sender` is the index that its message gave.
    pub(super) fn reply(
        &mut self,
        handshake: &[u8],
        sender: u32,
        from: SocketAddr,
        now: Mono,
        random: &mut dyn Random,
    ) -> Option<[u8; cookie::LEN]> {
        let mut text = self.cookie(from, now, random);
        let mut nonce = [0; 24];
        random.fill(&mut nonce);
        let tag = XChaCha20Poly1305::new(&self.cookie_key.into())
            .encrypt_in_place_detached(XNonce::from_slice(&nonce), macs(handshake)?.one, text.as_mut_slice())
            .ok()?;
        let mut reply = [0; cookie::LEN];
        reply[..4].copy_from_slice(&Kind::Cookie.tag());
        reply[cookie::RECEIVER].copy_from_slice(&sender.to_le_bytes());
        reply[cookie::NONCE].copy_from_slice(&nonce);
        let (sealed_text, sealed_tag) = reply[cookie::SEALED].split_at_mut(MAC);
        sealed_text.copy_from_slice(text.as_slice());
        sealed_tag.copy_from_slice(&tag);
        Some(reply)
    }

    /// The cookie of an address and UDP port, by a secret that changes every two minutes.
    fn cookie(&mut self, from: SocketAddr, now: Mono, random: &mut dyn Random) -> Zeroizing<[u8; MAC]> {
        if self.secret.as_ref().is_none_or(|(_, since)| now.since(*since) >= COOKIE_SECRET_TIME) {
            let mut secret = Zeroizing::new([0; 32]);
            random.fill(secret.as_mut_slice());
            self.secret = Some((secret, now));
        }
        let secret = self.secret.as_ref().map(|(secret, _)| secret.clone()).unwrap_or_default();
        let port = from.port().to_be_bytes();
        Zeroizing::new(match from.ip() {
            IpAddr::V4(ip) => mac::keyed(&secret, &[&ip.octets(), &port]),
            IpAddr::V6(ip) => mac::keyed(&secret, &[&ip.octets(), &port]),
        })
    }
}

/// Puts MACs on what we send to one peer, and keeps the cookie that it gave us.
pub(super) struct Jar {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    /// The first MAC of the last handshake message sent: a cookie reply is sealed to it.
    sent: Option<[u8; MAC]>,
    cookie: Option<(Zeroizing<[u8; MAC]>, Mono)>,
}

impl Jar {
    /// For messages to the owner of `public`.
    pub(super) fn new(public: &PublicKey) -> Self {
        Self { mac1_key: mac::mac1_key(public), cookie_key: mac::cookie_key(public), sent: None, cookie: None }
    }

    /// Fills both MACs of a handshake message; the second is zero where the peer has not asked for it.
    pub(super) fn fill(&mut self, handshake: &mut [u8], now: Mono) {
        self.cookie.take_if(|(_, since)| now.since(*since) >= COOKIE_TIME);
        let Some((rest, two)) = handshake.split_last_chunk_mut::<MAC>() else { return };
        if let Some((body, one)) = rest.split_last_chunk_mut::<MAC>() {
            *one = mac::keyed(&self.mac1_key, &[body]);
            self.sent = Some(*one);
        }
        *two = self.cookie.as_ref().map_or([0; MAC], |(cookie, _)| mac::keyed(cookie, &[rest]));
    }

    /// Takes the cookie out of a reply to the last message sent. A reply counts once.
    pub(super) fn accept(&mut self, reply: &[u8], now: Mono) -> bool {
        let Some(sent) = self.sent else { return false };
        let mut text = Zeroizing::new([0; MAC]);
        let sealed: [u8; MAC + message::TAG] = message::field(reply, cookie::SEALED);
        text.copy_from_slice(&sealed[..MAC]);
        let nonce: [u8; 24] = message::field(reply, cookie::NONCE);
        let opened = XChaCha20Poly1305::new(&self.cookie_key.into()).decrypt_in_place_detached(
            XNonce::from_slice(&nonce),
            &sent,
            text.as_mut_slice(),
            Tag::from_slice(&sealed[MAC..]),
        );
        if opened.is_err() {
            return false;
        }
        self.cookie = Some((text, now));
        self.sent = None;
        true
    }
}

#[cfg(test)]
#[path = "cookie_tests.rs"]
mod tests;
