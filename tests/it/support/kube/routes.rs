//! What the fake answers.

use std::collections::HashMap;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, middleware};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::objects::{Objects, Refused, metadata_of};
use super::watch::watch;
use super::{Shared, TOKEN};

/// Collections that there are, without the namespace in their path, and the kind of their objects.
const COLLECTIONS: [(&str, &str); 7] = [
    ("/api/v1/namespaces", "Namespace"),
    ("/api/v1/nodes", "Node"),
    ("/api/v1/pods", "Pod"),
    ("/apis/apps/v1/replicasets", "ReplicaSet"),
    ("/apis/apps/v1/deployments", "Deployment"),
    ("/apis/batch/v1/jobs", "Job"),
    ("/apis/events.k8s.io/v1/events", "Event"),
];

/// What a path names.
struct Named {
    /// That of the collection in all namespaces.
    path: &'static str,
    kind: &'static str,
    namespace: Option<String>,
    name: Option<String>,
}

pub(super) fn all(state: Shared) -> Router {
    Router::new().fallback(answer).layer(middleware::from_fn_with_state(state.clone(), faults)).with_state(state)
}

/// Notes the request, looks at its key, and fails where it is to.
async fn faults(State(state): State<Shared>, request: Request, next: middleware::Next) -> Response {
    let fault = {
        let mut objects = state.lock();
        objects.requests.push(format!("{} {}", request.method(), request.uri()));
        if objects.faults.answers.is_empty() { None } else { Some(objects.faults.answers.remove(0)) }
    };
    if let Some((status, retry_after)) = fault {
        let mut answer = refused((status, "InternalError", "a fault of the test".to_owned()));
        if let Some(seconds) = retry_after {
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        return answer;
    }
    let key = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if key.and_then(|value| value.strip_prefix("Bearer ")) != Some(TOKEN) {
        return refused((401, "Unauthorized", "Unauthorized".to_owned()));
    }
    next.run(request).await
}

async fn answer(
    State(state): State<Shared>,
    method: Method,
    uri: http::Uri,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(named) = Named::of(uri.path()) else { return refused((404, "NotFound", "the server could not find the resource".to_owned())) };
    if state.lock().faults.forbidden.contains(&named.path) {
        return refused((403, "Forbidden", format!("{} is forbidden: the test cannot list resource", named.path)));
    }
    let partial =
        headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("as=PartialObjectMetadata"));
    let sent = || serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null);
    // kubectl says so in the body of a deletion, everybody else in the query.
    let dry_run = query.get("dryRun").is_some_and(|value| value == "All") || sent()["dryRun"] == json!(["All"]);
    let done = match (&method, named.key()) {
        (&Method::GET, None) => return listed(&state, &named, &query, partial).await,
        (&Method::GET, Some(key)) => state.lock().get(named.path, &key).cloned(),
        (&Method::POST, None) => match named.completed(sent()) {
            Ok(object) => state.change(|objects| objects.create(named.path, object, dry_run)),
            Err(refused) => Err(refused),
        },
        (&Method::PUT, Some(_)) => match named.completed(sent()) {
            Ok(object) => state.change(|objects| objects.update(named.path, object, dry_run)),
            Err(refused) => Err(refused),
        },
        (&Method::DELETE, Some(key)) => state.change(|objects| objects.delete(named.path, &key, &sent(), dry_run)),
        _ => Err((405, "MethodNotAllowed", "the server does not allow this method on the requested resource".to_owned())),
    };
    match done {
        Ok(object) => (if method == Method::POST { StatusCode::CREATED } else { StatusCode::OK }, Json(object)).into_response(),
        Err(why) => refused(why),
    }
}

async fn listed(state: &Shared, named: &Named, query: &HashMap<String, String>, partial: bool) -> Response {
    if let Some(garbage) = state.lock().faults.garbage {
        return garbage.into_response();
    }
    let selected = Selected::of(named, query);
    if query.get("watch").is_some_and(|value| ["true", "1"].contains(&value.as_str())) {
        return watch(state, named.path, query, partial, selected);
    }
    match page(&state.lock(), named, query, partial, &selected) {
        Ok(list) => ([(CONTENT_TYPE, "application/json")], Body::from(list.to_string())).into_response(),
        Err(why) => refused(why),
    }
}

/// One page. The token of the next one is the version of the list and the last key.
fn page(objects: &Objects, named: &Named, query: &HashMap<String, String>, partial: bool, selected: &Selected) -> Result<Value, Refused> {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let (version, after) = match query.get("continue").filter(|token| !token.is_empty()) {
        Some(_) if objects.faults.expired_pages => {
            return Err((410, "Expired", "The provided continue parameter is too old to display a consistent list result.".to_owned()));
        }
        Some(token) => {
            let (version, after) = token.split_once(':').ok_or((400, "BadRequest", "continue key is not valid".to_owned()))?;
            (version.to_owned(), after.to_owned())
        }
        None => (objects.version.to_string(), String::new()),
    };
    let mut rest = objects.list(named.path).filter(|(key, object)| *key > after.as_str() && selected.takes(object));
    let items: Vec<(&str, &Value)> = rest.by_ref().take(limit).collect();
    let mut metadata = json!({"resourceVersion": version});
    let left = rest.count();
    if let Some((last, _)) = items.last().filter(|_| left > 0) {
        metadata["continue"] = format!("{version}:{last}").into();
        metadata["remainingItemCount"] = left.into();
    }
    // In lists objects do not name their kind.
    let bare = |object: &Value| {
        let mut object = object.clone();
        for member in ["kind", "apiVersion"] {
            object.as_object_mut().map(|members| members.remove(member));
        }
        object
    };
    let items: Vec<Value> = items.into_iter().map(|(_, object)| if partial { metadata_of(object) } else { bare(object) }).collect();
    let kind = if partial { "PartialObjectMetadataList".to_owned() } else { format!("{}List", named.kind) };
    Ok(json!({"kind": kind, "apiVersion": named.version(), "metadata": metadata, "items": items}))
}

/// What of a collection is asked for.
#[derive(Debug, Clone)]
pub(super) struct Selected {
    namespace: Option<String>,
    /// Paths within the object and what must stand there; with `false`, must not.
    fields: Vec<(Vec<String>, String, bool)>,
}

impl Selected {
    fn of(named: &Named, query: &HashMap<String, String>) -> Self {
        let path = |text: &str| text.split('.').map(str::to_owned).collect();
        let field = |text: &str| match text.split_once("!=") {
            Some((name, value)) => (path(name), value.to_owned(), false),
            None => {
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                (path(name), value.trim_start_matches('=').to_owned(), true)
            }
        };
        let label = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (vec!["metadata".to_owned(), "labels".to_owned(), name.to_owned()], value.trim_start_matches('=').to_owned(), true)
        };
        let parts = |name: &str| query.get(name).map(String::as_str).unwrap_or_default().split(',').filter(|part| !part.is_empty());
        let fields = parts("fieldSelector").map(field).chain(parts("labelSelector").map(label)).collect();
        Self { namespace: named.namespace.clone(), fields }
    }

    pub(super) fn takes(&self, object: &Value) -> bool {
        let in_namespace = self.namespace.as_ref().is_none_or(|namespace| object["metadata"]["namespace"] == **namespace);
        let text = |path: &[String]| path.iter().fold(object, |value, name| &value[name]).as_str().unwrap_or_default().to_owned();
        in_namespace && self.fields.iter().all(|(path, value, is)| (text(path) == *value) == *is)
    }
}

impl Named {
    fn of(path: &str) -> Option<Self> {
        let (namespace, rest) = match path.split_once("/namespaces/").and_then(|(root, rest)| Some((root, rest.split_once('/')?))) {
            Some((root, (namespace, rest))) => (Some(namespace.to_owned()), format!("{root}/{rest}")),
            None => (None, path.to_owned()),
        };
        COLLECTIONS.iter().find_map(|(collection, kind)| {
            let name = rest.strip_prefix(collection)?;
            let name = if name.is_empty() { None } else { Some(name.strip_prefix('/')?.to_owned()) };
            Some(Self { path: collection, kind, namespace: namespace.clone(), name })
        })
    }

    fn version(&self) -> &'static str {
        let end = self.path.rfind('/').unwrap_or_default();
        self.path[..end].trim_start_matches("/apis/").trim_start_matches("/api/")
    }

    fn key(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        Some(self.namespace.as_ref().map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}")))
    }

    /// An object that was sent, with what its path says.
    fn completed(&self, mut object: Value) -> Result<Value, Refused> {
        if !object["metadata"]["name"].is_string() {
            return Err((422, "Invalid", "metadata.name: Required value: name or generateName is required".to_owned()));
        }
        if let Some(namespace) = &self.namespace {
            object["metadata"]["namespace"] = namespace.as_str().into();
        }
        (object["kind"], object["apiVersion"]) = (self.kind.into(), self.version().into());
        Ok(object)
    }
}

/// `metav1.Status`.
pub(super) fn status((code, reason, message): &Refused) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message})
}

pub(super) fn refused(why: Refused) -> Response {
    let code = StatusCode::from_u16(why.0).expect("a status");
    (code, Json(status(&why))).into_response()
}
