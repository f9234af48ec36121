//! Calls to a real HTTP server on this machine whose answer can be switched.
#![expect(clippy::unwrap_used, reason = "a test ends with its first surprise, in its helpers too")]

use bytes::Bytes;
use hearthgate_endpoints::{
    AddressSource, CallAuth, CallHeaders, CallOutcome, ClientOptions, EndpointAddress, EndpointCall, EndpointClient,
    SigningSecret, trust_authority,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

/// How the server answers the next request.
#[derive(Clone)]
enum Answer {
    /// These bytes.
    Send(Vec<u8>),
    /// Nothing, ever.
    Hang,
    /// The connection ends.
    Cut,
}

struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(Answer::Cut)),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        server.answer(200, "", "");
        let (answer, requests) = (Arc::clone(&server.answer), Arc::clone(&server.requests));
        let connections = Arc::clone(&server.connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                std::thread::spawn(move || serve(stream.unwrap(), &answer, &requests));
            }
        });
        server
    }

    fn answer(&self, status: u16, headers: &str, body: &str) {
        let text = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
        self.set(Answer::Send(text.into_bytes()));
    }

    fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, answer: &Mutex<Answer>, requests: &Mutex<Vec<String>>) {
    while let Some(request) = read_request(&mut stream) {
        requests.lock().unwrap().push(request);
        let answer = answer.lock().unwrap().clone();
        match answer {
            Answer::Send(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Answer::Hang => {
                // Until the caller gives up.
                let _ = stream.read(&mut [0]);
                return;
            }
            Answer::Cut => return,
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

fn client(options: ClientOptions) -> EndpointClient {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    EndpointClient::new(ClientOptions { proxy_from_environment: false, ..options }).unwrap()
}

fn plain() -> CallHeaders {
    CallHeaders::new(&[], &CallAuth::None).unwrap()
}

fn call<'a>(address: &'a EndpointAddress, headers: &'a CallHeaders) -> EndpointCall<'a> {
    EndpointCall {
        address,
        headers,
        body: Bytes::from_static(br#"{"test": 2432232314}"#),
        message_id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: UNIX_EPOCH + Duration::from_secs(1_614_265_330),
        timeout: Duration::from_secs(10),
        secret: None,
    }
}

async fn post(client: &EndpointClient, url: &str) -> CallOutcome {
    client.call(&call(&client.address(url, AddressSource::Flow).unwrap(), &plain())).await
}

#[tokio::test]
async fn one_endpoint_answers_this_and_that() {
    let server = Server::start();
    let client = client(ClientOptions::default());
    let url = server.url();
    assert_eq!(post(&client, &url).await, CallOutcome::Delivered { status: 200 });
    server.answer(503, "Retry-After: 7\r\n", "come back\r\nlater");
    let reason = "503 Service Unavailable: come back  later".to_owned();
    let after = Some(Duration::from_secs(7));
    assert_eq!(post(&client, &url).await, CallOutcome::RetryLater { status: Some(503), after, reason });
    server.answer(422, "", "");
    let reason = "422 Unprocessable Entity".to_owned();
    assert_eq!(post(&client, &url).await, CallOutcome::Refused { status: Some(422), reason });
    server.answer(410, "", "");
    assert_eq!(post(&client, &url).await, CallOutcome::Gone { reason: "410 Gone".into() });
    server.answer(204, "", "");
    assert_eq!(post(&client, &url).await, CallOutcome::Delivered { status: 204 });
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "the connection is kept, whatever the answer");
}

#[tokio::test]
async fn a_call_carries_its_headers_signature_and_body() {
    let server = Server::start();
    let url = server.url();
    let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let headers = [("X-Gateway".to_owned(), "home".to_owned()), ("content-type".to_owned(), "text/plain".to_owned())];
    let auth = CallAuth::Basic { user: "me".into(), password: "pass".to_owned().into() };
    let client = client(ClientOptions::default());
    let address = client.address(&url, AddressSource::Flow).unwrap();
    let headers = CallHeaders::new(&headers, &auth).unwrap();
    client.call(&EndpointCall { secret: Some(&secret), ..call(&address, &headers) }).await;
    let bearer = CallHeaders::new(&[], &CallAuth::Bearer("token".to_owned().into())).unwrap();
    client.call(&call(&address, &bearer)).await;
    let requests = server.requests();
    let first = &requests[0];
    for part in [
        "POST /hook HTTP/1.1\r\n",
        "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\r\n",
        "webhook-timestamp: 1614265330\r\n",
        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n",
        "x-gateway: home\r\n",
        "content-type: text/plain\r\n",
        "authorization: Basic bWU6cGFzcw==\r\n",
        "\r\n\r\n{\"test\": 2432232314}",
    ] {
        assert!(first.contains(part), "{part} in {first}");
    }
    assert!(requests[1].contains("content-type: application/json\r\n"));
    assert!(requests[1].contains("authorization: Bearer token\r\n"));
    assert!(requests[1].contains("webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\r\n"));
    assert!(!requests[1].contains("webhook-signature") && !requests[1].contains("webhook-timestamp"));
}

#[tokio::test]
async fn a_user_and_password_in_the_url_are_sent_as_basic_authentication_and_shown_nowhere() {
    let server = Server::start();
    let client = client(ClientOptions::default());
    let address = client.address(&server.url().replace("http://", "http://me:p%40ss@"), AddressSource::Flow).unwrap();
    client.call(&call(&address, &CallHeaders::new(&[], &CallAuth::None).unwrap())).await;
    let own = CallHeaders::new(&[], &CallAuth::Bearer("token".to_owned().into())).unwrap();
    client.call(&call(&address, &own)).await;
    let requests = server.requests();
    assert!(requests[0].contains("authorization: Basic bWU6cEBzcw==\r\n"), "{}", requests[0]);
    assert!(requests[1].contains("authorization: Bearer token\r\n"), "{}", requests[1]);
    assert!(!format!("{address:?} {}", address.origin()).contains("me"), "{address:?}");
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let server = Server::start();
    let url = server.url();
    server.answer(307, &format!("Location: {url}\r\n"), "");
    let outcome = post(&client(ClientOptions::default()), &url).await;
    assert!(matches!(outcome, CallOutcome::Refused { status: Some(307), .. }), "{outcome:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_hanging_endpoint_is_given_up_and_tried_later() {
    let server = Server::start();
    let url = server.url();
    server.set(Answer::Hang);
    let client = client(ClientOptions::default());
    let (address, headers) = (client.address(&url, AddressSource::Flow).unwrap(), plain());
    let outcome = client.call(&EndpointCall { timeout: Duration::from_millis(200), ..call(&address, &headers) }).await;
    let CallOutcome::RetryLater { status: None, after: None, reason } = outcome else { panic!("{outcome:?}") };
    assert!(reason.starts_with("no answer in time"), "{reason}");
    server.answer(200, "", "");
    assert_eq!(post(&client, &url).await, CallOutcome::Delivered { status: 200 });
}

#[tokio::test]
async fn no_connection_is_a_reason_to_try_later_and_does_not_show_the_url() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/hook?token=geheim");
    let client = client(ClientOptions::default());
    let outcome = post(&client, &url).await;
    let CallOutcome::RetryLater { status: None, reason, .. } = outcome else { panic!("{outcome:?}") };
    assert!(reason.starts_with("could not connect") && !reason.contains("geheim"), "{reason}");
    let server = Server::start();
    server.set(Answer::Cut);
    let outcome = post(&client, &server.url()).await;
    assert!(matches!(outcome, CallOutcome::RetryLater { status: None, .. }), "{outcome:?}");
    assert_eq!(server.requests().len(), 1, "a call that broke off is not made again behind the caller's back");
}

#[tokio::test]
async fn a_long_or_endless_answer_is_cut() {
    let server = Server::start();
    let url = server.url();
    server.answer(400, "", &"x".repeat(3 << 20));
    let client = client(ClientOptions::default());
    let outcome = post(&client, &url).await;
    let CallOutcome::Refused { status: Some(400), reason } = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason.len(), "400 Bad Request: ".len() + 1024);
    // Announced, and never sent.
    server.set(Answer::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin".to_vec()));
    assert_eq!(post(&client, &url).await, CallOutcome::Delivered { status: 200 });
}

#[test]
fn what_must_not_or_can_not_be_called_is_refused_before_there_is_a_call() {
    let server = Server::start();
    let allowed = vec!["example.org".to_owned()];
    let client = client(ClientOptions { allowed_hosts: allowed, ..ClientOptions::default() });
    let url = server.url();
    for url in [url.as_str(), "ftp://example.org/", "not a url", "http://example.org:99999/"] {
        assert!(client.address(url, AddressSource::Flow).is_err(), "{url}");
    }
    assert!(client.address("http://example.org/", AddressSource::Flow).is_ok());
    let headers = [("bad name".to_owned(), String::new())];
    assert_eq!(CallHeaders::new(&headers, &CallAuth::None).unwrap_err().to_string(), "\"bad name\" is no header name");
    let headers = [("x-token".to_owned(), "geheim\n".to_owned())];
    assert_eq!(
        CallHeaders::new(&headers, &CallAuth::None).unwrap_err().to_string(),
        "the value of header x-token is not valid"
    );
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_message_reaches_this_machine_only_at_hosts_that_are_allowed() {
    let server = Server::start();
    let port = server.address.port();
    let guarded = client(ClientOptions::default());
    for host in ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"] {
        let error = guarded.address(&format!("http://{host}:{port}/"), AddressSource::Message).unwrap_err();
        assert!(error.to_string().contains("not of the public internet"), "{host}: {error}");
    }
    let by_name = format!("http://localhost:{port}/");
    let address = guarded.address(&by_name, AddressSource::Message).unwrap();
    let outcome = guarded.call(&call(&address, &plain())).await;
    let CallOutcome::Refused { status: None, reason } = outcome else { panic!("{outcome:?}") };
    assert!(reason.starts_with("the message leads to localhost (") && reason.contains("not of the public"), "{reason}");
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);

    let local = vec![format!("localhost:{port}"), "127.0.0.1".to_owned()];
    let allowing = client(ClientOptions { allowed_local_hosts: local, ..ClientOptions::default() });
    for url in [server.url(), by_name] {
        let address = allowing.address(&url, AddressSource::Message).unwrap();
        assert_eq!(allowing.call(&call(&address, &plain())).await, CallOutcome::Delivered { status: 200 }, "{url}");
    }
    assert!(allowing.address("http://127.0.0.2/", AddressSource::Message).is_err());
}

/// Answers calls over TLS with 200, as `localhost`, until the test ends; its port and the certificate of its authority.
fn serve_tls() -> (u16, String) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, authority).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = Stream::new(&mut connection, &mut socket);
            // A caller that does not trust us ends the handshake.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    (port, authority.pem())
}

#[tokio::test]
async fn an_endpoint_with_an_authority_of_its_own_is_called_by_who_trusts_that_alone() {
    let everybody = client(ClientOptions::default());
    let (port, authority) = serve_tls();
    let tls = Some(trust_authority(authority.as_bytes()).unwrap());
    let trusting = client(ClientOptions { tls, ..ClientOptions::default() });
    let headers = plain();
    for (client, is_trusting) in [(&everybody, false), (&trusting, true)] {
        let address = client.address(&format!("https://localhost:{port}/"), AddressSource::Flow).unwrap();
        let outcome = client.call(&call(&address, &headers)).await;
        assert_eq!(matches!(outcome, CallOutcome::Delivered { .. }), is_trusting, "{outcome:?}");
    }
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(trust_authority(text.as_bytes()).is_err(), "{text}");
    }
}
