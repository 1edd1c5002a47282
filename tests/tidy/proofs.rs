//! Each rule fails where it should: small texts that break it, and the like that do not.

use super::*;

/// What a rule finds in these files, as `file:line`.
fn found(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
    let texts = files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
    rule(&House::of(texts)).into_iter().map(|finding| finding.place).collect()
}

/// Whether the rule finds something in one file.
fn breaks(rule: Rule, path: &str, text: &str) -> bool {
    !found(rule, &[(path, text)]).is_empty()
}

#[test]
fn imports_upwards_are_found() {
    for (path, text) in [
        ("src/wire/frame.rs", "use crate::runtime::Node;"),
        ("src/wire/frame.rs", "use crate::{message::Handle, harbor::Harbor};"),
        ("src/wire/frame.rs", "fn f() { let h: crate::net::Io = g(); }"),
        ("src/wire/frame.rs", "use super::super::net::Io;"),
        ("src/wire/mod.rs", "use super::net::Io;"),
        ("src/clock.rs", "use super::limits::SLOTS;"),
        ("src/wire/mod.rs", "mod inner { use super::super::net::Io; }"),
        ("src/harbor/mod.rs", "use crate::runtime::Addr;"),
        ("src/runtime/mod.rs", "use crate::registry::Master;"),
        ("src/message/mod.rs", "use crate::seri::Value;"),
        ("src/node/mod.rs", "use crate::sim::World;"),
        ("src/sync/mod.rs", "use crate::limits::SLOTS;"),
        ("src/wire/mod.rs", "use crate::Handle;"),
        ("src/wire/mod.rs", "use skyharbor::Handle;"),
        ("src/wire/mod.rs", "#[cfg(test)] mod tests { use crate::net::Io; }"),
        ("src/attic/mod.rs", ""),
    ] {
        assert!(breaks(imports, path, text), "{path}: {text}");
    }
}

#[test]
fn imports_downwards_are_fine() {
    for (path, text) in [
        (
            "src/wire/frame.rs",
            "use crate::message::Handle; use crate::seri::pack; use super::control::Packet;",
        ),
        ("src/wire/frame.rs", "// use crate::net::Io;\nlet text = \"crate::net::Io\"; /* crate::net */"),
        ("src/wire/frame.rs", "mod tests { use super::super::control::Packet; use super::*; }"),
        ("src/wire/mod.rs", "pub(crate) fn f() {} pub(super) fn g() {} pub(in crate::wire) fn h() {}"),
        ("src/harbor/link.rs", "use crate::registry::{Master, slave::{self, Slave as Other}};"),
        ("src/node/mod.rs", "use crate::{net::Io, harbor::Harbor, runtime::Runtime, services::Echo};"),
        ("src/lib.rs", "pub use node::Node; pub use crate::net::Io;"),
        ("stress/src/main.rs", "use crate::run::Run; use skyharbor::Node;"),
    ] {
        assert!(!breaks(imports, path, text), "{path}: {text}");
    }
}

#[test]
fn reserved_names_are_found_outside_tests() {
    for (path, text) in [
        ("src/runtime/worker.rs", "use std::sync::atomic::AtomicU32;"),
        ("src/runtime/worker.rs", "use std::{fmt, sync::{Arc, atomic::{self, Ordering}}};"),
        ("src/runtime/worker.rs", "use std::sync::Mutex;"),
        ("src/queue/run.rs", "use parking_lot::Mutex;"),
        ("src/queue/run.rs", "use loom::sync::Arc;"),
        ("src/node/host.rs", "use polling::Poller;"),
        ("src/harbor/mod.rs", "fn f() { std::net::TcpStream::connect(a); }"),
        ("src/clock.rs", "use std::time::Instant;"),
        ("src/harbor/mod.rs", "use crate::clock::Instant; fn f() { Instant::now(); }"),
        ("src/runtime/mod.rs", "use std::thread; fn f() { thread::spawn(g); }"),
        ("src/net/mod.rs", "fn f() { std::thread::Builder::new(); }"),
        ("src/runtime/mod.rs", "fn f() { unsafe { g() } }"),
        ("src/runtime/mod.rs", "#[cfg(test)] mod tests { unsafe fn f() {} }"),
        ("src/net/sockets.rs", "unsafe fn f() {}"),
        ("src/queue/mailbox.rs", "use crate::sync::fence;\nfn f() { fence(X); }"),
        ("node/src/main.rs", "unsafe fn f() {}"),
    ] {
        assert!(breaks(reserved_names, path, text), "{path}: {text}");
    }
    for (path, text) in [
        ("src/sync/real.rs", "pub use std::sync::atomic::AtomicU32; use parking_lot::Mutex;"),
        ("src/queue/run.rs", "#[cfg(loom)] mod locked {} use std::sync::Arc;"),
        (
            "src/queue/run.rs",
            "#[cfg(all(test, not(loom)))]\nmod tests {\n use std::sync::atomic::AtomicU32;\n}",
        ),
        ("src/node/config.rs", "use std::net::{IpAddr, Ipv4Addr};"),
        ("src/node/host.rs", "use crate::clock::Instant; fn f() { Instant::now(); std::thread::spawn(g); }"),
        ("src/net/registration.rs", "unsafe fn f() {}"),
        ("src/queue/node.rs", "unsafe fn f() {}"),
        ("src/runtime/mod.rs", "// unsafe\nconst TEXT: &str = r#\"unsafe \" { }\"#; const C: char = '\"';"),
        ("stress/src/main.rs", "use std::time::Instant; fn f() { Instant::now(); std::thread::spawn(g); }"),
    ] {
        assert!(!breaks(reserved_names, path, text), "{path}: {text}");
    }
}

#[test]
fn tests_in_files_of_their_own_are_tests() {
    let atomics = "use std::sync::atomic::AtomicU32;";
    let declared = ("src/queue/mailbox.rs", "#[cfg(all(test, loom))]\nmod models;\n");
    assert!(found(reserved_names, &[declared, ("src/queue/mailbox/models.rs", atomics)]).is_empty());
    let declared = ("src/queue/mailbox.rs", "mod models;\n#[cfg(any(test, loom))]\nmod models;\n");
    assert_eq!(
        found(reserved_names, &[declared, ("src/queue/mailbox/models.rs", atomics)]),
        ["src/queue/mailbox/models.rs:1"]
    );
    let after = "#[cfg(test)]\nmod tests {\n}\nuse std::sync::atomic::AtomicU32;\n";
    assert_eq!(found(reserved_names, &[("src/queue/run.rs", after)]), ["src/queue/run.rs:4"]);
}

#[test]
fn impurity_is_found() {
    let forbid = "//! x\n\n#![forbid(unsafe_code)]\n";
    for text in ["use std::thread;", "use crate::sync::Mutex;", "use std::hash::RandomState;", "use std::fs;"]
    {
        assert!(breaks(purity, "src/harbor/mod.rs", &format!("{forbid}{text}")), "{text}");
        assert!(!breaks(purity, "src/node/mod.rs", &format!("{forbid}{text}")), "{text}");
    }
    assert!(!breaks(purity, "src/harbor/mod.rs", &format!("{forbid}use std::io::IoSlice;")));
    assert!(breaks(purity, "src/seri/mod.rs", "//! x\n"));
    assert!(breaks(purity, "src/services/mod.rs", "//! x\n\n// #![forbid(unsafe_code)]\n"));
    assert!(!breaks(purity, "src/queue/mod.rs", "//! x\n"));
}

#[test]
fn orderings_without_partners_are_found() {
    let essay = ("src/queue/mod.rs", "//! | P1 | a store | a load |\n");
    let pair = "// [P1] publishes\na.store(1, Ordering::Release);\na.load(Ordering::Acquire); // [P1]\n";
    let relaxed = "a.load(Ordering::Relaxed);\n";
    let findings = |text: &str| found(orderings, &[essay, ("src/queue/a.rs", text)]);
    assert!(findings(&format!("{pair}{relaxed}")).is_empty());
    assert!(findings(&format!("{pair}#[cfg(test)]\nmod tests {{ fn f() {{ x(SeqCst); }} }}\n")).is_empty());
    for (text, places) in [
        (format!("{pair}x.load(Ordering::SeqCst);\n"), vec!["src/queue/a.rs:4"]),
        (format!("{pair}use Ordering::AcqRel as Strong;\n"), vec!["src/queue/a.rs:4"]),
        (format!("{pair}// [P1] far away\n\nx.load(Ordering::Acquire);\n"), vec!["src/queue/a.rs:6"]),
        (format!("{pair}x.load(Ordering::Acquire); // [P2]\n"), vec!["src/queue/a.rs:4"; 2]),
        ("x.load(Ordering::Acquire); // [P1]\n".into(), vec!["src/queue/a.rs:1"]),
        (relaxed.into(), vec!["src/queue"]),
    ] {
        assert_eq!(findings(&text), places, "{text}");
    }
}

#[test]
fn fences_elsewhere_are_found() {
    let text = "fn f() {\n fence(SeqCst); // [D1]\n}";
    assert!(!breaks(fences, "src/sync/doorbell.rs", text));
    assert!(breaks(fences, "src/queue/directory.rs", text));
    assert!(!breaks(fences, "src/queue/directory.rs", "// fence(SeqCst)"));
}

#[test]
fn sizes_are_measured_without_tests() {
    let lines = |count: usize| "fn f() {}\n".repeat(count);
    let tests = |count: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(count));
    assert!(breaks(sizes, "src/net/mod.rs", &lines(701)));
    assert!(!breaks(sizes, "src/net/mod.rs", &format!("{}{}", lines(700), tests(300))));
    assert!(breaks(sizes, "src/net/mod.rs", &format!("{}{}", tests(300), lines(701))));
    assert!(breaks(sizes, "stress/src/main.rs", &lines(701)));
    assert!(breaks(sizes, "src/net/mod.rs", &"//! x\n".repeat(61)));
    assert!(breaks(sizes, "examples/hello.rs", &lines(81)));
    assert!(!breaks(sizes, "tests/tidy.rs", &lines(2_000)));
}

#[test]
fn words_are_found() {
    for (path, text) in [
        ("src/net/mod.rs", "// TODO: later".to_owned()),
        ("stress/src/main.rs", "fn f() { todo!() }".into()),
        ("node/src/main.rs", "fn f() { dbg!(1); }".into()),
        ("src/net/util.rs", String::new()),
        ("src/common/mod.rs", String::new()),
        ("src/net/mod.rs", "mod helpers {\n}".into()),
        ("src/net/mod.rs", "pub mod core;".into()),
        ("src/net/mod.rs", "fn get_name() {}".into()),
        ("src/net/mod.rs", "let (tx, rx) = channel();".into()),
        ("src/net/mod.rs", "#[allow(dead_code)]\nfn f() {}".into()),
        ("src/net/mod.rs", "#[cfg(test)]\nmod tests {\n#[ignore]\nfn f() {}\n}".into()),
        ("node/tests/skynet/names.rs", "#[test]\n#[ignore = \"not yet\"]\nfn f() {}".into()),
    ] {
        assert!(breaks(words, path, &text), "{path}: {text}");
    }
    for text in [
        "#[expect(dead_code, reason = \"a table\")]\nfn getter(receiver: u8) { map.get_mut(1); }",
        "/// Does.\nfn todos() {}\nlet rx_count = a::get_core_ids();",
    ] {
        assert!(!breaks(words, "src/net/mod.rs", text), "{text}");
    }
}

#[test]
fn documents_that_fall_behind_are_found() {
    let house = |architecture: &str, english: &str, chinese: &str| {
        found(
            documents,
            &[
                ("src/net/mod.rs", ""),
                ("docs/ARCHITECTURE.md", architecture),
                ("README.md", english),
                ("README.zh-CN.md", chinese),
            ],
        )
    };
    let text = "# a\n```sh\n# not a heading\n```\n## b\n";
    assert!(house("the `net` folder", text, &text.replace('a', "c")).is_empty());
    assert_eq!(house("the net folder", text, text), ["docs/ARCHITECTURE.md"]);
    assert_eq!(house("`net`", text, "# a\n```sh\n```\n"), ["README.zh-CN.md"]);
    assert_eq!(house("`net`", text, "# a\n## b\n"), ["README.zh-CN.md"]);
    assert_eq!(house("`net`", text, &text.replace("```sh", "```")), ["README.zh-CN.md"]);
}

#[test]
fn documents_that_name_what_is_not_there_are_found() {
    let example = ("examples/hello.rs", "//! Hello.\n\nfn main() {}\n");
    let findings = |text: &str| found(documents, &[example, ("docs/A.md", text), ("src/lib.rs", "")]);
    assert!(findings("see `examples/hello.rs` and [it](../examples/hello.rs), `lib.rs`, `a/b`").is_empty());
    assert!(findings("see [A](A.md) and [there](https://example.org/b.md)").is_empty());
    assert_eq!(findings("see `examples/bye.rs`"), ["docs/A.md:1"]);
    assert_eq!(findings("see [B](B.md)"), ["docs/A.md:1"]);
    let proofs = ("tests/a.rs", "fn it_does_what_it_says() {}");
    let findings = |text: &str| found(documents, &[proofs, ("docs/A.md", text), ("src/lib.rs", "")]);
    assert!(
        findings("`it_does_what_it_says`, `it_does_what_…`, `no_such`, `SOME_SUCH_NAME_THERE`").is_empty()
    );
    assert_eq!(findings("\n`it_does_what_it_says`, `it_does_not_do_it`"), ["docs/A.md:2"]);
    let readmes = |text: &str| found(documents, &[example, ("README.md", text), ("README.zh-CN.md", text)]);
    assert!(readmes("```rust\nfn main() {}\n```\n").is_empty());
    assert_eq!(readmes("```rust\nfn main() { f() }\n```\n"), ["README.md", "README.zh-CN.md"]);
}

#[test]
fn machine_paths_are_found() {
    let path = ["/ho", "me/somebody/x"].concat();
    assert!(breaks(machine_paths, "README.md", &format!("see {path}")));
    assert!(breaks(machine_paths, "tests/a.stderr", &format!("--> {path}")));
    assert!(!breaks(machine_paths, "README.md", &format!("https://example.org{path}")));
}
