//! Attributes of netlink messages that no crate of ours decodes (`struct nlattr`, linux/netlink.h).

use netlink_packet_core::NlasIterator;

/// Kind and value of each attribute; flags of its kind do not count.
pub(super) fn each(attributes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(attributes).flatten().map(|attribute| {
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        (kind, attribute.into_inner().get(4..length).unwrap_or_default())
    })
}

/// The value of the first attribute of a kind.
pub(super) fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    each(attributes).find(|(of, _)| *of == kind).map(|(_, value)| value)
}

/// A text without the zero behind it.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}
