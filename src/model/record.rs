//! The identity inside a line that is a whole record.
//!
//! Fluent Bit and Vector send the record of a container as one JSON line and, unless they are told otherwise, no label that names the pod:
//! the only word about it is the object that their Kubernetes enrichment put under `kubernetes`.

use memchr::memmem;

use super::message::Reader;

/// Who logged a line, as its record says: a claim of the sender like a label. Parts that the record does not tell are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kubernetes<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Pod name, never empty.
    pub pod: &'a str,
    /// Container name.
    pub container: &'a str,
    /// Node name.
    pub node: &'a str,
}

/// The key at top level, with its quotes: what most lines can be told by that have no such object.
const KEY: &[u8] = b"\"kubernetes\"";

/// Keys for namespace, pod, container and node: those of Fluent Bit's filter and those of Vector's source.
const NAMES: [&[&[u8]]; 4] = [&[b"namespace_name", b"pod_namespace"], &[b"pod_name"], &[b"container_name"], &[b"host", b"pod_node_name"]];

/// Longest name that Kubernetes gives to anything here, in bytes.
pub const MAX_NAME: usize = 253;

/// The identity under `kubernetes` at the top level of a JSON line; `None` without such an object or without a pod in it.
///
/// Only what can be a name in Kubernetes is taken, and only whole: a name that was cut off with its line is none. Of two equal keys the
/// first counts. Total: any bytes are fine; takes time linear in the line, at any depth of nesting, and allocates nothing.
#[must_use]
pub fn kubernetes_of(line: &[u8]) -> Option<Kubernetes<'_>> {
    let text = line.trim_ascii_start();
    if text.first() != Some(&b'{') {
        return None;
    }
    memmem::find(text, KEY)?;
    let mut reader = Reader::new(text);
    reader.take(b'{');
    while let Some(key) = reader.key() {
        if key == b"kubernetes" {
            return identity(&mut reader);
        }
        reader.skip_value();
        if !reader.take(b',') {
            break;
        }
    }
    None
}

fn identity<'a>(reader: &mut Reader<'a>) -> Option<Kubernetes<'a>> {
    let mut found = [None; NAMES.len()];
    let mut more = reader.take(b'{');
    while more && let Some(key) = reader.key() {
        let value = reader.string();
        if value.is_none() {
            reader.skip_value();
        }
        more = reader.take(b',');
        let is_whole = more || reader.peek() == Some(b'}');
        if let Some(at) = NAMES.iter().position(|names| names.contains(&key))
            && is_whole
            && found[at].is_none()
        {
            found[at] = value.and_then(name);
        }
    }
    let [namespace, pod, container, node] = found;
    Some(Kubernetes {
        namespace: namespace.unwrap_or_default(),
        pod: pod?,
        container: container.unwrap_or_default(),
        node: node.unwrap_or_default(),
    })
}

/// What may be a name. Nothing in one is ever escaped, so that the bytes between the quotes are the name.
fn name(value: &[u8]) -> Option<&str> {
    let is_name = (1..=MAX_NAME).contains(&value.len()) && value.iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b));
    if is_name { std::str::from_utf8(value).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &[u8]) -> Option<[&str; 4]> {
        kubernetes_of(line).map(|found| [found.namespace, found.pod, found.container, found.node])
    }

    #[test]
    fn the_identity_is_read_from_the_records_of_both_senders() {
        let fluent_bit = br#"{"date":1700000000.5,"stream":"stderr","_p":"F","log":"a \"kubernetes\":{\"pod_name\":\"trap\"}",
            "kubernetes":{"pod_name":"api-0","namespace_name":"shop","pod_id":"1-2","labels":{"pod_name":"trap","app":"api"},
            "annotations":{"x":["{","}"]},"host":"node-1","container_name":"main","docker_id":"ff"}}"#;
        assert_eq!(parts(fluent_bit), Some(["shop", "api-0", "main", "node-1"]));
        let vector = br#" {"file":"/var/log/pods/x","kubernetes":{"container_name":"main","namespace_labels":{"a":"b"},
            "pod_ips":["10.0.0.1"],"pod_name":"web-1","pod_namespace":"shop","pod_node_name":"node-2"},"message":"boom"}"#;
        assert_eq!(parts(vector), Some(["shop", "web-1", "main", "node-2"]));
    }

    #[test]
    fn what_is_no_whole_name_under_the_right_key_is_not_taken() {
        let long = format!(r#"{{"kubernetes":{{"pod_name":"{}"}}}}"#, "a".repeat(MAX_NAME + 1));
        let deep =
            |inside: &str| format!(r#"{{"a":{}{},"kubernetes":{{{inside}"pod_name":"p"}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let nested = deep(&format!(r#""b":{}1{},"#, r#"{"c":"#.repeat(100_000), "}".repeat(100_000)));
        let cases: [(&str, Option<[&str; 4]>); 20] = [
            ("", None),
            ("kubernetes", None),
            (r#"text "kubernetes":{"pod_name":"p"}"#, None),
            (r#"{"kubernetes""#, None),
            (r#"{"kubernetes":"#, None),
            (r#"{"kubernetes":{"#, None),
            (r#"{"kubernetes":{}}"#, None),
            (r#"{"kubernetes":["pod_name","p"]}"#, None),
            (r#"{"kubernetes":"pod_name"}"#, None),
            (r#"{"a":{"kubernetes":{"pod_name":"p"}}}"#, None),
            (r#"{"kubernetes":{"namespace_name":"shop"}}"#, None),
            (r#"{"kubernetes":{"pod_name":5}}"#, None),
            (r#"{"kubernetes":{"pod_name":"a\"b"}}"#, None),
            (r#"{"kubernetes":{"pod_name":"a b"}}"#, None),
            (&long, None),
            (r#"{"kubernetes":{"pod_name":"cut"#, None),
            (r#"{"kubernetes":{"pod_name":"whole","namespace_name":"cut\""#, Some(["", "whole", "", ""])),
            (
                r#"{"kubernetes":{"pod_name":"first","pod_name":"second","namespace_name":{"x":1},"host":"n"}}"#,
                Some(["", "first", "", "n"]),
            ),
            (&deep(""), Some(["", "p", "", ""])),
            (&nested, Some(["", "p", "", ""])),
        ];
        for (line, expected) in cases {
            assert_eq!(parts(line.as_bytes()), expected, "{}", &line[..line.len().min(80)]);
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_harm_only_the_name_they_are_in() {
        assert_eq!(parts(b"{\"log\":\"\xff\xfe\",\"kubernetes\":{\"pod_name\":\"p\",\"host\":\"n\xff\"}}"), Some(["", "p", "", ""]));
        assert_eq!(parts(b"{\"kubernetes\":{\"pod_name\":\"\xff\"}}"), None);
    }
}
