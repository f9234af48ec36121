use super::*;
use std::collections::BTreeMap;

fn read_toml(text: &str) -> Result<InterfaceConfig, String> {
    let table: toml::Table = toml::from_str(text).unwrap();
    let Ok(Value::Object(table)) = serde_json::to_value(table) else { unreachable!("a table") };
    InterfaceConfig::from_table(table).map_err(|error| error.to_string())
}

fn refusal(text: &str) -> String {
    read_toml(text).expect_err(text)
}

#[test]
fn the_documented_defaults_are_the_real_ones() {
    let config = read_toml("kind = \"dummy\"\nmap = \"maps/dummy.json\"").unwrap();
    assert!(config.enabled && config.replies && !config.retain && !config.accept_retained);
    assert_eq!(config.qos, QoS::AtLeastOnce);
    assert_eq!(config.max_command_age, Duration::from_secs(5));
    for kind in DriverKind::ALL {
        // Written out, every documented default is accepted and changes nothing.
        let required = match kind {
            DriverKind::Dummy => "",
            DriverKind::Serial => "port = \"/dev/ttyACM0\"\nframe = { length = 2 }\n",
            DriverKind::Tcp => "address = \"panel:4001\"\nframe = { idle = \"20ms\" }\n",
            DriverKind::Exec => "command = [\"true\"]\n",
        };
        let bare = format!("kind = \"{kind}\"\nmap = \"m.json\"\n{required}");
        let mut spelt_out = bare.clone();
        for option in common_options().iter().chain(kind_options(kind)) {
            if let Some(default) = option.default.filter(|default| !default.is_empty()) {
                spelt_out.push_str(&format!("{} = {default}\n", option.key));
            }
        }
        let (bare, spelt_out) = (read_toml(&bare).unwrap(), read_toml(&spelt_out).unwrap());
        assert_eq!(format!("{bare:?}"), format!("{spelt_out:?}"));
    }
}

#[test]
fn every_required_option_is_missed_by_name() {
    for kind in DriverKind::ALL {
        for option in kind_options(kind).iter().filter(|option| option.default.is_none()) {
            let error = refusal(
                &format!(
                    "kind = \"{kind}\"\nmap = \"m\"\n{}",
                    if option.key == "frame" { "port = \"p\"\naddress = \"a:1\"\n" } else { "" }
                )
                .replace(if kind == DriverKind::Serial { "address = \"a:1\"\n" } else { "port = \"p\"\n" }, ""),
            );
            assert!(error.contains(&format!("`{}`", option.key)), "{kind}: {error}");
        }
    }
}

#[test]
fn an_unknown_option_is_refused_with_the_one_that_was_meant() {
    let error = refusal("kind = \"dummy\"\nmap = \"m\"\nperoid = \"1s\"");
    assert_eq!(error, "`peroid`: is no option of an interface of kind `dummy`; did you mean `period`?");
    let error = refusal("kind = \"dummy\"\nmap = \"m\"\nbroadcast = true");
    assert!(error.contains("it knows period, enabled"), "{error}");
    let error = refusal("kind = \"serial\"\nport = \"p\"\nmap = \"m\"\nframe = { lenght = 2 }");
    assert!(error.starts_with("`frame.lenght`: ") || error.starts_with("`frame`: "), "{error}");
    assert!(error.contains("lenght"), "{error}");
}

#[test]
fn a_nested_mistake_is_named_by_its_place() {
    let error = refusal(
        "kind = \"serial\"\nport = \"p\"\nmap = \"m\"\nframe = { length = 2 }\n[[receive]]\nmatch = \"1\"\n[[receive]]\nmatch = 2",
    );
    assert!(error.starts_with("`receive[1].match`: invalid type"), "{error}");
}

#[test]
fn what_can_not_be_meant_is_refused_in_words() {
    let serial = "kind = \"serial\"\nport = \"p\"\nmap = \"m\"\n";
    for (text, words) in [
        ("map = \"m\"".to_owned(), "`kind`: is missing; use one of dummy, serial, tcp, exec"),
        ("kind = \"modbus\"\nmap = \"m\"".into(), "`kind`: \"modbus\" is unknown"),
        ("kind = \"dummy\"".into(), "`map`: is missing"),
        ("kind = \"dummy\"\nmap = \"m\"\nroot = \"home\"".into(), "`root`: the map has its own root"),
        ("kind = \"dummy\"\nmap = \"m\"\ntopics = [\"a\"]".into(), "`topics`: the map has its own topics"),
        ("kind = \"dummy\"\nmap = \"m\"\nname = \"a/b\"".into(), "`name`: the name \"a/b\" becomes a topic level"),
        ("kind = \"dummy\"\nmap = \"m\"\nqos = 3".into(), "`qos`: QoS is 0, 1 or 2, not 3"),
        ("kind = \"dummy\"\nmap = \"m\"\nperiod = 30".into(), "`period`: invalid type"),
        (
            "kind = \"dummy\"\nmap = \"m\"\nperiod = \"30\"".into(),
            "`period`: expected a duration such as \"5s\", \"500ms\" or \"1h30m\", found \"30\"",
        ),
        ("kind = \"dummy\"\nmap = \"m\"\nperiod = \"0s\"".into(), "`period`: must be at least 10 ms"),
        (format!("{serial}frame = {{}}"), "`frame`: give exactly one of `length`, `delimiter` and `idle`"),
        (format!("{serial}frame = {{ length = 2, idle = \"1s\" }}"), "`frame`: give exactly one of"),
        (format!("{serial}frame = {{ length = 0 }}"), "`frame.length`: must be 1 to 4096"),
        (format!("{serial}frame = {{ delimiter = \"\" }}"), "`frame.delimiter`: is empty"),
        (
            format!("{serial}frame = {{ delimiter = \"0\", encoding = \"hex\" }}"),
            "`frame.delimiter`: \"0\" is not pairs of hex",
        ),
        (format!("{serial}frame = {{ length = 2 }}\ndata_bits = 9"), "`data_bits`: must be 5 to 8"),
        (
            format!("{serial}frame = {{ length = 2 }}\nreconnect = {{ min = \"2s\", max = \"1s\" }}"),
            "`reconnect.max`: is shorter",
        ),
        (
            "kind = \"tcp\"\nmap = \"m\"\naddress = \"panel\"\nframe = { length = 1 }".into(),
            "`address`: \"panel\" is not of the form",
        ),
        ("kind = \"exec\"\nmap = \"m\"\ncommand = []".into(), "`command`: names no program"),
    ] {
        let error = refusal(&text);
        assert!(error.starts_with(words), "{text}\n{error}");
    }
}

#[test]
fn a_toml_document_reads_straight_into_interfaces() {
    #[derive(Deserialize)]
    struct Document {
        interfaces: BTreeMap<String, InterfaceConfig>,
    }
    let text = "[interfaces.radio]\nkind = \"exec\"\nroot = \"home\"\ntopics = [\"home/+/radio/#\"]\ncommand = [\"sh\"]\n[interfaces.radio.params]\nport = 7\n";
    let document: Document = toml::from_str(text).unwrap();
    let radio = &document.interfaces["radio"];
    assert_eq!(radio.kind(), DriverKind::Exec);
    let DriverConfig::Exec(exec) = &radio.driver else { panic!("{radio:?}") };
    assert_eq!(exec.params["port"], 7);
}
