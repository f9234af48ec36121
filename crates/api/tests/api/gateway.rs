//! A bound API over real guarded actors, and the bare HTTP to ask it with.

use actix::prelude::*;
use hearthgate_api::{ApiClient, ApiOptions, MetricStore, ServerDeps, bind};
use hearthgate_supervision::{ActorExit, ActorRegistry, ActorStatus, GuardedActor, RestartPolicy};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const TOKEN: &str = "a-token-for-tests-only";

type States = Vec<(String, Result<(), String>)>;

pub(crate) struct Gateway {
    pub(crate) registry: ActorRegistry,
    pub(crate) states: Arc<Mutex<States>>,
    pub(crate) metrics: MetricStore,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    pub(crate) fn open(token: bool) -> Self {
        let settings = ApiOptions::new(([127, 0, 0, 1], 0).into(), token.then(|| TOKEN.into()), Vec::new());
        Self::open_with(settings.expect("loopback needs nothing"))
    }

    /// With the token, and what is kept in this folder.
    pub(crate) fn open_in(state_dir: &Path) -> Self {
        let settings = ApiOptions::new(([127, 0, 0, 1], 0).into(), Some(TOKEN.into()), Vec::new());
        Self::open_with(settings.expect("loopback needs nothing").with_state_dir(state_dir.to_owned()))
    }

    fn open_with(settings: ApiOptions) -> Self {
        let server = bind(settings).expect("port 0 is free");
        let address = server.local_addr();
        let (registry, metrics) = (ActorRegistry::new(), MetricStore::new());
        let states = Arc::new(Mutex::new(vec![("database".to_owned(), Ok(()))]));
        let theirs = Arc::clone(&states);
        let parts = ServerDeps {
            flows: None,
            registry: registry.clone(),
            readiness: Arc::new(move || theirs.lock().expect("nobody panics while writing").clone()),
            metrics: metrics.clone(),
            subjects: hearthgate_api::ApiSubjects::default(),
            version: "1.2.3",
        };
        let server = server.run(parts).expect("the listener is ours");
        #[expect(clippy::disallowed_methods, reason = "ends with the test's system, which would show its panic")]
        actix::spawn(async { server.await.expect("the server runs until the test ends") });
        Gateway { registry, states, metrics, address }
    }

    pub(crate) async fn start(&self, name: &str, policy: RestartPolicy) -> GuardedActor<Idle> {
        let arbiter = Arbiter::new().handle();
        let mut actor = self.registry.start(name, &arbiter, 8, policy, Idle).expect("names are unique in a test");
        actor.health.wait_for(|health| health.status == ActorStatus::Running).await.expect("it starts");
        actor
    }

    pub(crate) fn client(&self, token: bool) -> ApiClient {
        ApiClient::new(self.address, token.then(|| TOKEN.into()))
    }

    /// Sends a request with these header lines; `Host` is added unless it is among them.
    pub(crate) async fn ask(&self, request: &str, headers: &[&str]) -> Reply {
        self.send(request, headers, "").await
    }

    /// The same with a JSON body.
    pub(crate) async fn send(&self, request: &str, headers: &[&str], body: &str) -> Reply {
        let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !body.is_empty() {
            text += "Content-Type: application/json\r\n";
        }
        if !headers.iter().any(|header| header.starts_with("Host")) {
            text += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|header| text += &format!("{header}\r\n"));
        text += &format!("\r\n{body}");
        let address = self.address;
        blocking(move || {
            let mut stream = TcpStream::connect(address).expect("the server listens");
            write!(stream, "{text}").expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers in text");
            let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP head");
            let status = head[9..12].parse().expect("a status");
            Reply { status, head: head.to_ascii_lowercase(), raw_head: head.to_owned(), body: body.to_owned() }
        })
        .await
    }
}

/// The test's thread runs the server's accept side; whoever waits for it must do so elsewhere.
pub(crate) async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(job).await.expect("the job does not panic")
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In small letters, so that names of headers can be looked for.
    pub(crate) head: String,
    pub(crate) raw_head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// The value of a header, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.raw_head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// Status and code of an RFC 9457 body.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{self:?}");
        (self.status, problem["code"].as_str().expect("a code").to_owned())
    }
}

pub(crate) fn policy() -> RestartPolicy {
    RestartPolicy {
        initial_backoff: Duration::from_millis(2),
        jitter: 0.0,
        cool_down: None,
        ..RestartPolicy::default()
    }
}

#[expect(dead_code, reason = "an actor keeps its exit, also one that never fails")]
pub(crate) struct Idle(ActorExit);

impl Actor for Idle {
    type Context = Context<Self>;
}

impl Supervised for Idle {}
