//! Answers of the kernel.

/// A datagram of a dump, whatever was asked: it is read or refused, and what is read is said twice the same.
pub fn netlink(data: &[u8]) {
    let first = vxmesh::linux::read_netlink(data);
    let second = vxmesh::linux::read_netlink(data);
    assert_eq!(first.ok(), second.ok());
}
