//! A GET request, just large enough for the agent on the same machine.
//!
//! It speaks HTTP/1.0, to which a server answers with a plain body that ends with the connection,
//! so no client library and its dependencies are compiled before the demo can begin.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const LIMIT: Duration = Duration::from_secs(5);

/// What a server answers with status 200.
#[derive(Debug)]
pub(crate) struct Answer {
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as text.
    pub(crate) fn text(self) -> Result<String> {
        String::from_utf8(self.body).context("the answer is not UTF-8")
    }
}

/// Requests a path and returns the body as text; anything but status 200 is an error.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    get_with(address, path, &[])?.text()
}

/// Requests a path with headers; anything but status 200 is an error.
pub(crate) fn get_with(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let host = address.to_string();
    let mut lines = vec![format!("GET {path} HTTP/1.0")];
    lines.extend(
        [("Host", host.as_str())]
            .iter()
            .chain(headers)
            .map(|(name, value)| format!("{name}: {value}")),
    );
    let request = format!("{}\r\n\r\n", lines.join("\r\n"));
    stream
        .write_all(request.as_bytes())
        .with_context(|| format!("cannot send a request to {address}"))?;
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the answer of {address}"))?;
    answer(&bytes)
}

fn answer(bytes: &[u8]) -> Result<Answer> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let Some(end) = bytes
        .windows(END_OF_HEAD.len())
        .position(|window| window == END_OF_HEAD)
    else {
        bail!("the answer ends before its body");
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let body = bytes[end + END_OF_HEAD.len()..].to_vec();
    let status_line = head.lines().next().unwrap_or_default();
    if status_line.split(' ').nth(1) != Some("200") {
        bail!(
            "the answer is `{status_line}`: {}",
            String::from_utf8_lossy(&body).trim()
        );
    }
    Ok(Answer { head, body })
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn the_body_and_the_headers_of_a_success_are_returned() {
        let answer =
            answer(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n\xff\r\n\r\n").unwrap();
        assert_eq!(answer.body, b"\xff\r\n\r\n");
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_eq!(answer.header("200 OK"), None);
    }

    #[test]
    fn other_answers_are_errors_that_say_why() {
        let error = answer(b"HTTP/1.1 503 Service Unavailable\r\n\r\nstarting\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the answer is `HTTP/1.1 503 Service Unavailable`: starting"
        );
        assert!(answer(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
