//! The exporters that stand beside the agent on a platform: node_exporter itself, and what those of a cluster and of a GPU
//! say, in their own form and words.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::{
    documents::document,
    http, process,
    prometheus::free_address,
    tools::{self, Package},
    wait,
};

const NODE_EXPORTER: Package<'_> = Package {
    name: "prometheus-node-exporter",
    suite: "bookworm",
    component: "main",
};
const START: Duration = Duration::from_secs(20);

/// A node_exporter that runs. Dropping it ends it.
#[derive(Debug)]
pub struct NodeExporter {
    child: Child,
    address: SocketAddr,
}

impl NodeExporter {
    /// Starts Debian's and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start() -> Self {
        let file = "usr/bin/prometheus-node-exporter";
        let binary = tools::file("node-exporter", &NODE_EXPORTER, file);
        let binary = binary.unwrap_or_else(|error| panic!("{error:#}"));
        let address = free_address();
        let child = Command::new(binary)
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node_exporter can be started");
        let exporter = Self { child, address };
        wait::until("node_exporter answers", START, || {
            let response = http::get(address, "/metrics", &[]).ok()?;
            (response.status == 200).then_some(())
        });
        exporter
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        process::end(&mut self.child, START);
    }
}

/// Serves one text, whatever it is asked, until the test ends.
#[derive(Debug)]
pub struct Recorded {
    address: SocketAddr,
    text: Arc<Mutex<String>>,
}

impl Recorded {
    /// Serves a file of `tests/exporters`, with other words in the places of some.
    ///
    /// # Panics
    ///
    /// When it lacks one of the words.
    pub fn start(file: &str, words: &[(&str, &str)]) -> Self {
        let mut text = document(&format!("tests/exporters/{file}"));
        for (word, real) in words {
            assert!(text.contains(word), "{file} has no {word}");
            text = text.replace(word, real);
        }
        let text = Arc::new(Mutex::new(text));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let served = Arc::clone(&text);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let text = served.lock().unwrap_or_else(PoisonError::into_inner);
                // Who asks may have gone.
                let _gone = answer(stream, &text);
            }
        });
        Self { address, text }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leaves out what stands under one name from now on.
    ///
    /// # Panics
    ///
    /// When nothing does.
    pub fn leave_out(&self, name: &str) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = text.lines().filter(|line| !line.contains(name));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        assert_ne!(kept.len(), text.len(), "no {name}");
        *text = kept;
    }
}

fn answer(mut stream: TcpStream, text: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(START))?;
    let mut request = [0; 4096];
    let _length = stream.read(&mut request)?;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    )
}
