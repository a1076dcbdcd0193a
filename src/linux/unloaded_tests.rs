use super::*;
use crate::api::problem::Problem;
use crate::linux::KernelError;

fn error(filter: Ours, there: Option<bool>, why: KernelError) -> KernelError {
    KernelError::Filter { of: Unloaded { filter, there }, why: Box::new(why) }
}

fn mute() -> KernelError {
    KernelError::Mute("nft ended with status 1 and said nothing".to_owned())
}

#[test]
fn what_is_not_loaded_is_named_with_what_that_means_and_what_shows_why() {
    for (filter, there, table, meanwhile) in [
        (Ours::Guard, Some(false), "inet vxmesh", "no such table: VXLAN devices of before let in frames of anybody"),
        (Ours::Fence, Some(false), "bridge vxmesh_guests", "no such table: guests on bridges of before are unfiltered"),
        (Ours::Guard, Some(true), "inet vxmesh", "stays in force"),
        (Ours::Fence, None, "bridge vxmesh_guests", "nft ended with status 1 and said nothing"),
    ] {
        let error = error(filter, there, mute());
        let problem = Problem::from(&error);
        let text = error.to_string();
        assert!(text.starts_with(&format!("table {table} (")) && text.ends_with(meanwhile), "{text}");
        assert!(text.contains("nft ended with status 1 and said nothing"), "{text}");
        let help = problem.help.join("; ");
        assert!(
            help.starts_with(&format!("nft list table {table}; nft --version; ")) && !help.contains("kernel"),
            "{help}"
        );
        assert_eq!((problem.code.as_str(), error.devices()), ("M0622", None));
    }
}

#[test]
fn the_cause_keeps_its_code_and_a_reason_given_may_be_the_kernels() {
    let of = |why| Problem::from(&error(Ours::Guard, Some(false), why));
    let refused = of(KernelError::Nft("Error: no fib".to_owned()));
    assert!(refused.code == "M0622" && refused.what.contains("nft refuses: Error: no fib"), "{refused:?}");
    assert!(refused.help.join("; ").contains("'fib' expression"));
    let none = of(KernelError::NoNft);
    assert!(none.code == "M0621" && none.what.contains("let in frames of anybody"), "{none:?}");
    assert!(none.help.join("; ").contains("apt install nftables"));
    assert_eq!(of(KernelError::NotAllowed).exit, crate::api::problem::Exit::Denied);
}
