//! Mapping through keyword maps: MQTT to a dummy interface, and from a device (a TCP interface) to MQTT.

use crate::limits::{self, BareSubscriber};
use crate::load::{self, Content, Load};
use crate::report::{Figure, Round, Target};
use crate::subject::{FarEnd, Setup, Subject};
use crate::{PATIENCE, Plan};
use anyhow::{Context, ensure};
use hearthgate_tests::broker::Mosquitto;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

/// Strict and loose maps, as an installation has them. `ROOT` is replaced.
const MAP: &str = r#"{"root": "ROOT", "topics": ["ROOT/+/+/+/+/+/C"],
  "function": {"maptype": "strict", "map": {"Lighting": ["lighting"], "Security": ["security"], "AudioVideo": ["audiovideo"]}},
  "gateway": {"maptype": "none"},
  "location": {"maptype": "strict", "map": {"Kitchen": ["kitchen"], "Office": ["office"], "DiningRm": ["dining_room"]}},
  "device": {"maptype": "loose", "map": {"Gate": ["gate"], "Lamp": ["lamp"]}},
  "sender": {"maptype": "loose", "map": {"Panel": ["panel"]}},
  "action": {"maptype": "strict", "map": {"LIGHT_ON": ["light_on"], "LIGHT_OFF": ["light_off"], "REPORT": ["report"]}},
  "argkey": {"maptype": "loose", "map": {"Number": ["n"], "Unit": ["u"]}},
  "argvalue": {"maptype": "none"}}"#;

pub(super) async fn round(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for qos in [1, 0] {
        let broker = Mosquitto::start();
        let limit = limits::bare_subscriber(&broker, plan.messages, qos, commands(plan)).await?;
        let target = Some(Target::OfLimit(0.9));
        let mut bare = Figure::new(format!("bare subscriber, QoS {qos}"), "/s", None);
        bare.rounds.push(Round::of(limit));
        let mut to = Figure::new(format!("mapped to a dummy interface, QoS {qos}"), "/s", target);
        to.rounds.push(Round { limit: Some(limit), ..to_dummy(plan, &broker, qos).await? });
        let mut back = Figure::new(format!("from a device to MQTT, QoS {qos}"), "/s", target);
        back.rounds.push(Round { limit: Some(limit), ..from_device(plan, &broker, qos).await? });
        figures.extend([bare, to, back]);
    }
    Ok(figures)
}

/// Commands spread over the interfaces.
fn commands(plan: &Plan) -> Content {
    let (interfaces, payload) = (plan.interfaces, plan.payload);
    Box::new(move |number, topic, bytes| {
        // Writing to a text does not fail.
        let _ = write!(topic, "home{}/lighting//kitchen/lamp/panel/C", number % interfaces);
        load::command(number, payload, bytes);
    })
}

async fn to_dummy(plan: &Plan, broker: &Mosquitto, qos: u8) -> anyhow::Result<Round> {
    // As many as there are: on a busy machine the dummy is not always there at once, and what has no room is refused.
    let mut toml = "[mapper]\nqueue = 1000000\n".to_owned();
    let maps = tempfile::tempdir()?;
    for number in 0..plan.interfaces {
        let map = maps.path().join(format!("map{number}.json"));
        std::fs::write(&map, MAP.replace("ROOT", &format!("home{number}")))?;
        let map = map.display();
        writeln!(toml, "[interfaces.dummy{number}]\nkind = \"dummy\"\nmap = \"{map}\"\nperiod = \"1h\"")?;
    }
    let subject =
        Subject::start(Setup { broker: Some(broker), tap: None, database: None, toml, flows: Vec::new() }).await?;
    let load = |messages| Load { port: broker.port, messages, qos, rate: None, content: commands(plan) };
    subject.warm_up(&FarEnd::Interfaces, plan.messages, load).await?;
    let run = subject.measure(&FarEnd::Interfaces, load(plan.messages)).await?;
    let refused = subject.metric("hearthgate_interface_events_total", &["outcome=\"command_"])?;
    ensure!(refused == 0, "void: the interface refused {refused} commands");
    let log = subject.gateway.log();
    ensure!(!log.contains("refused"), "void: commands were refused:\n{log}");
    Ok(run)
}

/// A device that says a line for each message: read, recognised by a rule, encoded through the maps and published.
async fn from_device(plan: &Plan, broker: &Mosquitto, qos: u8) -> anyhow::Result<Round> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let folder = tempfile::tempdir()?;
    let map = folder.path().join("map.json");
    std::fs::write(&map, MAP.replace("ROOT", "home"))?;
    let toml = format!(
        r#"
[interfaces.device]
kind = "tcp"
map = "{}"
address = "{address}"
qos = {qos}
[interfaces.device.frame]
delimiter = "\n"
[[interfaces.device.receive]]
match = "R {{number:digits}} {{unit}}"
message = {{ function = "Lighting", location = "Kitchen", device = "Lamp", action = "REPORT", arguments = {{ Number = "{{number}}", Unit = "{{unit}}" }} }}
"#,
        map.display()
    );
    let subject =
        Subject::start(Setup { broker: Some(broker), tap: None, database: None, toml, flows: Vec::new() }).await?;
    let (device, _) = listener.accept().context("waiting for the gateway")?;
    let mut subscriber = BareSubscriber::start(broker.port, "home/lighting/#", qos).await?;
    let warm_up = (plan.messages / 20).max(1);
    for messages in [warm_up, plan.messages] {
        let cpu = subject.process().cpu_seconds()?;
        let since = Instant::now();
        let speaker = speak(device.try_clone()?, messages, plan.payload);
        let rate = subscriber.receive(messages, since).await?;
        load::join(speaker)?;
        if messages == plan.messages {
            return subject.round(messages, messages as f64 / rate, cpu);
        }
    }
    anyhow::bail!("no run")
}

/// The bytes of a line that make a payload of the wanted size.
fn speak(device: TcpStream, messages: u64, payload: usize) -> std::thread::JoinHandle<anyhow::Result<()>> {
    std::thread::spawn(move || {
        device.set_write_timeout(Some(PATIENCE))?;
        let mut device = BufWriter::with_capacity(16_384, device);
        // {"n":"1000000000","u":"…","action":"report"}
        let unit = "C".repeat(payload.saturating_sub(43).max(1));
        for number in 0..messages {
            writeln!(device, "R {} {unit}", load::shown(number))?;
        }
        device.flush()?;
        Ok(())
    })
}
