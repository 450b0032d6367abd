//! Who may ask: TLS, users, tokens, and how often.
//!
//! ```text
//!  files ─► Rules, in effect for new connections and requests ─► TLS of a connection
//!  looked at each second; what is wrong is logged, and        └► each request: how often, by whom, for what
//!  what was in effect stays
//! ```
//!
//! There are two doors, one of the exposition and one of what tells of sessions, and each is open where nothing shuts
//! it. Health checks are always answered, and tell nothing where a door is shut.

mod basic;
pub(super) mod handshake;
mod limit;
mod tls;
mod tokens;
mod watched;
mod web;

use std::{
    fmt,
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio_rustls::TlsAcceptor;

use self::{
    basic::{Shown, Users},
    limit::Limit,
    tls::Shut,
    tokens::Tokens,
    watched::{Seen, Watched},
    web::Web,
};
use super::{Settings, client::Client, peer::Peer, traffic::Traffic};
use crate::{
    metrics::http::{AuthMethod, AuthReason},
    setting::{ConfigError, regular},
};

/// How often it is looked whether a file has changed.
const LOOK: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    /// The exposition.
    Metrics,
    /// What tells of sessions.
    Sessions,
}

/// What is in effect, and the files that it is from.
pub struct Door {
    web: Watched<WebRules>,
    metrics_tokens: Watched<Option<Tokens>>,
    session_tokens: Watched<Option<Tokens>>,
    traffic: Arc<Traffic>,
}

impl fmt::Debug for Door {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Door").finish_non_exhaustive()
    }
}

/// What a web configuration puts in effect.
#[derive(Default)]
struct WebRules {
    tls: Option<Shut>,
    users: Users,
    headers: Vec<(HeaderName, HeaderValue)>,
    limit: Option<Arc<Limit>>,
}

impl WebRules {
    fn shuts(&self) -> bool {
        self.tls.is_some() || !self.users.is_empty() || self.limit.is_some()
    }
}

/// All that is in effect for a request.
struct Rules {
    web: Arc<WebRules>,
    metrics_tokens: Arc<Option<Tokens>>,
    session_tokens: Arc<Option<Tokens>>,
}

impl Door {
    /// By the files of the settings; what is wrong with them is an error.
    pub(super) fn open(settings: &Settings, traffic: Arc<Traffic>) -> Result<Self, ConfigError> {
        let door = Self {
            web: Watched::open(settings.web_config.as_ref(), read_web)?,
            metrics_tokens: Watched::open(settings.metrics_tokens.as_ref(), read_tokens)?,
            session_tokens: Watched::open(settings.session_tokens.as_ref(), read_tokens)?,
            traffic,
        };
        let (metrics, sessions) = (door.metrics_tokens.files(), door.session_tokens.files());
        for path in door.web.files().iter().chain(&metrics).chain(&sessions) {
            door.traffic.file(path);
        }
        door.show();
        Ok(door)
    }

    /// Reads the files again whenever they have changed, for as long as it is polled; returns where there is none.
    pub async fn watch(&self) {
        let tokens = [&self.metrics_tokens, &self.session_tokens];
        if !self.web.has_file() && tokens.iter().all(|tokens| !tokens.has_file()) {
            return;
        }
        loop {
            tokio::time::sleep(LOOK).await;
            // Each by itself: a token that is taken away opens nothing more, whatever else is wrong.
            let is_other_web = self.web.look(&self.traffic);
            let are_others = tokens.map(|tokens| tokens.look(&self.traffic));
            if is_other_web || are_others.contains(&true) {
                self.show();
            }
        }
    }

    /// Shows when certificates expire, and that there may be failures.
    fn show(&self) {
        let rules = self.rules();
        let expiries = rules.web.tls.as_ref().map(|tls| tls.expiries.clone());
        self.traffic.certificates(expiries.unwrap_or_default());
        for method in rules.methods() {
            self.traffic.expects(method);
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            web: self.web.current(),
            metrics_tokens: self.metrics_tokens.current(),
            session_tokens: self.session_tokens.current(),
        }
    }

    /// What a new connection is accepted with, where there is TLS; whether its client is asked for a certificate; and
    /// its [`Door::admission`].
    fn acceptor(&self) -> Option<(TlsAcceptor, bool, [u8; 32])> {
        let web = self.web.current();
        let tls = web.tls.as_ref()?;
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
        Some((acceptor, tls.asks_clients, tls.admission))
    }

    /// What connections are let in by: a connection that was by something else is not answered any more. `None` without
    /// TLS. A certificate that is renewed is the same.
    pub(super) fn admission(&self) -> Option<[u8; 32]> {
        self.web.current().tls.as_ref().map(|tls| tls.admission)
    }

    /// Whether anything shuts a door.
    pub fn is_shut(&self) -> bool {
        self.rules().methods().next().is_some()
    }
}

fn text(path: &Path) -> Result<String, ConfigError> {
    regular::text(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// Whether a web configuration wants TLS; not where it cannot be read.
pub(super) fn speaks_tls(path: &Path) -> bool {
    let web = text(path).ok().and_then(|text| Web::parse(&text).ok());
    web.is_some_and(|web| web.tls_server_config.is_wanted())
}

fn read_tokens(
    path: &Path,
    before: Option<&Option<Tokens>>,
    _: &mut Vec<Seen>,
) -> Result<Option<Tokens>, ConfigError> {
    let tokens = Tokens::parse(&text(path)?).map_err(wrong(path))?;
    // At the start that is a mistake; later somebody has taken the last one away.
    if tokens.is_empty() && before.is_none() {
        let reason = "there is no token in it (head -c 32 /dev/urandom | base64)";
        return Err(wrong(path)(reason.to_owned()));
    }
    Ok(Some(tokens))
}

fn read_web(
    path: &Path,
    before: Option<&WebRules>,
    files: &mut Vec<Seen>,
) -> Result<WebRules, ConfigError> {
    let text = text(path)?;
    // Who writes a file where it is begins by emptying it.
    if text.trim().is_empty() && before.is_some_and(WebRules::shuts) {
        let reason = "it is empty, and has shut a door before; write {} to open it";
        return Err(wrong(path)(reason.to_owned()));
    }
    let mut web = Web::parse(&text).map_err(wrong(path))?;
    web.tls_server_config
        .locate(path.parent().unwrap_or(Path::new("/")));
    files.extend(web.tls_server_config.files().map(|path| Seen::now(path)));
    let tls = web.tls_server_config.is_wanted();
    let tls = tls.then(|| tls::shut(&web.tls_server_config)).transpose();
    let rate = web.rate_limit().map_err(wrong(path))?;
    let old = before.and_then(|before| before.limit.as_ref());
    let limit = rate.map(|(burst, interval)| match old {
        // A bucket does not become full because a certificate is renewed.
        Some(old) if old.rate() == (burst, interval) => Arc::clone(old),
        _ => Arc::new(Limit::new(burst, interval)),
    });
    Ok(WebRules {
        tls: tls.map_err(wrong(path))?,
        headers: web.headers().map_err(wrong(path))?,
        limit,
        users: Users::new(web.basic_auth_users, before.map(|before| &before.users)),
    })
}

impl Rules {
    /// By what a client may show who it is.
    fn methods(&self) -> impl Iterator<Item = AuthMethod> {
        let has_tokens = self.metrics_tokens.is_some() || self.session_tokens.is_some();
        let asks_clients = self.web.tls.as_ref().is_some_and(|tls| tls.asks_clients);
        let all = [
            (AuthMethod::Basic, !self.web.users.is_empty()),
            (AuthMethod::Bearer, has_tokens),
            (AuthMethod::Certificate, asks_clients),
        ];
        all.into_iter()
            .filter_map(|(method, has)| has.then_some(method))
    }

    fn tokens(&self, area: Area) -> Option<&Tokens> {
        match area {
            Area::Metrics => self.metrics_tokens.as_ref().as_ref(),
            Area::Sessions => self.session_tokens.as_ref().as_ref(),
        }
    }

    /// Who a request is from, if the door of an area is shut.
    async fn admit(
        &self,
        area: Area,
        headers: &HeaderMap,
        peer: Peer,
        traffic: &Arc<Traffic>,
    ) -> Result<Option<AuthMethod>, Refusal> {
        let tokens = self.tokens(area);
        if self.web.users.is_empty() && tokens.is_none() {
            return Ok(None);
        }
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = shown.next() else {
            return Err(Refusal::unknown(AuthMethod::None, AuthReason::Missing));
        };
        let malformed = |method| Refusal::unknown(method, AuthReason::Malformed);
        let text = value.to_str().map_err(|_| malformed(AuthMethod::None))?;
        let (scheme, value) = text.split_once(' ').ok_or(malformed(AuthMethod::None))?;
        if shown.next().is_some() {
            return Err(malformed(AuthMethod::None));
        }
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            if tokens.is_some_and(|tokens| tokens.has(value)) {
                return Ok(Some(AuthMethod::Bearer));
            }
            let other = match area {
                Area::Metrics => Area::Sessions,
                Area::Sessions => Area::Metrics,
            };
            let is_others = self.tokens(other).is_some_and(|tokens| tokens.has(value));
            return Err(if is_others {
                Refusal::other_door()
            } else {
                Refusal::unknown(AuthMethod::Bearer, AuthReason::Invalid)
            });
        }
        // Where nobody has a password, none is compared.
        if !scheme.eq_ignore_ascii_case("basic") || self.web.users.is_empty() {
            return Err(malformed(AuthMethod::None));
        }
        let decoded = STANDARD.decode(value).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let (user, password) = decoded
            .as_deref()
            .and_then(|text| text.split_once(':'))
            .ok_or(malformed(AuthMethod::Basic))?;
        match self.web.users.has(user, password, peer, traffic).await {
            Shown::Right => Ok(Some(AuthMethod::Basic)),
            Shown::Wrong => Err(Refusal::unknown(AuthMethod::Basic, AuthReason::Invalid)),
            Shown::Busy => Err(Refusal::busy()),
        }
    }

    /// How a client is asked to show who it is.
    fn challenges(&self, area: Area) -> Vec<HeaderValue> {
        let mut challenges = Vec::new();
        if !self.web.users.is_empty() {
            challenges.push(HeaderValue::from_static("Basic"));
        }
        if self.tokens(area).is_some() {
            challenges.push(HeaderValue::from_static("Bearer"));
        }
        challenges
    }
}

/// Why a request is refused.
struct Refusal {
    method: AuthMethod,
    reason: AuthReason,
    status: StatusCode,
}

impl Refusal {
    fn unknown(method: AuthMethod, reason: AuthReason) -> Self {
        Self {
            method,
            reason,
            status: StatusCode::UNAUTHORIZED,
        }
    }

    /// Too many passwords wait to be compared.
    fn busy() -> Self {
        Self {
            method: AuthMethod::Basic,
            reason: AuthReason::Busy,
            status: StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A token that opens the other one.
    fn other_door() -> Self {
        Self {
            method: AuthMethod::Bearer,
            reason: AuthReason::OtherDoor,
            status: StatusCode::FORBIDDEN,
        }
    }
}

/// Before the endpoints of an area.
pub(super) async fn check(
    State((door, area)): State<(Arc<Door>, Area)>,
    request: Request,
    next: Next,
) -> Response {
    let rules = door.rules();
    if let Some(limit) = &rules.web.limit
        && !limit.take(Instant::now())
    {
        let refusals = door.traffic.refusals();
        refusals.say(&request, StatusCode::TOO_MANY_REQUESTS, None, "rate_limit");
        let text =
            "more requests than rate_limit of the web configuration allows; ask again later\n";
        return (StatusCode::TOO_MANY_REQUESTS, text).into_response();
    }
    let client = request.extensions().get::<Client>();
    let peer = client.map_or(Peer::Address(Ipv4Addr::UNSPECIFIED.into()), Client::peer);
    let admitted = rules.admit(area, request.headers(), peer, &door.traffic);
    match admitted.await {
        Ok(method) => {
            if let Some(method) = method {
                door.traffic.admitted(method);
            }
            next.run(request).await
        }
        Err(refusal) => {
            door.traffic.turned_away(refusal.method, refusal.reason);
            let (method, reason) = (refusal.method, refusal.reason.name());
            let refusals = door.traffic.refusals();
            refusals.say(&request, refusal.status, Some(method), reason);
            let text = format!("{}\n", refusal.reason.sentence());
            let mut response = (refusal.status, text).into_response();
            if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
                let second = HeaderValue::from_static("1");
                response.headers_mut().insert(header::RETRY_AFTER, second);
            }
            if refusal.status == StatusCode::UNAUTHORIZED {
                for challenge in rules.challenges(area) {
                    let headers = response.headers_mut();
                    headers.append(header::WWW_AUTHENTICATE, challenge);
                }
            }
            response
        }
    }
}

/// Around all endpoints: the headers that go with every answer.
pub(super) async fn add_headers(
    State(door): State<Arc<Door>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in &door.web.current().headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}

fn wrong(path: &Path) -> impl FnOnce(String) -> ConfigError {
    move |reason| ConfigError::Contents {
        path: path.to_owned(),
        reason,
    }
}
