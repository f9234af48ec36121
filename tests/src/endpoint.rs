//! An HTTP endpoint whose answer can be switched in mid-test, and which remembers every call.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// Not at all, while this is set.
    Hang,
}

/// A call that came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// Path and query.
    pub path: String,
    /// The body.
    pub body: String,
    /// The header `webhook-id`.
    pub id: String,
    /// What was answered.
    pub answered: u16,
}

/// The endpoint; it listens until the test ends.
pub struct Endpoint {
    /// To be called.
    pub url: String,
    answer: Arc<Mutex<Answer>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Endpoint {
    /// Listens on a free port.
    #[must_use]
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/in", listener.local_addr().expect("its address"));
        let endpoint = Endpoint { url, answer: Arc::new(Mutex::new(answer)), calls: Arc::default() };
        let (answer, calls) = (Arc::clone(&endpoint.answer), Arc::clone(&endpoint.calls));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, calls) = (Arc::clone(&answer), Arc::clone(&calls));
                thread::spawn(move || drop(serve(stream, &answer, &calls)));
            }
        });
        endpoint
    }

    /// From now on it answers this.
    pub fn switch(&self, answer: Answer) {
        *self.answer.lock().expect("the answer") = answer;
    }

    /// The calls that were answered so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("the calls").clone()
    }

    /// Bodies of the calls that were answered with 200, in order.
    #[must_use]
    pub fn delivered(&self) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.answered == 200).map(|call| call.body).collect()
    }
}

fn serve(mut stream: TcpStream, answer: &Mutex<Answer>, calls: &Mutex<Vec<Call>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut length, mut id) = (0, String::new());
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "webhook-id" => value.trim().clone_into(&mut id),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let status = loop {
            let now = *answer.lock().expect("the answer");
            match now {
                Answer::Status(status) => break status,
                Answer::Hang => thread::sleep(Duration::from_millis(20)),
            }
        };
        // Noted before the answer goes out: who has it can look at the calls.
        calls.lock().expect("the calls").push(Call { path, body, id, answered: status });
        // In one piece: what is left of an answer would wait for the other side's delayed acknowledgement.
        stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    }
}
