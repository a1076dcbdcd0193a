use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn it_equals_a_map(steps in prop::collection::vec((any::<bool>(), 0_u32..300, 0_u32..4, any::<u16>()), 1..600)) {
        let (mut table, mut model) = (IndexTable::new(), BTreeMap::new());
        for (insert, low, high, slot) in steps {
            // Few low bits and few high ones, so that runs collide and wrap.
            let index = (high << 24) | (low.wrapping_mul(61) & 0xff);
            if insert {
                let free = !model.contains_key(&index);
                prop_assert_eq!(table.insert(index, PeerSlot(slot)), free);
                model.entry(index).or_insert(PeerSlot(slot));
            } else {
                table.remove(index);
                model.remove(&index);
            }
            prop_assert_eq!(table.used, model.len());
            for (index, slot) in &model {
                prop_assert_eq!(table.get(*index), Some(*slot));
            }
            prop_assert_eq!(table.get(index).is_some(), model.contains_key(&index));
        }
    }
}
