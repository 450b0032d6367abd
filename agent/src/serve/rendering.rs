//! Answers that take time to make are made once for all who ask at that time, and by no thread that answers.
//!
//! ```text
//!  scrape ─┐
//!  scrape ─┼─► flight of a format and an encoding ─► its turn: one rendering at a time ─► all who wait for it
//!  scrape ─┘                                         of the sample that there is then
//! ```
//!
//! Who comes while a flight waits for its turn, or is under way with what is still the last sample, has its answer
//! too. Nobody gets what was made before they asked: an exposition also says how old its sample is. After each
//! rendering there is a pause of the same length, so that scrapes without end take half of one CPU at most.

use crate::telemetry::log_event;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{OwnedMutexGuard, watch},
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{compress::compress, negotiate::Encoding, traffic::Traffic};
use crate::metrics::{encode::Format, http::Cache};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// The exposition.
    Metrics(Format),
    /// The sessions for people and scripts.
    Sessions,
}

impl What {
    fn content_type(self) -> &'static str {
        match self {
            Self::Metrics(format) => format.content_type(),
            Self::Sessions => "application/json",
        }
    }
}

/// What is asked for, and how it is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) what: What,
    pub(super) encoding: Encoding,
}

/// An answer, of which everybody who wants it has a share.
#[derive(Clone, Debug)]
pub(super) struct Rendered {
    what: What,
    body: Bytes,
    encoding: Option<HeaderValue>,
}

impl IntoResponse for Rendered {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.what.content_type()),
            (header::VARY, "accept, accept-encoding"),
        ];
        let mut response = (headers, self.body).into_response();
        if let Some(encoding) = self.encoding {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_ENCODING, encoding);
        }
        response
    }
}

/// An answer, or why there is none.
pub(super) type Outcome = Result<Rendered, Failed>;

/// Why an answer could not be made.
#[derive(Clone, Debug)]
pub(super) struct Failed(String);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let text = format!("{}\n", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    }
}

/// Makes the body of an answer from a sample.
type MakeBody<S> = dyn Fn(Arc<S>, What) -> Result<Vec<u8>, String> + Send + Sync;

/// The renderings of samples.
pub(super) struct Renderings<S> {
    samples: watch::Receiver<Option<Arc<S>>>,
    traffic: Arc<Traffic>,
    body: Box<MakeBody<S>>,
    flights: Mutex<HashMap<Wanted, Flight<S>>>,
    /// When the next rendering may begin; locked while one is made.
    turn: Arc<tokio::sync::Mutex<Instant>>,
}

struct Flight<S> {
    /// What it is of, once its turn has come.
    sample: Arc<OnceLock<Arc<S>>>,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl<S> fmt::Debug for Renderings<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Renderings").finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static> Renderings<S> {
    /// Of the samples that come, by this function.
    pub(super) fn new(
        samples: watch::Receiver<Option<Arc<S>>>,
        traffic: Arc<Traffic>,
        body: impl Fn(Arc<S>, What) -> Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            samples,
            traffic,
            body: Box::new(body),
            flights: Mutex::default(),
            turn: Arc::new(tokio::sync::Mutex::new(Instant::now())),
        }
    }

    /// What is wanted, of the last sample or a newer one.
    pub(super) async fn get(self: &Arc<Self>, wanted: Wanted) -> Outcome {
        let mut outcome = self.join(wanted);
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // A panic, which is in the log.
            _ => Err(Failed("the answer could not be made".to_owned())),
        }
    }

    /// The outcome of the flight for what is wanted, of a new one if there is none to join.
    fn join(self: &Arc<Self>, wanted: Wanted) -> watch::Receiver<Option<Outcome>> {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&wanted)
            && flight
                .sample
                .get()
                .is_none_or(|sample| self.is_last(sample))
        {
            self.traffic
                .looked_up(Cache::Renderings, true, flights.len());
            return flight.outcome.clone();
        }
        let sample = Arc::new(OnceLock::new());
        let (done, outcome) = watch::channel(None);
        let flight = Flight {
            sample: Arc::clone(&sample),
            outcome: outcome.clone(),
        };
        flights.insert(wanted, flight);
        self.traffic
            .looked_up(Cache::Renderings, false, flights.len());
        tokio::spawn(Arc::clone(self).render(wanted, sample, done));
        outcome
    }

    fn is_last(&self, sample: &Arc<S>) -> bool {
        let last = self.samples.borrow();
        last.as_ref().is_some_and(|last| Arc::ptr_eq(last, sample))
    }

    async fn render(
        self: Arc<Self>,
        wanted: Wanted,
        sample: Arc<OnceLock<Arc<S>>>,
        done: watch::Sender<Option<Outcome>>,
    ) {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        sleep_until(*turn).await;
        let last = self.samples.borrow().clone();
        let outcome = match last {
            None => Err(Failed("there is no sample yet".to_owned())),
            Some(last) => {
                let last = Arc::clone(sample.get_or_init(|| last));
                let renderings = Arc::clone(&self);
                let made = spawn_blocking(move || renderings.make(wanted, last, turn));
                made.await
                    .unwrap_or_else(|error| Err(Failed(error.to_string())))
            }
        };
        let mut flights = self.lock();
        let is_own = |flight: &Flight<S>| Arc::ptr_eq(&flight.sample, &sample);
        if flights.get(&wanted).is_some_and(is_own) {
            flights.remove(&wanted);
        }
        self.traffic.holds(Cache::Renderings, flights.len());
        drop(flights);
        done.send_replace(Some(outcome));
    }

    /// Makes an answer, on a thread for what takes time.
    fn make(&self, wanted: Wanted, sample: Arc<S>, mut turn: OwnedMutexGuard<Instant>) -> Outcome {
        let began = Instant::now();
        let made = (self.body)(sample, wanted.what).and_then(|body| {
            let compressed = compress(body, wanted.encoding);
            Handle::current().block_on(compressed)
        });
        let ended = Instant::now();
        *turn = ended + (ended - began);
        match made {
            Ok((body, encoding)) => Ok(Rendered {
                what: wanted.what,
                body,
                encoding,
            }),
            Err(error) => {
                log_event!(AnswerFailed, what = ?wanted.what, %error);
                Err(Failed(error))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Wanted, Flight<S>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::task::JoinHandle;

    use super::*;
    use crate::telemetry::captured::caused;

    const TEXT: Wanted = Wanted {
        what: What::Metrics(Format::Text),
        encoding: Encoding::Identity,
    };

    /// Renderings of numbers, each of which takes until it is let go.
    struct Held {
        publish: watch::Sender<Option<Arc<u32>>>,
        renderings: Arc<Renderings<u32>>,
        /// What is being rendered: told when it begins.
        begun: mpsc::Receiver<(u32, What)>,
        go: mpsc::Sender<()>,
    }

    impl Held {
        fn of(number: u32) -> Self {
            let (publish, samples) = watch::channel(Some(Arc::new(number)));
            let (begin, begun) = mpsc::channel();
            let (go, gone) = mpsc::channel();
            let gone = Mutex::new(gone);
            let renderings =
                Renderings::new(samples, Arc::default(), move |sample: Arc<u32>, what| {
                    begin.send((*sample, what)).unwrap();
                    gone.lock().unwrap().recv().map_err(|e| e.to_string())?;
                    Ok(sample.to_string().into_bytes())
                });
            Self {
                publish,
                renderings: Arc::new(renderings),
                begun,
                go,
            }
        }

        /// Somebody who asks.
        async fn ask(&self, wanted: Wanted) -> JoinHandle<Vec<u8>> {
            let renderings = Arc::clone(&self.renderings);
            let asked = tokio::spawn(async move {
                let rendered = renderings.get(wanted).await.expect("an answer");
                rendered.body.to_vec()
            });
            // Far enough to wait for the answer.
            tokio::time::sleep(Duration::from_millis(20)).await;
            asked
        }

        fn begun(&self) -> (u32, What) {
            let limit = Duration::from_secs(20);
            self.begun.recv_timeout(limit).expect("a rendering")
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_who_ask_at_a_time_have_one_rendering() {
        let held = Held::of(7);
        let mut asked = vec![held.ask(TEXT).await];
        assert_eq!(held.begun(), (7, TEXT.what));
        for _ in 0..20 {
            asked.push(held.ask(TEXT).await);
        }
        held.go.send(()).unwrap();
        for one in asked {
            assert_eq!(one.await.unwrap(), b"7");
        }
        assert!(held.begun.try_recv().is_err(), "a second rendering");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_asks_when_there_is_a_newer_sample_or_later_has_another_rendering() {
        let held = Held::of(1);
        let first = held.ask(TEXT).await;
        held.begun();
        held.publish.send_replace(Some(Arc::new(2)));
        let second = held.ask(TEXT).await;
        // It waits for its turn, and has what is there when it begins.
        held.publish.send_replace(Some(Arc::new(3)));
        let third = held.ask(TEXT).await;
        held.go.send(()).unwrap();
        assert_eq!(first.await.unwrap(), b"1");
        assert_eq!(held.begun(), (3, TEXT.what));
        held.go.send(()).unwrap();
        assert_eq!(second.await.unwrap(), b"3");
        assert_eq!(third.await.unwrap(), b"3");
        // What is done is not used again: it would say a wrong age.
        let late = held.ask(TEXT).await;
        assert_eq!(held.begun(), (3, TEXT.what));
        held.go.send(()).unwrap();
        assert_eq!(late.await.unwrap(), b"3");
        assert!(held.renderings.lock().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_format_has_a_rendering_of_its_own_one_after_the_other() {
        let held = Held::of(1);
        let text = held.ask(TEXT).await;
        let sessions = Wanted {
            what: What::Sessions,
            ..TEXT
        };
        let sessions = held.ask(sessions).await;
        assert_eq!(held.begun(), (1, TEXT.what));
        assert!(held.begun.try_recv().is_err(), "two at a time");
        held.go.send(()).unwrap();
        assert_eq!(held.begun(), (1, What::Sessions));
        held.go.send(()).unwrap();
        assert_eq!(
            (text.await.unwrap(), sessions.await.unwrap()),
            (b"1".to_vec(), b"1".to_vec())
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_rendering_that_panics_is_an_error_and_the_next_one_is_made() {
        let (_publish, samples) = watch::channel(Some(Arc::new(())));
        let fails = Mutex::new(true);
        let renderings = Renderings::new(samples, Arc::default(), move |_, _| {
            let fails = std::mem::take(&mut *fails.lock().unwrap_or_else(PoisonError::into_inner));
            assert!(!fails, "as a defect would");
            Ok(b"made".to_vec())
        });
        let renderings = Arc::new(renderings);
        assert!(renderings.get(TEXT).await.is_err());
        assert_eq!(renderings.get(TEXT).await.unwrap().body, "made");
    }

    #[test]
    fn an_answer_that_cannot_be_made_is_an_error_of_the_agent_and_said() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let (_publish, samples) = watch::channel(Some(Arc::new(())));
        let make = |_, _| Err("no room".to_owned());
        let renderings = Renderings::new(samples, Arc::default(), make);
        let turn = Arc::clone(&renderings.turn).try_lock_owned().unwrap();
        let said = caused(|| {
            let failed = renderings.make(TEXT, Arc::new(()), turn).unwrap_err();
            let status = failed.into_response().status();
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        });
        assert_eq!(said.len(), 1);
        assert_eq!(said[0]["event"], "answer_failed");
        assert_eq!(said[0]["error"], "no room");
    }
}
