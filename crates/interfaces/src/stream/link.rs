//! Opens the device of a byte stream.

use crate::config::{FlowControl, SerialConfig, SerialParity, TcpConfig};
use rustix::net::sockopt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_serial::SerialPortBuilderExt;

/// An open device.
pub(crate) trait DeviceStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> DeviceStream for T {}

/// How to open it.
pub(crate) enum DeviceConnector<'a> {
    /// A serial line; the path is already resolved against the configuration's folder.
    Serial(&'a SerialConfig, &'a Path),
    /// A TCP connection.
    Tcp(&'a TcpConfig),
}

/// A peer that vanished without a word is noticed after about `IDLE + INTERVAL * COUNT`.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

impl DeviceConnector<'_> {
    /// Opens the device; the error says what was attempted and how it failed.
    pub(crate) async fn open(&self) -> Result<Box<dyn DeviceStream>, String> {
        match self {
            DeviceConnector::Serial(serial, port) => open_serial(serial, port),
            DeviceConnector::Tcp(tcp) => open_tcp(tcp).await,
        }
    }
}

fn open_serial(serial: &SerialConfig, port: &Path) -> Result<Box<dyn DeviceStream>, String> {
    let builder = tokio_serial::new(port.to_string_lossy(), serial.baud)
        .data_bits(match serial.data_bits {
            5 => tokio_serial::DataBits::Five,
            6 => tokio_serial::DataBits::Six,
            7 => tokio_serial::DataBits::Seven,
            _ => tokio_serial::DataBits::Eight,
        })
        .parity(match serial.parity {
            SerialParity::None => tokio_serial::Parity::None,
            SerialParity::Even => tokio_serial::Parity::Even,
            SerialParity::Odd => tokio_serial::Parity::Odd,
        })
        .stop_bits(if serial.stop_bits == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One })
        .flow_control(match serial.flow_control {
            FlowControl::None => tokio_serial::FlowControl::None,
            FlowControl::Software => tokio_serial::FlowControl::Software,
            FlowControl::Hardware => tokio_serial::FlowControl::Hardware,
        });
    match builder.open_native_async() {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(format!("opening {} failed: {}", port.display(), error.description)),
    }
}

async fn open_tcp(tcp: &TcpConfig) -> Result<Box<dyn DeviceStream>, String> {
    let address = &tcp.address;
    let stream = match timeout(tcp.connect_timeout, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("connecting to {address} failed: {error}")),
        Err(_) => return Err(format!("connecting to {address} took longer than connect_timeout")),
    };
    keep_alive(&stream)
        .map_err(|error| format!("setting the options of the connection to {address} failed: {error}"))?;
    Ok(Box::new(stream))
}

fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}
