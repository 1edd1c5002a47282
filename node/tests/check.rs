//! `skyharbor check`: every error with its line, exit codes.

mod program;

use program::{output, stderr, stdout};
use std::fs;

#[test]
fn a_sound_configuration_is_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, "harbor = 2\naddress = \"a:1\"\nmaster = \"m:1\"\nthread = 2\nadres = 1\n").unwrap();
    let checked = output(&["check", path.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0));
    let file = path.display();
    assert_eq!(
        stdout(&checked),
        format!("{file}: OK: slave, harbor 2, address a:1, master m:1, 2 workers\n")
    );
    assert_eq!(stderr(&checked), format!("{file}:5: warning: unknown key adres, did you mean address?\n"));
}

#[test]
fn every_error_is_reported_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, expected) in [
        (
            "node.toml",
            "harbor = 300\nmaster = \"m\"\n[[service]]\nkind = \"gate\"\nname = \"G\"\n",
            &[
                ":1: error: harbor is 300, it must be 1 to 255, or 0 for a node that is alone",
                ":2: error: master = \"m\": an address is host:port, the port is missing",
                ":4: error: kind is \"gate\", it must be echo or kv",
            ][..],
        ),
        (
            "config",
            "harbor = 1\naddress = \"$UNSET_VARIABLE:1\"\n-- comment\nthread = os.getenv('N')\n",
            &[
                ":1: error: master is missing: a node with a harbor id needs a master, or hosts it with standalone",
                ":2: error: the environment has no variable UNSET_VARIABLE",
                ":4: error: `thread = os.getenv('N')` is code; skyharbor reads literals only",
            ],
        ),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let checked = output(&["check", path.to_str().unwrap()]);
        assert_eq!(checked.status.code(), Some(2));
        assert_eq!(stdout(&checked), "");
        let file = path.display();
        let mut lines: Vec<_> = expected.iter().map(|line| format!("{file}{line}\n")).collect();
        lines.push(format!("skyharbor: {file} has {} errors\n", expected.len()));
        assert_eq!(stderr(&checked), lines.concat());
    }
}

#[test]
fn run_refuses_what_check_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, "harbor = 1\n").unwrap();
    let ran = output(&["run", path.to_str().unwrap()]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(stderr(&ran).contains(":1: error: address is missing"), "{}", stderr(&ran));
    let ran = output(&["run", folder.path().join("absent.toml").to_str().unwrap()]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(stderr(&ran).contains("absent.toml: error: cannot be read"), "{}", stderr(&ran));
}
