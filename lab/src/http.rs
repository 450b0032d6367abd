//! A GET request, just large enough for servers on the same machine.
//!
//! It speaks HTTP/1.0, to which a server answers with a plain body that ends with the connection. What
//! is compressed stays so: who asks for it wants to see it. And no client library and its dependencies are
//! compiled before a demo can begin.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, bail};

const LIMIT: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body as it was sent.
    pub body: Vec<u8>,
}

impl Response {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The same, if its status is 200.
    pub fn success(self) -> Result<Self> {
        if self.status != 200 {
            let body = String::from_utf8_lossy(&self.body);
            bail!("the answer has the status {}: {}", self.status, body.trim());
        }
        Ok(self)
    }

    /// The body as text.
    pub fn text(self) -> String {
        String::from_utf8(self.body).expect("the body is UTF-8")
    }
}

/// Requests a path (with its query, encoded).
pub fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    ask(stream, &address.to_string(), path, headers)
}

/// The same on a connection of the caller's making, of a host of its choice.
pub fn ask(
    mut stream: TcpStream,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    exchange(&mut stream, host, path, headers)
}

/// The same through anything that carries bytes, whose end is the answer's.
pub fn exchange(
    stream: &mut (impl Read + Write),
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n")?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other("the answer is no HTTP"))
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut lines = std::str::from_utf8(&answer[..end]).ok()?.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Response {
        status,
        headers,
        body: answer[end + 4..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let response = parse(b"HTTP/1.0 503 No\r\nContent-Type: text/plain\r\n\r\nno\n").unwrap();
        assert_eq!(
            (response.status, response.header("content-type")),
            (503, Some("text/plain"))
        );
        let error = response.success().unwrap_err();
        assert_eq!(error.to_string(), "the answer has the status 503: no");
        let response = parse(b"HTTP/1.0 200 OK\r\n\r\nyes\n").unwrap();
        assert_eq!(response.success().unwrap().text(), "yes\n");
        assert!(parse(b"HTTP/1.0 200 OK\r\n").is_none());
    }
}
