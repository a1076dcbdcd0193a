use proptest::prelude::*;

use super::*;

/// Runs a program as the kernel does, on a call.
fn run(program: &[libc::sock_filter], machine: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let word = |offset: u32| match offset {
        NUMBER => number,
        MACHINE => machine,
        _ => {
            let half = (offset - ARGUMENTS) / 4;
            let argument = arguments[usize::try_from(half / 2).unwrap()];
            u32::try_from(if half.is_multiple_of(2) { argument & 0xffff_ffff } else { argument >> 32 }).unwrap()
        }
    };
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let step = program[at];
        at += 1;
        let holds = match step.code {
            LOAD => {
                accumulator = word(step.k);
                continue;
            }
            AND => {
                accumulator &= step.k;
                continue;
            }
            RETURN => return step.k,
            EQUAL => accumulator == step.k,
            AT_LEAST => accumulator >= step.k,
            other => panic!("an instruction {other:#x}"),
        };
        at += usize::from(if holds { step.jt } else { step.jf });
    }
}

/// What rules mean, without any program.
fn meaning(rules: &[Rule], otherwise: Action, number: u32, arguments: [u64; 6]) -> u32 {
    let holds = |rule: &&Rule| {
        rule.call == i64::from(number)
            && match rule.when {
                When::Always => true,
                When::Argument { index, mask, value } => {
                    let low = u32::try_from(arguments[usize::from(index)] & 0xffff_ffff).unwrap();
                    low & mask == value
                }
            }
    };
    rules.iter().find(holds).map_or(otherwise, |rule| rule.action).value()
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let when =
        prop_oneof![
            Just(When::Always),
            (0..6_u8, prop_oneof![Just(u32::MAX), 0..8_u32], 0..8_u32)
                .prop_map(|(index, mask, value)| When::Argument { index, mask, value }),
        ];
    let action = prop_oneof![Just(Action::Allow), Just(Action::Fail(libc::EPERM)), Just(Action::Kill)];
    let rule = (0..10_i64, when, action).prop_map(|(call, when, action)| Rule { call, when, action });
    prop::collection::vec(rule, 0..30)
}

proptest! {
    #[test]
    fn a_program_does_what_its_rules_mean(
        rules in rules(), number in 0..12_u32, arguments in prop::array::uniform6(prop_oneof![0..10_u64, any::<u64>()]),
    ) {
        let Some(machine) = ARCHITECTURE else { return Ok(()) };
        let program = program(&rules, Action::Fail(libc::ENOSYS)).unwrap();
        let expected = meaning(&rules, Action::Fail(libc::ENOSYS), number, arguments);
        prop_assert_eq!(run(&program, machine, number, arguments), expected);
        let killed = Action::Kill.value();
        prop_assert_eq!(run(&program, machine ^ 1, number, arguments), killed, "a call of another architecture");
        prop_assert_eq!(run(&program, machine, number | X32, arguments), killed, "a 32-bit call");
    }
}

/// What a thread gets for a call.
fn answer(rules: &[Rule], call: libc::c_long, first: [u64; 3]) -> u32 {
    let [a, b, c] = first;
    let program = program(rules, Action::Fail(libc::EPERM)).unwrap();
    run(&program, ARCHITECTURE.unwrap(), u32::try_from(call).unwrap(), [a, b, c, 0, 0, 0])
}

#[test]
fn the_lists_say_what_they_should() {
    use super::super::calls;
    if ARCHITECTURE.is_none() {
        return;
    }
    let (kill, allow, refuse) = (Action::Kill.value(), Action::Allow.value(), Action::Fail(libc::EPERM).value());
    for rules in [calls::lane(), calls::manager(), calls::no_programs()] {
        for call in
            [libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_bpf, libc::SYS_mount, libc::SYS_setns]
        {
            assert_eq!(answer(&rules, call, [0; 3]), kill, "{call}");
        }
    }
    for rules in [calls::lane(), calls::manager()] {
        for call in
            [libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_kill, libc::SYS_setuid]
        {
            assert_eq!(answer(&rules, call, [0; 3]), refuse, "{call}");
        }
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            assert_eq!(answer(&rules, call, [0, 4096, 3]), allow, "memory for data");
            assert_eq!(answer(&rules, call, [0, 4096, 7]), refuse, "memory to run");
        }
        assert_eq!(answer(&rules, libc::SYS_prctl, [15, 0, 0]), allow, "PR_SET_NAME");
        assert_eq!(answer(&rules, libc::SYS_prctl, [4, 1, 0]), refuse, "PR_SET_DUMPABLE");
    }
    assert_eq!(answer(&calls::lane(), libc::SYS_ioctl, [3, 0x5412, 0]), refuse, "TIOCSTI");
    assert_eq!(answer(&calls::lane(), libc::SYS_clone, [0x3d0f00, 0, 0]), refuse, "a lane starts no thread");
    assert_eq!(answer(&calls::manager(), libc::SYS_clone, [0x3d0f00, 0, 0]), allow, "a thread");
    assert_eq!(answer(&calls::manager(), libc::SYS_clone, [17, 0, 0]), refuse, "a process");
}
