//! Dashboards and alert rules are of this gateway: the figures and tables that they name are there.

use crate::flows::told;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::server::installed;
use hearthgate_tests::{http, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Nothing may be left out where this is 1.
const REQUIRED: &str = "HEARTHGATE_TEST_REQUIRE_PROMTOOL";

fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(config(name)).unwrap_or_else(|error| panic!("config/{name}: {error}"))
}

fn dashboard(name: &str) -> Value {
    serde_json::from_str(&read(name)).unwrap_or_else(|error| panic!("config/{name}: {error}"))
}

/// Each figure that a text names, with the labels that it is selected by.
fn figures_in(text: &str) -> BTreeSet<(String, String)> {
    let mut figures = BTreeSet::new();
    for (at, _) in text.match_indices("hearthgate_") {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let (name, rest) = text[at..].split_at(text[at..].find(|letter| !is_part(letter)).unwrap_or(text.len() - at));
        figures.insert((name.to_owned(), String::new()));
        let Some((selector, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { continue };
        let labels = selector.split(',').filter_map(|part| part.split_once(['=', '!']));
        // The instance is what Prometheus adds.
        let labels = labels.map(|(label, _)| label.trim().to_owned()).filter(|label| label != "instance");
        figures.extend(labels.map(|label| (name.to_owned(), label)));
    }
    figures
}

fn is_told((name, label): &(String, String), metrics: &str) -> bool {
    metrics.lines().any(|line| match label.is_empty() {
        true => line.starts_with(&format!("# TYPE {name} ")),
        false => line.starts_with(&format!("{name}{{")) && line.contains(&format!("{label}=\"")),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_figure_that_dashboards_and_alerts_name_is_told_by_a_running_gateway() {
    let dashboard = dashboard("grafana/hearthgate-metrics.json").to_string().replace("\\\"", "\"");
    let mut named = figures_in(&dashboard);
    named.extend(figures_in(&read("prometheus/hearthgate.rules.yml")));
    assert!(named.len() > 15, "{named:?}");
    let home = Home::new();
    // Without a configuration there are the broker and an interface.
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let add = |code: &str, action: &str, options: &str| {
        let flow = ["flow", "add", code, "--topic", "in", "--schema", r#"{"t":"float"}"#, "--action", action];
        told(&home, &[&flow[..], &["--options", options]].concat());
    };
    add("STORE", "STORE_DB", r#"{"silence":"1d"}"#);
    add("PASS", "PUBLISH", r#"{"actions":[{"type":"PUBLISH","topic":"out"}]}"#);
    let mut client = Client::connect(home.mqtt, "sensor").await;
    let mut missing = Vec::new();
    let complete = async || {
        client.publish("in", r#"{"t":1}"#).await;
        client.confirmed(1).await;
        let (_, metrics) = http::request(home.http, "GET", "/metrics").ok()?;
        missing = named.iter().filter(|figure| !is_told(figure, &metrics)).collect();
        missing.is_empty().then_some(())
    };
    let waited = tokio::time::timeout(hearthgate_tests::PATIENCE / 2, until("all figures", complete)).await;
    assert!(waited.is_ok(), "not at /metrics: {missing:?}");
    assert!(gateway.terminate().0.success());
}

#[test]
fn dashboards_have_what_grafana_needs_to_load_them() {
    for name in ["grafana/hearthgate-metrics.json", "grafana/hearthgate-tables.json"] {
        let board = dashboard(name);
        for field in ["uid", "title"] {
            assert!(board[field].as_str().is_some_and(|text| !text.is_empty() && text.len() <= 40), "{name}: {field}");
        }
        assert!(board["schemaVersion"].as_u64().is_some_and(|version| version >= 36), "{name}: schemaVersion");
        assert!(board["time"]["from"].is_string() && board["templating"]["list"].is_array(), "{name}");
        let variables: Vec<&str> = board["templating"]["list"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["name"].as_str())
            .collect();
        let panels = board["panels"].as_array().unwrap_or_else(|| panic!("{name}: panels"));
        let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: each panel has an id of its own");
        for panel in panels {
            let title = panel["title"].as_str().unwrap_or_else(|| panic!("{name}: a panel without title"));
            assert!(panel["type"].is_string() && panel["datasource"]["uid"] == "${datasource}", "{name}: {title}");
            let place =
                |side: &str| panel["gridPos"][side].as_u64().unwrap_or_else(|| panic!("{name}: {title}: {side}"));
            assert!(place("x") + place("w") <= 24 && place("h") > 0 && place("y") < 1_000, "{name}: {title}");
            let targets = panel["targets"].as_array().unwrap_or_else(|| panic!("{name}: {title}: targets"));
            assert!(!targets.is_empty(), "{name}: {title}");
            for target in targets {
                let query = target["expr"].as_str().or(target["rawSql"].as_str());
                let query = query.unwrap_or_else(|| panic!("{name}: {title}: no query"));
                assert!(target["refId"].is_string(), "{name}: {title}");
                for used in query.split("${").skip(1).filter_map(|rest| rest.split('}').next()) {
                    assert!(variables.contains(&used), "{name}: {title}: there is no variable {used}");
                }
            }
        }
    }
}

#[test]
fn the_alert_rules_are_taken_by_promtool() {
    let Some(promtool) = installed("promtool") else {
        let is_required = std::env::var(REQUIRED).is_ok_and(|value| value == "1");
        assert!(!is_required, "{REQUIRED}=1, but promtool is not installed; `cargo xtask services up` does that");
        eprintln!("SKIPPED: the alert rules are not checked, since promtool (Debian's prometheus) is not installed");
        return;
    };
    let rules = config("prometheus/hearthgate.rules.yml");
    let checked = Command::new(promtool).args(["check", "rules"]).arg(rules).output().expect("running promtool");
    let (out, err) = (String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success() && out.contains("rules found"), "{out}{err}");
}

/// The queries of the dashboard run on the tables that the gateway makes.
async fn queries_of_the_dashboard_run_on_the_tables_that_the_gateway_makes(database: Database) {
    let home = Home::new();
    home.configure(&format!("[broker]\nenabled = true\n[database]\nurl = \"{}\"\n", database.url));
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let (schema, options) = (r#"{"temperature":"float"}"#, r#"{"table":"climate","rollups":[{"every":"15m"}]}"#);
    told(&home, &["flow", "add", "CLIMATE", "--topic", "c/{device}", "--schema", schema, "--options", options]);
    until("the windows", async || database.try_number("SELECT COUNT(*) FROM climate_15m").await).await;
    let board = dashboard("grafana/hearthgate-tables.json");
    for target in
        board["panels"].as_array().into_iter().flatten().flat_map(|panel| panel["targets"].as_array()).flatten()
    {
        let mut query = target["rawSql"].as_str().expect("SQL").to_owned();
        for (name, value) in
            [("flow", "CLIMATE"), ("table", "climate"), ("every", "15m"), ("level", "device"), ("field", "temperature")]
        {
            query = query.replace(&format!("${{{name}}}"), value);
        }
        for column in ["window_start", "received_at"] {
            let between = format!("{column} BETWEEN '2026-01-01 00:00:00' AND '2027-01-01 00:00:00'");
            query = query.replace(&format!("$__timeFilter({column})"), &between);
        }
        assert!(!query.contains('$'), "{query}");
        database.execute(&query).await;
    }
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_the_dashboard_run_on_mariadb() {
    queries_of_the_dashboard_run_on_the_tables_that_the_gateway_makes(Database::mariadb().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_the_dashboard_run_on_postgresql() {
    queries_of_the_dashboard_run_on_the_tables_that_the_gateway_makes(Database::postgres().await).await;
}
