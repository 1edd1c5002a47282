//! What the command line takes and refuses.

mod program;

use program::{command, run, stderr, stdout};
use std::process::Stdio;

#[test]
fn the_help_names_every_workload_and_nothing_internal() {
    let help = stdout(&run("--help"));
    for name in [
        "quick", "pingpong", "call", "pairs", "fanin", "ring", "mixed", "tree", "idle", "rtt", "flood",
        "openloop", "chaos", "compare",
    ] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))),
            "{name}: {help}"
        );
    }
    assert!(!help.contains("peer") && !help.contains("member"), "{help}");
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

/// A pipe that nobody reads any more.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[test]
fn a_result_that_cannot_be_written_is_no_pass_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.hgrm");
    let file = file.to_str().unwrap();
    assert!(run(&format!("call --n 100 --hgrm {file}")).status.success());
    for line in ["call --n 100", "call --n 100 --json", &format!("compare {file} {file}")] {
        let output = command(line).stdout(closed_pipe()).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        let error = stderr(&output);
        assert!(error.contains("cannot write the result") && !error.contains("panicked"), "{line}: {error}");
    }
}

#[test]
fn a_run_passes_though_nobody_reads_its_progress() {
    let output = command("call --n 100").stderr(closed_pipe()).output().expect("the program starts");
    assert!(output.status.success() && stdout(&output).ends_with("\nPASS\n"), "{output:?}");
}

#[test]
fn the_help_of_fanin_tells_its_own_default() {
    assert!(stdout(&run("fanin --help")).contains("`fanin`: --n 5000000"));
}
