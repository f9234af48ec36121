//! The configuration as its user meets it: files, environment, flags, and what is said about mistakes.

use super::*;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use tempfile::TempDir;

struct Home {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
    flags: Vec<(String, String)>,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new(), flags: Vec::new() }
    }

    fn with(text: &str) -> Self {
        Self::new().file("hearthgate.toml", text)
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.push((key.into(), value.into()));
        self
    }

    fn load(&self) -> Result<LoadedSettings, SettingsError> {
        load(SettingsSources {
            file: None,
            // HOME and XDG_CONFIG_HOME are absent, so only the test's own folder is searched.
            environment: EnvironmentVariables::of(self.variables.iter().map(|(name, value)| (*name, value.as_str()))),
            flags: self.flags.clone(),
            working_dir: self.folder.path().to_owned(),
        })
    }

    fn settings(&self) -> GatewaySettings {
        self.load().unwrap_or_else(|error| panic!("{error}")).settings
    }

    fn findings(&self) -> Vec<String> {
        self.load().expect_err("accepted").findings.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn the_defaults_alone_are_a_usable_configuration() {
    let home = Home::new();
    let loaded = home.load().unwrap_or_else(|error| panic!("{error}"));
    assert!(loaded.is_first_run);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let settings = loaded.settings;
    assert_eq!(settings.mqtt.server, BrokerUrl::Embedded);
    assert!(settings.broker.is_enabled());
    assert_eq!(settings.interfaces["dummy"].kind().as_str(), "dummy");
    assert_eq!(settings.gateway.state_dir, home.folder.path().join("data"));
    assert_eq!(settings.mqtt.client_id, "hearthgate");
}

#[test]
fn every_key_in_the_comments_of_the_defaults_is_a_known_one() {
    // `# key = value` lines are examples that a person will uncomment.
    let uncommented: Vec<String> = DEFAULTS
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || is_assignment(rest) => rest.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let text = uncommented.join("\n");
    let home = Home::with(&text).env("MQTT_PASSWORD", "x").env("DB_PASSWORD", "x").env("HEARTHGATE_TOKEN", "x");
    let unknown: Vec<String> = home.findings().into_iter().filter(|finding| finding.contains("unknown key")).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(text.contains("\nusername = \"gateway\""), "no comment was uncommented");
}

fn is_assignment(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

#[test]
fn all_mistakes_are_told_at_once_with_line_and_remedy() {
    let text = "[mqtt]\nsevrer = \"mqtt://x\"\nkeep_alive = 60\nprotocol = \"4\"\n\n[flowz]\na = 1\n\n[broker]\nenabled = \"maybe\"\n[endpoints]\nretry = [\"0s\", \"soon\"]\n";
    let findings = Home::with(text).findings();
    assert_eq!(
        findings,
        [
            "hearthgate.toml:2: mqtt.sevrer: unknown key; did you mean \"server\"?",
            "hearthgate.toml:3: mqtt.keep_alive: expected a duration such as \"5s\", \"500ms\" or \"1h30m\", found the number 60",
            "hearthgate.toml:4: mqtt.protocol: unknown value \"4\"; known are 3.1.1, 5",
            "hearthgate.toml:6: flowz: unknown key; did you mean \"flows\"?",
            "hearthgate.toml:10: broker.enabled: expected true, false or \"auto\", found the text \"maybe\"",
            "hearthgate.toml:12: endpoints.retry[1]: expected a duration such as \"5s\", \"500ms\" or \"1h30m\", found \"soon\"",
        ]
    );
}

#[test]
fn a_syntax_error_names_the_line() {
    let findings = Home::with("[mqtt]\nserver = \n").findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("hearthgate.toml:2: this is not TOML"), "{findings:?}");
}

#[test]
fn a_wrong_combination_names_both_sides() {
    let findings = Home::with("[broker]\nenabled = false\n").findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].starts_with("hearthgate.toml:2: broker.enabled: mqtt.server = \"embedded\" needs"),
        "{findings:?}"
    );
}

#[test]
fn another_broker_switches_the_embedded_one_off_by_itself() {
    let settings = Home::with("[mqtt]\nserver = \"mqtt://mosquitto.home\"\n").settings();
    assert!(!settings.broker.is_enabled());
    assert!(settings.interfaces.is_empty(), "the dummy is only for a first run");
}

#[test]
fn a_group_says_what_each_member_needs() {
    let findings = Home::with("[mqtt]\ngroup = \"home\"\nclean_session = true\n").findings();
    let wanted = [
        "need MQTT 5; set mqtt.protocol = \"5\"",
        "serves this gateway alone",
        "set gateway.name",
        "without a session",
    ];
    for part in wanted {
        let found = findings.iter().any(|it| it.starts_with("hearthgate.toml:2: mqtt.group: ") && it.contains(part));
        assert!(found, "{part}: {findings:?}");
    }
    let good = "[gateway]\nname = \"one\"\n[mqtt]\nserver = \"mqtt://b\"\nprotocol = \"5\"\ngroup = \"home\"\n\
                [database]\nurl = \"mysql://me@db/iot\"\n";
    let settings = Home::with(good).settings();
    assert_eq!((settings.mqtt.group.as_deref(), settings.mqtt.client_id.as_str()), (Some("home"), "hearthgate-one"));
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let home =
        Home::with("[mqtt]\nusername = \"file\"\nstatus_prefix = \"file\"\nkeep_alive = \"7s\"\nprotocol = \"5\"\n")
            .env("HEARTHGATE__MQTT__USERNAME", "env")
            .env("HEARTHGATE__MQTT__STATUS_PREFIX", "env")
            .flag("mqtt.status_prefix", "flag");
    let loaded = home.load().unwrap();
    let mqtt = &loaded.settings.mqtt;
    assert_eq!(mqtt.username.as_deref(), Some("env"));
    assert_eq!(mqtt.status_prefix, "flag");
    assert_eq!(mqtt.keep_alive.to_string(), "7s");
    let origin = |key: &str| loaded.origin(key).unwrap().to_string();
    assert_eq!(origin("mqtt.keep_alive"), "hearthgate.toml:4");
    assert_eq!(origin("mqtt.username"), "environment variable HEARTHGATE__MQTT__USERNAME");
    assert_eq!(origin("mqtt.status_prefix"), "flag --set mqtt.status_prefix");
    assert_eq!(origin("mqtt.server"), "default");
}

#[test]
fn the_environment_sets_numbers_switches_and_lists_as_plain_text() {
    let settings = Home::new()
        .env("HEARTHGATE__MQTT__LIMITS__MAX_INFLIGHT", "7")
        .env("HEARTHGATE__FLOWS__ENABLED", "false")
        .env("HEARTHGATE__ENDPOINTS__RETRY", "0s, 1s")
        .env("HEARTHGATE__MQTT__PASSWORD", "12345")
        .env("HEARTHGATE__MQTT__USERNAME", "me")
        .settings();
    assert_eq!(settings.mqtt.limits.max_inflight, 7);
    assert!(!settings.flows.enabled);
    assert_eq!(settings.endpoints.retry.len(), 2);
    assert_eq!(settings.mqtt.password.unwrap().expose_secret(), "12345");
}

#[test]
fn a_wrong_variable_is_named() {
    let findings =
        Home::new().env("HEARTHGATE__MQTT__SEVRER", "x").env("HEARTHGATE__HTTP__ENABLED", "maybe").findings();
    assert_eq!(
        findings,
        [
            "environment variable HEARTHGATE__HTTP__ENABLED: http.enabled: expected true or false, found the text \"maybe\"",
            "environment variable HEARTHGATE__MQTT__SEVRER: mqtt.sevrer: unknown key; did you mean \"server\"?",
        ]
    );
}

#[test]
fn an_interfaces_name_with_capitals_is_reached_from_the_environment() {
    let settings = Home::with("[interfaces.FrontDoor]\nkind = \"dummy\"\nroot = \"home\"\n")
        .env("HEARTHGATE__INTERFACES__FRONTDOOR__ENABLED", "false")
        .settings();
    assert_eq!(settings.interfaces.len(), 1);
    assert!(!settings.interfaces["FrontDoor"].enabled);
}

#[test]
fn variables_in_the_file_are_filled_in_and_may_be_of_any_type() {
    let text = "[mqtt]\nserver = \"mqtt://${BROKER:-localhost}\"\n[store]\nbatch = \"${BATCH}\"\n";
    let settings = Home::with(text).env("BATCH", "50").settings();
    assert_eq!(settings.mqtt.server.to_string(), "mqtt://localhost:1883");
    assert_eq!(settings.store.batch, 50);
}

#[test]
fn an_unset_variable_is_named_with_its_line() {
    let findings = Home::with("[mqtt]\n\nusername = \"${NOBODY}\"\n").findings();
    assert_eq!(
        findings,
        [
            "hearthgate.toml:3: mqtt.username: the environment variable NOBODY is not set; set it, or give a default: \"${NOBODY:-…}\""
        ]
    );
}

#[test]
fn a_secret_comes_from_its_file_and_is_never_shown() {
    let home = Home::with(
        "[mqtt]\nusername = \"me\"\npassword_file = \"secret\"\n[database]\nurl = \"mysql://a:geheim@b/c\"\n",
    )
    .file("secret", "hunter2\n")
    .env("HEARTHGATE__HTTP__TOKEN", "tok3n-0123456789");
    let loaded = home.load().unwrap();
    assert_eq!(loaded.settings.mqtt.password.as_ref().unwrap().expose_secret(), "hunter2");
    let shown = format!("{loaded:?}{:?}", loaded.entries());
    for secret in ["hunter2", "tok3n-0123456789", "geheim"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn a_secret_in_two_places_and_a_missing_secret_file_are_errors() {
    let findings = Home::with(
        "[mqtt]\nusername = \"a\"\npassword = \"x\"\npassword_file = \"y\"\n[http]\ntoken_file = \"none\"\n",
    )
    .findings();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].contains("mqtt.password_file is set too"), "{findings:?}");
    assert!(findings[1].starts_with("hearthgate.toml:6: http.token_file: can't read"), "{findings:?}");
}

#[test]
fn an_installation_of_the_python_gateway_is_understood() {
    let home = Home::new().file(
        ".env",
        "DB_HOST=db.home\nDB_NAME=mqtt gw\nDB_USER=gw\nDB_PASSWORD='p@ss/w#rd'\nHTTP_TIMEOUT_SECONDS=3\nMQTT_CLIENT_ID=old\nMQTT_KEEPALIVE=30\nFLOWS_RELOAD_INTERVAL_SECONDS=60\nLOG_DIR=./log\n",
    );
    let loaded = home.load().unwrap_or_else(|error| panic!("{error}"));
    assert!(!loaded.is_first_run);
    let settings = loaded.settings;
    assert_eq!(settings.mqtt.server, BrokerUrl::Database);
    assert!(!settings.broker.is_enabled() && settings.interfaces.is_empty());
    assert_eq!(
        settings.database.url.connection_url().expose_secret(),
        "mysql://gw:p%40ss%2Fw%23rd@db.home:3306/mqtt%20gw"
    );
    assert_eq!(settings.endpoints.http_timeout.to_string(), "3s");
    assert_eq!(settings.mqtt.client_id, "old");
    assert_eq!(settings.mqtt.keep_alive.to_string(), "30s");
    assert_eq!(settings.flows.reload_interval.to_string(), "1m");
    assert_eq!(settings.log.file.unwrap(), home.folder.path().join("./log/hearthgate.log"));
}

#[test]
fn an_unfinished_python_environment_says_what_is_missing() {
    let findings = Home::new().env("DB_HOST", "db").env("DB_NAME", "x").findings();
    assert!(findings[0].contains("DB_USER is not"), "{findings:?}");
}

#[test]
fn a_file_that_names_another_broker_wins_over_what_db_host_implies() {
    let home =
        Home::with("[mqtt]\nserver = \"mqtt://mine\"\n").env("DB_HOST", "db").env("DB_NAME", "x").env("DB_USER", "u");
    assert_eq!(home.settings().mqtt.server.to_string(), "mqtt://mine:1883");
}

#[test]
fn relative_paths_start_at_the_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let sub = folder.path().join("etc");
    std::fs::create_dir(&sub).unwrap();
    std::fs::write(sub.join("my.toml"), "[mqtt.tls]\nca = \"certs/ca.pem\"\n[mqtt]\nserver = \"mqtts://b\"\n").unwrap();
    let loaded = load(SettingsSources {
        file: Some("etc/my.toml".into()),
        environment: EnvironmentVariables::default(),
        flags: Vec::new(),
        working_dir: folder.path().to_owned(),
    })
    .unwrap();
    assert_eq!(loaded.settings.mqtt.tls.ca.unwrap(), sub.join("certs/ca.pem"));
    assert_eq!(loaded.settings.gateway.state_dir, sub.join("data"));
    assert_eq!(
        loaded.settings.database.url.to_string(),
        format!("sqlite:{}", sub.join("data/hearthgate.db").display())
    );
}

#[test]
fn a_listener_for_everyone_needs_authentication() {
    let findings = Home::with("[broker]\nlisten = \"0.0.0.0:1883\"\n[http]\nlisten = \"[::]:80\"\n").findings();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].starts_with("hearthgate.toml:2: broker.listen"), "{findings:?}");
    assert!(findings[1].contains("set http.token_file"), "{findings:?}");
}

#[test]
fn a_websocket_is_open_to_nobody_unknown_and_to_listed_origins_alone() {
    let findings = |keys: &str| Home::with(&format!("[broker.websocket]\n{keys}")).findings();
    let found = findings("listen = \"0.0.0.0:9001\"\ntls_listen = \"127.0.0.1:9002\"\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("hearthgate.toml:2: broker.websocket.listen"), "{found:?}");
    assert!(found[1].starts_with("hearthgate.toml:3: broker.websocket.tls_listen: TLS needs"), "{found:?}");
    let found = findings("path = \"mqtt\"\norigins = [\"*\"]\n");
    assert!(found.len() == 2 && found[0].contains("begin it with /") && found[1].contains("of no effect"), "{found:?}");
    let keys = |origin: &str| format!("listen = \"127.0.0.1:9001\"\norigins = [\"{origin}\"]\n");
    for origin in ["https://dash.lan", "http://[::1]:8080", "null", "*"] {
        let settings = Home::with(&format!("[broker.websocket]\n{}", keys(origin))).settings();
        assert_eq!(settings.broker.websocket.origins, [origin]);
    }
    for origin in ["dash.lan", "https://dash.lan/", "https://*.lan", "https://", "://x", ""] {
        assert!(findings(&keys(origin)).concat().contains("is no origin"), "{origin}");
    }
}

#[test]
fn supervision_is_set_for_all_and_for_one_component() {
    let settings =
        Home::with("[supervision]\nmax_restarts = 3\n[supervision.writer]\nessential = true\nbackoff = \"1s\"\n")
            .settings();
    let writer = settings.supervision.of("writer");
    assert!(writer.essential && writer.max_restarts == 3 && writer.initial_backoff.as_secs() == 1);
    assert_eq!(settings.supervision.of("mqtt").initial_backoff.as_millis(), 100);
}

#[test]
fn an_unknown_component_or_key_of_supervision_is_named() {
    let findings = Home::with("[supervision]\nmax_restart = 3\n[supervision.writter]\nessential = true\n[supervision.mqtt]\nesential = true\n").findings();
    assert_eq!(
        findings,
        [
            "hearthgate.toml:2: supervision.max_restart: unknown key; did you mean \"max_restarts\"?",
            "hearthgate.toml:3: supervision.writter: there is no such component; did you mean \"writer\"?",
            "hearthgate.toml:6: supervision.mqtt.esential: unknown key; did you mean \"essential\"?",
        ]
    );
}

#[test]
fn an_interface_without_a_kind_is_named() {
    let findings = Home::with("[interfaces.entry]\nmap = \"maps/entry.json\"\n").findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("hearthgate.toml:1: interfaces.entry.kind: is missing"), "{findings:?}");
}

#[test]
fn a_wrong_option_of_an_interface_is_named_with_its_line() {
    let text =
        "[interfaces.a]\nkind = \"dummy\"\nperiot = \"5s\"\n[interfaces.b]\nkind = \"dummy\"\nroot = \"r\"\nqos = 3\n";
    let findings = Home::with(text).findings();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].starts_with("hearthgate.toml:3: interfaces.a.periot: "), "{findings:?}");
    assert!(findings[1].starts_with("hearthgate.toml:7: interfaces.b.qos: "), "{findings:?}");
}

#[test]
fn a_file_that_c_names_must_be_there() {
    let error = load(SettingsSources {
        file: Some("nowhere.toml".into()),
        environment: EnvironmentVariables::default(),
        flags: Vec::new(),
        working_dir: std::env::temp_dir(),
    })
    .unwrap_err();
    assert!(error.to_string().contains("can't read the configuration file nowhere.toml"), "{error}");
}

#[test]
fn the_schema_knows_every_default_and_forbids_unknown_keys() {
    let schema = schema();
    assert_eq!(schema["properties"]["mqtt"]["properties"]["keep_alive"]["default"], "60s");
    assert_eq!(schema["properties"]["mqtt"]["additionalProperties"], false);
    assert!(schema.get("required").is_none(), "{}", schema["required"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_file_makes_it_panic(text in "(\\[|\\]|mqtt|broker|interfaces|\\.|=|\"|'|\\{|\\}|\\$|\n| |[0-9]|true|ä)*") {
        let outcome = Home::with(&text).load();
        prop_assert!(format!("{outcome:?}").len() > 1, "it has a debug form");
    }

    #[test]
    fn any_value_at_any_key_is_taken_or_refused_with_its_line(
        key in prop::sample::select(vec!["mqtt.server", "mqtt.keep_alive", "store.batch", "http.listen", "flows", "interfaces.a",
            "broker.enabled", "endpoints.retry", "mqtt.tls", "supervision.writer", "database.url", "broker.users.a"]),
        value in prop::sample::select(vec!["1", "-1", "1e300", "true", "\"\"", "\"x\"", "[]", "[1, \"a\"]", "{}", "{ a = 1 }",
            "1979-05-27", "\"${X\"", "99999999999", "nan"]),
    ) {
        match Home::with(&format!("{key} = {value}\n")).load() {
            Ok(_) => {}
            Err(error) => {
                let findings = error.to_string();
                prop_assert!(findings.contains("hearthgate.toml:1: "), "{findings}");
            }
        }
    }
}

#[test]
fn a_component_that_is_no_actor_cannot_be_supervised() {
    let findings = Home::with("[supervision.http]\nessential = true\n").findings();
    assert!(findings[0].contains("supervision.http: there is no such component"), "{findings:?}");
}

#[test]
fn a_token_that_the_api_would_refuse_is_refused_with_the_configuration() {
    let findings = Home::with("[http]\ntoken = \"short\"\n").findings();
    assert!(findings[0].starts_with("hearthgate.toml:2: http.token"), "{findings:?}");
}

#[test]
fn every_component_can_be_supervised_and_lends_its_name_to_no_interface() {
    for component in SupervisionSettings::COMPONENTS {
        let home = Home::with(&format!("[supervision.{component}]\nessential = true\n"));
        assert!(home.load().unwrap().settings.supervision.of(component).essential, "{component}");
        let findings = Home::with(&format!("[interfaces.{component}]\nkind = \"dummy\"\n")).findings();
        assert!(findings[0].contains("is a component of the gateway"), "{findings:?}");
    }
}
