//! Parameters of a list.

use crate::model::{EventId, EventState, IncidentId, Priority, RuleName, Span, TenantId, Timestamp};
use crate::store::{EventFilter, Page};

/// Events on a page when nobody asks for a number, or for one out of range.
const PAGE_SIZE: usize = 20;

/// Most events on a page.
const MAX_PAGE_SIZE: usize = 100;

/// Every parameter.
const PARAMETERS: [&str; 15] = [
    "page",
    "pageSize",
    "page_size",
    "namespace",
    "pod",
    "search",
    "priority",
    "rule",
    "tenant",
    "state",
    "since",
    "incident",
    "include_pending",
    "order",
    "before",
];

/// What `GET /api/errors` was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) filter: EventFilter,
    pub(super) order: Order,
    /// From 1.
    pub(super) page: usize,
    pub(super) page_size: usize,
}

/// The order of a list, and how far it was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The most urgent first, in numbered pages. Hits move events from page to page.
    #[default]
    Urgency,
    /// The last born first, born before that event where one is given. Nothing moves.
    Newest(Option<EventId>),
}

impl Listing {
    /// Reads the parameters; empty ones count as missing. What is wrong with one is told: a list that leaves a filter out, because its name
    /// or value was misspelt, looks like an answer and is none.
    ///
    /// COMPAT: pages and page sizes that are out of range fall back to their defaults (contracts A.7).
    pub(super) fn read(parameters: &[(String, String)], now: Timestamp) -> Result<Self, String> {
        let mut listing = Self { page: 1, page_size: PAGE_SIZE, ..Self::default() };
        let filter = &mut listing.filter;
        let (mut newest, mut before) = (None, None);
        for (name, value) in parameters {
            if value.is_empty() && PARAMETERS.contains(&name.as_str()) {
                continue;
            }
            match name.as_str() {
                "page" => listing.page = usize::try_from(number(name, value, "1 or more")?).unwrap_or(1).max(1),
                "pageSize" | "page_size" => {
                    let size = usize::try_from(number(name, value, "1 to 100")?).ok();
                    listing.page_size = size.filter(|size| (1..=MAX_PAGE_SIZE).contains(size)).unwrap_or(PAGE_SIZE);
                }
                "namespace" => filter.namespace = Some(value.clone()),
                "pod" => filter.pod = Some(value.clone()),
                "search" => filter.search = Some(value.clone()),
                "priority" => filter.priority = Some(value.parse::<Priority>().map_err(|error| format!("priority: {error}"))?),
                "rule" => filter.rule = Some(RuleName::new(value)),
                "tenant" => filter.tenant = Some(TenantId::parse(value).map_err(|error| format!("tenant: {error}"))?),
                "state" => filter.state = Some(state(value)?),
                "since" => filter.since = Some(since(value, now)?),
                "incident" => {
                    let id = IncidentId::parse(value).ok_or_else(|| format!("incident: {value:?} is no id of an incident"))?;
                    filter.incident = Some(id);
                }
                "include_pending" => filter.with_pending = flag(name, value)?,
                "order" => newest = Some(is_newest(value)?),
                "before" => {
                    let id = EventId::parse(value);
                    before = Some(id.ok_or_else(|| format!("before: {value:?} is no id: write the `next` of the page before this one"))?);
                }
                // What a browser's library adds so that no cache answers (`_=1731942000`) means nothing to anybody.
                name if name.starts_with('_') => {}
                _ => return Err(format!("{name:?} is no parameter of this list: it has {}", PARAMETERS.join(", "))),
            }
        }
        listing.order = match (newest, before) {
            (Some(false), Some(_)) => return Err("before: goes with order=newest only: in order of urgency events move".to_owned()),
            (Some(true), _) | (None, Some(_)) => Order::Newest(before),
            (Some(false) | None, None) => Order::Urgency,
        };
        if listing.order != Order::Urgency && listing.page != 1 {
            return Err("page: goes with order=urgency only: write before= with the `next` of the page before this one".to_owned());
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
    found.ok_or_else(|| format!("state: {text:?} is none: write pending, firing, quiet or resolved"))
}

fn is_newest(text: &str) -> Result<bool, String> {
    match text {
        "newest" => Ok(true),
        "urgency" => Ok(false),
        _ => Err(format!("order: {text:?} is none: write urgency or newest")),
    }
}

/// Wide enough that whatever a caller may count with is out of range and not wrong.
fn number(name: &str, text: &str, allowed: &str) -> Result<i128, String> {
    text.parse().map_err(|_| format!("{name}: {text:?} is no whole number: write {allowed}"))
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
            ("page", "7", (7, 20)),
            ("pageSize", "100", (1, 100)),
            ("pageSize", "101", (1, 20)),
            ("pageSize", "0", (1, 20)),
            ("pageSize", "-1", (1, 20)),
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
            ("incident", "01890a5d-ac96-774b-bcce-b302099a8057"),
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
            incident: IncidentId::parse("01890a5d-ac96-774b-bcce-b302099a8057"),
            egress: crate::model::Egress::default(),
        };
        assert_eq!(read(&all).expect("valid").filter, expected);
        assert_eq!(read(&[("since", "1970-01-01T00:00:05Z")]).expect("valid").filter.since, Some(Timestamp::from_parts(5, 0)));
        assert_eq!(read(&[("_", "1731942000"), ("_t", ""), ("page", "2")]), read(&[("page", "2")]), "a name for caches only");
        for name in PARAMETERS {
            assert_eq!(read(&[(name, "")]).expect(name), read(&[]).expect("nothing"), "{name} without a value");
            assert!(!read(&[(name, "1")]).is_err_and(|told| told.contains("no parameter")), "{name} is read");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_does() {
        let cases = [
            ("page", "x", "page: \"x\" is no whole number: write 1 or more"),
            ("page_size", "1.5", "page_size: \"1.5\" is no whole number: write 1 to 100"),
            ("priority", "P7", "priority: \"P7\" is no priority: write P1, P2, P3 or P4 (or critical, high, medium, low)"),
            ("tenant", "a|b", "tenant: several tenants"),
            ("state", "open", "state: \"open\" is none: write pending, firing, quiet or resolved"),
            ("since", "yesterday", "since: \"yesterday\" is neither an RFC 3339 time such as"),
            ("incident", "17", "incident: \"17\" is no id of an incident"),
            ("include_pending", "maybe", "include_pending: \"maybe\" is neither true nor false"),
            ("order", "oldest", "order: \"oldest\" is none: write urgency or newest"),
            ("before", "17", "before: \"17\" is no id: write the `next`"),
            ("colour", "red", "\"colour\" is no parameter of this list: it has page, pageSize,"),
            ("Namespace", "", "\"Namespace\" is no parameter of this list"),
        ];
        for (name, value, expected) in cases {
            let told = read(&[(name, value)]).expect_err(value);
            assert!(told.starts_with(expected), "{name}={value}: {told}");
        }
    }

    #[test]
    fn a_cursor_goes_with_the_order_that_stands_still() {
        let id = EventId::new(Timestamp::from_parts(1, 0), 7);
        let text = id.to_string();
        let order = |pairs: &[(&str, &str)]| read(pairs).map(|listing| listing.order);
        assert_eq!(order(&[]), Ok(Order::Urgency));
        assert_eq!(order(&[("order", "urgency"), ("page", "2")]), Ok(Order::Urgency));
        assert_eq!(order(&[("order", "newest")]), Ok(Order::Newest(None)));
        assert_eq!(order(&[("before", &text), ("order", "newest"), ("page", "1")]), Ok(Order::Newest(Some(id))));
        assert_eq!(order(&[("before", &text)]), Ok(Order::Newest(Some(id))));
        assert!(order(&[("before", &text), ("order", "urgency")]).is_err_and(|told| told.starts_with("before: ")));
        assert!(order(&[("before", &text), ("page", "2")]).is_err_and(|told| told.starts_with("page: ")));
    }
}
