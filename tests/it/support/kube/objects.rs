//! What the fake holds: objects by path, and the changes that watches tell.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Ways to fail.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Further requests are answered with these, the first one first: status and seconds of `Retry-After`.
    pub(crate) answers: Vec<(u16, Option<u64>)>,
    /// Further lists and watches are answered with this text and 200.
    pub(crate) garbage: Option<&'static str>,
    /// Watches break off: each number is another time.
    pub(crate) dropped_watches: u64,
    /// This line is put into the next watch that tells something, in front of it.
    pub(crate) line: Option<String>,
    /// Continue tokens are not known any more.
    pub(crate) expired_pages: bool,
    /// Paths that nobody may list.
    pub(crate) forbidden: Vec<&'static str>,
}

/// A change as a watch tells it.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) kind: &'static str,
    pub(super) path: String,
    pub(super) object: Value,
}

/// Everything in the cluster.
#[derive(Debug)]
pub(crate) struct Objects {
    /// By path of the collection and `namespace/name`.
    objects: BTreeMap<(String, String), Value>,
    pub(super) changes: Vec<Change>,
    /// The newest version, and the newest that is forgotten.
    pub(super) version: u64,
    pub(super) compacted: u64,
    /// Times that a bookmark was asked for.
    pub(super) bookmarks: u64,
    pub(crate) faults: Faults,
    /// What was asked, as `GET /path?query`.
    pub(crate) requests: Vec<String>,
    /// Watches that are open now.
    pub(crate) watches: usize,
    uids: u64,
}

/// Why something is not done: status, reason and message of `metav1.Status`.
pub(super) type Refused = (u16, &'static str, String);

impl Objects {
    pub(super) fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            changes: Vec::new(),
            // No watch may start at 0 by chance.
            version: 100,
            compacted: 99,
            bookmarks: 0,
            faults: Faults::default(),
            requests: Vec::new(),
            watches: 0,
            uids: 0,
        }
    }

    pub(super) fn compact(&mut self) {
        self.compacted = self.version;
        self.changes.clear();
    }

    /// All objects of a collection, in the order of their keys, with these.
    pub(super) fn list(&self, path: &str) -> impl Iterator<Item = (&str, &Value)> {
        let of = path.to_owned();
        let from = (of.clone(), String::new());
        self.objects.range(from..).take_while(move |((path, _), _)| *path == of).map(|((_, key), object)| (key.as_str(), object))
    }

    pub(super) fn get(&self, path: &str, key: &str) -> Result<&Value, Refused> {
        let known = self.objects.get(&(path.to_owned(), key.to_owned()));
        known.ok_or_else(|| (404, "NotFound", format!("{path} {key:?} not found")))
    }

    /// Makes an object.
    pub(super) fn create(&mut self, path: &str, object: Value, dry_run: bool) -> Result<Value, Refused> {
        let key = key(&object);
        if self.get(path, &key).is_ok() {
            return Err((409, "AlreadyExists", format!("{path} {key:?} already exists")));
        }
        Ok(self.write(path, object, dry_run))
    }

    /// Puts an object in the place of another one. With a version it must be that of the one that is there.
    pub(super) fn update(&mut self, path: &str, object: Value, dry_run: bool) -> Result<Value, Refused> {
        let key = key(&object);
        let known = self.get(path, &key)?;
        let sent = object["metadata"]["resourceVersion"].as_str();
        if sent.is_some_and(|sent| Some(sent) != known["metadata"]["resourceVersion"].as_str()) {
            let text = format!("Operation cannot be fulfilled on {path} {key:?}: the object has been modified");
            return Err((409, "Conflict", text));
        }
        Ok(self.write(path, object, dry_run))
    }

    /// Removes an object, if it is the one that the preconditions say.
    pub(super) fn delete(&mut self, path: &str, key: &str, options: &Value, dry_run: bool) -> Result<Value, Refused> {
        let known = self.get(path, key)?.clone();
        for condition in ["uid", "resourceVersion"] {
            let wanted = &options["preconditions"][condition];
            if !wanted.is_null() && *wanted != known["metadata"][condition] {
                return Err((409, "Conflict", format!("Precondition failed: {condition} in precondition: {wanted}")));
            }
        }
        if !dry_run {
            self.objects.remove(&(path.to_owned(), key.to_owned()));
            self.version += 1;
            let mut last = known.clone();
            last["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.changes.push(Change { version: self.version, kind: "DELETED", path: path.to_owned(), object: last });
        }
        Ok(known)
    }

    /// Makes an object or puts it in the place of the one that is there, and gives its version.
    pub(super) fn apply(&mut self, path: &str, object: Value) -> u64 {
        self.write(path, object, false);
        self.version
    }

    pub(super) fn remove(&mut self, path: &str, name: &str) -> Result<(), Refused> {
        let suffix = format!("/{name}");
        let key = self.list(path).map(|(key, _)| key.to_owned()).find(|key| key == name || key.ends_with(&suffix));
        self.delete(path, &key.unwrap_or_default(), &Value::Null, false).map(drop)
    }

    fn write(&mut self, path: &str, mut object: Value, dry_run: bool) -> Value {
        let key = key(&object);
        let known = self.objects.get(&(path.to_owned(), key.clone()));
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        let meta = &mut object["metadata"];
        for (name, new) in [("uid", None), ("creationTimestamp", Some(now()))] {
            let old = known.map(|known| known["metadata"][name].clone());
            if meta[name].is_null() || known.is_some() {
                meta[name] = old.unwrap_or_else(|| new.map_or_else(|| format!("uid-{}", self.uids + 1).into(), Value::from));
            }
        }
        if dry_run {
            return object;
        }
        self.uids += 1;
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.changes.push(Change { version: self.version, kind, path: path.to_owned(), object: object.clone() });
        self.objects.insert((path.to_owned(), key), object.clone());
        object
    }
}

/// What of an object everybody sees who asks for its metadata only.
pub(super) fn metadata_of(object: &Value) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}

/// `namespace/name`, or the name alone where there is no namespace.
fn key(object: &Value) -> String {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().expect("a name");
    meta["namespace"].as_str().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

fn now() -> String {
    kube_sentinel::flow::Clock::system().now().to_string()
}
