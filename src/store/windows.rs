//! Windows as rows.
//!
//! `buckets` is a list of (step, hits) as varints: the first step is the bucket's number in zigzag form, every further one the distance to
//! the bucket before it. `pending` is a list of event rows, each as the zigzag distance to the one before it. A varint has seven bits a
//! byte, the lowest first, and the high bit set on all but the last.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::model::{EventRow, Timestamp, WindowKey, WindowState};

use super::row::{rule_name, wrong};

const PUT: &str = "REPLACE INTO windows (key, rule, bucket_nanos, buckets, pending, written_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const GET: &str = "SELECT rule, bucket_nanos, buckets, pending FROM windows WHERE key = ?1";

pub(super) fn put(connection: &Connection, windows: &[WindowState], now: Timestamp) -> Result<()> {
    if windows.is_empty() {
        return Ok(());
    }
    let mut put = connection.prepare_cached(PUT)?;
    let (mut buckets, mut pending) = (Vec::new(), Vec::new());
    for window in windows {
        encode_buckets(&window.buckets, &mut buckets);
        encode_pending(&window.pending, &mut pending);
        put.execute(params![window.key.0, window.rule.as_str(), window.bucket_nanos, buckets, pending, now.nanos()])?;
    }
    Ok(())
}

pub(super) fn get(connection: &Connection, keys: &[WindowKey]) -> Result<Vec<WindowState>> {
    let mut get = connection.prepare_cached(GET)?;
    let mut found = Vec::new();
    for key in keys {
        found.extend(get.query_row([key.0], |row| window(row, *key)).optional()?);
    }
    Ok(found)
}

fn window(row: &Row<'_>, key: WindowKey) -> Result<WindowState> {
    let damaged = |at| wrong(at, "not a list of varints".to_owned());
    Ok(WindowState {
        key,
        rule: rule_name(row, 0)?,
        bucket_nanos: row.get(1)?,
        buckets: decode_buckets(row.get_ref(2)?.as_blob()?).ok_or_else(|| damaged(2))?,
        pending: decode_pending(row.get_ref(3)?.as_blob()?).ok_or_else(|| damaged(3))?,
    })
}

fn encode_buckets(buckets: &[(i64, u64)], into: &mut Vec<u8>) {
    into.clear();
    let mut before = 0;
    for &(number, hits) in buckets {
        put_varint(zigzag(number.wrapping_sub(before)), into);
        put_varint(hits, into);
        before = number;
    }
}

fn decode_buckets(mut bytes: &[u8]) -> Option<Vec<(i64, u64)>> {
    let (mut buckets, mut before) = (Vec::new(), 0_i64);
    while !bytes.is_empty() {
        before = before.wrapping_add(unzigzag(take_varint(&mut bytes)?));
        buckets.push((before, take_varint(&mut bytes)?));
    }
    Some(buckets)
}

fn encode_pending(rows: &[EventRow], into: &mut Vec<u8>) {
    into.clear();
    let mut before = 0;
    for row in rows {
        put_varint(zigzag(row.0.wrapping_sub(before)), into);
        before = row.0;
    }
}

fn decode_pending(mut bytes: &[u8]) -> Option<Vec<EventRow>> {
    let (mut rows, mut before) = (Vec::new(), 0_i64);
    while !bytes.is_empty() {
        before = before.wrapping_add(unzigzag(take_varint(&mut bytes)?));
        rows.push(EventRow(before));
    }
    Some(rows)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn put_varint(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn buckets_and_pending_events_read_back_as_written(
            buckets in prop::collection::vec(any::<(i64, u64)>(), 0..62),
            pending in prop::collection::vec(any::<i64>(), 0..64),
        ) {
            let pending: Vec<EventRow> = pending.into_iter().map(EventRow).collect();
            let (mut b, mut p) = (Vec::new(), Vec::new());
            encode_buckets(&buckets, &mut b);
            encode_pending(&pending, &mut p);
            prop_assert_eq!(decode_buckets(&b), Some(buckets));
            prop_assert_eq!(decode_pending(&p), Some(pending));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            decode_buckets(&bytes);
            decode_pending(&bytes);
        }
    }

    #[test]
    fn a_window_of_sixty_buckets_takes_two_bytes_a_bucket() {
        let buckets: Vec<(i64, u64)> = (0..60).map(|n| (350_000_000 + n, 40)).collect();
        let mut bytes = Vec::new();
        encode_buckets(&buckets, &mut bytes);
        assert!(bytes.len() <= 60 * 2 + 4, "{}", bytes.len());
    }
}
