//! Any bytes as a configuration, in both forms: no panic, and every problem says in one line what it is, with a line that
//! the text has.

use skyharbor::{Config, ConfigError};
use std::path::Path;

fn check_problems(text: &str, result: Result<Config, ConfigError>) {
    match result {
        Ok(config) => {
            let _ = (config.check(), config.role(), config.workers());
        }
        Err(error) => {
            assert!(!error.problems().is_empty());
            // What is missing at the end is missing behind the last line.
            let lines = text.lines().count() + 1;
            for problem in error.problems() {
                assert!(!problem.to_string().contains('\n'), "{problem}");
                let line = problem.place.as_ref().map_or(0, |place| place.line as usize);
                assert!(line <= lines, "line {line} of {lines}: {problem}");
            }
        }
    }
}

/// One input.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    check_problems(&text, Config::from_toml(&text));
    // Other files would make the result depend on the machine.
    if !text.contains("include") {
        let variable = |name: &str| (name.len() < 4).then(|| name.to_owned());
        check_problems(&text, Config::from_skynet(&text, Path::new(""), variable));
    }
}
