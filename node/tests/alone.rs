//! One node that is alone, through the program: calls, names, signals, the log, the control socket.

mod program;

use program::{Program, output, reply, stderr, until};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

const SERVICES: &str =
    "[[service]]\nkind = \"echo\"\nname = \"ECHO\"\n[[service]]\nkind = \"kv\"\nname = \".kv\"\n";

#[test]
fn services_are_called_by_global_and_local_name_and_by_handle() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Program::start(folder.path(), "node", SERVICES);
    node.wait_for("running");
    let values = ["1", "-2.5", "\"x\"", "null", "{\"a\":[1,{\"bytes\":\"ff\"}],\"7\":true}"];
    let shown = "[1,-2.5,\"x\",null,{\"7\":true,\"a\":[1,{\"bytes\":\"ff\"}]}]";
    assert_eq!(node.call(&[&["ECHO"][..], &values].concat()), Ok(shown.to_owned()));
    assert_eq!(node.call(&["ECHO"]), Ok("[]".to_owned()));
    assert_eq!(node.call(&[".kv", "\"set\"", "\"k\"", "[1]"]), Ok("[null]".to_owned()));
    assert_eq!(node.call(&[".kv", "\"get\"", "\"k\""]), Ok("[[1]]".to_owned()));

    let names = node.names();
    assert_eq!((&names["harbor"], &names["complete"]), (&0.into(), &true.into()));
    assert_eq!(names["names"][0]["name"], "ECHO");
    let handle = names["names"][0]["handle"].as_str().unwrap().to_owned();
    assert_eq!(node.call(&[&handle, "5"]), Ok("[5]".to_owned()));
    node.stop();
}

#[test]
fn a_call_without_a_reply_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Program::start(folder.path(), "node", SERVICES);
    node.wait_for("running");
    for (arguments, reason) in [
        (&[".none"][..], ".none: no such service"),
        (&[":00000007"], ":00000007: no such service"),
        (&[".kv", "\"fly\""], ".kv: the callee does not handle such a request"),
        (&[".kv", "\"get\""], ".kv: the callee failed with code 1"),
    ] {
        assert_eq!(node.call(arguments), Err(format!("skyharbor: {reason}")));
    }
    let called = node.start_call("100ms", &["NOBODY"]).wait_with_output().unwrap();
    assert_eq!(reply(&called), Err("skyharbor: NOBODY: no service has the name NOBODY".to_owned()));

    let socket = node.control().to_str().unwrap().to_owned();
    for (arguments, reason) in [
        (&["text"][..], "argument 1, text, is not JSON"),
        (&["18446744073709551615"], "does not fit 64 bits"),
        (&["[18446744073709551616]"], "argument 1: 18446744073709551616 does not fit 64 bits"),
        (&["{\"bytes\":\"0\"}"], "pairs of hexadecimal digits"),
    ] {
        let called = output(&[&["call", "--via", &socket, "ECHO"][..], arguments].concat());
        assert_eq!(called.status.code(), Some(2), "asked for the wrong thing: {arguments:?}");
        assert!(stderr(&called).contains(reason), "{}", stderr(&called));
    }
    node.stop();
    let called = output(&["call", "--via", &socket, "ECHO"]);
    assert_eq!(called.status.code(), Some(1));
    assert!(stderr(&called).contains("no node answers at"), "{}", stderr(&called));
}

#[test]
fn the_control_socket_is_private_and_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Program::start(folder.path(), "node", SERVICES);
    node.wait_for("running");
    let socket = node.control().to_owned();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    let mut second = Program::start(folder.path(), "node", SERVICES);
    second.wait_for("another process answers there");
    assert_eq!(second.wait().0.code(), Some(1));
    assert_eq!(node.call(&["ECHO"]), Ok("[]".to_owned()), "the first one keeps its socket");

    node.signal(Signal::KILL);
    node.wait();
    assert!(socket.exists(), "a killed node leaves its socket");
    let mut third = Program::start(folder.path(), "node", SERVICES);
    third.wait_for("running");
    assert_eq!(third.call(&["ECHO"]), Ok("[]".to_owned()));
    third.stop();
    assert!(!socket.exists());
}

#[test]
fn rubbish_on_the_control_socket_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Program::start(folder.path(), "node", SERVICES);
    node.wait_for("running");
    for rubbish in [
        &b"\xff\x00\xfe\n"[..],
        b"{\"call\":{\"to\":\"\"}}\n",
        b"{\"call\":{\"to\":\"ECHO\",\"arguments\":[{\"bytes\":\"x\"}]}}\n",
    ] {
        let stream = UnixStream::connect(node.control()).unwrap();
        (&stream).write_all(rubbish).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.contains("{\"error\":{\"reason\":\"request\""), "{line}");
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let stream = UnixStream::connect(node.control()).unwrap();
    (&stream)
        .write_all(format!("{{\"call\":{{\"to\":\"ECHO\",\"arguments\":{deep}}}}}\n").as_bytes())
        .unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert!(line.contains("error"), "{line}");
    assert_eq!(node.call(&["ECHO", "1"]), Ok("[1]".to_owned()));
    node.stop();
}

#[test]
fn sighup_opens_the_log_again() {
    let folder = tempfile::tempdir().unwrap();
    let (log, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let config = format!("logger = \"{}\"\n{SERVICES}", log.display());
    let node = Program::start(folder.path(), "node", &config);
    until("running in the log", || fs::read_to_string(&log).is_ok_and(|text| text.contains("running")));
    fs::rename(&log, &moved).unwrap();
    node.signal(Signal::HUP);
    until("a new log", || log.exists());
    node.stop();
    assert!(fs::read_to_string(&moved).unwrap().contains("running"));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("leaving") && text.contains("ended") && !text.contains("running"), "{text}");
}

#[test]
fn ctrl_c_leaves_gracefully() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Program::start(folder.path(), "node", SERVICES);
    node.wait_for("running");
    node.signal(Signal::INT);
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("leaving"), "{log}");
}

#[test]
fn skynets_own_form_runs_too() {
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("node.sock");
    fs::write(folder.path().join("common"), "thread = 1\nbootstrap = \"snlua bootstrap\"\nname = \"ECHO\"\n")
        .unwrap();
    let text = format!(
        "include \"common\"\nharbor = 0 -- alone\ncontrol = \"{}\"\nservice = \"echo \" .. name .. \", kv .kv\"\n",
        control.display()
    );
    fs::write(folder.path().join("config"), text).unwrap();
    let mut node = Program::start_file(&folder.path().join("config"), control);
    node.wait_for("running");
    assert_eq!(node.call(&["ECHO", "\"x\""]), Ok("[\"x\"]".to_owned()));
    node.stop();
}
