//! A real browser: Chromium by its driver, over the WebDriver protocol (W3C).

use crate::http::request;
use crate::server::installed;
use crate::{PATIENCE, free_port};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set where a missing browser is a fault, not a reason to pass over a test.
const REQUIRED: &str = "HEARTHGATE_TEST_REQUIRE_BROWSER";
/// How an element is named in the protocol (section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window; it ends with this value.
pub struct Browser {
    driver: Child,
    client: reqwest::Client,
    /// `http://127.0.0.1:PORT/session/ID`
    session: String,
}

/// Where the page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// `light` or `dark`.
    pub scheme: &'static str,
}

/// A desk's screen.
pub const WIDE: Screen = Screen { width: 1440, height: 900, scheme: "light" };
/// A small telephone's.
pub const NARROW: Screen = Screen { width: 360, height: 780, scheme: "dark" };

impl Browser {
    /// Starts one; none where Chromium or its driver is not installed, and need not be.
    ///
    /// # Panics
    /// When it is not installed and must be, or does not start.
    pub async fn start(screen: Screen) -> Option<Self> {
        let programs = (installed("chromedriver"), installed("chromium"));
        let (Some(driver), Some(browser)) = programs else {
            let is_required = std::env::var_os(REQUIRED).is_some() || std::env::var_os("CI").is_some();
            assert!(
                !is_required,
                "chromium and chromium-driver are not installed; `cargo xtask services up` does that"
            );
            eprintln!("SKIPPED: chromium and chromium-driver are not installed");
            return None;
        };
        let port = free_port();
        let child = Command::new(driver)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting the driver");
        // Another test of this process may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let base = format!("http://127.0.0.1:{port}");
        let mut this = Browser { driver: child, client, session: base.clone() };
        let since = Instant::now();
        while this.client.get(format!("{base}/status")).send().await.is_err() {
            assert!(since.elapsed() < PATIENCE, "the driver does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let options = json!({"binary": browser, "args": ["--headless=new", "--no-sandbox", "--disable-gpu",
            "--disable-dev-shm-usage", "--lang=en-US"]});
        // The machine may be busy: the defaults are 30 s for a script.
        let timeouts = json!({"script": 300_000, "pageLoad": 300_000});
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"}, "timeouts": timeouts}}});
        let begun = this.ask("POST", "/session", wanted).await;
        this.session = format!("{base}/session/{}", begun["sessionId"].as_str().expect("a session"));
        this.look_at(screen).await;
        Some(this)
    }

    /// Another size and colour scheme.
    pub async fn look_at(&self, Screen { width, height, scheme }: Screen) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", features).await;
    }

    /// A command of the browser's own protocol.
    pub async fn command(&self, name: &str, parameters: Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", json!({"cmd": name, "params": parameters})).await
    }

    /// Writes a picture of the whole page as PNG; the window is as high as the page from then on.
    ///
    /// # Panics
    /// When the file can't be written.
    pub async fn picture(&self, file: &Path) {
        let size = self.run("return [innerWidth, Math.max(innerHeight, document.documentElement.scrollHeight)]").await;
        let whole = json!({"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", whole).await;
        let taken = self.command("Page.captureScreenshot", json!({"format": "png"})).await;
        let bytes = BASE64_STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(file, bytes).expect("writing a picture");
    }

    /// Opens an address.
    pub async fn open(&self, address: &str) {
        self.ask("POST", "/url", json!({"url": address})).await;
    }

    /// What a script answers.
    pub async fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", json!({"script": script, "args": []})).await
    }

    /// Waits until a script's answer is true.
    ///
    /// # Panics
    /// When it never is, with what the page shows.
    pub async fn wait_for(&self, what: &str, script: &str) {
        let since = Instant::now();
        while self.run(&format!("return Boolean({script})")).await != true {
            if since.elapsed() > PATIENCE {
                let shown = self.run("return document.body.innerText").await;
                panic!("waited in vain for {what}: {script}\n{}", shown.as_str().unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the page shows a text.
    pub async fn wait_for_text(&self, text: &str) {
        let script = format!("document.body.innerText.includes({})", json!(text));
        self.wait_for(text, &script).await;
    }

    /// Clicks the button or link of this text, or of this name for those who do not see it, as a person would.
    pub async fn click(&self, text: &str) {
        let find = format!(
            "[...document.querySelectorAll('dialog[open] button, dialog[open] a'), ...document.querySelectorAll('button, a, \
             summary')].find((one) => ((one.innerText ?? one.textContent).trim() === {0} || one.getAttribute('aria-label') === {0}) && \
             !one.disabled && one.offsetParent !== null)",
            json!(text)
        );
        self.wait_for(&format!("something to click named {text}"), &find).await;
        // It may be drawn anew between finding and clicking.
        let since = Instant::now();
        loop {
            let found = self.run(&format!("return {find}")).await;
            if let Some(id) = found[ELEMENT].as_str()
                && self.try_ask("POST", &format!("/element/{id}/click"), json!({})).await.is_ok()
            {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{text} can not be clicked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Empties the field of this label and types into it.
    pub async fn fill(&self, label: &str, text: &str) {
        let find = format!(
            "(() => {{ const label = [...document.querySelectorAll('label')].find((one) => one.innerText.trim() === {}); \
             return label && document.getElementById(label.htmlFor); }})()",
            json!(label)
        );
        self.wait_for(&format!("the field {label}"), &find).await;
        let found = self.run(&format!("return {find}")).await;
        let id = found[ELEMENT].as_str().expect("an element");
        self.ask("POST", &format!("/element/{id}/clear"), json!({})).await;
        self.ask("POST", &format!("/element/{id}/value"), json!({"text": text})).await;
    }

    /// Presses a key of the keyboard, such as `\u{e004}` for Tab (section 17.4.2).
    pub async fn press(&self, key: &str) {
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        self.ask("POST", "/actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})).await;
    }

    /// What the browser complained of since it was asked last: errors of scripts, refused resources.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", json!({"type": "browser"})).await;
        let severe = log.as_array().into_iter().flatten().filter(|line| line["level"] == "SEVERE");
        severe.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.try_ask(method, path, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    async fn try_ask(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let request = self.client.request(method, format!("{}{path}", self.session)).json(&body);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let is_done = answer.status().is_success();
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        if is_done { Ok(answer["value"].clone()) } else { Err(answer["value"].to_string()) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session, and leaves it behind when it is only ended itself.
        let place = self.session.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.split_once('/'));
        if let Some((port, path)) = place
            && let Ok(port) = port.parse()
        {
            drop(request(port, "DELETE", &format!("/{path}")));
        }
        let asked = Command::new("kill").args(["-TERM", &self.driver.id().to_string()]).status();
        if asked.is_ok() {
            drop(self.driver.wait());
        }
    }
}
