//! The entry system of the reference tutorial: the example configuration that ships, a pseudo-terminal in the board's place.

use hearthgate_tests::board::Board;
use hearthgate_tests::client::Client;
use hearthgate_tests::gateway::Home;
use rumqttc::QoS;
use std::fs;
use std::path::Path;

const BELL: &str = "home/security/entry2mqtt/frontgarden/bell/entry/S";
const GATE: &str = "home/security/entry2mqtt/frontgarden/gate/entry/S";
const LIGHT: &str = "home/lighting//frontgarden//entry/C";
const OPEN: &str = "home/security/entry2mqtt/frontgarden/gate/phone/C";

/// The example as it ships, with our port in the place of the board's.
fn example(home: &Home) {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let text = fs::read_to_string(config.join("examples/entry.toml")).expect("the example");
    let port = home.path().join("board");
    let text = text.replace("/dev/ttyACM0", &port.display().to_string()).replace("../maps/", "maps/");
    fs::create_dir(home.path().join("maps")).expect("a folder");
    fs::copy(config.join("maps/entry.json"), home.path().join("maps/entry.json")).expect("the map");
    home.configure(&format!("{text}\n[interfaces.entry.reconnect]\nmin = \"10ms\"\nmax = \"50ms\"\n"));
}

async fn expect(client: &mut Client, topic: &str, action: &str) {
    let (on, payload) = client.next().await;
    assert_eq!((on.as_str(), payload.as_str()), (topic, action));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_entry_system_works_as_it_ships() {
    let home = Home::new();
    example(&home);
    let port = home.path().join("board");
    let board = Board::plug_in(&port);
    let checked = home.command().args(["check", "--offline"]).output().expect("hearthgate check");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains("home/security/+/frontgarden"), "{said}");

    let mut gateway = home.start();
    gateway.wait_for_log(&["online", "interface=entry"]);
    let mut client = Client::connect(home.mqtt, "house").await;
    client.subscribe("home/#").await;

    board.says(b"11").await;
    expect(&mut client, BELL, "bell_on").await;
    board.says(b"10").await;
    expect(&mut client, BELL, "bell_off").await;
    board.says(b"21").await;
    expect(&mut client, GATE, "gate_open").await;
    expect(&mut client, LIGHT, "light_on").await;
    board.says(b"20").await;
    expect(&mut client, GATE, "gate_close").await;

    // Garbage is counted and harms nothing; half a frame is dropped after a second.
    board.says(b"\xff\x0099").await;
    gateway.wait_for_log(&["interface=entry", "no rule knows the frame"]);
    board.says(b"1").await;
    gateway.wait_for_log(&["interface=entry", "the rest of a frame did not come"]);
    board.says(b"10").await;
    expect(&mut client, BELL, "bell_off").await;

    client.publish_with(OPEN, "gate_open", QoS::AtLeastOnce, false).await;
    assert_eq!(board.hears(2).await, b"21");
    let (on, payload) = client.next().await;
    assert_eq!((on.as_str(), payload.as_str()), (OPEN, "gate_open"), "what we said ourselves, and no answer");

    // A flood arrives whole and in order.
    let frames: Vec<u8> = (0..2_000).flat_map(|number| if number % 3 == 0 { *b"11" } else { *b"10" }).collect();
    let heard = async {
        for number in 0..2_000 {
            expect(&mut client, BELL, if number % 3 == 0 { "bell_on" } else { "bell_off" }).await;
        }
    };
    tokio::join!(board.says(&frames), heard);

    // Unplugged: told once, refused with a reason; plugged in again it works.
    drop(board);
    fs::remove_file(&port).expect("unplugging");
    gateway.wait_for_log(&["offline", "interface=entry"]);
    client.publish(OPEN, "gate_open").await;
    let answer = client.next_on(GATE).await;
    assert!(answer.contains("ERROR") && answer.contains("the device is offline"), "{answer}");
    let board = Board::plug_in(&port);
    let mut late = Client::connect(home.mqtt, "dashboard").await;
    late.subscribe("hearthgate/hearthgate/interface/entry/state").await;
    while late.next().await.1 != "online" {}
    client.publish(OPEN, "gate_open").await;
    assert_eq!(board.hears(2).await, b"21");
    assert_eq!(gateway.log().matches(" offline interface=entry").count(), 1, "{}", gateway.log());
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}
