//! The newcomer's command.

mod program;

use program::{check_shape, run, stderr, stdout};

#[test]
fn quick_prints_one_table_and_pass() {
    let output = run("quick --secs 0.2");
    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(text.ends_with("\nPASS\n"), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let header = lines.iter().position(|line| line.starts_with("workload ")).expect("a table");
    for (row, name) in ["pingpong ", "pairs ", "rtt ", "flood "].iter().enumerate() {
        assert!(lines[header + 1 + row].starts_with(name), "{text}");
    }
    for name in ["pingpong latency", "pairs latency", "rtt latency"] {
        assert!(lines.contains(&name), "{text}");
    }
    // Without a terminal, one plain line per step.
    let steps: Vec<String> = stderr(&output).lines().map(str::to_owned).collect();
    assert_eq!(steps, ["1/4 pingpong: 0.2 s", "2/4 pairs: 0.2 s", "3/4 rtt: 0.2 s", "4/4 flood: 0.2 s"]);
}

#[test]
fn quick_for_programs_is_a_line_per_step() {
    let output = run("quick --secs 0.1 --json");
    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("the line is JSON")).collect();
    for (record, line) in records.iter().zip(text.lines()) {
        check_shape(record, line);
    }
    let names: Vec<_> = records.iter().map(|record| record["workload"].as_str().expect("a name")).collect();
    assert_eq!(names, ["pingpong", "pairs", "rtt", "flood"]);
}
