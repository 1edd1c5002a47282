//! What is said over the control socket.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// One line from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Call a service.
    Call(Call),
    /// Which names and peers does the node see?
    Names {},
}

/// A call with packed values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    /// A global name, a local `.name` or a `:handle`.
    pub(crate) to: String,
    /// The arguments, as `crate::json` reads them.
    #[serde(default)]
    pub(crate) arguments: Vec<Json>,
    /// The deadline; without it the node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
}

/// One line back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// What the callee answered, one element per value.
    Reply(Vec<Json>),
    /// What the node sees.
    Names(Names),
    /// Why there is no answer.
    Error(Failure),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// One word, for programs.
    pub(crate) reason: String,
    /// A sentence, for people.
    pub(crate) text: String,
}

impl Failure {
    /// A failure with its word and its sentence.
    pub(crate) fn new(reason: &str, text: impl std::fmt::Display) -> Self {
        Self { reason: reason.to_owned(), text: text.to_string() }
    }
}

/// Names and peers as one node sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Names {
    /// The node's id.
    pub(crate) harbor: u8,
    /// Whether its link to the master is up.
    pub(crate) master_up: bool,
    /// Whether `names` can be complete.
    pub(crate) complete: bool,
    /// Known global names.
    pub(crate) names: Vec<NameLine>,
    /// Peers.
    pub(crate) peers: Vec<PeerLine>,
}

/// A global name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NameLine {
    /// The name; bytes that are no text are escaped.
    pub(crate) name: String,
    /// Its owner, as `:0100000a`.
    pub(crate) handle: String,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeerLine {
    /// Its id.
    pub(crate) harbor: u8,
    /// Its address, if it is known.
    pub(crate) address: Option<String>,
    /// `wait`, `handshake`, `up` or `down`.
    pub(crate) state: String,
    /// Messages held for it.
    pub(crate) held: usize,
    /// Calls to it without an answer.
    pub(crate) pending: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_are_written_as_documented() {
        let call = Call { to: "ECHO".into(), arguments: vec![json!(1), json!("x")], timeout_ms: Some(1000) };
        for (request, line) in [
            (Request::Call(call), r#"{"call":{"to":"ECHO","arguments":[1,"x"],"timeout_ms":1000}}"#),
            (Request::Names {}, r#"{"names":{}}"#),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        }
        let short: Request = serde_json::from_str(r#"{"call":{"to":".kv"}}"#).unwrap();
        assert_eq!(short, Request::Call(Call { to: ".kv".into(), arguments: vec![], timeout_ms: None }));
    }

    #[test]
    fn requests_with_unknown_parts_are_refused() {
        for line in [
            "",
            "[]",
            r#"{"stop":{}}"#,
            r#"{"call":{}}"#,
            r#"{"call":{"to":1}}"#,
            r#"{"call":{"to":"A","timeout":1}}"#,
            r#"{"call":{"to":"A","timeout_ms":-1}}"#,
            r#"{"names":{},"call":{"to":"A"}}"#,
            r#"{"names":{"of":"A"}}"#,
        ] {
            assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
        }
    }
}
