//! Counts and names requests.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use tracing::Instrument;

use super::metrics::{Route, ServeMetrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest name that a request may bring with it.
const LONGEST_ID: usize = 64;

/// Differs between processes, so that the names of two runs are not mixed up.
static PROCESS: LazyLock<u32> = LazyLock::new(|| RandomState::new().hash_one(0) as u32);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Wraps all routes: each answer is counted, carries the name of its request, and is not kept by caches.
pub(super) fn observe(routes: Router, metrics: ServeMetrics) -> Router {
    routes.layer(middleware::from_fn_with_state(Arc::new(metrics), observed))
}

async fn observed(State(metrics): State<Arc<ServeMetrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or(Route::Other, |path| Route::of(path.as_str()));
    let id = request_id(&request);
    let span = tracing::info_span!("serve", request_id = id.to_str().unwrap_or_default(), route = route.as_str());
    let mut answer = next.run(request).instrument(span).await;
    metrics.answered(route, answer.status());
    let headers = answer.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The name that the peer gave, if it can do no harm in a log, or a new one.
fn request_id(request: &Request) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=LONGEST_ID).contains(&bytes.len()) && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
    };
    request.headers().get(REQUEST_ID).filter(harmless).cloned().unwrap_or_else(|| {
        let name = format!("{:08x}-{}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed));
        HeaderValue::try_from(name).expect("hex digits, a dash and a number are a header value")
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_harmless_name_is_kept_and_any_other_replaced() {
        let of = |id: &[u8]| {
            let request = Request::builder().header(REQUEST_ID, HeaderValue::from_bytes(id).unwrap()).body(Body::empty()).unwrap();
            request_id(&request)
        };
        assert_eq!(of(b"req-1.a:B_2"), "req-1.a:B_2");
        for harmful in [&b"a b"[..], b"", b"{\"x\":1}", &[b'a'; 65], "ä".as_bytes()] {
            assert_ne!(of(harmful).as_bytes(), harmful);
        }
    }
}
