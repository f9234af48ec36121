//! What users and their scripts read: help, the configuration as it is shown, the names of figures.

use hearthgate_tests::gateway::{Home, binary};
use hearthgate_tests::snapshot::is_as_kept;
use hearthgate_tests::{http, until};
use std::process::Command;

/// What these arguments print on a terminal of no width.
fn told(arguments: &[String]) -> String {
    let output = Command::new(binary()).args(arguments).env_clear().output().expect("running hearthgate");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The help of a command and of those below it.
fn help(command: &[String], all: &mut String) {
    let page = told(&[command, &["--help".to_owned()]].concat());
    all.push_str(&format!("$ hearthgate {} --help\n{page}\n", command.join(" ")));
    let below = page.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = below.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        help(&[command, &[name.to_owned()]].concat(), all);
    }
}

#[test]
fn each_page_of_help_reads_as_it_was_reviewed() {
    let mut all = String::new();
    help(&[], &mut all);
    assert!(all.matches("$ hearthgate").count() > 40, "{all}");
    is_as_kept("help.txt", &all);
}

#[test]
fn the_configuration_is_shown_as_it_was_reviewed() {
    let home = Home::new();
    let mut shown = home.command();
    let output = shown.args(["config", "show"]).output().expect("running hearthgate");
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.replace(&home.path().display().to_string(), "FOLDER");
    let text = text.replace(&home.mqtt.to_string(), "MQTT_PORT").replace(&home.http.to_string(), "HTTP_PORT");
    is_as_kept("config.txt", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_have_the_names_and_meanings_that_were_reviewed() {
    let home = Home::new();
    let gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    let (_, metrics) = http::request(home.http, "GET", "/metrics").expect("the metrics");
    let mut lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with("# ")).collect();
    lines.sort_unstable();
    lines.dedup();
    is_as_kept("metrics.txt", &(lines.join("\n") + "\n"));
    assert!(gateway.terminate().0.success());
}
