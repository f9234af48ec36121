use crate::support::{Running, start};
use hearthgate_interfaces::{DriverCount, DriverEvent};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const RULES: &str = "
frame = { delimiter = \"\\n\", max_length = 64, incomplete_after = \"50ms\" }
reconnect = { min = \"5ms\", max = \"20ms\" }
[[receive]]
match = \"T{zone:digits}={value:number}\"
message = { function = \"heating\", location = \"zone{zone}\", action = \"REPORT\", arguments = { value = \"{value}\" } }
[[send]]
action = \"SET\"
write = \"SET {zone:digits} {value:number}\\n\"
";

async fn panel() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, format!("kind = \"tcp\"\naddress = \"{address}\"\n"))
}

async fn connected(listener: &TcpListener, options: &str) -> (Running, TcpStream) {
    let mut driver = start(options);
    let (stream, _) = listener.accept().await.unwrap();
    driver.online().await;
    (driver, stream)
}

#[tokio::test]
async fn lines_become_messages_and_commands_become_lines_with_their_arguments() {
    let (listener, head) = panel().await;
    let (mut driver, mut panel) = connected(&listener, &format!("{head}{RULES}")).await;
    panel.write_all(b"T3=21.50\r\nT4=-1\n").await.unwrap();
    let report = driver.emitted().await;
    assert_eq!((report.location.as_str(), report.action.as_str()), ("zone3", "REPORT"));
    assert_eq!(report.arguments["value"], "21.50");
    assert_eq!(driver.emitted().await.arguments["value"], "-1");

    driver.command_with("SET", &[("zone", "3"), ("value", "20.5")]).await;
    let mut line = [0; 11];
    panel.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"SET 3 20.5\n");

    driver.command_with("SET", &[("zone", "3"), ("value", "1\nSET 4 30")]).await;
    assert!(driver.refused("SET").await.contains("`value` holds a control character"));
    driver.command("OPEN").await;
    assert!(driver.refused("OPEN").await.contains("no rule of this interface knows the action \"OPEN\""));
    driver.stop().await.unwrap();
}

#[tokio::test]
async fn a_panel_that_goes_is_reported_once_and_served_again_when_it_comes_back() {
    let (listener, head) = panel().await;
    let address = listener.local_addr().unwrap();
    let (mut driver, panel) = connected(&listener, &format!("{head}{RULES}")).await;
    drop((panel, listener));
    assert!(driver.offline().await.contains("closed the connection"));
    // Attempts fail meanwhile; each is followed by the refusal of a command, and none by another report.
    for _ in 0..10 {
        driver.command("SET").await;
        assert!(driver.refused("SET").await.contains("the device is offline"));
    }
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let (mut panel, _) = listener.accept().await.unwrap();
    let reports_before_online = driver.find("online", |event| Some(matches!(event, DriverEvent::Offline { .. }))).await;
    assert!(!reports_before_online, "offline was reported a second time");
    panel.write_all(b"T1=1\n").await.unwrap();
    assert_eq!(driver.emitted().await.location, "zone1");
}

#[tokio::test]
async fn garbage_half_frames_and_floods_are_counted_and_the_next_frame_is_read() {
    let (listener, head) = panel().await;
    let (mut driver, mut panel) = connected(&listener, &format!("{head}{RULES}")).await;
    panel.write_all(b"\x80\xff\xfe\n").await.unwrap();
    driver.counted(DriverCount::FrameNotText).await;
    panel.write_all(b"what is this\n").await.unwrap();
    driver.counted(DriverCount::FrameUnmatched).await;
    panel.write_all(b"T3=2").await.unwrap();
    driver.counted(DriverCount::FrameIncomplete).await;
    panel.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
    driver.counted(DriverCount::FrameTooLong).await;
    panel.write_all(b"\nT3=2\n").await.unwrap();
    assert_eq!(driver.emitted().await.location, "zone3");
}

#[tokio::test]
async fn a_flood_of_frames_loses_none() {
    let (listener, head) = panel().await;
    let (mut driver, mut panel) = connected(&listener, &format!("{head}{RULES}")).await;
    let frames: String = (0..20_000).map(|number| format!("T1={number}\n")).collect();
    let (written, ()) = tokio::join!(panel.write_all(frames.as_bytes()), async {
        for number in 0..20_000 {
            assert_eq!(driver.emitted().await.arguments["value"], number.to_string());
        }
    });
    written.unwrap();
}

#[tokio::test]
async fn a_panel_that_does_not_read_is_given_up_and_the_command_answered() {
    let (listener, head) = panel().await;
    let options =
        format!("{head}write_timeout = \"50ms\"\n{RULES}\n[[send]]\naction = \"SHOW\"\nwrite = \"{{text}}\"\n");
    let (mut driver, _panel) = connected(&listener, &options).await;
    let text = "x".repeat(8 << 20);
    driver.command_with("SHOW", &[("text", &text)]).await;
    assert!(driver.refused("SHOW").await.contains("write_timeout"));
    assert!(driver.offline().await.contains("write_timeout"));
}

#[tokio::test]
async fn a_silence_longer_than_allowed_means_that_the_panel_is_gone() {
    let (listener, head) = panel().await;
    let (mut driver, _panel) = connected(&listener, &format!("{head}silence_timeout = \"30ms\"\n{RULES}")).await;
    assert!(driver.offline().await.contains("silence_timeout"));
    listener.accept().await.unwrap();
    driver.online().await;
}

/// The device's own buffer is out of reach; what our side still holds when the connection is given up must not arrive.
#[tokio::test]
async fn what_a_device_does_not_take_in_time_is_answered_and_never_reaches_it() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let head = format!("kind = \"tcp\"\naddress = \"{}\"\nmax_command_age = \"1s\"\n", listener.local_addr().unwrap());
    let rules = RULES.replace("SET {zone:digits}", &format!("{} {{zone:digits}}", "x".repeat(1_000)));
    let (mut driver, mut panel) = connected(&listener, &format!("{head}{rules}")).await;
    for zone in 0..40 {
        driver.command_with("SET", &[("zone", &zone.to_string()), ("value", "1")]).await;
    }
    let refused = driver.refused("SET").await;
    assert!(refused.contains("it may not have reached the device"), "{refused}");
    for _ in 0..10 {
        driver.refused("SET").await;
    }
    let mut arrived = Vec::new();
    // The connection was reset; what the device's side had taken can be read, or not even that.
    let _ = panel.read_to_end(&mut arrived).await;
    let lines = arrived.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines < 30, "{lines} commands arrived of 40");
}
