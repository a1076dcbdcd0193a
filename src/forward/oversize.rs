//! What a network does about frames that are larger than its guest MTU.

use super::buffer::Pool;
use super::carry::Route;
use super::drops::DropReason;
use super::egress::{Frame, bucket};
use super::rate::{Bucket, Rate};
use super::segment::Segments;
use super::tally::Tallies;
use super::toobig::{self, Verdict};
use super::view::View;
use crate::policy::mtu::Oversize;
use crate::types::{Mono, PeerSlot};
use crate::wire::virtio::{Gso, Virtio};

/// How much each network has answered.
#[derive(Debug, Default)]
pub(super) struct Oversized {
    told: Vec<Bucket>,
}

impl Oversized {
    /// Looks at a frame on its way to `peers`. True: it has become the answer to itself. False: it is carried.
    ///
    /// # Errors
    /// [`DropReason::Oversize`], [`DropReason::NoBuffer`], [`DropReason::FrameMalformed`].
    pub(super) fn check(
        &mut self,
        route: &Route<'_>,
        peers: &[PeerSlot],
        now: Mono,
        (frame, pool): (&mut Frame, &mut Pool),
        sizes: &mut Tallies,
    ) -> Result<bool, DropReason> {
        let packet = packet_len(&route.view, frame);
        if packet <= usize::from(route.net.guest_mtu) {
            return Ok(false);
        }
        sizes.net(frame.net).oversize += 1;
        let told = match route.net.oversize {
            Oversize::Fragment => return Ok(false),
            Oversize::Drop => return Err(DropReason::Oversize),
            Oversize::TooBig => match toobig::judge(&route.view, frame.buf.bytes(), packet) {
                Verdict::Carry => return Ok(false),
                Verdict::Silent => return Err(DropReason::Oversize),
                Verdict::Tell(told) => told,
            },
        };
        if !bucket(&mut self.told, frame.net).take(Rate::TOO_BIG, now) {
            return Err(DropReason::Oversize);
        }
        first_datagram(frame, pool)?;
        let mtu = u16::try_from(route.largest_packet(peers)).unwrap_or(route.net.guest_mtu);
        toobig::answer(&mut frame.buf, &route.view, told, mtu).map_err(|_| DropReason::FrameMalformed)?;
        sizes.net(frame.net).too_big += 1;
        Ok(true)
    }
}

/// IP packet of the largest part of a frame that nobody but the guest may cut smaller: all of it, or a datagram of a UDP
/// super-frame. Zero for TCP super-frames, which are cut to any path.
fn packet_len(view: &View, frame: &Frame) -> usize {
    match frame.virtio.gso {
        Gso::None => frame.buf.len() - view.network,
        Gso::TcpV4 | Gso::TcpV6 => 0,
        Gso::UdpL4 => Segments::new(frame.buf.bytes(), &frame.virtio, usize::from(u16::MAX))
            .map_or(0, |segments| segments.packet_len()),
    }
}

/// Leaves only the first datagram of a super-frame, as the guest would have sent it alone.
fn first_datagram(frame: &mut Frame, pool: &mut Pool) -> Result<(), DropReason> {
    if frame.virtio.gso == Gso::None {
        return Ok(());
    }
    let mut alone = pool.take().ok_or(DropReason::NoBuffer)?;
    let written = Segments::new(frame.buf.bytes(), &frame.virtio, usize::from(u16::MAX))
        .ok()
        .and_then(|mut segments| segments.write_next(alone.space()));
    alone.filled(written.unwrap_or_default());
    pool.give(std::mem::replace(&mut frame.buf, alone));
    frame.virtio = Virtio::default();
    written.map(drop).ok_or(DropReason::FrameMalformed)
}
