//! Waiting for something to become true, with a limit that names what did not.

use std::{
    env,
    error::Error,
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;

/// The error when a limit has passed.
#[derive(Debug)]
pub struct Late {
    what: String,
    limit: Duration,
}

impl fmt::Display for Late {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "not within {:?}: {}", self.limit, self.what)
    }
}

impl Error for Late {}

/// A limit as long as this machine needs: `SESSIONSCOPE_TEST_PATIENCE` times what a real one does, when
/// the tests run in an emulated one.
pub fn patient(limit: Duration) -> Duration {
    let times = env::var("SESSIONSCOPE_TEST_PATIENCE").map_or(1, |times| {
        times
            .parse()
            .expect("SESSIONSCOPE_TEST_PATIENCE is a whole number")
    });
    limit * times
}

/// Calls `look` until it finds something, and `pause` in between; [`Late`] with `what` after `limit`.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut pause: impl FnMut() -> Result<()>,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let limit = patient(limit);
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() >= limit {
            let what = what.to_owned();
            return Err(Late { what, limit }.into());
        }
        pause()?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::bail;

    use super::{Late, until};

    #[test]
    fn what_is_found_is_returned_and_what_is_not_is_named() {
        let mut looks = 0;
        let found = until(
            "a third look",
            Duration::from_mins(1),
            || Ok(()),
            || {
                looks += 1;
                Ok((looks == 3).then_some(looks))
            },
        );
        assert_eq!(found.unwrap(), 3);
        let late = until::<()>("the end", Duration::ZERO, || Ok(()), || Ok(None));
        let late = late.unwrap_err();
        assert_eq!(late.to_string(), "not within 0ns: the end");
        assert!(late.is::<Late>());
        let interrupted = until::<()>("x", Duration::from_mins(1), || bail!("stop"), || Ok(None));
        assert_eq!(interrupted.unwrap_err().to_string(), "stop");
    }
}
