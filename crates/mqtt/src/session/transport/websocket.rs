//! MQTT over WebSocket (MQTT 5.0, section 6): a byte stream in binary frames, subprotocol `mqtt`.

use crate::session::transport::buffers::TransportStream;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::{TokioAdapter, client_async_with_config};
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::HeaderValue;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use std::io;
use ws_stream_tungstenite::WsStream;

/// The largest MQTT packet: brokers put one packet into one frame, and a refused frame would come again for ever.
const LARGEST_FRAME: usize = 268_435_460;

/// Makes the handshake on a stream that is connected, and encrypted if it has to be.
pub(crate) async fn connect<S: TransportStream + 'static>(
    stream: S,
    host: &str,
    port: u16,
    path: &str,
) -> io::Result<WsStream<TokioAdapter<S>>> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut request = format!("ws://{host}:{port}{path}").into_client_request().map_err(io::Error::other)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(LARGEST_FRAME);
    config.max_frame_size = Some(LARGEST_FRAME);
    let (socket, _): (WebSocketStream<_>, _) =
        client_async_with_config(request, stream, Some(config)).await.map_err(io::Error::other)?;
    Ok(WsStream::new(socket))
}
