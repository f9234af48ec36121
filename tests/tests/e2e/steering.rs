//! What is done by the page: commands to devices, retained messages, calls of endpoints, letters that are brought back.

use hearthgate_tests::browser::{Browser, NARROW, WIDE};
use hearthgate_tests::client::Client;
use hearthgate_tests::endpoint::{Answer, Endpoint};
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::request;
use hearthgate_tests::until;
use rumqttc::QoS;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

fn address(home: &Home, view: &str) -> String {
    format!("http://127.0.0.1:{}/#/{view}", home.http)
}

fn start(home: &Home) -> Gateway {
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_the_page_reaches_the_device_and_its_line_is_shown_both_ways() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    let device = TcpListener::bind("127.0.0.1:0").expect("a port");
    let home = Home::new();
    home.configure(&format!(
        "[interfaces.panel]\nkind = \"tcp\"\naddress = \"{}\"\nroot = \"house\"\n\
         topics = [\"house/+/+/+/panel/+/C\"]\nframe = {{ delimiter = \"\\n\" }}\n\
         [[interfaces.panel.send]]\naction = \"SET{{n:digits}}\"\nwrite = \"SET {{n}}\\n\"\n\
         [[interfaces.panel.receive]]\nmatch = \"T{{n:digits}}\"\nmessage = {{ function = \"f\", action = \"T{{n}}\" }}\n",
        device.local_addr().expect("its address")
    ));
    let _gateway = start(&home);
    let (mut line, _) = device.accept().expect("the gateway");
    browser.open(&address(&home, "interfaces")).await;
    browser.click("Open panel").await;
    browser.wait_for_text("Send a command").await;
    browser.fill("Topic of the command", "house/f///lamp/page/C").await;
    browser.fill("Payload", "SET7").await;
    browser.click("Send").await;
    browser.wait_for_text("the interface does not listen to this topic").await;
    browser.fill("Topic of the command", "house/f///panel/page/C").await;
    browser.click("Send").await;
    browser.wait_for_text("Handed over.").await;
    browser.wait_for_text("\"action\": \"SET7\"").await;
    let mut said = String::new();
    BufReader::new(line.try_clone().expect("the line")).read_line(&mut said).expect("a command");
    assert_eq!(said, "SET 7\n");
    line.write_all(b"T21\nnonsense\n").expect("a gateway that listens");
    browser.wait_for_text("← from the device").await;
    browser.wait_for_text("→ to the device").await;
    let (_, frames) = request(home.http, "GET", "/api/v1/interfaces/panel/frames").expect("the HTTP API");
    for part in [r#""text":"SET 7\n""#, r#""hex":"543231""#, "no rule knows the frame", r#"\"action\":\"T21\""#] {
        assert!(frames.contains(part), "{part} in {frames}");
    }
    let (status, _) = request(home.http, "GET", "/api/v1/interfaces/nobody/frames").expect("the HTTP API");
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_message_is_cleared_for_those_who_listen_and_those_who_come_later() {
    let Some(browser) = Browser::start(NARROW).await else { return };
    let home = Home::new();
    let _gateway = start(&home);
    let mut client = Client::connect(home.mqtt, "listens").await;
    client.subscribe("home/#").await;
    client.publish_with("home/kitchen/light", "on", QoS::AtLeastOnce, true).await;
    assert_eq!(client.next_on("home/kitchen/light").await, "on");
    browser.open(&address(&home, "topics")).await;
    browser.click("Clear home/kitchen/light").await;
    browser.wait_for_text("Whoever subscribes later gets nothing there").await;
    browser.click("Clear").await;
    assert_eq!(client.next_on("home/kitchen/light").await, "");
    browser.wait_for_text("home/kitchen/light is cleared").await;
    let (_, kept) = request(home.http, "GET", "/api/v1/topics/retained?under=home").expect("the HTTP API");
    assert_eq!(kept, r#"{"messages":[],"left_out":0}"#);
    let again = request(home.http, "DELETE", "/api/v1/topics/retained?topic=home/kitchen/light");
    assert_eq!(again.expect("the HTTP API").0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_are_shown_with_the_next_try_and_a_test_tells_when_the_endpoint_is_mended() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    let home = Home::new();
    home.configure("[endpoints]\nretry = [\"0s\", \"1h\"]\n");
    let mut gateway = start(&home);
    gateway.wait_for_log(&["flows loaded"]);
    let endpoint = Endpoint::start(Answer::Status(503));
    browser.open(&address(&home, "flows/new")).await;
    browser.fill("Code", "DOOR").await;
    browser.fill("Topic", "home/door").await;
    browser.run("const action = [...document.querySelectorAll('select')].find((one) => one.labels[0].innerText === 'Action'); \
                 action.value = 'POST_ENDPOINT'; action.dispatchEvent(new Event('change'))").await;
    browser.fill("Endpoint", &endpoint.url).await;
    browser.fill("Payload schema", r#"{"open": "bool"}"#).await;
    browser.click("Save").await;
    browser.wait_for_text("DOOR is saved and in force").await;
    let client = Client::connect(home.mqtt, "door").await;
    client.publish("home/door", r#"{"open":true}"#).await;
    browser.open(&address(&home, "deliveries")).await;
    browser.wait_for_text("failed, tried again").await;
    browser.wait_for_text("HTTP 503").await;
    browser.wait_for_text("The next try is at").await;
    browser.click("Send a test to DOOR").await;
    browser.wait_for("a payload", "document.querySelector('dialog textarea')?.value.includes('open')").await;
    browser.click("Send it").await;
    browser.wait_for_text("It did not come through: HTTP 503").await;
    endpoint.switch(Answer::Status(200));
    browser.click("Send it").await;
    browser.wait_for_text("The endpoint took it: HTTP 200").await;
    assert_eq!(endpoint.delivered().len(), 1, "the message itself waits for its time");
    assert!(endpoint.delivered()[0].contains("open"));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_were_dropped_are_brought_back_by_page_and_command_line() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    let home = Home::new();
    let mut gateway = start(&home);
    gateway.wait_for_log(&["flows loaded"]);
    let client = Client::connect(home.mqtt, "sensor").await;
    client.publish("sensors/aht10", r#"{"temperature":"warm","humidity":40.0}"#).await;
    let letters = || request(home.http, "GET", "/api/v1/dead-letters").expect("the HTTP API").1;
    until("the letter", async || letters().contains("warm").then_some(())).await;
    browser.open(&address(&home, "letters")).await;
    browser.click("Drop").await;
    browser.click("Drop them").await;
    browser.wait_for_text("1 letter was dropped").await;
    assert!(!letters().contains("warm"));
    browser.click("Bring back").await;
    browser.wait_for_text("AHT10_SENSOR").await;
    assert!(letters().contains("warm"));
    for (command, answer) in [(["dlq", "drop", "--all"].as_slice(), "dropped 1"), (&["dlq", "undo"], "brought back 1")]
    {
        let output = home.command().args(command).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(answer), "{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(letters().contains("warm"));
}

/// Goes on by the key Tab until this is focused.
async fn tab_to(browser: &Browser, what: &str) {
    let is_there = format!("return document.activeElement?.matches({})", serde_json::json!(what));
    for _ in 0..80 {
        if browser.run(&is_there).await == true {
            return;
        }
        browser.press(TAB).await;
    }
    panic!("{what} is not reached by keyboard");
}

/// A stranger's way, without a mouse: from the page's bare address to the first stored message.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_from_the_bare_address_to_the_first_row_by_keyboard_alone() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    let home = Home::new();
    let mut gateway = start(&home);
    gateway.wait_for_log(&["flows loaded"]);
    let client = Client::connect(home.mqtt, "thermometer").await;
    let reading = r#"{"temperature":21.5,"humidity":40}"#;
    browser.open(&format!("http://127.0.0.1:{}/", home.http)).await;
    browser.wait_for_text("First steps").await;
    browser.wait_for_text("Let your devices publish to").await;
    tab_to(&browser, "form button[type=submit]").await;
    browser.press(ENTER).await;
    browser.wait_for_text("Listening for").await;
    until("a proposal", async || {
        client.publish("house/kitchen/climate", reading).await;
        (browser.run("return document.body.innerText.includes('Choose what to store')").await == true).then_some(())
    })
    .await;
    tab_to(&browser, "button[aria-label^='Use house/']").await;
    browser.press(ENTER).await;
    browser.wait_for("the name of the flow", "document.activeElement.matches('input[maxlength=\"100\"]')").await;
    browser.press(ENTER).await;
    browser.wait_for_text("Waiting for the first message").await;
    client.publish("house/kitchen/climate", reading).await;
    browser.wait_for_text("It works").await;
    browser.wait_for_text("21.5").await;
    tab_to(&browser, "a.main").await;
    browser.press(ENTER).await;
    browser.wait_for("a chart", "document.querySelector('svg.chart')").await;
    browser.open("about:blank").await;
    browser.open(&format!("http://127.0.0.1:{}/", home.http)).await;
    browser.wait_for("the overview", "document.querySelector('nav a[data-view=overview][aria-current]')").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
