//! Many nodes where there is one, for `bench rules`: the exposition of a real agent, said under other names, with
//! counters that go on.
//!
//! So families, labels and numbers of series are the agent's own, and nothing has to be kept up to date here.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Before the name of a session. Within the value of a label the quote would have a backslash.
const SESSION: &str = "session=\"";

/// What one node serves, to be said of any node at any time.
#[derive(Debug)]
pub(super) struct Template {
    lines: Vec<Line>,
    /// In how long the counters have become what they are.
    age: Duration,
}

#[derive(Debug)]
enum Line {
    /// A comment or a gauge, which stays as it is.
    Still(String),
    /// A counter, or a part of a histogram: what stands before its value, and the value.
    Counts(String, f64),
}

impl Template {
    /// Reads an exposition in text.
    pub(super) fn of(text: &str, age: Duration) -> Self {
        let mut counts = false;
        let line = |line: &str| {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                counts = kind.ends_with(" counter") || kind.ends_with(" histogram");
            }
            let sample = line.rsplit_once(' ').filter(|_| !line.starts_with('#'));
            let value = sample.and_then(|(series, value)| Some((series, value.parse().ok()?)));
            match value {
                Some((series, value)) if counts => Line::Counts(series.to_owned(), value),
                _ => Line::Still(line.to_owned()),
            }
        };
        Self {
            lines: text.lines().map(line).collect(),
            age,
        }
    }

    /// How many series a node has.
    pub(super) fn series(&self) -> usize {
        let is_sample = |line: &&Line| match line {
            Line::Still(text) => !text.starts_with('#'),
            Line::Counts(..) => true,
        };
        self.lines.iter().filter(is_sample).count()
    }

    /// What a node says when so much time has passed: its sessions have its number in their names, and counters have gone
    /// on as fast as before.
    fn render(&self, node: usize, passed: Duration) -> String {
        let grown = 1.0 + passed.as_secs_f64() / self.age.as_secs_f64();
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Still(line) => text.push_str(line),
                Line::Counts(series, value) => {
                    let now = value * grown;
                    // Numbers of things stay whole; the buckets of a histogram stay in order.
                    let now = if value.fract() == 0.0 {
                        now.floor()
                    } else {
                        now
                    };
                    text.push_str(series);
                    text.push(' ');
                    text.push_str(&now.to_string());
                }
            }
            text.push('\n');
        }
        text.replace(SESSION, &format!("{SESSION}node-{node}-"))
    }
}

/// The nodes: each has a path of its own, its number.
pub(super) struct Fleet {
    /// Where they all are.
    pub(super) address: SocketAddr,
}

/// Serves them until this program ends.
pub(super) fn serve(template: Template) -> Result<Fleet> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on 127.0.0.1")?;
    let address = listener
        .local_addr()
        .context("cannot read the own address")?;
    let (template, begin) = (Arc::new(template), Instant::now());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let template = Arc::clone(&template);
            thread::spawn(move || {
                // A scrape that fails shows: Prometheus says that the node is down.
                let _ = answer(&stream, &template, begin.elapsed());
            });
        }
    });
    Ok(Fleet { address })
}

fn answer(mut stream: &TcpStream, template: &Template, passed: Duration) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // Nothing in the headers changes the answer.
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let Some(node) = node_in(&request) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let body = template.render(node, passed);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The number of the node that a request line asks for.
fn node_in(request: &str) -> Option<usize> {
    let path = request.strip_prefix("GET /")?.split(' ').next()?;
    path.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lab::exposition::{Exposition, Format};
    use lab::http;

    use super::{Template, node_in, serve};

    const TEXT: &str = "\
# HELP a_seconds Waits of a session=\\\"x\n# TYPE a_seconds histogram\n\
a_seconds_bucket{session=\"one\",le=\"1.0\"} 3\na_seconds_bucket{session=\"one\",le=\"+Inf\"} 4\n\
a_seconds_sum{session=\"one\"} 2.5\na_seconds_count{session=\"one\"} 4\n\
# TYPE b gauge\nb{session=\"two\"} 7\n# TYPE c_total counter\nc_total 5\n";

    fn template() -> Template {
        Template::of(TEXT, Duration::from_secs(10))
    }

    #[test]
    fn counters_go_on_and_gauges_stay() {
        let text = template().render(3, Duration::from_secs(5));
        let exposition = Exposition::parse(&text, Format::Text).unwrap();
        let one = ("session", "node-3-one");
        let bucket = |le| exposition.find("a_seconds_bucket", &[one, ("le", le)]);
        assert_eq!((bucket("1.0"), bucket("+Inf")), (Some(4.0), Some(6.0)));
        assert_eq!(exposition.find("a_seconds_sum", &[one]), Some(3.75));
        assert_eq!(exposition.find("c_total", &[]), Some(7.0));
        assert_eq!(
            exposition.find("b", &[("session", "node-3-two")]),
            Some(7.0)
        );
        assert_eq!(exposition.samples.len(), template().series());
    }

    #[test]
    fn each_node_is_served_by_its_number() {
        let fleet = serve(template()).unwrap();
        let ask = |path| http::get(fleet.address, path, &[]).unwrap();
        let text = ask("/12").success().unwrap().text();
        assert!(text.contains("b{session=\"node-12-two\"} 7\n"), "{text}");
        assert_eq!(ask("/metrics").status, 404);
        assert_eq!(node_in("POST /1 HTTP/1.1"), None);
    }
}
