//! What the command line takes and refuses.

mod program;

use program::{run, stderr, stdout};

#[test]
fn the_help_names_every_workload_and_nothing_internal() {
    let help = stdout(&run("--help"));
    for name in [
        "quick", "pingpong", "call", "pairs", "fanin", "ring", "mixed", "tree", "idle", "rtt", "flood",
        "openloop", "compare",
    ] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))),
            "{name}: {help}"
        );
    }
    assert!(!help.contains("peer"), "{help}");
}

#[test]
fn a_wrong_command_line_exits_with_2_and_says_why() {
    for (line, why) in [
        ("", "Usage"),
        ("sprint", "unrecognized subcommand 'sprint'"),
        ("ring --n 5 --secs 1", "cannot be used with"),
        ("ring --n 0", "must be at least 1"),
        ("ring --secs 0", "must be between 0.001 and 86400 seconds"),
        ("ring --size 15", "15 is not in 16..="),
        ("ring --hgrm x", "unexpected argument '--hgrm'"),
        ("tree --secs 1", "unexpected argument '--secs'"),
        ("openloop --rate 0", "requests per second"),
        ("compare one.hgrm", "<SECOND>"),
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
        assert!(stderr(&output).contains(why), "{line}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{line}: {output:?}");
    }
}
