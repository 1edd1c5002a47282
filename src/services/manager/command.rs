//! What a message to the service manager asks for.

use crate::limits::UNIQUE_NAME_BYTES_MAX;
use crate::message::Handle;
use crate::seri::Value;

#[derive(Debug, PartialEq)]
pub(super) enum Command {
    /// A node's service manager; `None` if it is no handle.
    Report(Option<Handle>),
    Query(Wanted),
    Launch(Wanted, Vec<Value>),
    List,
    /// It cannot be done, as this text says.
    Refused(String),
}

/// A unique service that somebody wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What it is known by, with its `@`.
    pub(super) key: Vec<u8>,
    /// What makes it.
    pub(super) kind: Vec<u8>,
}

/// The message does not begin with anything that could be a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Command {
    /// The command that packed values are.
    pub(super) fn of(values: Vec<Value>) -> Result<Self, Unknown> {
        let mut values = values.into_iter();
        let command = values.next().and_then(text).ok_or(Unknown)?;
        let launch = |wanted: Result<(Wanted, Vec<Value>), String>| match wanted {
            Ok((wanted, arguments)) => Self::Launch(wanted, arguments),
            Err(reason) => Self::Refused(reason),
        };
        let query = |wanted: Result<(Wanted, Vec<Value>), String>| match wanted {
            Ok((wanted, _)) => Self::Query(wanted),
            Err(reason) => Self::Refused(reason),
        };
        Ok(match command.as_slice() {
            b"LAUNCH" => launch(wanted("", values)),
            b"GLAUNCH" => launch(wanted("@", values)),
            b"QUERY" => query(wanted("", values)),
            b"GQUERY" => query(wanted("@", values)),
            b"REPORT" => match values.next().unwrap_or_default() {
                Value::Nil => Self::Refused("a service manager has a handle".to_owned()),
                manager => Self::Report(handle(&manager)),
            },
            b"LIST" => Self::List,
            other => Self::Refused(format!("Invalid command {}", String::from_utf8_lossy(other))),
        })
    }
}

/// The service that the values name, and the rest of them.
fn wanted(mark: &str, mut values: impl Iterator<Item = Value>) -> Result<(Wanted, Vec<Value>), String> {
    let mut name = || values.next().and_then(text).ok_or("a unique service has a name");
    let mut key = mark.as_bytes().to_vec();
    key.extend(name()?);
    let mut kind = key.strip_prefix(b"@").unwrap_or(&key).to_vec();
    // All snax services are one kind of Lua service: the second name says which.
    if kind == b"snaxd" {
        let below = name()?;
        for named in [&mut key, &mut kind] {
            named.push(b'.');
            named.extend_from_slice(&below);
        }
    }
    if key.len() > UNIQUE_NAME_BYTES_MAX {
        return Err(format!("the name of a unique service has at most {UNIQUE_NAME_BYTES_MAX} bytes"));
    }
    Ok((Wanted { key, kind }, values.collect()))
}

/// A string, or a number as Lua writes it into one.
fn text(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(text) => Some(text),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::Float(number) => Some(format!("{number:?}").into_bytes()),
        Value::Nil | Value::Bool(_) | Value::Pointer(_) | Value::Table(_) => None,
    }
}

fn handle(value: &Value) -> Option<Handle> {
    let bits = value.as_int().and_then(|bits| u32::try_from(bits).ok())?;
    Some(Handle::from_bits(bits)).filter(|handle| !handle.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seri::Table;

    fn wanted(key: &str, kind: &str) -> Wanted {
        Wanted { key: key.into(), kind: kind.into() }
    }

    fn refused(reason: &str) -> Result<Command, Unknown> {
        Ok(Command::Refused(reason.to_owned()))
    }

    #[test]
    fn commands_name_services_with_and_without_a_mark() {
        let one = || vec![Value::Int(1)];
        for (values, command) in [
            (vec!["LAUNCH".into(), "@a".into(), Value::Int(1)], Command::Launch(wanted("@a", "a"), one())),
            (vec!["GLAUNCH".into(), "a".into(), Value::Int(1)], Command::Launch(wanted("@a", "a"), one())),
            (vec!["LAUNCH".into(), "a".into()], Command::Launch(wanted("a", "a"), vec![])),
            (vec!["QUERY".into(), "@a".into()], Command::Query(wanted("@a", "a"))),
            (vec!["GQUERY".into(), "a".into(), "b".into()], Command::Query(wanted("@a", "a"))),
            (vec!["QUERY".into(), "a".into()], Command::Query(wanted("a", "a"))),
            (vec!["QUERY".into(), Value::Int(7)], Command::Query(wanted("7", "7"))),
            (
                vec!["LAUNCH".into(), "@snaxd".into(), "a".into(), Value::Int(1)],
                Command::Launch(wanted("@snaxd.a", "snaxd.a"), one()),
            ),
            (
                vec!["GQUERY".into(), "snaxd".into(), "a".into()],
                Command::Query(wanted("@snaxd.a", "snaxd.a")),
            ),
            (vec!["REPORT".into(), Value::Int(0x0200_0006)], {
                Command::Report(Some(Handle::from_bits(0x0200_0006)))
            }),
            (vec!["REPORT".into(), Value::Int(0xff00_0006)], {
                Command::Report(Some(Handle::from_bits(0xff00_0006)))
            }),
            (vec!["REPORT".into(), "what".into()], Command::Report(None)),
            (vec!["REPORT".into(), Value::Int(-1)], Command::Report(None)),
            (vec!["LIST".into(), Value::Int(1)], Command::List),
        ] {
            assert_eq!(Command::of(values), Ok(command));
        }
    }

    #[test]
    fn what_cannot_be_done_has_a_text() {
        let nameless = "a unique service has a name";
        let long = Value::Bytes(vec![b'a'; UNIQUE_NAME_BYTES_MAX]);
        for (values, reason) in [
            (vec!["launch".into()], "Invalid command launch"),
            (vec![Value::Int(5)], "Invalid command 5"),
            (vec![Value::Float(1.5)], "Invalid command 1.5"),
            (vec!["LAUNCH".into()], nameless),
            (vec!["GLAUNCH".into(), Value::Bool(true)], nameless),
            (vec!["QUERY".into(), Value::Nil], nameless),
            (vec!["QUERY".into(), "@snaxd".into()], nameless),
            (vec!["GQUERY".into(), Table::default().into()], nameless),
            (vec!["REPORT".into()], "a service manager has a handle"),
            (vec!["GQUERY".into(), long], "the name of a unique service has at most 255 bytes"),
        ] {
            assert_eq!(Command::of(values), refused(reason));
        }
    }

    #[test]
    fn some_messages_are_no_commands() {
        for values in [vec![], vec![Value::Nil], vec![Value::Bool(true)], vec![Table::default().into()]] {
            assert_eq!(Command::of(values), Err(Unknown));
        }
    }
}
