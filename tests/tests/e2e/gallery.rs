//! Every view, with much and with nothing to show, in four variants: pictures under `target/page`, and axe-core's verdict.

use crate::clients::{folder_of, run};
use hearthgate_tests::browser::{Browser, NARROW, Screen, WIDE};
use hearthgate_tests::client::Client;
use hearthgate_tests::endpoint::{Answer, Endpoint};
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::request;
use hearthgate_tests::{free_port, until};
use rumqttc::QoS;
use serde_json::json;
use std::path::PathBuf;

/// Views of a house, as their addresses end.
const VIEWS: [&str; 15] = [
    "overview",
    "live",
    "fates",
    "flows",
    "flows/new",
    "flows/AHT10_SENSOR",
    "data/ROOM/temperature",
    "letters",
    "deliveries",
    "interfaces",
    "topics?open=home,home/kitchen",
    "broker",
    "system",
    "system/api",
    "start",
];
const VARIANTS: [(&str, Screen); 4] = [
    ("1440-light", WIDE),
    ("1440-dark", Screen { scheme: "dark", ..WIDE }),
    ("360-light", Screen { scheme: "light", ..NARROW }),
    ("360-dark", NARROW),
];

fn folder() -> PathBuf {
    let target = std::env::current_exe().expect("the test's own path");
    let folder = target.ancestors().nth(3).expect("target/PROFILE/deps/TEST").join("page");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn address(home: &Home, view: &str) -> String {
    format!("http://127.0.0.1:{}/#/{view}", home.http)
}

/// A house in use: flows that store, one that calls an endpoint that fails, interfaces of which one is away, dead letters.
struct BusyHouse {
    home: Home,
    _gateway: Gateway,
    _endpoint: Endpoint,
    _clients: Vec<Client>,
}

impl BusyHouse {
    async fn start(browser: &Browser) -> Self {
        let home = Home::new();
        home.configure(&format!(
            "[interfaces.dummy]\nkind = \"dummy\"\nmap = \"builtin:dummy\"\n\
             [interfaces.boiler]\nkind = \"tcp\"\naddress = \"127.0.0.1:{}\"\n\
             topics = [\"house/+/+/+/boiler/+/C\"]\nroot = \"house\"\n\
             frame = {{ delimiter = \"\\n\" }}\n[[interfaces.boiler.send]]\naction = \"SET\"\nwrite = \"SET\\n\"\n\
             [endpoints]\nretry = [\"1s\", \"60s\", \"60s\"]\n",
            free_port()
        ));
        let mut gateway = home.start();
        gateway.wait_for_log(&["flows loaded"]);
        gateway.wait_for_log(&["connected to the broker"]);
        let endpoint = Endpoint::start(Answer::Status(503));
        browser.open(&address(&home, "overview")).await;
        let room = json!({"code": "ROOM", "description": "Climate of each room", "topic": "home/{room}/climate",
            "action": "STORE_DB", "schema": {"temperature": "float", "humidity": "float"}});
        let hook = json!({"code": "DOOR_HOOK", "description": "Tells the door bell's service", "topic": "home/+/door",
            "action": "POST_ENDPOINT", "endpoint_url": endpoint.url, "schema": {"open": "bool"}});
        for flow in [room, hook] {
            let add = format!(
                "return fetch('api/v1/flows', {{method: 'POST', headers: {{'Content-Type': 'application/json'}}, \
                 body: JSON.stringify({flow})}}).then((answer) => answer.text().then((text) => [answer.status, text]))"
            );
            let added = browser.run(&add).await;
            assert_eq!(added[0], 200, "{added}");
        }
        let clients = [Client::connect(home.mqtt, "kitchen-sensor").await, Client::connect(home.mqtt, "phone").await];
        let mut house = BusyHouse { home, _gateway: gateway, _endpoint: endpoint, _clients: clients.into() };
        house.fill().await;
        house
    }

    async fn fill(&mut self) {
        let client = &mut self._clients[0];
        client.subscribe("house/#").await;
        client.publish_with("home/kitchen/light", "on", QoS::AtLeastOnce, true).await;
        client.confirmed(1).await;
        for n in 0..60 {
            let reading = format!(r#"{{"temperature":{},"humidity":{}}}"#, 19.0 + f64::from(n % 17) / 7.0, 40 + n % 9);
            for room in ["kitchen", "bath"] {
                client.publish(&format!("home/{room}/climate"), reading.as_str()).await;
            }
        }
        for bad in
            ["warm", "cold", "very cold indeed, colder than anybody would have thought that it could ever become"]
        {
            client.publish("sensors/aht10", format!(r#"{{"temperature":"{bad}","humidity":40.0}}"#)).await;
        }
        client.publish("sensors/aht10", vec![0xff, 0xfe, 0x00, 0x41, 0x42]).await;
        client.publish("home/front/door", r#"{"open":true}"#).await;
        client.publish("home/front/door", r#"{"open":false}"#).await;
        client.publish("testmqttgtw/dummyfunction//kitchen//me/C", "audio_on").await;
        until("the letters", async || {
            let (_, body) =
                request(self.home.http, "GET", "/api/v1/dead-letters?flow=AHT10_SENSOR").expect("the HTTP API");
            (body.matches("\"id\"").count() >= 3).then_some(())
        })
        .await;
    }
}

/// Opens a view in a variant and waits until it has come to rest.
async fn settled(browser: &Browser, home: &Home, view: &str, screen: Screen) {
    browser.look_at(screen).await;
    browser.open("about:blank").await;
    browser.open(&address(home, view)).await;
    browser.wait_for(view, "document.querySelector('main .stack')?.innerText.length > 20").await;
    let quiet = "!document.querySelector('main .loading') && (!document.querySelector('main .tiles:empty'))";
    browser.wait_for(view, quiet).await;
}

/// One view in one variant: its picture is kept, it fits, and axe-core, where there is one, has nothing to say.
async fn examine(
    browser: &Browser,
    home: &Home,
    (name, view): (&str, &str),
    (variant, screen): (&str, Screen),
    axe: Option<&str>,
) {
    settled(browser, home, view, screen).await;
    let file: String = view.split('?').next().unwrap_or(view).replace('/', "-");
    browser.picture(&folder().join(format!("{name}-{file}-{variant}.png"))).await;
    let too_wide = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
    assert!(too_wide.as_i64() <= Some(0), "{view} in {variant}: {too_wide} pixels too wide");
    let Some(axe) = axe else { return };
    browser.run(axe).await;
    browser
        .run(
            "window.found = null; axe.run(document).then(({violations}) => { window.found = violations.map((one) => \
              [one.id, one.help, one.nodes.map((node) => node.html.slice(0, 200)).slice(0, 5)]); })",
        )
        .await;
    browser.wait_for("axe-core", "window.found").await;
    let found = browser.run("return window.found").await;
    assert_eq!(found, json!([]), "{view} in {variant}");
}

/// axe-core, from the registry.
fn axe() -> Option<String> {
    let folder = folder_of("HEARTHGATE_TEST_NPM")?;
    run("npm", &["install", "--silent", "--no-audit", "--no-fund", "axe-core@4"], &folder);
    Some(std::fs::read_to_string(folder.join("node_modules/axe-core/axe.min.js")).expect("axe-core"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_of_a_busy_house_is_pictured_and_axe_finds_nothing_in_it() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    let house = BusyHouse::start(&browser).await;
    let axe = axe();
    for variant in VARIANTS {
        for view in VIEWS {
            examine(&browser, &house.home, ("busy", view), variant, axe.as_deref()).await;
        }
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_of_a_new_house_is_pictured_and_axe_finds_nothing_in_it() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    let home = Home::new();
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    let axe = axe();
    for variant in VARIANTS {
        for view in
            VIEWS.iter().filter(|view| !view.starts_with("data/") && !view.starts_with("system/")).chain(&["data"])
        {
            examine(&browser, &home, ("new", view), variant, axe.as_deref()).await;
        }
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
