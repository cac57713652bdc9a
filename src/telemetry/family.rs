//! Counters whose series come and go.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counters of one name, told apart by one label. Cheap to clone; all clones count together.
///
/// The recorder behind [`super::Registry`] keeps every series that it was ever asked for. This is for label values that are bounded at any
/// time and not over time, such as the rules in force.
#[derive(Debug, Clone)]
pub struct Family(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    counts: Mutex<BTreeMap<Box<str>, u64>>,
}

impl Family {
    pub(super) fn new(name: &'static str, help: &'static str, label: &'static str) -> Self {
        Self(Arc::new(Inner { name, help, label, counts: Mutex::default() }))
    }

    /// Adds to the series of this label value, which begins at zero when it is not there.
    pub fn add(&self, value: &str, more: u64) {
        let mut counts = self.lock();
        match counts.get_mut(value) {
            Some(count) => *count += more,
            None => drop(counts.insert(value.into(), more)),
        }
    }

    /// Removes the series of all other label values. One that comes back begins at zero, as counters do after a restart.
    pub fn retain(&self, stays: impl Fn(&str) -> bool) {
        self.lock().retain(|value, _| stays(value));
    }

    /// Appends all series in Prometheus' text format.
    pub(super) fn render(&self, out: &mut String) {
        let Inner { name, help, label, .. } = &*self.0;
        let counts = self.lock();
        if counts.is_empty() {
            return;
        }
        // Writing to a string does not fail.
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter").ok();
        for (value, count) in counts.iter() {
            writeln!(out, "{name}{{{label}=\"{}\"}} {count}", escaped(value)).ok();
        }
        out.push('\n');
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, u64>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A label value as it stands between the quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_come_count_and_go() {
        let family = Family::new("kube_sentinel_test_hits_total", "Hits.", "rule");
        let text = |family: &Family| {
            let mut text = String::new();
            family.render(&mut text);
            text
        };
        assert_eq!(text(&family), "");
        family.add("b", 0);
        family.clone().add("a\"\\\n", 2);
        family.add("b", 3);
        assert_eq!(
            text(&family),
            "# HELP kube_sentinel_test_hits_total Hits.\n# TYPE kube_sentinel_test_hits_total counter\n\
             kube_sentinel_test_hits_total{rule=\"a\\\"\\\\\\n\"} 2\nkube_sentinel_test_hits_total{rule=\"b\"} 3\n\n"
        );
        family.retain(|value| value != "b");
        assert!(!text(&family).contains("\"b\""));
        family.add("b", 1);
        assert!(text(&family).contains("{rule=\"b\"} 1\n"));
    }
}
