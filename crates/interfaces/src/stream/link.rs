//! Opens the device of a byte stream.

use super::error::LinkError;
use super::outlet::{DeviceOutlet, DeviceStream, OutletControl};
use super::serial_line::SerialLine;
use crate::config::{FlowControl, SerialConfig, SerialParity, TcpConfig};
use rustix::net::sockopt;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_serial::SerialPortBuilderExt;

/// An open device, and the way to what it has not taken yet.
pub(crate) struct DeviceLink {
    pub(crate) stream: Box<dyn DeviceStream>,
    pub(crate) outlet: DeviceOutlet,
}

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
    /// Opens the device.
    pub(crate) async fn open(&self) -> Result<DeviceLink, LinkError> {
        match self {
            DeviceConnector::Serial(serial, port) => open_serial(serial, port),
            DeviceConnector::Tcp(tcp) => open_tcp(tcp).await,
        }
    }
}

fn open_serial(serial: &SerialConfig, port: &Path) -> Result<DeviceLink, LinkError> {
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
    let stream = builder.open_native_async();
    let stream = stream.map_err(|source| LinkError::Serial { port: port.to_owned(), source })?;
    let (line, gauge) = SerialLine::new(stream);
    Ok(DeviceLink { stream: Box::new(line), outlet: DeviceOutlet::new(OutletControl::Serial(gauge)) })
}

async fn open_tcp(tcp: &TcpConfig) -> Result<DeviceLink, LinkError> {
    let address = || tcp.address.clone();
    let stream = match timeout(tcp.connect_timeout, TcpStream::connect(&tcp.address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(LinkError::Connect { address: address(), source }),
        Err(_) => return Err(LinkError::ConnectTimeout { address: address() }),
    };
    let socket = keep_alive(&stream).and_then(|()| stream.as_fd().try_clone_to_owned());
    let socket = socket.map_err(|source| LinkError::SocketOptions { address: address(), source })?;
    Ok(DeviceLink { stream: Box::new(stream), outlet: DeviceOutlet::new(OutletControl::Tcp(socket)) })
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}
