//! Losses at random: echoes of several flows are lost now and then, so no flow and no size is to blame.

use super::message::FLOWS;

const ALL: usize = FLOWS as usize;
/// Echoes of one flow that are remembered.
const HISTORY: u8 = 8;
/// Losses of so many of a hundred are told.
const MANY: u32 = 20;
/// Flows that must lose here and there before it is no flow's fault.
const FLOWS_HIT: usize = 2;
/// Echoes answered in a row that end it.
const ENOUGH: u8 = 15;

/// Answers that are asked for sooner where echoes were lost a short while ago, and for how many of the last that counts.
const SOON: u8 = 60;
const LATELY: u8 = 6;

/// What became of the last echoes of each flow.
#[derive(Debug, Default)]
pub(super) struct Scatter {
    /// A bit each, the newest lowest, 1: lost; and how many.
    flows: [(u16, u8); ALL],
    /// Answered in a row, by whichever flow.
    row: u8,
    /// Echoes that were recorded since something was lost for the first time after a row was answered.
    since: u8,
    many: bool,
}

impl Scatter {
    /// An echo of a flow that was small enough to pass was answered, or not.
    pub(super) fn record(&mut self, flow: usize, answered: bool) {
        let Some((bits, count)) = self.flows.get_mut(flow) else { return };
        *bits = (*bits << 1 | u16::from(!answered)) & ((1 << HISTORY) - 1);
        *count = (*count + 1).min(HISTORY);
        self.row = if answered { self.row.saturating_add(1) } else { 0 };
        self.since = if *bits == 0 && self.since == 0 { 0 } else { self.since.saturating_add(1) };
        if self.row >= ENOUGH {
            *self = Self { row: self.row, ..Self::default() };
        }
        let lost: u32 = self.flows.iter().map(|(bits, _)| bits.count_ones()).sum();
        let sent: u32 = self.flows.iter().map(|(_, count)| u32::from(*count)).sum();
        let hit = self.flows.iter().filter(|(bits, _)| comes_and_goes(*bits)).count();
        self.many |= hit >= FLOWS_HIT && lost * 100 >= sent * MANY;
    }

    /// True for a while after something was lost, whether that was by chance shows the sooner; and while it is, so that its end does.
    pub(super) const fn hurries(&self) -> bool {
        self.many || self.since > 0 && self.since < SOON && self.row < LATELY
    }

    /// True where a flow has lost here and there: what is lost of it now may be by chance, and no leg is dead for it.
    pub(super) fn wavers(&self) -> bool {
        self.flows.iter().any(|(bits, _)| comes_and_goes(*bits))
    }

    /// True while many echoes are lost, of no flow in particular.
    pub(super) const fn many(&self) -> bool {
        self.many
    }
}

/// True where one was answered between two that were lost: a flow that dies, or comes back, has none.
const fn comes_and_goes(lost: u16) -> bool {
    if lost == 0 {
        return false;
    }
    let since = lost >> lost.trailing_zeros();
    since & (since + 1) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_that_dies_or_comes_back_is_no_loss_at_random() {
        for (lost, so) in [(0, false), (0b1, false), (0b111, false), (0b1_1100, false), (0b101, true), (0b1_0010, true)]
        {
            assert_eq!(comes_and_goes(lost), so, "{lost:b}");
        }
    }

    #[test]
    fn losses_of_several_flows_are_told_until_a_row_is_answered() {
        let mut scatter = Scatter::default();
        let mut round = |pattern: &[[bool; ALL]]| {
            for row in pattern {
                row.iter().enumerate().for_each(|(flow, answered)| scatter.record(flow, *answered));
            }
            scatter.many()
        };
        let (good, one, two) = ([true; ALL], [false, true, true, true], [true, false, false, true]);
        assert!(!round(&[good; 20]));
        assert!(!round(&[one, good, one, good, one]), "one flow: it is a leg that flaps");
        assert!(!round(&[good; 20]));
        assert!(!round(&[two; 10]), "two flows are dead");
        assert!(!round(&[good; 20]), "and back");
        assert!(round(&[two, one, good, two, one, two]));
        assert!(round(&[good, good]), "it is not over at once");
        assert!(!round(&[good; 3]));
    }
}
