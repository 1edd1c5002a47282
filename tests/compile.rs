//! The programs that users should be able to write compile and run; misuse does not compile, for the reason that its
//! `.stderr` says.
//!
//! After a change of the API: `TRYBUILD=overwrite cargo test --test compile`, then read the difference.

/// The compiler whose words the `.stderr` files repeat. Others say the same with other words: for them only the
/// programs that compile are checked.
const WORDS_OF: &str = "rustc 1.95.";

#[test]
fn programs_compile_and_misuse_does_not() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile/pass/*.rs");
    if compiler().starts_with(WORDS_OF) {
        cases.compile_fail("tests/compile/fail/*.rs");
    }
}

/// What `rustc --version` says.
fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output().expect("a compiler");
    String::from_utf8_lossy(&version.stdout).into_owned()
}
