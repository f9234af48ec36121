//! A TCP proxy that can cut every connection, and notes what the client acknowledged.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a client sent: the packet type (4 PUBACK, 5 PUBREC, …) and its packet identifier, in order.
type Seen = Arc<Mutex<Vec<(u8, u16)>>>;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    seen: Seen,
    cuts: watch::Sender<u64>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cuts, cut) = watch::channel(0);
        let (seen, mut task) = (Seen::default(), JoinSet::new());
        task.spawn(accept(listener, target, Arc::clone(&seen), cut));
        Proxy { port, seen, cuts, _task: task }
    }

    /// Cuts every connection that stands.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Identifiers of the packets of this type that the client sent, in order.
    pub(crate) fn sent(&self, kind: u8) -> Vec<u16> {
        self.seen.lock().unwrap().iter().filter(|(found, _)| *found == kind).map(|(_, id)| *id).collect()
    }
}

async fn accept(listener: TcpListener, target: u16, seen: Seen, cut: watch::Receiver<u64>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(relay(client, target, Arc::clone(&seen), cut.clone()));
    }
}

async fn relay(mut client: TcpStream, target: u16, seen: Seen, mut cut: watch::Receiver<u64>) {
    let Ok(mut broker) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    cut.mark_unchanged();
    let (mut from_client, mut to_client) = client.split();
    let (mut from_broker, mut to_broker) = broker.split();
    select! {
        _ = copy(&mut from_broker, &mut to_client) => {}
        () = watch_client(&mut from_client, &mut to_broker, &seen) => {}
        _ = cut.changed() => {}
    }
}

async fn watch_client(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    seen: &Mutex<Vec<(u8, u16)>>,
) {
    let (mut pending, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        pending.extend_from_slice(&chunk[..count]);
        while let Some((kind, id, length)) = first_packet(&pending) {
            seen.lock().unwrap().push((kind, id));
            pending.drain(..length);
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

fn first_packet(bytes: &[u8]) -> Option<(u8, u16, usize)> {
    let (mut length, mut width) = (0, 0);
    loop {
        let byte = *bytes.get(1 + width)?;
        length |= usize::from(byte & 0x7f) << (7 * width);
        width += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let total = 1 + width + length;
    let body = bytes.get(1 + width..total)?;
    let id = if body.len() >= 2 { u16::from_be_bytes([body[0], body[1]]) } else { 0 };
    Some((bytes[0] >> 4, id, total))
}
