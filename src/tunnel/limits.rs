//! Every number of the protocol, with the section of the WireGuard whitepaper (2020-06-01) that it comes from.

use std::time::Duration;

/// A session starts to be replaced after this many messages (6.1, Rekey-After-Messages).
pub(super) const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// The first counter that is never used (6.1, Reject-After-Messages): 2^64 - 2^13 - 1.
pub(super) const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// The initiator of a session that sends in it replaces it from this age on (6.1, Rekey-After-Time).
pub(super) const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// Where both ends initiated at once, both are initiators; the one whose static key is the smaller number then waits this much
/// longer, so that they do not do it again. Well before [`REKEY_ON_RECEIVE`].
pub(super) const REKEY_YIELD: Duration = Duration::from_secs(10);
/// A session is not used from this age on, in neither direction (6.1, Reject-After-Time).
pub(super) const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Keys are wiped when none came after them for this long (6.3).
pub(super) const WIPE_AFTER_TIME: Duration = Duration::from_secs(3 * 180);
/// A new static key of ours is first used this long after we learn that peers may know it: they hear of it at the same time.
pub(super) const KEY_KNOWN: Duration = Duration::from_secs(1);
/// Unanswered initiations under one pair of static keys before another pair that holds has its turn, while there is a session.
pub(super) const CALLS_UNDER_A_PAIR: u16 = 3;
/// An unanswered initiation is repeated until this long after the first (6.1, Rekey-Attempt-Time).
pub(super) const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// Initiations to one peer are at least this far apart (6.1, Rekey-Timeout).
pub(super) const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// A retry is late by up to this much, so that two ends that call each other at once do not stay in step (6.1).
pub(super) const REKEY_JITTER: Duration = Duration::from_millis(334);
/// Who received data and has nothing to send says so after this long (6.1, Keepalive-Timeout; 6.5).
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Who sent data and hears nothing for this long starts a new handshake (6.5).
pub(super) const SILENCE_TIMEOUT: Duration = KEEPALIVE_TIMEOUT.saturating_add(REKEY_TIMEOUT);
/// The initiator of a session that receives in it replaces it from this age on, so that it never runs out unused (6.2).
pub(super) const REKEY_ON_RECEIVE: Duration = REJECT_AFTER_TIME.saturating_sub(SILENCE_TIMEOUT);

/// The secret behind our cookies lives this long (5.4.7).
pub(super) const COOKIE_SECRET_TIME: Duration = Duration::from_secs(120);
/// A received cookie is used this long: its secret's life less 5 s on the way (6.6).
pub(super) const COOKIE_TIME: Duration = Duration::from_secs(115);

/// At most one initiation of a peer in this time is answered (5.1; 50 a second, as Linux and wireguard-go have it).
pub(super) const INITIATION_INTERVAL: Duration = Duration::from_millis(20);
/// Timestamps of answered and not yet confirmed initiations under one key that are remembered, so that a replay of one is known: a
/// peer that gets no answer calls every 5 s, so that these are almost three minutes.
pub(super) const CALLS_REMEMBERED: usize = 32;
/// Initiations in one second, all sources together, beyond which we are under load (5.3 leaves the measure open). At about
/// 0.35 ms each this is a tenth of a core.
pub(super) const LOAD_INITIATIONS_PER_SECOND: u32 = 256;
/// Handshakes a second that one source may have under load, once its address is proved (5.3; as wireguard-go has it).
pub(super) const SOURCE_PER_SECOND: u32 = 20;
/// Handshakes that one source may have at once under load.
pub(super) const SOURCE_BURST: u32 = 5;
/// Handshakes a second that all of an IPv6 /48 may have under load.
pub(super) const SITE_PER_SECOND: u32 = 80;
/// Handshakes that all of an IPv6 /48 may have at once under load.
pub(super) const SITE_BURST: u32 = 40;
/// Handshakes a second that all of an IPv6 /32 may have under load.
pub(super) const PROVIDER_PER_SECOND: u32 = 160;
/// Handshakes that all of an IPv6 /32 may have at once under load.
pub(super) const PROVIDER_BURST: u32 = 80;
/// Cookie replies a second that one source gets. A caller needs one in 5 s; behind one address there may be a site of some hundred.
/// Whoever forges the address of another leaves it one of so many.
pub(super) const COOKIES_PER_SECOND: u32 = 100;
/// Cookie replies that one source gets at once: a site behind one address that comes back.
pub(super) const COOKIES_BURST: u32 = 100;
/// The same of all of an IPv6 /48.
pub(super) const SITE_COOKIES: u32 = 200;
/// The same of all of an IPv6 /32.
pub(super) const PROVIDER_COOKIES: u32 = 400;
/// Cookie replies a second in all, once to addresses of peers and once to all others, and so many at once. One costs two hashes, a
/// seal and a system call: some ten microseconds, so all of them take a few hundredths of a core.
pub(super) const ALL_COOKIES: u32 = 1000;
/// Sources of each family that are remembered under load. Where room is needed, those are forgotten that were idle for half a
/// second, so an IPv6 /48 never keeps more than some 250 of them.
pub(super) const SOURCES: usize = 4096;

/// Counters this far behind the newest are still told apart (5.4.6 asks for about 2000; Linux has 8128).
pub(super) const WINDOW: u64 = 8192;
/// Payloads are padded with zeros to a multiple of this (5.4.6).
pub(super) const PADDING: usize = 16;
/// Payloads of one peer that wait for a handshake.
pub(super) const STAGED: usize = 64;
/// Bytes of datagrams that wait to be fetched.
pub(super) const OUTBOX_BYTES: usize = 16 << 20;
/// Events that wait to be fetched.
pub(super) const OUTBOX_EVENTS: usize = 1 << 16;
/// An endpoint that flaps is reported at most this often.
pub(super) const MOVE_EVENT_INTERVAL: Duration = Duration::from_secs(1);
