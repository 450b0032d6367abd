//! Why there is no driver to ask.

use std::{borrow::Cow, fmt};

use crate::named::named;

named! {
    /// A kind of reason, for who must tell them apart.
    pub enum DownCode {
        /// The settings say so.
        Disabled = "disabled",
        /// The driver has not answered yet.
        Starting = "starting",
        /// The kernel has suspended every GPU, and none is woken to be measured.
        Suspended = "suspended",
        /// Nobody uses a GPU, and the library is closed so that the kernel may suspend them.
        Released = "released",
        /// The driver is not loaded.
        NoDriver = "no_driver",
        /// No library of it is found, or none may be loaded.
        NoLibrary = "no_library",
        /// A call does not come back.
        NoAnswer = "no_answer",
        /// The driver answers with an error, or has no device.
        Failed = "failed",
    }
}

/// A reason in words, and its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Its kind.
    pub code: DownCode,
    /// What is the matter.
    pub reason: Cow<'static, str>,
}

impl Down {
    /// Before the first answer of the driver.
    pub(super) const STARTING: Self = Self::of(DownCode::Starting, "starting");
    pub(super) const DISABLED: Self = Self::of(DownCode::Disabled, "gpu.enabled is false");
    pub(super) const SUSPENDED: Self = Self::of(
        DownCode::Suspended,
        "every GPU is suspended and is not woken to be measured",
    );
    pub(super) const RELEASED: Self = Self::of(
        DownCode::Released,
        "nobody uses a GPU, and the kernel may suspend it",
    );
    pub(super) const NO_DRIVER: Self =
        Self::of(DownCode::NoDriver, "the NVIDIA driver is not loaded");

    const fn of(code: DownCode, reason: &'static str) -> Self {
        Self {
            code,
            reason: Cow::Borrowed(reason),
        }
    }

    pub(super) fn no_library(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: DownCode::NoLibrary,
            reason: reason.into(),
        }
    }

    pub(super) fn no_answer(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: DownCode::NoAnswer,
            reason: reason.into(),
        }
    }

    pub(super) const fn failed(reason: &'static str) -> Self {
        Self::of(DownCode::Failed, reason)
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
