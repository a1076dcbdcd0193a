use super::*;

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

fn status(state: &str, left: u64, pushed: u64) -> String {
    format!("Name:\tengine\nState:\t{state}\nvoluntary_ctxt_switches:\t{left}\nnonvoluntary_ctxt_switches:\t{pushed}\n")
}

/// What is told at each look, of what the kernel says then.
fn looks(all: &[(u64, String)]) -> Vec<bool> {
    let asleep = Asleep::default();
    all.iter().map(|(seconds, status)| asleep.lasts(status, at(*seconds))).collect()
}

#[test]
fn one_sleep_that_lasts_is_told_until_it_ends() {
    let hangs = || status("D (disk sleep)", 7, 2);
    let all = [(0, hangs()), (5, hangs()), (10, hangs()), (200, hangs()), (205, status("S (sleeping)", 8, 2))];
    assert_eq!(looks(&all), [false, false, true, true, false]);
    let again = [(0, hangs()), (10, status("R (running)", 7, 2)), (15, hangs()), (20, hangs()), (25, hangs())];
    assert_eq!(looks(&again), [false, false, false, false, true], "another sleep begins anew");
}

#[test]
fn a_thread_that_runs_in_between_or_lacks_the_processor_is_not_told() {
    let slow: Vec<_> = (0..20).map(|n| (n * 5, status("D (disk sleep)", 7 + n, 2))).collect();
    assert!(!looks(&slow).contains(&true), "a slow disk answers again and again");
    let pushed: Vec<_> = (0..20).map(|n| (n * 5, status("D (disk sleep)", 7, 2 + n))).collect();
    assert!(!looks(&pushed).contains(&true));
    for state in ["R (running)", "S (sleeping)", "T (stopped)", "t (tracing stop)", "I (idle)", "Z (zombie)"] {
        let busy: Vec<_> = (0..20).map(|n| (n * 5, status(state, 7, 2))).collect();
        assert!(!looks(&busy).contains(&true), "{state}");
    }
    assert_eq!(looks(&[(0, String::new()), (60, "State:\tD\n".to_owned())]), [false, false]);
}

#[test]
fn the_place_is_named_where_the_kernel_tells_it() {
    assert!(waits_in(Some("percpu_rwsem_wait")).contains("kernel (in percpu_rwsem_wait), most likely for a disk"));
    for none in [None, Some("0"), Some("")] {
        assert!(waits_in(none).contains("in the kernel, most likely"));
    }
}

#[test]
fn the_kernel_tells_of_a_thread_of_this_process_to_another_one() {
    let asleep = std::sync::Arc::new(Asleep::default());
    assert_eq!(asleep.waits(at(0)), None, "nobody is looked at yet");
    let (own, (send, wait)) = (std::sync::Arc::clone(&asleep), std::sync::mpsc::channel::<()>());
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        own.is_me();
        ready.send(()).unwrap();
        let _ = wait.recv();
    });
    is_ready.recv().unwrap();
    let told = read(&asleep.told.get().unwrap().status).unwrap();
    assert!(told.contains("State:") && told.contains("\nvoluntary_ctxt_switches:"), "{told}");
    assert_eq!((asleep.waits(at(0)), asleep.waits(at(60))), (None, None), "this sleep ends with a signal");
    drop(send);
    thread.join().unwrap();
    assert_eq!(asleep.waits(at(70)), None, "a thread that has ended");
}
