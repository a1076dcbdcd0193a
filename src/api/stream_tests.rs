
#[test]
fn of_answers_that_come_together_the_newest_counts_and_what_cannot_be_read_only_came() {
    let (well, unheard) = (Answer::default(), Answer { unreported: true });
    assert_eq!((well.line(), unheard.line()), (b"{}\n".to_vec(), b"{\"unreported\":true}\n".to_vec()));
    for (lines, newest) in [
        ([well.line(), unheard.line()].concat(), unheard),
        ([unheard.line(), well.line()].concat(), well),
        (b"{\"unreported\":true,\"later\":1}\n".to_vec(), unheard),
        (b"{\"unrep".to_vec(), well),
        (Vec::new(), well),
    ] {
        assert_eq!(Answer::newest(&lines), newest, "{}", String::from_utf8_lossy(&lines));
    }
}
