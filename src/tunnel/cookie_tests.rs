use std::time::Duration;

use super::*;
use crate::tunnel::message::initiation;
use crate::tunnel::tests::Dice;

const KEY: PublicKey = PublicKey([7; 32]);

fn from(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn now(seconds: u64) -> Mono {
    Mono::default() + Duration::from_secs(seconds)
}

struct Both {
    checker: Checker,
    jar: Jar,
    dice: Dice,
    message: [u8; initiation::LEN],
}

impl Both {
    fn new() -> Self {
        let mut both = Self {
            checker: Checker::new(&KEY),
            jar: Jar::new(&KEY),
            dice: Dice::new(1),
            message: [5; initiation::LEN],
        };
        both.jar.fill(&mut both.message, now(0));
        both
    }

    fn reply(&mut self, source: &str, at: u64) -> [u8; cookie::LEN] {
        self.checker.reply(&self.message, 99, from(source), now(at), &mut self.dice).unwrap()
    }

    fn second_holds(&mut self, source: &str, at: u64) -> bool {
        self.checker.second_holds(&self.message, from(source), now(at), &mut self.dice)
    }
}

#[test]
fn the_first_mac_holds_for_its_receiver_only() {
    let mut both = Both::new();
    assert!(both.checker.first_holds(&both.message));
    assert!(!Checker::new(&PublicKey([8; 32])).first_holds(&both.message));
    both.message[40] ^= 1;
    assert!(!both.checker.first_holds(&both.message));
}

#[test]
fn without_a_cookie_the_second_mac_is_zero_and_does_not_hold() {
    let mut both = Both::new();
    assert_eq!(both.message[initiation::LEN - MAC..], [0; MAC]);
    assert!(!both.second_holds("192.0.2.1:5", 0));
}

#[test]
fn a_cookie_holds_for_address_and_udp_port_until_the_secret_changes() {
    let mut both = Both::new();
    let reply = both.reply("192.0.2.1:5", 0);
    assert!(both.jar.accept(&reply, now(0)));
    both.jar.fill(&mut both.message, now(1));
    assert!(both.second_holds("192.0.2.1:5", 119));
    assert!(!both.second_holds("192.0.2.1:6", 119), "another UDP port");
    assert!(!both.second_holds("192.0.2.2:5", 119), "another address");
    assert!(!both.second_holds("192.0.2.1:5", 120), "another secret");
}

#[test]
fn a_cookie_is_used_for_115_seconds() {
    let mut both = Both::new();
    let reply = both.reply("[2001:db8::1]:5", 0);
    assert!(both.jar.accept(&reply, now(0)));
    both.jar.fill(&mut both.message, now(114));
    assert!(both.second_holds("[2001:db8::1]:5", 114));
    both.jar.fill(&mut both.message, now(115));
    assert_eq!(both.message[initiation::LEN - MAC..], [0; MAC]);
}

#[test]
fn a_reply_is_for_the_last_message_and_counts_once() {
    let mut both = Both::new();
    let reply = both.reply("192.0.2.1:5", 0);
    let mut forged = reply;
    forged[40] ^= 1;
    assert!(!both.jar.accept(&forged, now(0)));
    assert!(both.jar.accept(&reply, now(0)));
    assert!(!both.jar.accept(&reply, now(0)), "a replay");
    both.message[50] ^= 1;
    both.jar.fill(&mut both.message, now(0));
    assert!(!both.jar.accept(&reply, now(0)), "sealed to another message");
}
