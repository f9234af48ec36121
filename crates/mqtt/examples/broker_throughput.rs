//! How many QoS 1 messages a second the embedded broker passes to the gateway: one publisher that pipelines, a gateway
//! that acknowledges batch by batch. `broker_throughput [MESSAGES [WINDOW [SUBSCRIBERS]]]`

use hearthgate_domain::delivery::QoS;
use hearthgate_mqtt::broker::{BrokerOptions, EmbeddedBroker};
use hearthgate_mqtt::link::{LinkEvent, LinkSubscription, link};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

const PAYLOAD: &[u8] = br#"{"temperature":23.5,"humidity":65.2,"battery":98,"id":12345}"#;

#[expect(clippy::print_stdout, reason = "the figures are the program's answer")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let count = arguments.first().copied().unwrap_or(1_000_000);
    let window = arguments.get(1).copied().unwrap_or(2_000);
    let subscribers = arguments.get(2).copied().unwrap_or(0);
    let options = BrokerOptions { listen: "127.0.0.1:0".into(), ..BrokerOptions::default() };
    let (handle, port, mut events) = link(64, 64);
    let filter = "sensors/#".to_owned();
    handle.subscribe_exactly(vec![LinkSubscription { filter, qos: QoS::ExactlyOnce }]);
    let mut broker = EmbeddedBroker::bind(options)?;
    broker.attach(port);
    let address = broker.addresses()[0];
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(|runtime| runtime.block_on(broker.run()))
    });
    let closer = handle.clone();
    let gateway = std::thread::spawn(move || {
        let (mut messages, mut batches) = (0, 0);
        while let Some(event) = events.blocking_recv() {
            if let LinkEvent::Messages(batch) = event {
                messages += batch.messages.len();
                batches += 1;
                handle.acknowledge(batch.last());
            }
        }
        (messages, batches)
    });
    let readers: Vec<_> = (0..subscribers)
        .map(|index| std::thread::spawn(move || subscribe(address, index, count).map_err(|error| error.to_string())))
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let start = Instant::now();
    publish(address, count, window)?;
    let elapsed = start.elapsed().as_secs_f64();
    println!("published and acknowledged {count} in {elapsed:.2} s: {:.0} messages/s", count as f64 / elapsed);
    for reader in readers {
        reader.join().map_err(|_| "a subscriber has panicked")??;
    }
    if subscribers > 0 {
        let elapsed = start.elapsed().as_secs_f64();
        println!(
            "{subscribers} subscribers had all after {elapsed:.2} s: {:.0} deliveries/s",
            (count * subscribers) as f64 / elapsed
        );
    }
    closer.close();
    drop(closer);
    let (messages, batches) = gateway.join().map_err(|_| "the gateway has panicked")?;
    println!("the gateway got {messages} messages in {batches} batches");
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().filter(|line| line.starts_with("VmHWM")).collect::<String>());
    Ok(())
}

fn connect(address: SocketAddr, id: &str) -> Result<TcpStream, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut connect = vec![0x10, 12 + id.len() as u8, 0, 4];
    connect.extend_from_slice(b"MQTT\x04\x02\x00\x3c\x00");
    connect.push(id.len() as u8);
    connect.extend_from_slice(id.as_bytes());
    stream.write_all(&connect)?;
    stream.read_exact(&mut [0; 4])?;
    Ok(stream)
}

/// Keeps at most `window` messages unacknowledged.
fn publish(address: SocketAddr, count: usize, window: usize) -> Result<(), Box<dyn Error>> {
    let mut stream = connect(address, "publisher")?;
    let topic = b"sensors/aht10/kitchen";
    let mut reader = stream.try_clone()?;
    let (acknowledged, credit) = std::sync::mpsc::channel::<usize>();
    let counter = std::thread::spawn(move || {
        let (mut buffer, mut bytes, mut told) = (vec![0; 64 * 1024], 0, 0);
        while told < count {
            match reader.read(&mut buffer) {
                Ok(read) if read > 0 => bytes += read,
                _ => return told,
            }
            let new = bytes / 4 - told;
            told += new;
            if acknowledged.send(new).is_err() {
                return told;
            }
        }
        told
    });
    let (mut sent, mut acked, mut out) = (0, 0, Vec::new());
    while acked < count {
        let room = (window - (sent - acked)).min(count - sent);
        out.clear();
        for _ in 0..room {
            sent += 1;
            let id = (sent % 65_535) as u16 + 1;
            out.push(0x32);
            out.push((4 + topic.len() + PAYLOAD.len()) as u8);
            out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
            out.extend_from_slice(topic);
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(PAYLOAD);
        }
        stream.write_all(&out)?;
        acked += credit.recv()?;
        acked += credit.try_iter().sum::<usize>();
    }
    counter.join().map_err(|_| "the reader has panicked")?;
    Ok(())
}

/// A QoS 1 subscriber that acknowledges and drops.
fn subscribe(address: SocketAddr, index: usize, count: usize) -> Result<(), Box<dyn Error>> {
    let mut stream = connect(address, &format!("subscriber{index}"))?;
    stream.write_all(b"\x82\x0e\x00\x01\x00\x09sensors/#\x01")?;
    stream.read_exact(&mut [0; 5])?;
    let (mut buffer, mut filled, mut got) = (vec![0; 256 * 1024], 0, 0);
    while got < count {
        let read = stream.read(&mut buffer[filled..])?;
        if read == 0 {
            return Err("the broker closed the connection".into());
        }
        filled += read;
        let (mut at, mut acks) = (0, Vec::new());
        while filled - at >= 2 && filled - at >= 2 + usize::from(buffer[at + 1]) {
            let topic = usize::from(u16::from_be_bytes([buffer[at + 2], buffer[at + 3]]));
            acks.extend_from_slice(&[0x40, 2, buffer[at + 4 + topic], buffer[at + 5 + topic]]);
            at += 2 + usize::from(buffer[at + 1]);
            got += 1;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        stream.write_all(&acks)?;
    }
    Ok(())
}
