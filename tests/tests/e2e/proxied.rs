//! The page behind a proxy, under a path.

use hearthgate_tests::browser::{Browser, WIDE};
use hearthgate_tests::client::Client;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::nginx::PathProxy;

const ENTER: &str = "\u{e007}";
const TOKEN: &str = "0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn under_a_path_that_nobody_could_know_the_login_the_stream_and_every_view_work() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    let home = Home::new();
    home.configure(&format!("[http]\ntoken = \"{TOKEN}\"\n"));
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    let Some(proxy) = PathProxy::start(home.http) else { return };
    let client = Client::connect(home.mqtt, "newcomer").await;
    browser.open(&format!("{}#/overview", proxy.address())).await;
    browser.fill("Token", TOKEN).await;
    browser.press(ENTER).await;
    browser.wait_for("the picture, out of the stream", "document.querySelector('.node.ok')").await;
    browser.open(&format!("{}#/live?topic=house%2F%23", proxy.address())).await;
    browser.wait_for_text("Listening.").await;
    client.publish("house/door", "open").await;
    browser.wait_for_text("house/door").await;
    for view in ["fates", "flows", "data", "letters", "interfaces", "topics", "broker", "system"] {
        browser.open("about:blank").await;
        browser.open(&format!("{}#/{view}", proxy.address())).await;
        browser.wait_for(view, "document.querySelector('main .stack')?.innerText.length > 20").await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_in_a_frame_of_those_alone_who_are_named() {
    let Some(browser) = Browser::start(WIDE).await else { return };
    for (named, is_shown) in [("[]", false), ("[\"'self'\"]", true)] {
        let home = Home::new();
        home.configure(&format!("[http]\nframe_ancestors = {named}\n"));
        let mut gateway = home.start();
        gateway.wait_for_log(&["connected to the broker"]);
        let Some(proxy) = PathProxy::start(home.http) else { return };
        browser.open(&proxy.outer()).await;
        let inside = "document.querySelector('iframe').contentDocument?.querySelector('nav.side')";
        if is_shown {
            browser.wait_for("the page in its frame", inside).await;
        } else {
            browser.wait_for("the outer page", "document.readyState === 'complete'").await;
            assert_eq!(browser.run(&format!("return Boolean({inside})")).await, false);
        }
    }
}
