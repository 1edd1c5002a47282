//! `skyharbor call`: one call, its reply as JSON.

use crate::arguments::CallArguments;
use crate::callee::Callee;
use crate::control::{self, Answer, Call, Request};
use crate::json;
use crate::limits::CLIENT_PATIENCE;
use crate::outcome::{Failed, say};
use serde_json::Value as Json;
use std::path::Path;

/// Calls through a running node, or from a node of its own, and prints the reply.
///
/// # Errors
/// The arguments are no JSON, or there is no reply.
pub(crate) fn call(arguments: &CallArguments) -> Result<(), Failed> {
    let callee: Callee = arguments.name.parse().map_err(Failed::usage)?;
    let values = parse_values(&arguments.values)?;
    let reply = match (&arguments.via, &arguments.config) {
        (Some(socket), _) => via(socket, arguments, values)?,
        (None, Some(config)) => crate::join::call(config, &callee, &values, arguments.timeout)?,
        (None, None) => return Err(Failed::usage("call needs --via SOCKET or --join --config CONFIG")),
    };
    say(Json::Array(reply))
}

fn via(socket: &Path, arguments: &CallArguments, values: Vec<Json>) -> Result<Vec<Json>, Failed> {
    let timeout_ms = u64::try_from(arguments.timeout.as_millis()).ok();
    let request = Request::Call(Call { to: arguments.name.clone(), arguments: values, timeout_ms });
    let patience = arguments.timeout.saturating_add(CLIENT_PATIENCE);
    match control::ask(socket, &request, patience).map_err(Failed::new)? {
        Answer::Reply(reply) => Ok(reply),
        Answer::Error(failure) => Err(Failed::new(format_args!("{}: {}", arguments.name, failure.text))),
        Answer::Names(_) => Err(Failed::new("the node answered another question")),
    }
}

fn parse_values(texts: &[String]) -> Result<Vec<Json>, Failed> {
    let parse = |(index, text): (usize, &String)| {
        let number = index + 1;
        let value = serde_json::from_str(text).map_err(|error| {
            let hint = "a string is written '\"text\"'";
            Failed::usage(format_args!("argument {number}, {text}, is not JSON ({error}); {hint}"))
        })?;
        // What has no packed value is as wrong as what is no JSON: said here, before anybody is called.
        let unfit = json::find_unfit_integer(text.as_bytes());
        match unfit.or_else(|| json::to_values(std::slice::from_ref(&value)).err()) {
            Some(error) => Err(Failed::usage(format_args!("argument {number}: {error}"))),
            None => Ok(value),
        }
    };
    texts.iter().enumerate().map(parse).collect()
}
