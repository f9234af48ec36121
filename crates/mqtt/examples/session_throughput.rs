//! How fast the session takes messages, beside a bare rumqttc subscriber on the same broker: QoS 1, 60-byte payloads.
//!
//! `cargo run --release -p hearthgate-mqtt --example session_throughput [MESSAGES [ROUNDS]]` starts a private Mosquitto.
//! `live`: a publisher runs at the same time, so the broker bounds both. `queue`: the broker has everything already, which
//! shows what the client itself can take. CPU seconds are those of the subscriber's thread alone.

use hearthgate_domain::delivery::QoS;
use hearthgate_mqtt::link::{self, LinkEvent, LinkSubscription};
use hearthgate_mqtt::session::{self, BrokerServer, ProtocolVersion, SessionOptions};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

type Failure = Box<dyn Error + Send + Sync>;

const TOPICS: [&str; 4] = ["sensors/kitchen/aht10", "sensors/attic/aht10", "sensors/hall/aht10", "sensors/porch/aht10"];
const PAYLOAD: &[u8] = br#"{"temperature":23.5,"humidity":65.2,"battery":98,"seq":00001}"#;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Rumqttc,
    Session(ProtocolVersion),
}

struct Figures {
    rate: f64,
    cpu_seconds: f64,
}

struct Broker {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count: u32 = arguments.next().map_or(Ok(200_000), |it| it.parse())?;
    let rounds: u32 = arguments.next().map_or(Ok(3), |it| it.parse())?;
    let clients = [Client::Rumqttc, Client::Session(ProtocolVersion::V3), Client::Session(ProtocolVersion::V5)];
    for live in [true, false] {
        println!("{}", if live { "live" } else { "queue" });
        let mut base = 0.0;
        for client in clients {
            let mut figures = Vec::new();
            for _ in 0..rounds {
                figures.push(round(client, live, count)?);
            }
            figures.sort_by(|a, b| a.rate.total_cmp(&b.rate));
            let Figures { rate, cpu_seconds } = figures[figures.len() / 2];
            if client == Client::Rumqttc {
                base = rate;
            }
            let (slowest, fastest) = (figures[0].rate, figures[figures.len() - 1].rate);
            println!(
                "  {:12} {rate:8.0}/s ({slowest:.0} to {fastest:.0})  ratio {:.2}  cpu {:.2} s for 100,000",
                format!("{client:?}"),
                rate / base,
                cpu_seconds * 100_000.0 / f64::from(count)
            );
        }
    }
    Ok(())
}

fn round(client: Client, live: bool, count: u32) -> Result<Figures, Failure> {
    let broker = start_broker()?;
    let port = broker.port;
    let work = move || -> Result<Figures, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match client {
                Client::Rumqttc => bare(port, live, count).await,
                Client::Session(protocol) => ours(port, protocol, live, count).await,
            }
        })
    };
    thread::spawn(work).join().map_err(|_| "the subscriber panicked")?
}

async fn ours(port: u16, protocol: ProtocolVersion, live: bool, count: u32) -> Result<Figures, Failure> {
    let mut options = SessionOptions::new(BrokerServer::Tcp { host: "127.0.0.1".into(), port }, "subscriber");
    options.protocol = protocol;
    let mut publisher = None;
    if !live {
        subscribe_once(&options).await?;
        publish(port, count).join().map_err(|_| "the publisher panicked")??;
    }
    let (handle, end, mut events) = link::link(8, 8);
    let session = session::run(options, end);
    let (mut received, mut start) = (0, Meter::start());
    let consume = async {
        handle.subscribe_exactly(wanted());
        while let Some(event) = events.recv().await {
            match event {
                LinkEvent::Subscribed(_) if live => {
                    start = Meter::start();
                    publisher = Some(publish(port, count));
                }
                LinkEvent::Messages(batch) => {
                    received += batch.messages.len();
                    handle.acknowledge(batch.last());
                    if received >= count as usize {
                        break;
                    }
                }
                _ => {}
            }
        }
        start.stop(count)
    };
    let figures = tokio::select! {
        figures = consume => figures?,
        end = session => return Err(format!("the session ended: {end:?}").into()),
    };
    if let Some(publisher) = publisher {
        publisher.join().map_err(|_| "the publisher panicked")??;
    }
    Ok(figures)
}

fn wanted() -> Vec<LinkSubscription> {
    vec![LinkSubscription { filter: "sensors/#".into(), qos: QoS::AtLeastOnce }]
}

/// Leaves a session with the subscription at the broker.
async fn subscribe_once(options: &SessionOptions) -> Result<(), Failure> {
    let (handle, end, mut events) = link::link(8, 8);
    let gateway = async {
        handle.subscribe_exactly(wanted());
        while let Some(event) = events.recv().await {
            if matches!(event, LinkEvent::Subscribed(_)) {
                handle.close();
            }
        }
    };
    tokio::join!(session::run(options.clone(), end), gateway);
    Ok(())
}

async fn bare(port: u16, live: bool, count: u32) -> Result<Figures, Failure> {
    if !live {
        let options = SessionOptions {
            protocol: ProtocolVersion::V3,
            ..SessionOptions::new(BrokerServer::Tcp { host: "127.0.0.1".into(), port }, "subscriber")
        };
        subscribe_once(&options).await?;
        publish(port, count).join().map_err(|_| "the publisher panicked")??;
    }
    let mut options = rumqttc::MqttOptions::new("subscriber", "127.0.0.1", port);
    options.set_clean_session(false);
    let (client, mut eventloop) = rumqttc::AsyncClient::new(options, 100);
    client.subscribe("sensors/#", rumqttc::QoS::AtLeastOnce).await?;
    let (mut publisher, mut received, mut start) = (None, 0, Meter::start());
    while received < count {
        match eventloop.poll().await? {
            rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_)) if live => {
                start = Meter::start();
                publisher = Some(publish(port, count));
            }
            rumqttc::Event::Incoming(rumqttc::Packet::Publish(_)) => received += 1,
            _ => {}
        }
    }
    let figures = start.stop(count)?;
    if let Some(publisher) = publisher {
        publisher.join().map_err(|_| "the publisher panicked")??;
    }
    Ok(figures)
}

struct Meter {
    since: Instant,
    cpu: Duration,
}

impl Meter {
    fn start() -> Self {
        Meter { since: Instant::now(), cpu: thread_cpu().unwrap_or_default() }
    }

    fn stop(&self, count: u32) -> Result<Figures, Failure> {
        let cpu = thread_cpu()?.saturating_sub(self.cpu);
        Ok(Figures { rate: f64::from(count) / self.since.elapsed().as_secs_f64(), cpu_seconds: cpu.as_secs_f64() })
    }
}

/// What this thread has used, as the scheduler says.
fn thread_cpu() -> Result<Duration, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_whitespace().next().ok_or("schedstat is empty")?.parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// Publishes as fast as the broker takes it, with bytes made beforehand.
fn publish(port: u16, count: u32) -> JoinHandle<Result<(), Failure>> {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"\x10\x15\x00\x04MQTT\x04\x02\x00\x00\x00\x09publisher")?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack)?;
        let mut acks = stream.try_clone()?;
        let reader = thread::spawn(move || -> Result<(), std::io::Error> {
            let mut all = vec![0; 4 * count as usize];
            acks.read_exact(&mut all)
        });
        let mut bytes = Vec::with_capacity(70_000);
        for number in 0..count {
            let topic = TOPICS[number as usize % TOPICS.len()].as_bytes();
            let id = u16::try_from(number % 65_535 + 1)?;
            bytes.push(0x32);
            bytes.push(u8::try_from(2 + topic.len() + 2 + PAYLOAD.len())?);
            bytes.extend_from_slice(&u16::try_from(topic.len())?.to_be_bytes());
            bytes.extend_from_slice(topic);
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(PAYLOAD);
            if bytes.len() > 60_000 {
                stream.write_all(&bytes)?;
                bytes.clear();
            }
        }
        stream.write_all(&bytes)?;
        reader.join().map_err(|_| "the reader of acknowledgements panicked")??;
        Ok(())
    })
}

fn start_broker() -> Result<Broker, Failure> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let folder = tempfile::TempDir::new()?;
    let file = folder.path().join("m.conf");
    let text =
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n");
    std::fs::write(&file, text)?;
    let path = format!("{}:/usr/sbin", std::env::var("PATH")?);
    let child = Command::new("mosquitto").arg("-c").arg(&file).env("PATH", path).stderr(Stdio::null()).spawn()?;
    let broker = Broker { child, port, _folder: folder };
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(broker);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err("mosquitto does not listen".into())
}
