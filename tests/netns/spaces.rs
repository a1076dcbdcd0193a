//! The harness itself.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use socket2::Socket;
use vxmesh::linux::sys;
use vxmesh::types::Mac;

use crate::frames::{Plug, ethernet, holds, marker};
use crate::harness::{Space, cable, can_run};
use crate::pretend::Until;

#[test]
fn a_space_is_gone_after_a_panic() {
    if !can_run() {
        return;
    }
    let mut name = String::new();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let space = Space::new("panic");
        name = space.name().to_owned();
        assert!(vxmesh::linux::netns::path(&name).exists());
        space.enter(|| panic!("inside"));
    }));
    assert!(panic.is_err());
    assert!(!vxmesh::linux::netns::path(&name).exists());
}

#[test]
fn two_spaces_with_a_cable_reach_each_other() {
    if !can_run() {
        return;
    }
    let (a, b) = (Space::new("a"), Space::new("b"));
    cable(&a, "eth0", &b, "eth0");
    a.sh("ip address add 10.9.0.1/24 dev eth0");
    b.sh("ip address add 10.9.0.2/24 dev eth0");
    a.sh("ping -c 1 -W 2 10.9.0.2");
}

#[test]
fn an_ear_on_one_interface_hears_no_other_from_its_first_moment() {
    if !can_run() {
        return;
    }
    let space = Space::new("ear");
    space.sh(
        "for name in loud quiet; do ip link add $name type veth peer name $name-end; ip link set $name up; ip link set $name-end up; done",
    );
    let quiet = space.sh("cat /sys/class/net/quiet/ifindex").trim().parse().unwrap();
    let (speaker, said, stop) = (Plug::new(&space, "loud"), marker(1), AtomicBool::new(false));
    let noise = ethernet(Mac([2, 0, 0, 0, 0, 1]), Mac::BROADCAST, &said);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                speaker.send(&noise);
            }
        });
        let _until = Until(&stop);
        let mut buffer = [0; 2048];
        space.enter(|| {
            for time in 0..100 {
                let ear = Socket::from(sys::packet_socket(quiet).unwrap());
                ear.set_nonblocking(true).unwrap();
                while let Ok(length) = (&ear).read(&mut buffer) {
                    assert!(!holds(&buffer[..length], &said), "a frame of the other interface, time {time}");
                }
            }
        });
    });
}
