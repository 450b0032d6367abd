//! Spans of what others ask of the agent.

use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use rustix::rand::{GetRandomFlags, getrandom};

use super::{queue::Recorder, span::Span};
use crate::snapshot::TracesOf;

/// The span that a request belongs to, as its client says (`traceparent`, W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    trace: [u8; 16],
    span: [u8; 8],
    /// Whether its trace is kept.
    is_kept: bool,
}

impl Parent {
    /// Reads the header; `None` where it makes no sense, which the recommendation has be as if it was not there.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex::<1>(version)?;
        // Later versions may have more; the first has not, and the last is none.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let parent = Self {
            trace: hex(trace)?,
            span: hex(span)?,
            is_kept: hex::<1>(flags)?[0] & 1 == 1,
        };
        let is_one = parent.trace != [0; 16] && parent.span != [0; 8];
        is_one.then_some(parent)
    }
}

/// Bytes in lower-case hexadecimal digits, as the recommendation wants them.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// A request that has been answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// What it belongs to.
    pub parent: Option<Parent>,
    /// Its method: one of a few.
    pub method: &'static str,
    /// What of the agent it was for: one of a few.
    pub route: &'static str,
    /// The answer's status.
    pub status: u16,
    /// How long it took until now.
    pub took: Duration,
}

impl Recorder {
    /// A request has been answered.
    pub fn answered(&self, asked: &Asked) {
        let trace = asked.parent.map_or_else(random, |parent| parent.trace);
        // Who may not ask does not decide what is kept, and there would be no end of it.
        if (400..500).contains(&asked.status) {
            return;
        }
        let is_kept = match asked.parent {
            Some(parent) => parent.is_kept,
            None => self.keeps(TracesOf::Agent, trace),
        };
        if !is_kept {
            return;
        }
        let end = SystemTime::now();
        let span = Span {
            trace,
            id: random(),
            parent: asked.parent.map(|parent| parent.span),
            is_root: false,
            is_of_another: asked.parent.is_some(),
            is_server: true,
            name: format!("{} {}", asked.method, asked.route).into(),
            start: end.checked_sub(asked.took).unwrap_or(end),
            end,
            attributes: vec![
                // What the conventions call any other one.
                KeyValue::new(
                    "http.request.method",
                    if asked.method == "other" {
                        "_OTHER"
                    } else {
                        asked.method
                    },
                ),
                KeyValue::new("http.route", asked.route),
                KeyValue::new("url.path", asked.route),
                KeyValue::new("http.response.status_code", i64::from(asked.status)),
            ],
            // By the conventions a client's mistake is no error of the server, and a status says what a description would.
            error: (asked.status >= 500).then(String::new),
        };
        self.record(TracesOf::Agent, span);
    }
}

/// An id that nothing else has.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut id = [0; N];
    // It does not fail for so few bytes once the system has booted; an id of zeros would be none.
    if getrandom(&mut id, GetRandomFlags::empty()).is_err() || id == [0; N] {
        id[N - 1] = 1;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_as_the_recommendation_has_it() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let span = "b7ad6b7169203331";
        let kept = Parent::parse(&format!("00-{trace}-{span}-01")).unwrap();
        assert!(kept.is_kept && kept.trace[0] == 0x0a && kept.span[7] == 0x31);
        assert!(
            !Parent::parse(&format!("00-{trace}-{span}-00"))
                .unwrap()
                .is_kept
        );
        assert!(Parent::parse(&format!("cc-{trace}-{span}-01-what-the-future-will-be")).is_some());
        for wrong in [
            String::new(),
            "00".to_owned(),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}0-{span}-01"),
            format!("00-{trace}-{span}-0g"),
        ] {
            assert_eq!(Parent::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ids_differ() {
        assert_ne!(random::<16>(), random::<16>());
    }
}
