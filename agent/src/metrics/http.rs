//! What the agent has been asked over HTTP, and how it has answered, as it is exposed.
//!
//! A client chooses neither the names nor the number of these series: its method and its path are one of a few, and
//! what else it sends is `other`.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use agent_common::histogram::{Histogram, bucket_of};

use super::family::Bounds;
use crate::{named::named, snapshot::Reloads};

named! {
    /// How something was asked for.
    pub enum Method {
        /// Head and body.
        Get = "GET",
        /// The head alone.
        Head = "HEAD",
        /// Anything else, and what is no request.
        Other = "other",
    }
}

named! {
    /// What was asked for.
    pub enum Path {
        /// The exposition.
        Metrics = "/metrics",
        /// The sessions.
        Sessions = "/api/v1/sessions",
        /// One of them.
        Session = "/api/v1/sessions/{id}",
        /// What it did.
        History = "/api/v1/sessions/{id}/history",
        /// Its processes.
        Processes = "/api/v1/sessions/{id}/processes",
        /// Those of before.
        Ended = "/api/v1/ended",
        /// The node.
        Node = "/api/v1/node",
        /// The agent.
        Agent = "/api/v1/agent",
        /// The API, described.
        OpenApi = "/api/v1/openapi.json",
        /// The page.
        Index = "/",
        /// What it is made of.
        Page = "/page/{file}",
        /// Whether the agent lives.
        Healthz = "/healthz",
        /// Whether it is ready.
        Readyz = "/readyz",
        /// Anything else, and what is no request.
        Other = "other",
    }
}

named! {
    /// What is kept so that it is not made again.
    pub enum Cache {
        /// Answers that are under way: who asks for the same of the same sample has a share.
        Renderings = "renderings",
        /// Outcomes of comparing passwords.
        Passwords = "passwords",
    }
}

/// How often something was looked for in a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// And was there.
    pub hits: u64,
    /// And was not.
    pub misses: u64,
    /// How much is in it.
    pub entries: u64,
}

named! {
    /// How a client has shown who it is.
    pub enum AuthMethod {
        /// A user's password.
        Basic = "basic",
        /// A token.
        Bearer = "bearer",
        /// A certificate, when the connection was made.
        Certificate = "certificate",
        /// Not at all.
        None = "none",
    }
}

named! {
    /// Why a client was turned away.
    pub enum AuthReason {
        /// It has shown nothing.
        Missing = "missing",
        /// What it has shown is not in the form that is expected.
        Malformed = "malformed",
        /// A wrong password or token, a user who is not known, or a certificate that proves nothing.
        Invalid = "invalid",
        /// A token that opens the other door.
        OtherDoor = "other_door",
        /// A certificate that is not valid any more, or not yet.
        Expired = "expired",
        /// A certificate that none of the authorities has issued.
        Untrusted = "untrusted",
        /// A certificate without one of the names that are allowed.
        Name = "name",
        /// A password that was not compared, because too many wait for that.
        Busy = "busy",
    }
}

impl AuthReason {
    /// What the client is told.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Missing => "credentials are missing",
            Self::Malformed => "the header Authorization is not one that is understood here",
            Self::OtherDoor => "this token is not for what is asked",
            Self::Busy => "too many passwords wait to be compared; ask again in a second",
            Self::Invalid | Self::Expired | Self::Untrusted | Self::Name => "wrong credentials",
        }
    }
}

impl AuthMethod {
    /// Why a client that shows itself so may be turned away.
    pub fn reasons(self) -> &'static [AuthReason] {
        use AuthReason::{Busy, Expired, Invalid, Malformed, Missing, Name, OtherDoor, Untrusted};
        match self {
            Self::Basic => &[Malformed, Invalid, Busy],
            Self::Bearer => &[Invalid, OtherDoor],
            Self::Certificate => &[Missing, Invalid, Expired, Untrusted, Name],
            Self::None => &[Missing, Malformed],
        }
    }
}

impl Method {
    /// The one of a request's method.
    pub fn of(method: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|one| one.name() == method).unwrap_or(Self::Other)
    }
}

impl Path {
    /// The one of a request's path, without its query.
    pub fn of(path: &str) -> Self {
        // Those with a part that may be anything.
        let one_segment = |part: &str| !part.is_empty() && !part.contains('/');
        if let Some(rest) = path.strip_prefix("/api/v1/sessions/") {
            return match rest.split_once('/') {
                Some((id, "history")) if one_segment(id) => Self::History,
                Some((id, "processes")) if one_segment(id) => Self::Processes,
                None if one_segment(rest) => Self::Session,
                _ => Self::Other,
            };
        }
        if path.strip_prefix("/page/").is_some_and(one_segment) {
            return Self::Page;
        }
        let mut all = Self::ALL
            .into_iter()
            .filter(|one| !one.name().contains('{'));
        all.find(|one| one.name() == path).unwrap_or(Self::Other)
    }
}

/// Bounds of sizes, bytes. The native histogram's are 16 bytes to 256 MiB.
pub const SIZES: Bounds = Bounds {
    all: &[1 << 10, 1 << 13, 1 << 16, 1 << 18, 1 << 20, 1 << 23],
    few: &[1 << 10, 1 << 16, 1 << 20],
    shift: SIZE_SHIFT,
};

/// Octaves by which the native histogram of sizes is above the kernel's.
const SIZE_SHIFT: u32 = 24;

/// Sizes of heads or bodies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// How many are between the bounds of [`SIZES`].
    pub counts: [u64; SIZES.all.len() + 1],
    /// The same by the native histogram's bounds; its sum is not used.
    pub native: Histogram,
    /// Their sum, bytes.
    pub bytes: u64,
}

impl Sizes {
    /// Adds one.
    pub fn add(&mut self, bytes: u64) {
        let bound = SIZES.all.iter().position(|bound| bytes <= (*bound).into());
        self.counts[bound.unwrap_or(SIZES.all.len())] += 1;
        // What would be in that bucket if it were nanoseconds.
        let as_ns = (u128::from(bytes) * 1_000_000_000) >> SIZE_SHIFT;
        self.native.buckets[bucket_of(as_ns.try_into().unwrap_or(u64::MAX))] += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// How requests of one kind have been answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// From a request's head until its answer has been handed to the socket.
    pub took: Histogram,
    /// Heads.
    pub requests: Sizes,
    /// Bodies, as they went out.
    pub bodies: Sizes,
}

impl Answers {
    /// Adds one.
    pub fn add(&mut self, took: Duration, request: u64, body: u64) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.took.buckets[bucket_of(took_ns)] += 1;
        self.took.sum_ns = self.took.sum_ns.saturating_add(took_ns);
        self.requests.add(request);
        self.bodies.add(body);
    }
}

/// All that has been asked.
#[derive(Clone, Debug)]
pub struct Http {
    /// Requests, by what was asked and the status of the answer.
    pub requests: BTreeMap<(Method, Path, u16), u64>,
    /// Their answers.
    pub answers: BTreeMap<(Method, Path), Answers>,
    /// Connections that are open.
    pub connections: u64,
    /// Connections that were given up before TLS was agreed on.
    pub handshakes_failed: u64,
    /// How often clients have shown who they are, where they must.
    pub attempts: BTreeMap<AuthMethod, u64>,
    /// How often they were turned away.
    pub failures: BTreeMap<(AuthMethod, AuthReason), u64>,
    /// When the certificates of each file expire.
    pub expiries: BTreeMap<String, SystemTime>,
    /// The caches.
    pub caches: BTreeMap<Cache, Lookups>,
    /// The files that are read again whenever they change.
    pub reloads: BTreeMap<String, Reloads>,
}

impl Default for Http {
    /// Nothing yet; what is expected to come is there with 0, so that its first time can be seen.
    fn default() -> Self {
        // The others are asked for by people.
        let paths = Path::ALL.into_iter();
        let paths = paths.filter(|path| *path != Path::Other && !path.name().contains('{'));
        let requests = paths.map(|path| ((Method::Get, path, 200), 0));
        Self {
            requests: requests.collect(),
            // Each of the others is 21 series, which come when somebody asks.
            answers: [((Method::Get, Path::Metrics), Answers::default())].into(),
            connections: 0,
            handshakes_failed: 0,
            attempts: BTreeMap::new(),
            failures: BTreeMap::new(),
            expiries: BTreeMap::new(),
            caches: BTreeMap::new(),
            reloads: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_is_one_of_a_few() {
        assert_eq!(Path::of("/metrics"), Path::Metrics);
        assert_eq!(Path::of("/api/v1/sessions/0f/history"), Path::History);
        assert_eq!(Path::of("/api/v1/sessions/0f/processes"), Path::Processes);
        assert_eq!(Path::of("/page/page.js"), Path::Page);
        for other in [
            "/page/",
            "/page/a/b",
            "/api/v1/sessions//history",
            "/api/v1/sessions/0/f/history",
            "/api/v1/sessions/{id}/history/",
        ] {
            assert_eq!(Path::of(other), Path::Other, "{other}");
        }
        assert_eq!(Path::of("/api/v1/sessions/x"), Path::Session);
        for other in ["/metrics/", "other", "/METRICS", "/api/v1/sessions/", ""] {
            assert_eq!(Path::of(other), Path::Other, "{other}");
        }
        assert_eq!(Method::of("GET"), Method::Get);
        for other in ["get", "POST", "x"] {
            assert_eq!(Method::of(other), Method::Other, "{other}");
        }
    }

    #[test]
    fn a_size_is_below_its_bound_in_both_histograms() {
        let mut sizes = Sizes::default();
        for bytes in [0, 1 << 10, (1 << 10) + 1, u64::MAX] {
            sizes.add(bytes);
        }
        assert_eq!(sizes.counts, [2, 1, 0, 0, 0, 0, 1]);
        assert_eq!(sizes.native.count(), 4);
        // 2^10 bytes are 2^-14 s, shifted by 24 octaves.
        let bucket = bucket_of(1_000_000_000 >> 14);
        assert!(sizes.native.buckets[bucket] >= 1);
    }
}
