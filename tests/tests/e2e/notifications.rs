//! People are told: once for a hundred equal events, each with its time, in order, and however long nobody could be reached.

use hearthgate_tests::client::Client;
use hearthgate_tests::endpoint::{Answer, Endpoint};
use hearthgate_tests::gateway::Home;
use hearthgate_tests::mail_server::MailServer;
use hearthgate_tests::{http, until};
use std::process::Command;

/// Flows by the command line; the gateway must not run.
fn add_flow(home: &Home, code: &str, topic: &str, actions: &str) {
    let added = home
        .command()
        .args(["flow", "add", code, "--topic", topic, "--action"])
        .args([if actions.contains("NOTIFY") { "NOTIFY" } else { "LOG" }, "--schema", "{}"])
        .args(["--options", &format!("{{\"actions\": [{actions}]}}")])
        .output()
        .expect("running hearthgate");
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
}

fn home_with(sections: &str) -> Home {
    let home = Home::new();
    home.configure(&format!("[gateway]\nname = \"home\"\n{sections}"));
    home
}

async fn ready(home: &Home) {
    until("ready", async || http::is_ready(home.http).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_equal_errors_of_the_gateway_are_one_mail() {
    let server = MailServer::start();
    let home = home_with(&format!(
        "[notify.mail]\nkind = \"email\"\nserver = \"smtp+plain://127.0.0.1:{}\"\nfrom = \"gateway@home.test\"\n\
         to = [\"me@home.test\"]\n",
        server.port
    ));
    add_flow(&home, "ALARM", "alarm", r#"{"type": "LOG", "level": "error"}"#);
    let gateway = home.start();
    ready(&home).await;
    let client = Client::connect(home.mqtt, "sensor").await;
    for _ in 0..100 {
        client.publish("alarm", "{\"smoke\": true}").await;
    }
    client.publish("alarm", "{\"smoke\": false}").await;
    let mails = until("both mails", async || Some(server.mails()).filter(|mails| mails.len() >= 2)).await;
    assert!(gateway.terminate().0.success());
    assert_eq!(server.mails().len(), 2, "{mails:?}");
    assert!(mails[0].contains("Subject: Hearthgate home") && mails[0].contains("To: me@home.test"), "{}", mails[0]);
    // Long lines are broken where quoted-printable says (RFC 2045).
    let first = mails[0].replace("=\n", "");
    assert!(first.contains("smoke") && first.contains("Date: "), "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_be_told_is_told_later_once_in_order_and_with_its_time() {
    let endpoint = Endpoint::start(Answer::Status(503));
    let home = home_with(&format!("[notify.hook]\nkind = \"webhook\"\nurl = \"{}\"\n", endpoint.url));
    let action = r#"{"type": "NOTIFY", "to": "hook", "text_template": "door {{ payload.door }}"}"#;
    add_flow(&home, "DOORS", "doors", action);
    let gateway = home.start();
    ready(&home).await;
    let mut client = Client::connect(home.mqtt, "sensor").await;
    for door in 0..20 {
        client.publish("doors", format!("{{\"door\": {door}}}")).await;
    }
    client.confirmed(20).await;
    until("an attempt", async || (!endpoint.calls().is_empty()).then_some(())).await;
    // Neither the failed calls nor a crash of the gateway lose any.
    drop(gateway.kill());
    let before = chrono::Utc::now();
    endpoint.switch(Answer::Status(200));
    let gateway = home.start();
    let told = until("all", async || Some(endpoint.delivered()).filter(|told| told.len() >= 20)).await;
    assert!(gateway.terminate().0.success());
    assert_eq!(endpoint.delivered().len(), 20);
    for (door, body) in told.iter().enumerate() {
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["text"], format!("door {door}"));
        let at = body["at"].as_str().and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok()).expect("a time");
        assert!(at < before, "{at} is when it was told, not when it happened");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_too_busy_gets_the_mail_later() {
    let server = MailServer::start();
    server.set_busy(true);
    let home = home_with(&format!(
        "[notify.mail]\nkind = \"email\"\nserver = \"smtp+plain://127.0.0.1:{}\"\nfrom = \"gateway@home.test\"\n\
         to = [\"me@home.test\"]\nevents = false\n",
        server.port
    ));
    add_flow(&home, "DOORS", "doors", r#"{"type": "NOTIFY", "to": "mail"}"#);
    let mut gateway = home.start();
    ready(&home).await;
    let client = Client::connect(home.mqtt, "sensor").await;
    client.publish("doors", "{\"door\": \"open\"}").await;
    gateway.wait_for_log(&["not delivered, it will be tried again", "421"]);
    server.set_busy(false);
    let mails = until("the mail", async || Some(server.mails()).filter(|mails| !mails.is_empty())).await;
    assert!(mails[0].contains("Subject: DOORS") && mails[0].contains("doors: {"), "{}", mails[0]);
    gateway.wait_for_log(&["the endpoint answers again after"]);
}

#[test]
fn check_names_whom_a_flow_tells_and_nobody_knows() {
    let home = home_with("");
    add_flow(&home, "DOORS", "doors", r#"{"type": "NOTIFY", "to": "mial"}"#);
    let mut check: Command = home.command();
    let output = check.arg("check").output().expect("running hearthgate");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("there is no [notify.mial]"), "{text}");
}
