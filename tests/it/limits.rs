//! What one sender may do to all others: nothing that counts.

use kube_sentinel::proto::v1::{ErrorEvent, SubscribeRequest};
use prost::Message;
use tokio::time::timeout;

use crate::support::{Client, SOON, Server, now, push_body, subscriber};

/// The most that an update may take with the default settings: 20 labels with Loki's lengths, message, template and names.
const LARGEST_UPDATE: usize = 128 << 10;

/// The events that a client with default settings is told, from the oldest on.
fn told(client: &Client, many: usize) -> Vec<ErrorEvent> {
    client.block_on(async {
        let request = SubscribeRequest { after_seq: Some(0), ..SubscribeRequest::default() };
        let mut stream = subscriber(client).await.subscribe(request).await.expect("a stream").into_inner();
        let mut events = Vec::new();
        while events.len() < many {
            let update = timeout(SOON, stream.message()).await.expect("an update soon").expect("one that a client takes");
            let update = update.expect("the stream goes on");
            assert!(update.encoded_len() < LARGEST_UPDATE, "{} bytes", update.encoded_len());
            events.extend(update.event);
        }
        events
    })
}

#[test]
fn no_push_makes_an_event_that_a_subscriber_does_not_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), "");
    let (value, long) = ("v".repeat(2_000), "n".repeat(1 << 20));
    let names: Vec<String> = (0..3_000).map(|n| format!("label_{n:04}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
    let one_end = format!("{long}b");
    let workload = |name| [("namespace", long.as_str()), ("pod", name), ("container", &long), ("node", &long)];
    let line = format!("panic: runtime error: {}", "x ".repeat(200_000));
    for body in [
        push_body(&many, now(), &[&line]),
        push_body(&workload(&long), now(), &[&line]),
        push_body(&workload(&one_end), now(), &[&line]),
    ] {
        assert_eq!(server.push(&body), 204);
    }
    let events = told(&server, 3);
    assert_eq!(events[0].labels.len(), 20);
    assert_eq!(events[0].labels["label_0000"], value, "what Loki takes is shown whole");
    let workload = events[1].workload.clone().expect("a workload");
    assert_eq!([workload.namespace, workload.name, workload.pod, workload.container, workload.node], [(); 5].map(|()| "n".repeat(253)));
    assert_ne!(events[1].fingerprint, events[2].fingerprint, "identity goes by the uncut names");
    let figures = server.figures();
    assert_eq!(figures.sum("kube_sentinel_group_cut_texts_total", &[]), 2_980.0 + 9.0 + 9.0);
    assert_eq!(figures.sum("kube_sentinel_errors_total", &[&format!("namespace=\"{}\"", "n".repeat(253))]), 2.0);
    assert_eq!(server.stop(), Some(0));
}
