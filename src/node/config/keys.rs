//! What the keys mean: types, and the ranges without which [`Config`] could not hold a value.

use super::entry::{Entries, Entry, Form, Literal};
use super::problem::{Fault, Place, Problem, Severity};
use super::spelling::suggestion;
use super::{Config, LoggerLevel, ServiceEntry, ServiceKind};
use crate::limits::{
    CALL_DEADLINE, CONFIG_SERVICES_MAX, HEARTBEAT_DEADLINE, HEARTBEAT_TIME, MEMORY_BYTES, PAUSE_TIME_MAX,
    STALL_TIME_MAX, UNREACHABLE_TIME_MAX,
};
use crate::message::HarborId;
use crate::registry::HarborRange;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const HARBOR_RANGE: &str = "1 to 255, or 0 for a node that is alone";
const HARBOR_ENDS: &str = "two ids of 1 to 255, the lower one first, such as [200, 254]";
pub(super) const THREAD_RANGE: &str = "1 to 256";
pub(super) const MEMORY_RANGE: &str = "33554432 bytes or more";
pub(super) const COMPRESS_RANGE: &str = "\"off\", or 1024 to 16777203 bytes";

const KNOWN: [&str; 22] = [
    "harbor",
    "lease",
    "address",
    "bind",
    "master",
    "standalone",
    "role",
    "thread",
    "pin",
    "start",
    "logger",
    "logger_level",
    "control",
    "default_deadline",
    "heartbeat",
    "heartbeat_deadline",
    "stall_deadline",
    "unreachable_deadline",
    "memory",
    "pause_deadline",
    "compress",
    "service",
];

/// Keys of Skynet (`skynet_main.c`, `bootstrap.lua`, `loader.lua`, `snlua`) that mean nothing here.
const IGNORED: [&str; 17] = [
    "bootstrap",
    "cluster",
    "cpath",
    "daemon",
    "enablessl",
    "loader",
    "logpath",
    "logservice",
    "lua_cpath",
    "lua_path",
    "lualoader",
    "luaservice",
    "preload",
    "profile",
    "root",
    "snax",
    "snax_interface_g",
];

/// Where the keys of a configuration stood.
#[derive(Debug, Default)]
pub(super) struct Places {
    keys: BTreeMap<&'static str, Place>,
    services: Vec<Place>,
    /// Keys whose value was refused: the configuration has their default.
    broken: Vec<&'static str>,
    /// `role` as it was written.
    pub(super) role: Option<String>,
}

impl Places {
    pub(super) fn key(&self, key: &str) -> Option<&Place> {
        self.keys.get(key)
    }

    pub(super) fn service(&self, index: usize) -> Option<&Place> {
        self.services.get(index)
    }

    pub(super) fn broken(&self) -> &[&'static str] {
        &self.broken
    }

    fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }
}

/// Makes a configuration of entries, with the defaults in place of what was refused.
pub(super) fn interpret(mut found: Entries, form: Form) -> (Config, Places, Vec<Problem>) {
    let entries = std::mem::take(&mut found.entries);
    let mut reading = Reading {
        form,
        config: Config::local(),
        places: Places::default(),
        found,
        ignored: Vec::new(),
        ignored_place: None,
    };
    for entry in entries {
        reading.entry(entry);
    }
    reading.say_ignored();
    reading.require_harbor();
    (reading.config, reading.places, reading.found.problems)
}

struct Reading {
    form: Form,
    config: Config,
    places: Places,
    found: Entries,
    ignored: Vec<String>,
    ignored_place: Option<Place>,
}

impl Reading {
    fn entry(&mut self, entry: Entry) {
        let Some(key) = KNOWN.iter().copied().find(|known| *known == entry.key) else {
            return self.unknown(entry);
        };
        let above = self.places.keys.insert(key, entry.place.clone());
        // A file that sets what the files that it includes set is the common way to share a configuration.
        if above.is_some_and(|above| above.file == entry.place.file) && self.form == Form::Skynet {
            let fault = Fault::SetAgain { key: entry.key.clone() };
            self.found.note(entry.place.clone(), Severity::Warning, fault);
        }
        self.places.broken.retain(|broken| *broken != key);
        if let Err(fault) = self.set(key, &entry) {
            self.places.broken.push(key);
            self.found.error(entry.place, fault);
        }
    }

    fn unknown(&mut self, entry: Entry) {
        if IGNORED.contains(&entry.key.as_str()) {
            self.ignored_place.get_or_insert(entry.place);
            if !self.ignored.contains(&entry.key) {
                self.ignored.push(entry.key);
            }
            return;
        }
        let suggestion = suggestion(&entry.key, &KNOWN);
        self.found.note(entry.place, Severity::Warning, Fault::UnknownKey { key: entry.key, suggestion });
    }

    /// One line for all of them.
    fn say_ignored(&mut self) {
        if let Some(place) = self.ignored_place.take() {
            let keys = std::mem::take(&mut self.ignored);
            self.found.note(place, Severity::Info, Fault::IgnoredKeys { keys });
        }
    }

    /// A text that leaves out `harbor` and has addresses is refused: Skynet would take harbor 1.
    fn require_harbor(&mut self) {
        let first = ["address", "master", "standalone"].into_iter().find(|key| self.places.has(key));
        let left_out = !self.places.has("harbor") && !self.config.master_only;
        if let (Some(place), true) = (first.and_then(|key| self.places.key(key)).cloned(), left_out) {
            let why = "write 1 to 255 (Skynet takes 1 by itself), or 0 for a node that is alone";
            self.found.error(place, Fault::Missing { key: "harbor", why });
            self.places.broken.push("harbor");
        }
    }

    fn set(&mut self, key: &'static str, entry: &Entry) -> Result<(), Fault> {
        let value = Value { key: &entry.key, literal: &entry.value, form: self.form };
        let config = &mut self.config;
        match key {
            "harbor" => {
                config.harbor_range = value.harbor_range()?;
                config.harbor = match config.harbor_range {
                    Some(range) => range.first(),
                    None => value.harbor()?,
                };
            }
            "lease" => config.lease = value.text()?.map_or_else(|| Config::local().lease, PathBuf::from),
            "address" => config.address = value.text()?,
            "bind" => config.bind = value.text()?,
            "master" => config.master = value.text()?,
            "standalone" => config.standalone = value.text()?,
            "role" => {
                self.places.role = value.text()?;
                config.master_only = match self.places.role.as_deref() {
                    Some("master") => true,
                    None | Some("alone" | "slave" | "standalone") => false,
                    Some(other) => return Err(value.wrong_text(other, "alone, slave, standalone or master")),
                };
            }
            "thread" => config.threads = value.threads()?,
            "pin" => config.pin = value.bool()?.unwrap_or_default(),
            "start" => config.start = value.text()?,
            "logger" => config.logger = value.text()?.map(PathBuf::from),
            "logger_level" => config.logger_level = value.level()?,
            "control" => config.control = value.text()?.map(PathBuf::from),
            "default_deadline" => {
                config.default_deadline = value.duration()?.unwrap_or(CALL_DEADLINE);
            }
            "heartbeat" => config.heartbeat = value.duration()?.unwrap_or(HEARTBEAT_TIME),
            "heartbeat_deadline" => {
                config.heartbeat_deadline = value.duration()?.unwrap_or(HEARTBEAT_DEADLINE);
            }
            "stall_deadline" => config.stall_deadline = value.duration()?.unwrap_or(STALL_TIME_MAX),
            "unreachable_deadline" => {
                config.unreachable_deadline = value.duration()?.unwrap_or(UNREACHABLE_TIME_MAX);
            }
            "memory" => config.memory = value.memory()?,
            "pause_deadline" => {
                config.pause_deadline = value.duration()?.unwrap_or(PAUSE_TIME_MAX);
            }
            "compress" => config.compress = value.compress()?,
            "service" => self.services(entry)?,
            _ => {}
        }
        Ok(())
    }

    fn services(&mut self, entry: &Entry) -> Result<(), Fault> {
        // The key is there once, or stands for itself alone as every key that is set again.
        self.config.services.clear();
        self.places.services.clear();
        let mistyped =
            |expected| Fault::WrongType { key: entry.key.clone(), expected, found: entry.value.type_text() };
        match (&entry.value, self.form) {
            (Literal::Nil, _) => {}
            (Literal::List(list), Form::Toml) => {
                for (literal, place) in list {
                    self.service_table(literal, place);
                }
            }
            (Literal::Table(_), Form::Toml) => return Err(mistyped("written [[service]] with two brackets")),
            (_, Form::Toml) => return Err(mistyped("[[service]] tables")),
            (Literal::Text(text), Form::Skynet) => {
                for words in text.split(',') {
                    self.service_words(words, &entry.place)?;
                }
            }
            (_, Form::Skynet) => return Err(mistyped("a text such as \"echo ECHO, kv .kv\"")),
        }
        Ok(())
    }

    /// `kind name`.
    fn service_words(&mut self, words: &str, place: &Place) -> Result<(), Fault> {
        let key = "service".to_owned();
        let mut words = words.split_whitespace();
        let (Some(kind), Some(name), None) = (words.next(), words.next(), words.next()) else {
            let expected = "pairs of kind and name such as \"echo ECHO, kv .kv\"";
            return Err(Fault::WrongText { key, text: words.collect(), expected });
        };
        let kind = ServiceKind::from_text(kind).ok_or_else(|| unknown_kind(key, kind))?;
        self.add_service(kind, name.to_owned(), place.clone());
        Ok(())
    }

    /// One `[[service]]`; its problems are its own, the others are still read.
    fn service_table(&mut self, literal: &Literal, place: &Place) {
        let Literal::Table(entries) = literal else {
            let found = literal.type_text();
            let fault = Fault::WrongType { key: "service".to_owned(), expected: "[[service]] tables", found };
            return self.found.error(place.clone(), fault);
        };
        let (mut kind, mut name, mut complete) = (None, None, true);
        for entry in entries {
            let value = Value { key: &entry.key, literal: &entry.value, form: self.form };
            let read = match entry.key.as_str() {
                "kind" => value.text().and_then(|text| {
                    let text = text.unwrap_or_default();
                    kind = Some(
                        ServiceKind::from_text(&text)
                            .ok_or_else(|| unknown_kind("kind".to_owned(), &text))?,
                    );
                    Ok(())
                }),
                "name" => value.text().map(|text| name = text),
                _ => {
                    let suggestion = suggestion(&entry.key, &["kind", "name"]);
                    let fault = Fault::UnknownKey { key: entry.key.clone(), suggestion };
                    self.found.note(entry.place.clone(), Severity::Warning, fault);
                    Ok(())
                }
            };
            if let Err(fault) = read {
                complete = false;
                self.found.error(entry.place.clone(), fault);
            }
        }
        match (kind, name) {
            (Some(kind), Some(name)) => self.add_service(kind, name, place.clone()),
            (None, _) if complete => {
                self.found.error(place.clone(), Fault::ServiceIncomplete { key: "kind" })
            }
            (_, None) if complete => {
                self.found.error(place.clone(), Fault::ServiceIncomplete { key: "name" })
            }
            (None, _) | (_, None) => {}
        }
    }

    fn add_service(&mut self, kind: ServiceKind, name: String, place: Place) {
        if self.config.services.len() >= CONFIG_SERVICES_MAX {
            return self.found.error(place, Fault::TooManyServices { services_max: CONFIG_SERVICES_MAX });
        }
        self.config.services.push(ServiceEntry { kind, name });
        self.places.services.push(place);
    }
}

fn unknown_kind(key: String, text: &str) -> Fault {
    Fault::WrongText { key, text: text.to_owned(), expected: "echo or kv" }
}

/// A literal on its way to a type.
struct Value<'a> {
    key: &'a str,
    literal: &'a Literal,
    form: Form,
}

impl Value<'_> {
    fn wrong_type(&self, expected: &'static str) -> Fault {
        Fault::WrongType { key: self.key.to_owned(), expected, found: self.literal.type_text() }
    }

    fn wrong_text(&self, text: &str, expected: &'static str) -> Fault {
        Fault::WrongText { key: self.key.to_owned(), text: text.to_owned(), expected }
    }

    /// A text; `nil` is as if the key were absent.
    fn text(&self) -> Result<Option<String>, Fault> {
        match self.literal {
            Literal::Nil => Ok(None),
            Literal::Text(text) => Ok(Some(text.clone())),
            _ => Err(self.wrong_type("a text")),
        }
    }

    fn int(&self, expected: &'static str) -> Result<Option<i64>, Fault> {
        match (self.literal, self.form) {
            (Literal::Nil, _) => Ok(None),
            (Literal::Int(int), _) => Ok(Some(*int)),
            (Literal::Text(text), Form::Skynet) => {
                text.trim().parse().map(Some).map_err(|_| self.wrong_text(text, expected))
            }
            _ => Err(self.wrong_type("an integer")),
        }
    }

    fn bool(&self) -> Result<Option<bool>, Fault> {
        match (self.literal, self.form) {
            (Literal::Nil, _) => Ok(None),
            (Literal::Bool(value), _) => Ok(Some(*value)),
            (Literal::Text(text), Form::Skynet) => match text.as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(self.wrong_text(text, "true or false")),
            },
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// `[first, last]`, or `"first-last"`; none if it is one id.
    fn harbor_range(&self) -> Result<Option<HarborRange>, Fault> {
        let ends: [String; 2] = match self.literal {
            Literal::List(list) => match &list[..] {
                [(Literal::Int(first), _), (Literal::Int(last), _)] => [first.to_string(), last.to_string()],
                _ => return Err(self.wrong_type(HARBOR_ENDS)),
            },
            Literal::Text(text) => match text.split_once('-') {
                Some((first, last)) if !first.trim().is_empty() => [first.to_owned(), last.to_owned()],
                Some(_) | None => return Ok(None),
            },
            Literal::Nil
            | Literal::Bool(_)
            | Literal::Int(_)
            | Literal::Float(_)
            | Literal::Table(_)
            | Literal::Date => return Ok(None),
        };
        let [first, last] = ends.each_ref().map(|end| end.trim().parse::<u8>().ok());
        let range = first.zip(last).and_then(|(first, last)| HarborRange::new(first, last));
        range.map(Some).ok_or_else(|| self.wrong_text(&ends.join("-"), HARBOR_ENDS))
    }

    fn harbor(&self) -> Result<HarborId, Fault> {
        let value = self.int(HARBOR_RANGE)?.unwrap_or(0);
        let id = u8::try_from(value).map_err(|_| Fault::OutOfRange {
            key: "harbor",
            value,
            range: HARBOR_RANGE,
        })?;
        Ok(HarborId::new(id))
    }

    /// The number of threads; what an `u32` holds is checked with the rest of the configuration.
    fn threads(&self) -> Result<Option<u32>, Fault> {
        let Some(value) = self.int(THREAD_RANGE)? else { return Ok(None) };
        let range = Fault::OutOfRange { key: "thread", value, range: THREAD_RANGE };
        u32::try_from(value).map(Some).map_err(|_| range)
    }

    /// From which size on; what a payload cannot have is checked with the rest of the configuration.
    fn compress(&self) -> Result<Option<usize>, Fault> {
        if matches!(self.literal, Literal::Text(text) if text == "off") {
            return Ok(None);
        }
        let Some(value) = self.int(COMPRESS_RANGE)? else { return Ok(None) };
        let range = Fault::OutOfRange { key: "compress", value, range: COMPRESS_RANGE };
        usize::try_from(value).map(Some).map_err(|_| range)
    }

    /// How many bytes; whether that is enough is checked with the rest of the configuration.
    fn memory(&self) -> Result<usize, Fault> {
        let Some(value) = self.int(MEMORY_RANGE)? else { return Ok(MEMORY_BYTES) };
        usize::try_from(value).map_err(|_| Fault::OutOfRange { key: "memory", value, range: MEMORY_RANGE })
    }

    fn level(&self) -> Result<LoggerLevel, Fault> {
        let Some(text) = self.text()? else { return Ok(LoggerLevel::default()) };
        LoggerLevel::from_text(&text)
            .ok_or_else(|| self.wrong_text(&text, "error, warn, info, debug or trace"))
    }

    fn duration(&self) -> Result<Option<Duration>, Fault> {
        const EXPECTED: &str = "a number with its unit such as \"500ms\", \"5s\" or \"1m\"";
        match self.literal {
            Literal::Nil => Ok(None),
            Literal::Text(text) => {
                parse_duration(text).map(Some).ok_or_else(|| self.wrong_text(text, EXPECTED))
            }
            _ => Err(self.wrong_type(EXPECTED)),
        }
    }
}

/// A duration: a whole number and `ms`, `s`, `m` or `h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit_millis: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ids_is_a_list_or_a_text() {
        let ids =
            |text: &str| Config::from_toml(&format!("harbor = {text}\naddress = \"a:1\"\nmaster = \"b:2\""));
        for text in ["[200, 254]", "\"200-254\"", "\" 200 - 254 \""] {
            let config = ids(text).unwrap();
            assert_eq!(
                (config.harbor.get(), config.harbor_range),
                (200, HarborRange::new(200, 254)),
                "{text}"
            );
            assert_eq!(config.lease, PathBuf::from("skyharbor.lease"));
        }
        assert_eq!(ids("7").unwrap().harbor_range, None);
        for text in
            ["[254, 200]", "[0, 5]", "[1, 256]", "[1]", "[1, 2, 3]", "[\"1\", \"2\"]", "[-1, 5]", "\"5-\""]
        {
            assert!(ids(text).is_err(), "{text}");
        }
        let read = |text: &str| Config::from_skynet(text, std::path::Path::new(""), |_| None);
        let config =
            read("harbor = \"200-254\"\nlease = \"/var/l\"\naddress = \"a:1\"\nmaster = \"b:2\"").unwrap();
        assert_eq!(
            (config.harbor_range, config.lease),
            (HarborRange::new(200, 254), PathBuf::from("/var/l"))
        );
    }

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("5s", 5_000), ("500ms", 500), ("2 m", 120_000), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "5 sec", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
