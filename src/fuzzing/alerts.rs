//! Alerts of other programs.

use crate::collect::wire::alerts::{Format, write};
use crate::collect::wire::{LineRules, Room};
use crate::flow::Budget;
use crate::model::{AlertPhase, Block, Timestamp, message};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);

/// The webhook of Alertmanager.
pub fn alertmanager(data: &[u8]) {
    read(Format::Alertmanager, data);
}

/// Events of Falco.
pub fn falco(data: &[u8]) {
    read(Format::Falco, data);
}

/// A webhook of PagerDuty.
pub fn pagerduty(data: &[u8]) {
    read(Format::PagerDuty, data);
}

/// Whatever the bytes are, each alert is a line with a message in a stream of its own, or has a flaw.
fn read(format: Format, data: &[u8]) {
    const MOST: usize = 50;
    let Ok(body) = format.decode(data, NOW, MOST) else { return };
    assert!(body.alerts.len() <= MOST, "more alerts than may be");
    let budget = Budget::new(64 << 20);
    let (mut block, mut room) = (Block::default(), Room::lease(&budget, 0).expect("a new budget is free"));
    let rules = LineRules { received: NOW, max_line: 1 << 20 };
    let counts = write(&body, &mut block, &mut room, rules).expect("there is room for a few alerts");
    assert_eq!(counts.lines, block.lines().len() as u64 + counts.bad_entries, "an alert without a place");
    for line in block.lines() {
        let alert = block.stream_of(line).alert().expect("a stream of an alert");
        assert!(line.at <= NOW && !alert.key.is_empty(), "an alert without a key, or from the future");
        if counts.truncated == 0 {
            assert!(message::decode(block.text(line)).is_some(), "a line without a message");
        }
        if let AlertPhase::Fires(since) | AlertPhase::Over(since) = alert.phase {
            assert!(since > Timestamp(0), "an alert from before there were clocks");
        }
    }
}
