//! A mail server: SMTP over a real socket, and every mail that it took.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The server; it listens until the test ends.
pub struct MailServer {
    /// Where.
    pub port: u16,
    mails: Arc<Mutex<Vec<String>>>,
    is_busy: Arc<AtomicBool>,
}

impl MailServer {
    /// Listens on a free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let server = MailServer { port, mails: Arc::default(), is_busy: Arc::default() };
        let (mails, is_busy) = (Arc::clone(&server.mails), Arc::clone(&server.is_busy));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mails, is_busy) = (Arc::clone(&mails), Arc::clone(&is_busy));
                thread::spawn(move || drop(serve(&stream, &mails, &is_busy)));
            }
        });
        server
    }

    /// From now on it takes no mails, or takes them again.
    pub fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::SeqCst);
    }

    /// The mails that it took, as they came over the wire.
    #[must_use]
    pub fn mails(&self) -> Vec<String> {
        self.mails.lock().expect("the mails").clone()
    }
}

fn serve(mut stream: &TcpStream, mails: &Mutex<Vec<String>>, is_busy: &AtomicBool) -> io::Result<()> {
    if is_busy.load(Ordering::SeqCst) {
        return stream.write_all(b"421 too busy\r\n");
    }
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"220 mail.test\r\n")?;
    while let Some(line) = lines.next() {
        let line = line?;
        let answer: &[u8] = match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => b"250-mail.test\r\n250 8BITMIME\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                let mut mail = String::new();
                for line in lines.by_ref() {
                    let line = line?;
                    if line == "." {
                        break;
                    }
                    mail.push_str(&line);
                    mail.push('\n');
                }
                mails.lock().expect("the mails").push(mail);
                b"250 taken\r\n"
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n"),
            _ => b"250 fine\r\n",
        };
        stream.write_all(answer)?;
    }
    Ok(())
}
