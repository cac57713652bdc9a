//! Parameters of a list.

use crate::model::{EventState, Priority, RuleName, Span, TenantId, Timestamp};
use crate::store::{EventFilter, Page};

/// Events on a page when nobody asks for a number, or for one out of range.
const PAGE_SIZE: usize = 20;

/// Most events on a page.
const MAX_PAGE_SIZE: usize = 100;

/// What `GET /api/errors` was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) filter: EventFilter,
    /// From 1.
    pub(super) page: usize,
    pub(super) page_size: usize,
}

impl Listing {
    /// Reads the parameters; empty ones count as missing and unknown ones are ignored.
    ///
    /// COMPAT: pages, page sizes and priorities that make no sense fall back to their defaults (contracts A.7). Our own parameters do not.
    pub(super) fn read(parameters: &[(String, String)], now: Timestamp) -> Result<Self, String> {
        let mut listing = Self { page: 1, page_size: PAGE_SIZE, ..Self::default() };
        let filter = &mut listing.filter;
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "page" => listing.page = value.parse().unwrap_or(1).max(1),
                "pageSize" | "page_size" => {
                    listing.page_size = value.parse().ok().filter(|size| (1..=MAX_PAGE_SIZE).contains(size)).unwrap_or(PAGE_SIZE);
                }
                "namespace" => filter.namespace = Some(value.clone()),
                "pod" => filter.pod = Some(value.clone()),
                "search" => filter.search = Some(value.clone()),
                "priority" => filter.priority = value.parse::<Priority>().ok(),
                "rule" => filter.rule = Some(RuleName::new(value)),
                "tenant" => filter.tenant = Some(TenantId::parse(value).map_err(|error| format!("tenant: {error}"))?),
                "state" => filter.state = Some(state(value)?),
                "since" => filter.since = Some(since(value, now)?),
                "include_pending" => filter.with_pending = flag(name, value)?,
                _ => {}
            }
        }
        Ok(listing)
    }

    /// The part of the list that is shown.
    pub(super) fn window(&self) -> Page {
        Page { offset: (self.page - 1).saturating_mul(self.page_size), limit: self.page_size }
    }
}

fn state(text: &str) -> Result<EventState, String> {
    let found = EventState::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| format!("state: {text:?} is none: write pending, firing or resolved"))
}

/// A point in time, or how long ago it was.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let ago = text.parse::<Span>().ok().map(|span| now.minus(span.0));
    let wrong = || format!("since: {text:?} is neither an RFC 3339 time such as 2026-01-31T12:00:00Z nor a duration such as 1h30m");
    ago.or_else(|| Timestamp::parse(text).ok()).ok_or_else(wrong)
}

fn flag(name: &str, text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{name}: {text:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Listing, String> {
        let parameters: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Listing::read(&parameters, Timestamp::from_parts(7200, 0))
    }

    #[test]
    fn pages_are_clamped() {
        let cases = [
            ("page", "0", (1, 20)),
            ("page", "-3", (1, 20)),
            ("page", "x", (1, 20)),
            ("page", "7", (7, 20)),
            ("pageSize", "100", (1, 100)),
            ("pageSize", "101", (1, 20)),
            ("pageSize", "0", (1, 20)),
            ("pageSize", "1", (1, 1)),
            ("page_size", "50", (1, 50)),
            ("page_size", "", (1, 20)),
        ];
        for (name, value, expected) in cases {
            let listing = read(&[(name, value)]).expect(value);
            assert_eq!((listing.page, listing.page_size), expected, "{name}={value}");
        }
        let last = read(&[("page", "18446744073709551615"), ("pageSize", "100")]).expect("a page far away");
        assert_eq!(last.window(), Page { offset: usize::MAX, limit: 100 });
    }

    #[test]
    fn filters_are_read_and_ours_are_checked() {
        let all = [
            ("namespace", "prod"),
            ("pod", "api"),
            ("search", "Oom"),
            ("priority", "critical"),
            ("rule", "oom"),
            ("tenant", "team-a"),
            ("state", "pending"),
            ("since", "1h"),
            ("include_pending", "true"),
            ("unknown", "x"),
        ];
        let expected = EventFilter {
            tenant: TenantId::parse("team-a").ok(),
            namespace: Some("prod".to_owned()),
            pod: Some("api".to_owned()),
            priority: Some(Priority::P1),
            rule: Some(RuleName::new("oom")),
            state: Some(EventState::Pending),
            with_pending: true,
            since: Some(Timestamp::from_parts(3600, 0)),
            search: Some("Oom".to_owned()),
        };
        assert_eq!(read(&all).expect("valid").filter, expected);
        assert_eq!(read(&[("priority", "P9")]).expect("ignored").filter, EventFilter::default());
        assert_eq!(read(&[("since", "1970-01-01T00:00:05Z")]).expect("valid").filter.since, Some(Timestamp::from_parts(5, 0)));
        for (name, value) in [("tenant", "a|b"), ("state", "open"), ("since", "yesterday"), ("include_pending", "maybe")] {
            assert!(read(&[(name, value)]).expect_err(value).starts_with(name));
        }
    }
}
