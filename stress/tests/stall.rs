//! A run in which nothing moves ends, and says what it waits for.

mod program;

use program::{run, stderr, stdout};

#[test]
fn a_stall_is_named_and_fails_the_run() {
    // The second request is due after 100 s.
    let output = run("openloop --n 2 --rate 0.01 --stall 1");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = stderr(&output);
    assert!(
        error.contains("FAIL openloop: no progress for 1.00s; 1 counted, outstanding: 1 of 1 client"),
        "{error}"
    );
    assert!(!stdout(&output).contains("PASS"), "{output:?}");
}
