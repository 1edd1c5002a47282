//! The command line.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Runs a node of a Skynet cluster, checks its configuration, and talks to running nodes.
#[derive(Debug, Parser)]
#[command(name = "skyharbor", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node until Ctrl-C or SIGTERM, then leave the cluster gracefully; a second Ctrl-C ends it at once.
    ///
    /// SIGHUP opens the log file again.
    Run {
        /// The configuration: TOML (*.toml) or Skynet's own form.
        config: PathBuf,
    },
    /// Report every error of a configuration with its line; exit code 2 if there is one.
    Check {
        /// The configuration: TOML (*.toml) or Skynet's own form.
        config: PathBuf,
    },
    /// Call a service with packed values and print its reply as a JSON array.
    ///
    /// Integers, floats, strings, booleans and null are what they are in JSON; arrays and objects are tables, and an
    /// object key that reads like an integer is one. {"bytes": "00ff"} is a string that is not UTF-8, {"pairs": [[key,
    /// value], …]} a table with any keys. Replies are written the same way. Exit code 1 and the reason on stderr if
    /// there is no reply.
    Call(CallArguments),
    /// Print the names and peers that a running node knows.
    Names {
        /// The control socket of the running node.
        #[arg(long, value_name = "SOCKET")]
        via: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CallArguments {
    /// The control socket of a running node that makes the call.
    #[arg(long, value_name = "SOCKET", required_unless_present = "join", conflicts_with_all = ["join", "config"])]
    pub(crate) via: Option<PathBuf>,
    /// Join the cluster for this one call, as the node that --config describes.
    ///
    /// A real Skynet master never forgets a harbor id: the id of this configuration cannot join its cluster again
    /// until every real node has been restarted. Prefer --via where a node runs already.
    #[arg(long, requires = "config")]
    pub(crate) join: bool,
    /// The configuration for --join; its services and control socket are not started.
    #[arg(long, value_name = "CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// How long to wait for the reply: 500ms, 5s, 1m; from 1ms to 1h.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_timeout)]
    pub(crate) timeout: Duration,
    /// A global name, a local .name or a :handle.
    pub(crate) name: String,
    /// The arguments, each one JSON; a string is written '"text"'.
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub(crate) values: Vec<String>,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let expected = || "a number with its unit: 500ms, 5s or 1m, from 1ms to 1h".to_owned();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(digits);
    let unit_millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(expected()),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_millis));
    let time = millis.map(Duration::from_millis).filter(|time| !time.is_zero());
    time.filter(|time| *time <= crate::limits::CALL_TIME_MAX).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn calls_take_json_with_negative_numbers() {
        let line = ["skyharbor", "call", "--via", "sock", "--timeout", "250ms", "KV", "\"get\"", "-5", "[1]"];
        let Command::Call(call) = Arguments::try_parse_from(line).unwrap().command else { panic!() };
        assert_eq!(call.values, ["\"get\"", "-5", "[1]"]);
        assert_eq!(call.timeout, Duration::from_millis(250));
    }

    #[test]
    fn calls_go_one_way() {
        for line in [
            "skyharbor call KV",
            "skyharbor call --join KV",
            "skyharbor call --config c KV",
            "skyharbor call --via s --join --config c KV",
            "skyharbor call --via s",
            "skyharbor call --via s --timeout 5 KV",
            "skyharbor call --via s --timeout 0s KV",
            "skyharbor call --via s --timeout 2h KV",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        assert!(Arguments::try_parse_from("skyharbor call --join --config c KV 1".split(' ')).is_ok());
    }
}
