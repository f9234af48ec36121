//! Ten interfaces run. One panics, one exits, one hangs, one floods; the other six do not notice, and the sick ones come
//! back with their queues intact.

use hearthgate_tests::client::Client;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::http::request;
use hearthgate_tests::{free_port, until};
use rumqttc::QoS;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const CHILD: &str = include_str!("child.sh");
/// Those that answer every command; the sixth healthy one is a dummy, which speaks by itself.
const HEALTHY: [&str; 5] = ["well1", "well2", "well3", "panel1", "panel2"];
/// What becomes of the sick ones, by the command that does it; the first one is made to panic from outside.
const SICK: [(&str, &str); 4] = [("panics", ""), ("exits", "EXIT"), ("hangs", "HANG"), ("floods", "FLOOD")];
/// Commands for each healthy interface in a phase, and the pause between two rounds of them.
const ROUNDS: usize = 400;
const PAUSE: Duration = Duration::from_millis(10);
/// Commands for each sick one after it has fallen ill.
const QUEUED: usize = 50;

fn child(name: &str) -> String {
    format!(
        "[interfaces.{name}]\nkind = \"exec\"\ncommand = [\"sh\", \"child.sh\"]\nroot = \"house\"\n\
         topics = [\"house/+/+/+/{name}/+/C\"]\nmax_command_age = \"10m\"\nping_interval = \"200ms\"\nping_timeout = \"2s\"\n"
    )
}

fn panel(name: &str, port: u16) -> String {
    format!(
        "[interfaces.{name}]\nkind = \"tcp\"\naddress = \"127.0.0.1:{port}\"\nroot = \"house\"\n\
         topics = [\"house/+/+/+/{name}/+/C\"]\nframe = {{ delimiter = \"\\n\" }}\n\
         [[interfaces.{name}.send]]\naction = \"N{{n:digits}}\"\nwrite = \"N{{n}}\\n\"\n\
         [[interfaces.{name}.receive]]\nmatch = \"N{{n:digits}}\"\nmessage = {{ function = \"f\", action = \"N{{n}}\" }}\n"
    )
}

/// A panel that says again whatever it is told; it serves until the test ends.
async fn panels(tasks: &mut JoinSet<()>) -> [u16; 2] {
    let ports = [free_port(), free_port()];
    for port in ports {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a panel");
        tasks.spawn(async move {
            let (mut line, _) = listener.accept().await.expect("the gateway");
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = line.read(&mut bytes).await {
                line.write_all(&bytes[..count]).await.expect("a gateway that reads");
            }
        });
    }
    ports
}

async fn ten(tasks: &mut JoinSet<()>) -> (Home, Gateway) {
    let home = Home::new();
    fs::write(home.path().join("child.sh"), CHILD).expect("the script");
    let [first, second] = panels(tasks).await;
    let mut sections = "[flows]\nenabled = false\n[supervision]\nbackoff = \"50ms\"\nmax_backoff = \"200ms\"\n\
         [interfaces.clock]\nkind = \"dummy\"\nroot = \"clock\"\nperiod = \"50ms\"\n"
        .to_owned();
    sections += &["well1", "well2", "well3"].map(child).concat();
    sections += &SICK.map(|(name, _)| child(name)).concat();
    sections += &(panel("panel1", first) + &panel("panel2", second));
    home.configure(&sections);
    let mut gateway = home.start();
    gateway.wait_for_log(&["connected to the broker"]);
    for name in HEALTHY.into_iter().chain(SICK.map(|(name, _)| name)) {
        gateway.wait_for_log(&["online", &format!("interface={name}")]);
    }
    (home, gateway)
}

fn command_topic(interface: &str) -> String {
    format!("house/f///{interface}/me/C")
}

/// The interface and the number in an answer, `house/f////IFACE/S` with `N17`.
fn answer(topic: &str, payload: &str) -> (String, usize) {
    let interface = topic.split('/').nth(5).expect("a sender").to_owned();
    (interface, payload.trim_start_matches('N').parse().unwrap_or_else(|_| panic!("{topic} {payload}")))
}

/// Commands all healthy interfaces round after round; how long each answer took.
async fn delays(sender: &Client, receiver: &mut Client) -> Vec<Duration> {
    let mut sent: BTreeMap<(&str, usize), Instant> = BTreeMap::new();
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    let mut delays = Vec::new();
    let mut ticks = tokio::time::interval(PAUSE);
    let mut round = 0;
    while delays.len() < ROUNDS * HEALTHY.len() {
        tokio::select! {
            _ = ticks.tick(), if round < ROUNDS => {
                for name in HEALTHY {
                    sent.insert((name, round), Instant::now());
                    sender.publish_with(&command_topic(name), format!("N{round}"), QoS::AtMostOnce, false).await;
                }
                round += 1;
            }
            (topic, payload) = receiver.next() => {
                let (name, number) = answer(&topic, &payload);
                let expected = next.entry(name.clone()).or_default();
                assert_eq!(number, *expected, "{name} shows a gap");
                *expected += 1;
                delays.push(sent[&(name.as_str(), number)].elapsed());
            }
        }
    }
    delays.sort_unstable();
    delays
}

#[tokio::test(flavor = "multi_thread")]
async fn six_interfaces_do_not_notice_what_befalls_four_others() {
    let mut tasks = JoinSet::new();
    let (home, gateway) = ten(&mut tasks).await;
    let sender = Client::connect(home.mqtt, "sender").await;
    let mut receiver = Client::connect(home.mqtt, "receiver").await;
    for name in HEALTHY {
        receiver.subscribe(&format!("house/f/+/+/+/{name}/S")).await;
    }
    let mut clock = Client::connect(home.mqtt, "clock").await;
    clock.subscribe("clock/#").await;
    let mut hospital = Client::connect(home.mqtt, "hospital").await;
    for (name, _) in SICK {
        hospital.subscribe(&format!("house/f/+/+/+/{name}/S")).await;
    }
    let without = delays(&sender, &mut receiver).await;

    let (status, body) =
        request(home.http, "POST", "/api/v1/actors/interface panics/fault/panic").expect("the HTTP API");
    assert!(status < 300, "{status} {body}");
    for (name, illness) in SICK {
        if !illness.is_empty() {
            sender.publish(&command_topic(name), illness).await;
        }
        for number in 0..QUEUED {
            sender.publish(&command_topic(name), format!("N{number}")).await;
        }
    }
    let ticks_before = clock.waiting().len();
    let with = delays(&sender, &mut receiver).await;
    assert!(ticks_before > 0 && clock.waiting().len() > 10, "the dummy goes on");
    print_delays("without", &without);
    print_delays("with", &with);

    let mut queues: BTreeMap<String, usize> = BTreeMap::new();
    while queues.values().sum::<usize>() < QUEUED * SICK.len() {
        let (topic, payload) = hospital.next().await;
        let (name, number) = answer(&topic, &payload);
        let expected = queues.entry(name.clone()).or_default();
        assert_eq!(number, *expected, "{name} has lost a part of its queue\n{}", gateway.log());
        *expected += 1;
    }
    for (name, restarts) in [("panics", 1), ("exits", 1), ("hangs", 1), ("floods", 0)] {
        let path = format!("/api/v1/actors/interface {name}");
        until("its restarts", async || {
            let (_, body) = request(home.http, "GET", &path).expect("the HTTP API");
            body.contains(&format!("\"restarts\":{restarts}")).then_some(())
        })
        .await;
    }
    for name in HEALTHY {
        let (_, body) = request(home.http, "GET", &format!("/api/v1/actors/interface {name}")).expect("the HTTP API");
        assert!(body.contains("\"restarts\":0"), "{name}: {body}");
    }
    let (_, metrics) = request(home.http, "GET", "/metrics").expect("the HTTP API");
    let flood = r#"hearthgate_interface_emitted_messages_total{interface="floods",outcome="ok"}"#;
    let flood = metrics.lines().find_map(|line| line.strip_prefix(flood)).expect("a count of the flood");
    assert_eq!(flood.trim().parse(), Ok(100_000 + QUEUED), "every line of the flood was published");
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}

/// A figure to read, not to assert: the machine may be busy.
fn print_delays(when: &str, sorted: &[Duration]) {
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    eprintln!(
        "delays of {} commands {when} the four sick ones: median {:?}, p99 {:?}, longest {:?}",
        sorted.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
