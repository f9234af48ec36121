//! The page in a real browser, as a person uses it.

use crate::flows::told;
use hearthgate_tests::browser::{Browser, NARROW, WIDE};
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::request;
use hearthgate_tests::until;

const VIEWS: [&str; 14] = [
    "overview",
    "live",
    "fates",
    "flows",
    "flows/AHT10_SENSOR",
    "data",
    "letters",
    "deliveries",
    "interfaces",
    "interfaces/dummy",
    "topics",
    "broker",
    "system",
    "start",
];
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// A gateway with the samples of a first run and a browser; none where there is no browser.
async fn page() -> Option<(Home, Gateway, Browser, Client)> {
    let browser = Browser::start(WIDE).await?;
    let home = Home::new();
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    gateway.wait_for_log(&["connected to the broker"]);
    let client = Client::connect(home.mqtt, "newcomer").await;
    Some((home, gateway, browser, client))
}

fn address(home: &Home, view: &str) -> String {
    format!("http://127.0.0.1:{}/#/{view}", home.http)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_makes_a_flow_from_a_message_that_passes_and_sees_what_it_stored() {
    let Some((home, _gateway, browser, client)) = page().await else { return };
    browser.open(&address(&home, "flows/new")).await;
    browser.fill("Code", "ROOM").await;
    browser.fill("Topic", "home/{room}/climate").await;
    browser.fill("Payload schema", r#"{"temperature": "float"}"#).await;
    browser.fill("Topic of the message", "home/kitchen/climate").await;
    browser.fill("Payload", r#"{"temperature": "warm"}"#).await;
    browser.click("Test").await;
    browser.wait_for_text("Refused: it would be a dead letter.").await;
    browser.fill("Payload", r#"{"temperature": 21.5}"#).await;
    browser.click("Test").await;
    browser.wait_for_text("Accepted.").await;
    browser.click("Save").await;
    browser.wait_for_text("ROOM is saved and in force").await;

    browser.open(&address(&home, "live?topic=home%2F%23")).await;
    browser.wait_for_text("Listening.").await;
    client.publish("home/kitchen/climate", r#"{"temperature":21.5}"#).await;
    browser.wait_for_text("ROOM: stored").await;
    client.publish("home/kitchen/climate", r#"{"temperature":"warm"}"#).await;
    browser.wait_for_text("ROOM: refused").await;

    browser.open(&address(&home, "data/ROOM/temperature")).await;
    browser.wait_for("a chart", "document.querySelector('svg.chart')").await;
    let database = Database::sqlite(home.path()).await;
    assert_eq!(
        database.number("SELECT count(*) FROM data WHERE flow_code = 'ROOM' AND attribute_name = 'temperature'").await,
        1
    );
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_replayed_once_its_schema_is_mended_and_the_dry_run_says_so_before() {
    let Some((home, _gateway, browser, client)) = page().await else { return };
    client.publish("sensors/aht10", r#"{"temperature":"warm","humidity":65.2}"#).await;
    browser.open(&address(&home, "letters")).await;
    until("the letter", async || {
        let (_, body) = request(home.http, "GET", "/api/v1/dead-letters/groups").expect("the HTTP API");
        body.contains("AHT10_SENSOR").then_some(())
    })
    .await;
    browser.click("Read again").await;
    browser.click("Try a replay out").await;
    browser.wait_for_text("0 would be taken, 1 would be refused").await;
    browser.click("Show the letters").await;
    browser.click("№ 1").await;
    browser.click("Hex").await;
    browser.wait_for_text("7b 22 74 65 6d 70").await;
    browser.click("Close").await;

    browser.click("Open the flow").await;
    browser.fill("Payload schema", r#"{"temperature": "string", "humidity": "float"}"#).await;
    browser.click("Save changes").await;
    browser.wait_for_text("On the left as it is, on the right as it will be").await;
    browser.click("Change it").await;
    browser.wait_for_text("Saved, and in force.").await;

    browser.open(&address(&home, "letters")).await;
    browser.click("Try a replay out").await;
    browser.wait_for_text("1 would be taken, 0 would be refused").await;
    let database = Database::sqlite(home.path()).await;
    assert_eq!(database.number("SELECT count(*) FROM data").await, 0, "a dry run does nothing");
    browser.click("Replay").await;
    browser.wait_for_text("Their messages go through the flow as it is now").await;
    browser
        .wait_for("what it would do", "document.querySelector('dialog[open]').innerText.includes('1 would be taken')")
        .await;
    browser.click("Replay").await;
    browser.wait_for_text("1 taken, 0 refused").await;
    until("its rows", async || (database.number("SELECT count(*) FROM data").await == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_found_after_a_kill_by_api_and_command_line_however_many_good_ones_came() {
    let home = Home::new();
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    gateway.wait_for_log(&["connected to the broker"]);
    let client = Client::connect(home.mqtt, "newcomer").await;
    client.publish("sensors/aht10", r#"{"temperature":"warm","humidity":40.0}"#).await;
    for _ in 0..200 {
        client.publish("sensors/aht10", r#"{"temperature":21.5,"humidity":40.0}"#).await;
    }
    let refused = async || {
        let (_, body) = request(home.http, "GET", "/api/v1/fates?outcome=bad").expect("the HTTP API");
        body.contains("warm").then_some(())
    };
    until("the fate", refused).await;
    gateway.kill();
    let found =
        home.command().args(["trace", "sensors/#", "--outcome", "refused", "--json"]).output().expect("it runs");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(found.contains(r#""flow":"AHT10_SENSOR""#) && found.contains(r#""pointer":"/temperature""#), "{found}");
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    until("the fate after the restart", refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fails_is_red_with_its_reason_and_can_be_restarted() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    let home = Home::new();
    home.configure(
        "[interfaces.dummy]\nkind = \"dummy\"\nmap = \"builtin:dummy\"\n\
         [supervision]\nmax_restarts = 0\ncool_down = \"0s\"\nbackoff = \"10ms\"\n",
    );
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    browser.open(&address(&home, "overview")).await;
    browser.wait_for("the picture", "document.querySelector('.node.ok')").await;
    let (status, body) =
        request(home.http, "POST", "/api/v1/actors/interface dummy/fault/error").expect("the HTTP API");
    assert!(status < 300, "{body}");
    browser.wait_for("the failed node", "document.querySelector('.node.failed')").await;
    browser.wait_for_text("It failed too often and rests.").await;
    browser.click("Restart dummy").await;
    browser.wait_for("the mended node", "!document.querySelector('.node.failed')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_the_page_asks_for_it_and_a_login_that_is_ended_elsewhere_is_over_here() {
    let Some(browser) = Browser::start(NARROW).await else { return };
    let home = Home::new();
    home.configure("[http]\ntoken = \"0123456789abcdef\"\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    browser.open(&address(&home, "broker")).await;
    browser.fill("Token", "wrong").await;
    browser.press(ENTER).await;
    browser.wait_for_text("the token is neither that of [http] token").await;
    browser.fill("Token", "0123456789abcdef").await;
    browser.press(ENTER).await;
    browser.wait_for_text("Listens on").await;
    assert_eq!(browser.run("return document.cookie").await, "", "scripts do not see the cookie");
    browser.run("return fetch('api/v1/sessions').then((a) => a.json()).then(({sessions}) => fetch(`api/v1/sessions/${sessions[0].id}`, {method: 'DELETE'})).then(() => true)").await;
    browser.wait_for_text("Log in to Hearthgate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_says_that_a_client_may_do_is_what_the_broker_then_allows() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    let home = Home::new();
    home.configure("[broker.anonymous]\npublish = [\"sensors/#\"]\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    gateway.wait_for_log(&["connected to the broker"]);
    let client = Client::connect(home.mqtt, "newcomer").await;
    let mut observer = Client::connect(home.mqtt, "observer").await;
    observer.subscribe("+/door").await;
    browser.open(&address(&home, "broker")).await;
    for (topic, answer) in
        [("other/door", "may not publish to other/door"), ("sensors/door", "may publish to sensors/door")]
    {
        browser.fill("Topic", topic).await;
        browser.click("Ask the broker").await;
        browser.wait_for_text(answer).await;
        client.publish(topic, "open").await;
    }
    assert_eq!(observer.next().await.0, "sensors/door", "the one before it was not allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_fits_a_telephone_and_a_desk_and_hostile_text_stays_text() {
    let Some((home, _gateway, browser, client)) = page().await else { return };
    let hostile = r#"<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>"#;
    client.publish("sensors/aht10", hostile).await;
    client.publish("sensors/aht10", format!("{{\"temperature\":{}}}", serde_json::json!(hostile))).await;
    let _named = Client::connect(home.mqtt, "<b>client</b>").await;
    client.publish("testmqttgtw/dummyfunction//<b>kitchen</b>//me/C", hostile).await;
    for screen in [WIDE, NARROW] {
        browser.look_at(screen).await;
        for view in VIEWS {
            browser.open("about:blank").await;
            browser.open(&address(&home, view)).await;
            browser.wait_for(view, "document.querySelector('main .stack')?.innerText.length > 20").await;
            let too_wide = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
            assert!(too_wide.as_i64() <= Some(0), "{view} at {screen:?}: {too_wide} pixels too wide");
            let unnamed = "[...document.querySelectorAll('button, a, input, select, textarea')].filter((one) => \
                one.offsetParent && !(one.matches('button, a') && one.textContent.trim()) && !one.getAttribute('aria-label') && \
                !one.labels?.length).length";
            assert_eq!(browser.run(&format!("return {unnamed}")).await, 0, "{view}: something has no name");
            let markup = browser.run("return document.querySelectorAll('main script, main img, main b').length").await;
            assert_eq!(
                (markup, browser.run("return document.title === 'taken'").await),
                (0.into(), false.into()),
                "{view}"
            );
        }
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_are_reached_by_keyboard_alone() {
    let Some((home, _gateway, browser, _client)) = page().await else { return };
    browser.open(&address(&home, "overview")).await;
    browser.wait_for("the views", "document.querySelector('nav a[data-view]')").await;
    for _ in 0..30 {
        browser.press(TAB).await;
        if browser.run("return document.activeElement.dataset.view === 'broker'").await == true {
            break;
        }
    }
    browser.press(ENTER).await;
    browser.wait_for_text("Listens on").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "main", "reading begins with the view");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flows_name_the_devices_from_which_nothing_comes() {
    let Some((home, _gateway, browser, client)) = page().await else { return };
    let add =
        ["flow", "add", "QUIET", "--topic", "quiet/{device}", "--schema", "{}", "--options", r#"{"silence":"1s"}"#];
    told(&home, &add);
    until("the device falls silent", async || {
        client.publish("quiet/attic", "{}").await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        told(&home, &["status"]).contains("silent: QUIET").then_some(())
    })
    .await;
    browser.open(&address(&home, "flows")).await;
    browser.wait_for_text("1 silent").await;
    browser.open(&address(&home, "flows/QUIET")).await;
    browser.wait_for_text("Nothing came for 1s from these").await;
    browser.wait_for_text("quiet/attic").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
