//! Scraping the agent in each of the formats that a scraper can ask for.

use std::time::Instant;

use anyhow::{Result, ensure};
use lab::agent::Agent;
use serde::{Deserialize, Serialize};

const PROTOBUF: &str = "application/vnd.google.protobuf;\
                        proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// What a scraper asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Exposition {
    Text,
    Protobuf,
    TextGzip,
    ProtobufGzip,
}

impl Exposition {
    /// In the order in which they take turns.
    pub(super) const ALL: [Self; 4] = [
        Self::Text,
        Self::Protobuf,
        Self::TextGzip,
        Self::ProtobufGzip,
    ];

    /// As tables name it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Protobuf => "protobuf with native histograms",
            Self::TextGzip => "text, gzip",
            Self::ProtobufGzip => "protobuf with native histograms, gzip",
        }
    }

    /// How it is asked for.
    pub(super) fn headers(self) -> Vec<(&'static str, &'static str)> {
        let mut headers = Vec::new();
        if self.is_protobuf() {
            headers.push(("Accept", PROTOBUF));
        }
        if self.is_compressed() {
            headers.push(("Accept-Encoding", "gzip"));
        }
        headers
    }

    fn is_protobuf(self) -> bool {
        matches!(self, Self::Protobuf | Self::ProtobufGzip)
    }

    fn is_compressed(self) -> bool {
        matches!(self, Self::TextGzip | Self::ProtobufGzip)
    }
}

/// One scrape.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Scrape {
    pub(super) seconds: f64,
    pub(super) bytes: usize,
}

/// Asks for an exposition as a scraper does, and makes sure that it is the one.
pub(super) fn scrape(agent: &mut Agent, exposition: Exposition) -> Result<Scrape> {
    let begin = Instant::now();
    let answer = agent
        .request("/metrics", &exposition.headers())?
        .success()?;
    let seconds = begin.elapsed().as_secs_f64();

    let content = answer.header("content-type").unwrap_or_default();
    ensure!(
        content.contains("protobuf") == exposition.is_protobuf(),
        "asked for {}, the agent answered with {content}",
        exposition.label()
    );
    let encoding = answer.header("content-encoding").unwrap_or_default();
    ensure!(
        (encoding == "gzip") == exposition.is_compressed(),
        "asked for {}, the agent answered with the encoding `{encoding}`",
        exposition.label()
    );
    Ok(Scrape {
        seconds,
        bytes: answer.body.len(),
    })
}
