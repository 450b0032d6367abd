//! A file that is larger than the memory, read again and again: the page cache turns over, and the kernel
//! wakes kswapd all the time to make room.

use std::{
    fs::File,
    io::{Read, Seek},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Bytes a read: more than the kernel reads ahead.
const CHUNK: usize = 1 << 20;

/// Reads from the begin to the end and over again.
pub(crate) fn run(path: &Path, duration: Duration) -> Value {
    let mut file =
        File::open(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    let began = Instant::now();
    while began.elapsed() < duration {
        let read = file.read(&mut chunk).expect("the disk can be read");
        if read == 0 {
            file.rewind().expect("a disk has a begin");
        }
        bytes += read as u64;
    }
    json!({ "bytes": bytes })
}
