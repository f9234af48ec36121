//! A pty plays the entry system of the reference tutorial, under the example configuration that ships.

use crate::support::{PATIENCE, Running, start_in, until};
use hearthgate_interfaces::{DriverConfig, DriverCount, DriverEvent, InterfaceConfig};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The board at the gate: the other end of the line.
struct Board(OwnedFd);

impl Board {
    /// Plugs the line in at this path.
    fn plug_in(port: &Path) -> Board {
        let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&board).unwrap();
        unlockpt(&board).unwrap();
        let name = ptsname(&board, Vec::new()).unwrap();
        let fresh = port.with_extension("new");
        symlink(OsStr::from_bytes(name.to_bytes()), &fresh).unwrap();
        std::fs::rename(&fresh, port).unwrap();
        fcntl_setfl(&board, OFlags::NONBLOCK).unwrap();
        Board(board)
    }

    async fn says(&self, frames: &[u8]) {
        let mut left = frames;
        let since = Instant::now();
        while !left.is_empty() {
            match rustix::io::write(&self.0, left) {
                Ok(written) => left = &left[written..],
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            assert!(since.elapsed() < PATIENCE, "the driver does not read");
        }
    }

    async fn hears(&self, length: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        let since = Instant::now();
        while heard.len() < length {
            let mut bytes = vec![0; length - heard.len()];
            match rustix::io::read(&self.0, &mut bytes[..]) {
                Ok(read) => heard.extend_from_slice(&bytes[..read]),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            assert!(since.elapsed() < PATIENCE, "the driver does not write; so far {heard:?}");
        }
        heard
    }
}

#[derive(serde::Deserialize)]
struct Document {
    interfaces: BTreeMap<String, InterfaceConfig>,
}

/// The example that ships, with a port of ours and little patience.
fn example(folder: &TempDir) -> InterfaceConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples/entry.toml");
    let mut document: Document = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut config = document.interfaces.remove("entry").unwrap();
    let DriverConfig::Serial(serial, stream) = &mut config.driver else { panic!("the example is serial") };
    serial.port = folder.path().join("port");
    stream.frame.incomplete_after = Duration::from_millis(50);
    stream.reconnect.min = Duration::from_millis(5);
    stream.reconnect.max = Duration::from_millis(20);
    config
}

async fn entry() -> (Running, Board) {
    let folder = TempDir::new().unwrap();
    let board = Board::plug_in(&folder.path().join("port"));
    let config = example(&folder);
    let mut driver = start_in(folder, config);
    driver.online().await;
    (driver, board)
}

async fn expect(driver: &mut Running, iscmd: bool, function: &str, device: &str, action: &str) {
    let message = driver.emitted().await;
    assert_eq!(message.location, "gate_entry");
    assert_eq!(
        (message.iscmd, message.function.as_str(), message.device.as_str(), message.action.as_str()),
        (iscmd, function, device, action)
    );
}

#[tokio::test]
async fn every_frame_of_the_entry_system_becomes_its_message() {
    let (mut driver, board) = entry().await;
    board.says(b"11").await;
    expect(&mut driver, false, "Security", "Bell", "BELL_ON").await;
    board.says(b"1").await;
    board.says(b"0").await;
    expect(&mut driver, false, "Security", "Bell", "BELL_OFF").await;
    board.says(b"2120").await;
    expect(&mut driver, false, "Security", "Gate", "GATE_OPEN").await;
    expect(&mut driver, true, "Lighting", "", "LIGHT_ON").await;
    expect(&mut driver, false, "Security", "Gate", "GATE_CLOSE").await;
    driver.stop().await.unwrap();
}

#[tokio::test]
async fn the_command_to_open_the_gate_writes_its_frame() {
    let (mut driver, board) = entry().await;
    driver.command("GATE_OPEN").await;
    assert_eq!(board.hears(2).await, b"21");
    driver.command("BELL_ON").await;
    assert!(driver.refused("BELL_ON").await.contains("no rule of this interface knows"));
}

#[tokio::test]
async fn garbage_and_half_a_frame_are_counted_and_the_line_finds_its_step_again() {
    let (mut driver, board) = entry().await;
    board.says(b"zz").await;
    driver.counted(DriverCount::FrameUnmatched).await;
    board.says(&[0x80, 0x81]).await;
    driver.counted(DriverCount::FrameNotText).await;
    board.says(b"1").await;
    driver.counted(DriverCount::FrameIncomplete).await;
    board.says(b"11").await;
    expect(&mut driver, false, "Security", "Bell", "BELL_ON").await;
}

#[tokio::test]
async fn a_flood_of_frames_arrives_whole_and_in_order() {
    let (mut driver, board) = entry().await;
    let flood = b"1110".repeat(5_000);
    tokio::join!(board.says(&flood), async {
        for _ in 0..5_000 {
            expect(&mut driver, false, "Security", "Bell", "BELL_ON").await;
            expect(&mut driver, false, "Security", "Bell", "BELL_OFF").await;
        }
    });
}

#[tokio::test]
async fn a_line_that_is_unplugged_is_reported_once_and_works_again_when_it_is_back() {
    let (mut driver, board) = entry().await;
    let port = driver.folder.path().join("port");
    std::fs::remove_file(&port).unwrap();
    drop(board);
    let reason = driver.offline().await;
    assert!(reason.contains("reading from it failed") || reason.contains("closed"), "{reason}");
    for _ in 0..10 {
        driver.command("GATE_OPEN").await;
        assert!(driver.refused("GATE_OPEN").await.contains("the device is offline"));
    }
    let board = Board::plug_in(&port);
    let first = driver.find("an event", |event| Some(event.clone())).await;
    assert_eq!(first, DriverEvent::Online, "nothing is reported between going and coming");
    board.says(b"11").await;
    expect(&mut driver, false, "Security", "Bell", "BELL_ON").await;
    driver.command("GATE_OPEN").await;
    assert_eq!(board.hears(2).await, b"21");
}

#[tokio::test]
async fn a_device_that_was_never_there_is_reported_once_with_its_path() {
    let folder = TempDir::new().unwrap();
    let port = folder.path().join("port");
    let config = example(&folder);
    let mut driver = start_in(folder, config);
    let reason = driver.offline().await;
    assert!(reason.contains("opening") && reason.contains("port failed"), "{reason}");
    let _board = Board::plug_in(&port);
    driver.online().await;
}

#[tokio::test]
async fn dropping_the_driver_lets_go_of_the_line() {
    let (driver, board) = entry().await;
    drop(driver);
    // With nobody at the other end reading the line fails.
    until("the line is let go", || rustix::io::read(&board.0, &mut [0; 1][..]) == Err(rustix::io::Errno::IO)).await;
}
