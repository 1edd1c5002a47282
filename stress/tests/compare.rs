//! Histogram files: written by a run, compared with each other, refused when they are something else.

mod program;

use program::{command, record, run, stderr, stdout};
use std::fs;
use std::path::Path;
use std::process::Output;

fn compare(first: &Path, second: &Path) -> Output {
    command("compare").args([first, second]).output().expect("the program starts")
}

#[test]
fn two_runs_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.hgrm"), folder.path().join("b.hgrm"));
    let first = record(&format!("pingpong --n 3000 --hgrm {}", a.display()));
    record(&format!("call --n 3000 --hgrm {}", b.display()));

    let output = compare(&a, &b);
    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains(&format!("A  {}, 3000 values\n", a.display())), "{text}");
    for row in ["p50 ", "p90 ", "p99 ", "p99.9 ", "max ", "mean "] {
        assert!(text.lines().any(|line| line.starts_with(row)), "no row {row}: {text}");
    }
    let row = text.lines().find(|line| line.starts_with("max ")).unwrap();
    let microseconds: f64 = row.split_whitespace().nth(1).unwrap().parse().unwrap();
    let nanos = first["max_ns"].as_u64().unwrap() as f64;
    assert!((microseconds * 1000.0 - nanos).abs() < 1.0, "{row} is not {nanos} ns");
}

#[test]
fn a_run_is_as_fast_as_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.hgrm");
    record(&format!("call --n 2000 --hgrm {}", file.display()));
    let text = stdout(&compare(&file, &file));
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(['p', 'm'])).collect();
    assert!(rows.len() >= 7 && rows.iter().all(|row| row.ends_with("     1.00")), "{text}");
}

#[test]
fn other_files_are_refused_by_name_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.hgrm");
    fs::write(&good, "Value Percentile TotalCount 1/(1-Percentile)\n\n1.0 0.5 1 2.00\n2.0 1.0 2\n").unwrap();
    for (content, why) in [
        (Some("{\"workload\":\"call\"}\n"), "is not percentile text (.hgrm): it has no line with"),
        (Some("Value Percentile TotalCount 1/(1-Percentile)\n\n1.0 half 1\n"), "line 3 is not value"),
        (Some("Value Percentile TotalCount 1/(1-Percentile)\n"), "it has no values"),
        (None, "No such file"),
    ] {
        let bad = folder.path().join("bad.hgrm");
        match content {
            Some(content) => fs::write(&bad, content).unwrap(),
            None => fs::remove_file(&bad).unwrap(),
        }
        for output in [compare(&good, &bad), compare(&bad, &good)] {
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let error = stderr(&output);
            assert!(error.contains("bad.hgrm") && error.contains(why), "{error}");
            assert!(output.stdout.is_empty(), "{output:?}");
        }
    }
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.hgrm");
    fs::File::create(&large).unwrap().set_len((16 << 20) + 1).unwrap();
    let output = compare(&large, &large);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("is larger than 16777216 bytes"), "{output:?}");
}

#[test]
fn a_histogram_that_cannot_be_written_fails_the_run() {
    let output = run("call --n 100 --hgrm /nonexistent/folder/a.hgrm");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("FAIL call: /nonexistent/folder/a.hgrm: "), "{output:?}");
    assert!(!stdout(&output).contains("PASS"), "{output:?}");
}
