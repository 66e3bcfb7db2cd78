//! A model hub on loopback that answers as it is told, for tests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

/// How one request is answered.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// All of the file, whatever was asked for.
    Whole,
    /// The asked-for part of the file.
    Asked,
    /// The asked-for part, broken off after so many bytes.
    Broken(usize),
    /// A part that was not asked for: the file from its second byte on.
    Elsewhere,
    /// A refusal.
    Status(&'static str),
}

/// A hub that answers once for each entry of its script, and then is gone.
#[derive(Debug)]
pub struct Hub {
    /// Its base URL.
    pub base: String,
    asked: mpsc::Receiver<(String, Option<usize>)>,
}

impl Hub {
    /// Starts it.
    pub fn serving(file: &'static [u8], script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let (tell, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for answer in script {
                let (stream, _) = listener.accept().expect("a connection");
                tell.send(respond(stream, file, answer)).expect("the test still listens");
            }
        });
        Self { base, asked }
    }

    /// The requests so far: path, and the first byte that was asked for.
    pub fn asked(&self) -> Vec<(String, Option<usize>)> {
        self.asked.try_iter().collect()
    }
}

fn respond(mut stream: TcpStream, file: &[u8], answer: Answer) -> (String, Option<usize>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a request line");
    let path = line.split(' ').nth(1).expect("a path").to_owned();
    let mut from = None;
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        if line.trim().is_empty() {
            break;
        }
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim().trim_end_matches('-').parse().ok();
        }
    }
    let (status, sent) = match (answer, from) {
        (Answer::Status(status), _) => (status.to_owned(), &[][..]),
        (Answer::Elsewhere, _) => (partial(1, file.len()), &file[1..]),
        (Answer::Whole, _) | (_, None) => ("200 OK".to_owned(), file),
        (_, Some(from)) if from >= file.len() => ("416 Range Not Satisfiable".to_owned(), &[][..]),
        (_, Some(from)) => (partial(from, file.len()), &file[from..]),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", sent.len());
    stream.write_all(head.as_bytes()).expect("sent");
    let most = if let Answer::Broken(bytes) = answer { bytes } else { sent.len() };
    stream.write_all(&sent[..most]).expect("sent");
    (path, from)
}

fn partial(from: usize, of: usize) -> String {
    format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{of}", of - 1)
}
