//! The live connections: the keys of the map that has them, and what the program `connections` reads of each.
//!
//! A system call for each 4,096 keys, and three for each batch: 10,000 connections take about 3 ms.

use std::{io, os::fd::BorrowedFd};

use agent_common::{
    NO_SESSION,
    net::{CONNECTIONS_PER_RUN, Connection, ConnectionBatch, ConnectionRecord},
};
use aya::maps::{Array, MapData};

use super::syscall;

/// Keys of one system call; more than a chain of the hash table can hold, which is copied whole.
const KEYS_PER_CALL: usize = 4096;

/// Reads what belongs to sessions. The order is that of the hash table; none is there twice.
pub(super) fn read(
    program: BorrowedFd<'_>,
    connections: BorrowedFd<'_>,
    batch: &mut Array<MapData, ConnectionBatch>,
) -> Result<Vec<ConnectionRecord>, Box<dyn std::error::Error>> {
    let mut all = Vec::new();
    for sockets in addresses(connections)?.chunks(CONNECTIONS_PER_RUN) {
        let mut asked = ConnectionBatch::default();
        for (record, socket) in asked.records.iter_mut().zip(sockets) {
            record.socket = *socket;
        }
        batch.set(0, asked, 0)?;
        syscall::run(program)?;
        let answered = batch.get(&0, 0)?.records.into_iter().take(sockets.len());
        all.extend(answered.filter(|record| record.slot != NO_SESSION));
    }
    Ok(all)
}

/// Keys of the map.
fn addresses(map: BorrowedFd<'_>) -> io::Result<Vec<u64>> {
    let mut all = Vec::new();
    let (mut keys, mut values) = (
        vec![0u64; KEYS_PER_CALL],
        vec![Connection::default(); KEYS_PER_CALL],
    );
    let mut position = None;
    loop {
        let found = syscall::entries(map, &mut position, &mut keys, &mut values)?;
        all.extend_from_slice(&keys[..found]);
        if position.is_none() {
            return Ok(all);
        }
    }
}
