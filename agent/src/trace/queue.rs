//! Spans on their way to the collector: a bounded queue, and a task that sends what is in it.
//!
//! What makes spans never waits: where the queue is full a span is dropped and counted. A collector that is away is asked
//! again after a pause, with the same spans.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::trace::SpanData;
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};

use super::{exporter::Exporter, sampler::Sampler, span::Span};
use crate::{
    snapshot::{SpanCounts, TraceView, TracesOf},
    telemetry::log_event,
};

/// Spans that wait; one has about 1 KiB.
const WAITING: usize = 2048;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(2);
/// How long a batch is sent again and again: a collector that refuses it for good keeps no other one waiting for ever.
const GIVE_UP: Duration = Duration::from_mins(5);
/// How long a collector that is away is left alone, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Takes spans.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spans: mpsc::Sender<Span>,
    /// By [`TracesOf`]: what is asked of the agent takes nothing from the sessions.
    samplers: [Mutex<Sampler>; TracesOf::ALL.len()],
    counts: Counts,
    /// Somebody waits for all that is in the queue to be sent.
    flush: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
    over_limit: AtomicU64,
    failures: AtomicU64,
    /// In the queue, or on their way.
    waiting: AtomicU64,
}

/// What the task reads.
pub(super) struct Waiting {
    spans: mpsc::Receiver<Span>,
    shared: Arc<Shared>,
}

/// A queue that takes spans, and its other end.
pub(super) fn queue(sessions: Sampler, agent: Sampler) -> (Recorder, Waiting) {
    let (sender, spans) = mpsc::channel(WAITING);
    let shared = Arc::new(Shared {
        spans: sender,
        samplers: [Mutex::new(sessions), Mutex::new(agent)],
        counts: Counts::default(),
        flush: Notify::new(),
    });
    let waiting = Waiting {
        spans,
        shared: Arc::clone(&shared),
    };
    (Recorder(shared), waiting)
}

impl Recorder {
    /// Whether a trace is kept that nobody else has decided about.
    pub fn keeps(&self, of: TracesOf, trace: [u8; 16]) -> bool {
        self.sampler(of).keeps(trace, Instant::now())
    }

    /// Takes a span of a trace that is kept.
    pub(super) fn record(&self, of: TracesOf, span: Span) {
        let Shared { spans, counts, .. } = &*self.0;
        let is_admitted = self.sampler(of).admit(Instant::now()) || span.is_root;
        // Half of the queue is the sessions' alone.
        if of == TracesOf::Agent && spans.capacity() < WAITING / 2 {
            counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if !is_admitted {
            counts.over_limit.fetch_add(1, Ordering::Relaxed);
            return;
        }
        counts.waiting.fetch_add(1, Ordering::Relaxed);
        if spans.try_send(span).is_err() {
            counts.waiting.fetch_sub(1, Ordering::Relaxed);
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of all spans so far.
    pub fn view(&self) -> TraceView {
        let Counts {
            sent,
            dropped,
            over_limit,
            failures,
            waiting,
        } = &self.0.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TraceView {
            spans: SpanCounts {
                sent: read(sent),
                dropped: read(dropped),
                over_limit: read(over_limit),
            },
            failures: read(failures),
            waiting: read(waiting),
            ratios: TracesOf::ALL.map(|of| self.sampler(of).ratio()),
        }
    }

    /// Whether all that was taken has been sent.
    pub(super) fn is_idle(&self) -> bool {
        self.0.counts.waiting.load(Ordering::Relaxed) == 0
    }

    /// Has what waits be sent at once.
    pub(super) fn hurry(&self) {
        self.0.flush.notify_one();
    }

    fn sampler(&self, of: TracesOf) -> MutexGuard<'_, Sampler> {
        let sampler = &self.0.samplers[of as usize];
        sampler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Sends what comes until nobody can record any more.
    pub(super) async fn send(mut self, exporter: Exporter) {
        let scope = InstrumentationScope::builder("sessionscope")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let mut pause = PAUSE.0;
        let mut is_away = false;
        while let Some(batch) = self.batch().await {
            let batch: Vec<SpanData> = batch.into_iter().map(|span| span.data(&scope)).collect();
            let length = batch.len() as u64;
            let until = Instant::now() + GIVE_UP;
            loop {
                match exporter.export(batch.clone()).await {
                    Ok(()) => {
                        let counts = &self.shared.counts;
                        counts.sent.fetch_add(length, Ordering::Relaxed);
                        counts.waiting.fetch_sub(length, Ordering::Relaxed);
                        if std::mem::take(&mut is_away) {
                            log_event!(CollectorAnswers);
                        }
                        pause = PAUSE.0;
                        break;
                    }
                    Err(error) => {
                        self.shared.counts.failures.fetch_add(1, Ordering::Relaxed);
                        if !std::mem::replace(&mut is_away, true) {
                            log_event!(CollectorAway, error);
                        }
                        if Instant::now() >= until {
                            let counts = &self.shared.counts;
                            counts.dropped.fetch_add(length, Ordering::Relaxed);
                            counts.waiting.fetch_sub(length, Ordering::Relaxed);
                            break;
                        }
                        // Whoever waits for the end does not wait for the pause.
                        let _ = timeout(pause, self.shared.flush.notified()).await;
                        pause = (pause * 2).min(PAUSE.1);
                    }
                }
            }
        }
    }

    /// The next spans; `None` when there will be none.
    async fn batch(&mut self) -> Option<Vec<Span>> {
        let mut batch = vec![self.spans.recv().await?];
        let shared = Arc::clone(&self.shared);
        let gather = async {
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                tokio::select! {
                    biased;
                    came = self.spans.recv_many(&mut batch, room) => if came == 0 { break },
                    () = shared.flush.notified() => break,
                }
            }
        };
        // Late is no error: what has come is sent.
        let _ = timeout(GATHER, gather).await;
        Some(batch)
    }
}
