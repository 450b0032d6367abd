//! The GPU side: samples the NVIDIA driver through NVML and reports what each device and each process did.
//!
//! It knows processes and not sessions: joining the two is the session's part. [`model`] is what it
//! reports; `sampler` is the thread; `device` and `health` what is asked of one device, `rhythm` how often; `power` whether they sleep; `usage` the arithmetic of
//! utilisation samples; `nvml` the border to the driver; `library` where that is found and whether it may be loaded; `calls` what it is
//! doing now; `down` why there is none to ask.

mod calls;
mod device;
pub mod down;
mod health;
mod library;
pub mod model;
mod nvml;
mod power;
mod rhythm;
mod sampler;
pub mod settings;
mod usage;

use crate::telemetry::log_event;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub use self::settings::Settings;
use self::{
    calls::CallLog,
    down::Down,
    model::{Calls, Report},
    power::Idleness,
    sampler::{Message, Sampler},
};
use crate::error::Error;

/// Rounds without an answer after which the GPU side is down, and the least time.
const STALE: (u32, Duration) = (3, Duration::from_secs(3));

/// The library by which GPUs would be measured, or why none would be loaded. It is not loaded.
pub fn would_load(settings: &Settings) -> Result<PathBuf, Down> {
    if settings.enabled {
        library::first_to_load(settings.library.as_deref())
    } else {
        Err(Down::DISABLED)
    }
}

/// How the GPU side is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Why there is no driver that answers; `None` while there is.
    pub down: Option<Down>,
    /// When the last round was begun.
    pub taken: Option<Instant>,
}

/// The listening end of the sampler.
#[derive(Debug)]
pub struct Monitor {
    messages: Option<UnboundedReceiver<Message>>,
    log: Arc<CallLog>,
    stale_after: Duration,
    /// Why there is no driver to ask, since the last round.
    down: Option<Down>,
    taken: Option<Instant>,
}

impl Monitor {
    /// Starts the thread, unless the configuration says that there is to be none.
    pub fn start(settings: &Settings) -> Result<Self, Error> {
        let log = Arc::new(CallLog::default());
        let (stale_rounds, stale_least) = STALE;
        let mut monitor = Self {
            messages: None,
            log: Arc::clone(&log),
            stale_after: (settings.period * stale_rounds).max(stale_least),
            down: Some(Down::DISABLED),
            taken: None,
        };
        if settings.enabled {
            let (sender, receiver) = unbounded_channel();
            let sampler = Sampler {
                settings: settings.clone(),
                log,
                messages: sender,
                integrals: HashMap::new(),
                known: Vec::new(),
                idleness: Idleness::new(settings.release, Instant::now()),
            };
            // Never joined: it may be inside the driver for good.
            thread::Builder::new()
                .name("gpu-sampler".to_owned())
                .spawn(move || sampler.run())
                .map_err(Error::io("GPU sampler thread"))?;
            monitor.messages = Some(receiver);
            monitor.down = Some(Down::STARTING);
        }
        Ok(monitor)
    }

    /// The next round. Waits for ever where there is no sampler.
    pub async fn next_report(&mut self) -> Report {
        loop {
            let Some(messages) = &mut self.messages else {
                return std::future::pending().await;
            };
            match messages.recv().await {
                Some(Message::Round(report)) => {
                    self.down = None;
                    self.taken = Some(report.taken);
                    return *report;
                }
                Some(Message::Down(down)) => {
                    if self.down.as_ref() != Some(&down) {
                        log_event!(GpusUnmeasured, reason = %down);
                    }
                    self.down = Some(down);
                }
                None => {
                    self.down = Some(Down::failed("the sampler has ended"));
                    self.messages = None;
                }
            }
        }
    }

    /// How it is doing now.
    pub fn status(&self) -> Status {
        let stale = self.taken.is_none_or(|t| t.elapsed() > self.stale_after);
        let hangs = || match self.log.current() {
            Some(function) => Down::no_answer(format!("no answer from {function}")),
            None => Down::no_answer("the sampler is late"),
        };
        let down = match (&self.down, stale) {
            // The first call of all may be the one that hangs.
            (Some(down), _) if *down == Down::STARTING && self.log.current().is_some() => {
                Some(hangs())
            }
            (Some(down), _) => Some(down.clone()),
            (None, true) => Some(hangs()),
            (None, false) => None,
        };
        Status {
            down,
            taken: self.taken,
        }
    }

    /// The calls that the driver has been asked, and how they went.
    pub fn calls(&self) -> Calls {
        self.log.calls()
    }
}
