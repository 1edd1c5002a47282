//! Whole texts: what they mean, and every error with its line.

use super::*;

fn lines(error: ConfigError) -> Vec<String> {
    error.problems().iter().map(ToString::to_string).collect()
}

fn skynet_text(text: &str) -> Result<Config, ConfigError> {
    Config::from_skynet(text, Path::new(""), |name| (name == "IP").then(|| "10.0.0.1".to_owned()))
}

/// Asserts that a text is refused for one reason, in this line and with these words.
fn refused(read: impl Fn(&str) -> Result<Config, ConfigError>, text: &str, line: u32, words: &str) {
    let Err(error) = read(text) else { panic!("accepted: {text}") };
    let problems = error.problems();
    let errors: Vec<_> = problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{text}\n{error}");
    assert_eq!(errors[0].place.as_ref().map(|place| place.line), Some(line), "{text}\n{error}");
    assert!(errors[0].fault.to_string().contains(words), "{text}\n{error}");
}

#[test]
fn a_full_file_of_toml() {
    let config = Config::from_toml(
        r#"
harbor = 2
address = "game2.internal:2526"
bind = "[::]:2526"
master = "game1.internal:2013"
thread = 4
pin = true
start = "main"
logger = "node.log"
logger_level = "debug"
control = "/run/skyharbor/node2.sock"
default_deadline = "250ms"
heartbeat = "200ms"
heartbeat_deadline = "1s"
stall_deadline = "0s"
unreachable_deadline = "1m"
memory = 67108864
pause_deadline = "20s"
compress = 65536

[[service]]
kind = "echo"
name = "ECHO"

[[service]]
kind = "kv"
name = ".kv"
"#,
    )
    .unwrap();
    let expected = Config::local()
        .harbor(2)
        .address("game2.internal:2526")
        .bind("[::]:2526")
        .master("game1.internal:2013")
        .threads(4)
        .pin(true)
        .start("main")
        .logger("node.log")
        .logger_level(LoggerLevel::Debug)
        .control("/run/skyharbor/node2.sock")
        .default_deadline(Duration::from_millis(250))
        .heartbeat(Duration::from_millis(200), Duration::from_secs(1))
        .stall_deadline(Duration::ZERO)
        .unreachable_deadline(Duration::from_secs(60))
        .memory(64 << 20)
        .pause_deadline(Duration::from_secs(20))
        .compress(65536)
        .service(ServiceKind::Echo, "ECHO")
        .service(ServiceKind::Kv, ".kv");
    assert_eq!(config, expected);
    assert_eq!(
        (config.role(), config.workers(), config.listen_address()),
        (Role::Slave, 4, Some("[::]:2526"))
    );
}

#[test]
fn the_same_in_skynets_form() {
    let text = "
        include_dir = nil
        thread = \"8\"
        harbor = 1
        address = \"$IP:2526\"  -- as peers see it
        master = \"127.0.0.1:2013\"
        standalone = \"0.0.0.0:2013\"
        start = 'main'
        bootstrap = \"snlua bootstrap\"
        luaservice = \"./service/?.lua\"
        profile = false
        service = 'echo ECHO, kv .kv'
    ";
    let config = skynet_text(text).unwrap();
    assert_eq!((config.harbor.get(), config.role(), config.workers()), (1, Role::Standalone, 8));
    assert_eq!(config.address.as_deref(), Some("10.0.0.1:2526"));
    assert_eq!(config.services.len(), 2);
    let notes: Vec<_> = config.notes().iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "line 2: warning: unknown key include_dir",
            "line 9: info: ignored, skyharbor has no use for them: bootstrap, luaservice, profile",
        ]
    );
}

#[test]
fn memory_has_a_default_and_a_least() {
    for (text, memory) in [("", 2 << 30), ("memory = 33554432", 32 << 20), ("memory = 8589934592", 8 << 30)] {
        assert_eq!(Config::from_toml(text).unwrap().memory, memory, "{text}");
        assert_eq!(skynet_text(text).unwrap().memory, memory, "{text}");
    }
    assert_eq!(skynet_text("memory = '67108864'").unwrap().memory, 64 << 20);
    assert!(Config::local().memory((32 << 20) - 1).check().is_err());
}

#[test]
fn compression_is_off_or_begins_at_a_size() {
    for (value, compress) in [("\"off\"", None), ("1024", Some(1024)), ("16777203", Some(16_777_203))] {
        let text = format!("compress = {value}");
        assert_eq!(Config::from_toml(&text).unwrap().compress, compress, "{text}");
        assert_eq!(skynet_text(&text).unwrap().compress, compress, "{text}");
    }
    assert_eq!(skynet_text("compress = '4096'").unwrap().compress, Some(4096));
    assert_eq!(Config::local().compress, None);
}

#[test]
fn nothing_is_a_node_that_is_alone() {
    let config = Config::from_toml("").unwrap();
    assert_eq!(config, Config::local());
    assert_eq!(config.role(), Role::Alone);
    assert!(config.workers() >= 1);
    assert_eq!(skynet_text("-- nothing").unwrap(), Config::local());
}

#[test]
fn roles_follow_from_the_keys() {
    let base = Config::local().harbor(1).address("a:1");
    assert_eq!(base.clone().master("m:1").role(), Role::Slave);
    let both = base.standalone("0.0.0.0:2013");
    assert_eq!((both.role(), both.master_address()), (Role::Standalone, Some("127.0.0.1:2013".to_owned())));
    let master = Config::local().standalone("a:1").master_only(true);
    assert_eq!((master.role(), master.check()), (Role::Master, Ok(())));
    let text = "standalone = \"0.0.0.0:2013\"\nrole = \"master\"\n";
    assert_eq!(Config::from_toml(text).unwrap().role(), Role::Master);
}

/// A slave without faults, on lines 1 to 3; the fault comes on line 4.
const SLAVE: &str = "harbor = 2\naddress = \"a:1\"\nmaster = \"m:1\"\n";

#[test]
fn every_kind_of_error_has_its_line() {
    for (line, words) in [
        ("thread = 0", "thread is 0, it must be 1 to 256"),
        ("thread = 257", "thread is 257"),
        ("thread = -1", "thread is -1"),
        ("thread = 4.0", "thread must be an integer, not a float"),
        ("thread = 99999999999999999999", "not a float"),
        ("thread = 1979-05-27", "not a date"),
        ("pin = 1", "pin must be true or false, not an integer"),
        ("start = 1", "start must be a text"),
        ("logger = ''", "logger is missing"),
        ("logger_level = \"loud\"", "it must be error, warn, info, debug or trace"),
        ("control = \"\"", "path of 1 to 107 bytes, this one has 0"),
        ("default_deadline = 5", "with its unit"),
        ("default_deadline = \"5\"", "with its unit"),
        ("default_deadline = \"2h\"", "1ms to 1h"),
        ("default_deadline = \"0s\"", "1ms to 1h"),
        ("heartbeat = 1", "with its unit"),
        ("heartbeat = \"2h\"", "heartbeat must be"),
        ("heartbeat_deadline = \"0s\"", "1ms to 1h"),
        ("heartbeat_deadline = \"1s\"", "less than twice the heartbeat"),
        ("stall_deadline = \"2h\"", "stall_deadline must be"),
        ("unreachable_deadline = \"2s\"", "3s to 1h"),
        ("memory = 33554431", "memory is 33554431, it must be 33554432 bytes or more"),
        ("memory = -1", "memory is -1"),
        ("memory = \"2 GiB\"", "must be an integer"),
        ("pause_deadline = \"0ms\"", "pause_deadline"),
        ("compress = 1023", "compress is 1023, it must be \"off\", or 1024 to 16777203 bytes"),
        ("compress = 16777204", "1024 to 16777203 bytes"),
        ("compress = -1", "compress is -1"),
        ("compress = \"on\"", "must be an integer"),
        ("compress = true", "must be an integer"),
        ("bind = \"localhost\"", "the port is missing"),
        ("bind = \"::1:2526\"", "stands in brackets"),
        ("bind = [\"a:1\"]", "bind must be a text, not an array"),
        ("bind = \"m:1\"", "bind and master are the same address"),
        ("role = \"boss\"", "alone, slave, standalone or master"),
        ("role = \"standalone\"", "the other keys make it \"slave\""),
        ("service = 1", "[[service]] tables"),
        ("service = [1]", "not an integer"),
        ("[service]\nkind = \"echo\"", "two brackets"),
        ("[[service]]\nname = \"A\"", "no kind"),
        ("[[service]]\nkind = \"kv\"", "no name"),
        ("[[service]]\nname = \"1234567890123456\"\nkind = \"kv\"", "15 bytes"),
        ("[[service]]\nname = \"12\"\nkind = \"kv\"", "look like a number"),
        ("[[service]]\nname = \".\"\nkind = \"kv\"", "a local name"),
    ] {
        refused(Config::from_toml, &format!("{SLAVE}{line}\n"), 4, words);
    }
    refused(
        Config::from_toml,
        &format!("{SLAVE}[[service]]\nname = \"A\"\nkind = \"gate\"\n"),
        6,
        "echo or kv",
    );
}

#[test]
fn relations_are_checked() {
    for (text, line, words) in [
        ("harbor = 256", 1, "harbor is 256, it must be 1 to 255"),
        ("harbor = -1", 1, "harbor is -1"),
        ("\nharbor = 2\nmaster = \"m:1\"", 2, "address is missing"),
        ("\nharbor = 2\naddress = \"a:1\"", 2, "master is missing"),
        ("address = \"a:1\"\nmaster = \"m:1\"", 1, "harbor is missing"),
        ("harbor = 0\nstandalone = \"a:1\"", 2, "standalone with harbor 0"),
        ("harbor = 1\nrole = \"master\"\nstandalone = \"a:1\"", 2, "leave out harbor"),
        ("role = \"master\"", 1, "standalone is missing"),
        ("harbor = 2\naddress = \"A:1\"\nmaster = \"a:1\"", 2, "address and master are the same"),
        ("harbor = 2\naddress = \"a:1\"\nmaster = \"m:0\"", 3, "must not be 0"),
        ("harbor = 2\naddress = \"a:1\"\nstandalone = \"m:0\"", 3, "must not be 0"),
        (
            "harbor = 2\naddress = \"a:1\"\nbind = \"0.0.0.0:2013\"\nstandalone = \"127.0.0.1:2013\"",
            3,
            "need a port each",
        ),
        (
            "harbor = 2\nmaster = \"m:1\"\naddress = \"a:0\"\nbind = \"0.0.0.0:2526\"",
            3,
            "not be 0 where bind is set",
        ),
        (
            "harbor = 2\nmaster = \"m:1\"\naddress = \"a:1\"\nbind = \"0.0.0.0:0\"",
            4,
            "not be 0 where bind is set",
        ),
        ("harbor = \"2\"\naddress = \"a:1\"", 1, "harbor must be an integer, not a text"),
        ("role = \"slave\"", 1, "make it \"alone\""),
    ] {
        refused(Config::from_toml, text, line, words);
    }
}

#[test]
fn values_of_skynets_form_may_stand_in_quotes() {
    let config = skynet_text("thread = '4'\npin = 'true'\n").unwrap();
    assert_eq!((config.threads, config.pin), (Some(4), true));
    for (text, line, words) in [
        ("thread = 'four'", 1, "it must be 1 to 256"),
        ("pin = 'yes'", 1, "true or false"),
        ("\nservice = 'echo'", 2, "pairs of kind and name"),
        ("\nservice = 'gate A'", 2, "echo or kv"),
        ("\nservice = {}", 2, "a text such as"),
        ("\nservice = 'echo A, kv A'", 2, "used by another"),
        (
            "\n\nthread = os.getenv('N')",
            3,
            "`thread = os.getenv('N')` is code; skyharbor reads literals only",
        ),
        ("address = \"$NONE:1\"\nharbor = 0", 1, "no variable NONE"),
    ] {
        refused(skynet_text, text, line, words);
    }
}

#[test]
fn every_error_is_reported_not_only_the_first() {
    let text =
        "harbor = 300\nadress = \"a:1\"\nmaster = \"m\"\nthread = \"x\"\n= 3\n[[service]]\nkind = \"gate\"\n";
    assert_eq!(
        lines(Config::from_toml(text).unwrap_err()),
        [
            "line 1: error: harbor is 300, it must be 1 to 255, or 0 for a node that is alone",
            "line 2: warning: unknown key adress, did you mean address?",
            "line 3: error: master = \"m\": an address is host:port, the port is missing",
            "line 4: error: thread must be an integer, not a text",
            "line 5: error: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`",
            "line 7: error: kind is \"gate\", it must be echo or kv",
        ]
    );
}

#[test]
fn what_is_no_error_is_noted() {
    for (text, words) in [
        ("harbor = 0\naddress = \"a:1\"\n", "line 2: warning: address has no effect"),
        ("harbour = 1\n", "line 1: warning: unknown key harbour, did you mean harbor?"),
        (
            "harbor = 1\naddress = \"0.0.0.0:1\"\nmaster = \"m:1\"\n",
            "line 2: warning: address = \"0.0.0.0:1\" names every",
        ),
        (
            "harbor = 1\naddress = \"a:1\"\nmaster = \"a:2\"\nstandalone = \"a:3\"\n",
            "line 3: warning: master and standalone",
        ),
        ("role = \"master\"\nstandalone = \"a:1\"\nbind = \"a:2\"\n", "line 3: warning: bind has no effect"),
        ("cluster = \"x\"\n", "line 1: info: ignored"),
    ] {
        let config = Config::from_toml(text).unwrap();
        let notes: Vec<_> = config.notes().iter().map(ToString::to_string).collect();
        assert_eq!(notes.len(), 1, "{text} {notes:?}");
        assert!(notes[0].starts_with(words), "{text} {notes:?}");
    }
    let config = skynet_text("thread = 1\nthread = 2\n").unwrap();
    assert_eq!(config.threads, Some(2));
    assert_eq!(
        config.notes()[0].to_string(),
        "line 2: warning: thread is set again, the value above is lost"
    );
}

#[test]
fn a_value_that_was_built_is_checked_without_lines() {
    let error = Config::local().harbor(1).threads(0).service(ServiceKind::Kv, "").check().unwrap_err();
    assert_eq!(error.problems().len(), 4, "{error}");
    assert!(error.to_string().contains("error: thread is 0"), "{error}");
}

#[test]
fn the_form_of_a_file_follows_from_its_name_or_content() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let config = Config::from_file(write("a.toml", b"thread = 2 # two\n")).unwrap();
    assert_eq!(config.threads, Some(2));
    assert_eq!(Config::from_file(write("a.conf", b"# toml\nthread = 3\n")).unwrap().threads, Some(3));
    let gbk = b"-- \xd6\xd0\xce\xc4\nthread = 4\n";
    assert_eq!(Config::from_file(write("config", gbk)).unwrap().threads, Some(4));
    assert_eq!(Config::from_file(write("bom", b"\xef\xbb\xbfthread = 5\n")).unwrap().threads, Some(5));

    let error = Config::from_file(write("b.toml", b"-- lua\nthread = 1\n")).unwrap_err();
    assert!(error.to_string().contains("b.toml: info: this looks like Skynet's form"), "{error}");
    assert!(error.to_string().contains("b.toml:1: error"), "{error}");
    let error = Config::from_file(folder.path().join("absent")).unwrap_err();
    assert!(error.to_string().contains("absent: error: cannot be read"), "{error}");
    let error =
        Config::from_file(write("large.toml", &vec![b'#'; CONFIG_BYTES_MAX as usize + 1])).unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[test]
fn an_outer_file_may_set_again_what_it_includes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("common"), "thread = 2\nharbor = 999\n").unwrap();
    fs::write(folder.path().join("node"), "include 'common'\nthread = 3\nharbor = 0\n").unwrap();
    let error = Config::from_file(folder.path().join("node")).unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
    assert!(error.to_string().contains("common:2: error: harbor is 999"), "{error}");
}

#[test]
fn services_that_are_set_again_replace_those_above() {
    let names =
        |config: &Config| config.services.iter().map(|service| service.name.clone()).collect::<Vec<_>>();
    let config = skynet_text("service = 'echo A'\nservice = 'kv B, echo A'\n").unwrap();
    assert_eq!(names(&config), ["B", "A"]);
    assert_eq!(config.notes().len(), 1, "{:?}", config.notes());
    assert_eq!(names(&skynet_text("service = 'echo A'\nservice = nil\n").unwrap()), [""; 0]);
    let again = "default_deadline = '1s'\ndefault_deadline = nil\n";
    assert_eq!(skynet_text(again).unwrap().default_deadline, CALL_DEADLINE);
}

#[test]
fn a_file_that_is_no_configuration_has_so_many_problems_and_no_more() {
    let kept = crate::limits::CONFIG_PROBLEMS_MAX + 1;
    for line in ["@\n", "a = f()\n", "a = \n@\n", "a = $UNSET\n", "= 1\n"] {
        let text = line.repeat(200_000 / line.len());
        for refused in [skynet_text(&text).unwrap_err(), Config::from_toml(&text).unwrap_err()] {
            let problems = refused.problems();
            assert!((1..=2 * kept).contains(&problems.len()), "{line:?}: {}", problems.len());
        }
    }
    let unknown: String = (0..10_000).map(|key| format!("key{key} = 1\n")).collect();
    let config = Config::from_toml(&unknown).unwrap();
    assert_eq!(config.notes().len(), kept);
    let last = config.notes().last().unwrap().to_string();
    assert_eq!(last, "line 501: warning: and more: only the first 500 are reported");
    let error = Config::from_toml(&(unknown + "thread = 'x'\n")).unwrap_err();
    assert!(
        error.to_string().contains("line 10001: error: thread must be"),
        "warnings leave room for errors"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[ \"'$\\[\\]{}()=.,;a-c0-9x\\\\\n#é-]{0,80}") {
        let _ = Config::from_toml(&text);
        let _ = skynet_text(&text);
    }
}
