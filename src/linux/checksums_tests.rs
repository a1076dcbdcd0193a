use super::*;

#[test]
fn programs_of_earlier_processes_are_known_until_the_machine_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path();
    let remembered = |own| {
        let (left, kept) = remember(run, own);
        kept.unwrap();
        left.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(remembered(None), [0_u32; 0]);
    assert_eq!(remembered(Some(10)), [0_u32; 0]);
    assert_eq!(remembered(Some(11)), [10]);
    assert_eq!(remembered(None), [10, 11]);
    for number in 20..60 {
        remembered(Some(number));
    }
    assert_eq!(remembered(None), (44..60).collect::<Vec<_>>(), "not more than some, and these are the newest");
    let text = fs::read_to_string(run.join(NUMBERS)).unwrap();
    let (_, numbers) = text.split_once('\n').unwrap();
    fs::write(run.join(NUMBERS), format!("another start\n{numbers}")).unwrap();
    assert_eq!(remembered(None), [0_u32; 0], "numbers of before mean other programs now");
    for nonsense in ["", "\n", "1\n2\n", "\u{0}\n-1\n99999999999\n"] {
        fs::write(run.join(NUMBERS), nonsense).unwrap();
        assert_eq!(remembered(None), [0_u32; 0]);
    }
}
