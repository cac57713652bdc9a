//! What one sender may do to all others: nothing that counts.

use kube_sentinel::proto::v1::{ErrorEvent, Reason, State, SubscribeRequest};
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
    for body in
        [push_body(&many, now(), &[&line]), push_body(&workload(&long), now(), &[&line]), push_body(&workload(&one_end), now(), &[&line])]
    {
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

/// Different words for different numbers, in letters that no masker takes for a number.
fn word(n: usize) -> String {
    n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'g')).collect()
}

/// Pushes lines of one pod that are all unlike.
fn chatter(client: &Client, lines: std::ops::Range<usize>) {
    let lines: Vec<String> = lines.map(|n| format!("panic: {}", word(n))).collect();
    for lines in lines.chunks(100) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(client.push(&push_body(&[("namespace", "shop"), ("pod", "chatty-0")], now(), &lines)), 204);
    }
}

#[test]
fn a_pod_whose_every_line_differs_crowds_nobody_else_out_and_each_of_its_hits_counts_also_across_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    // Room for 100 events, and so for 10 of one workload: a tenth, although the setting allows 1,000.
    let config = "store:\n  max_events: 100\n";
    let server = Server::start(folder.path(), config);
    for service in 0..8 {
        let body =
            push_body(&[("service_name", &format!("service-{service}"))], now(), &["panic: runtime error: x", "panic: runtime error: x"]);
        assert_eq!(server.push(&body), 204);
    }
    chatter(&server, 0..1_000);
    assert_eq!(server.figures().sum("kube_sentinel_group_folded_hits_total", &[]), 990.0);
    server.kill();

    let server = Server::start(folder.path(), config);
    chatter(&server, 1_000..1_900);
    assert_eq!(server.figures().sum("kube_sentinel_group_folded_hits_total", &[]), 900.0);
    let events = server.events("");
    let of = |workload: &str| events.iter().filter(|event| event["workload"] == workload).collect::<Vec<_>>();
    for service in 0..8 {
        let counts: Vec<_> = of(&format!("service-{service}")).iter().map(|event| event["count"].clone()).collect();
        assert_eq!(counts, [2]);
    }
    let chatty = of("chatty");
    assert_eq!(chatty.len(), 11);
    assert_eq!(chatty.iter().filter_map(|event| event["count"].as_u64()).sum::<u64>(), 1_900, "each hit counts once");
    let rest: Vec<_> = chatty.iter().filter(|event| event["template"] == "<other>").collect();
    assert_eq!(rest.len(), 1);
    assert_eq!((&rest[0]["count"], &rest[0]["sampled"]), (&1_890.into(), &true.into()));
    let message = rest[0]["message"].as_str().expect("a text");
    assert!(message.starts_with("This workload has 10 events of this rule"), "{message}");
    let named: Vec<&str> = message.lines().skip(1).collect();
    let expected: Vec<String> = (10..20).map(|n| format!("1 x panic: {}", word(n))).collect();
    assert_eq!(named[..10], expected, "the first ten that had no room, also across a restart");
    assert!(named[10].starts_with("and ") && named[10].ends_with(" more hits of other templates"), "{message}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn what_a_full_store_removes_is_told_over_the_wire_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), "store:\n  max_events: 20\n");
    for service in 0..21 {
        let body =
            push_body(&[("namespace", "shop"), ("service_name", &format!("service-{service:02}"))], now(), &["panic: runtime error: x"]);
        assert_eq!(server.push(&body), 204);
    }
    // 21 were born, 3 removed, and one tells of it.
    let all = told(&server, 25);
    let of = |reason: Reason| all.iter().filter(|event| event.reason() == reason).collect::<Vec<_>>();
    let gone: Vec<&str> = of(Reason::StoreFull).iter().map(|event| event.workload.as_ref().map_or("", |of| of.name.as_str())).collect();
    assert_eq!(gone, ["service-00", "service-01", "service-02"]);
    assert!(of(Reason::StoreFull).iter().all(|event| event.state() == State::Resolved));
    let overflow = all.last().expect("an event");
    assert_eq!((overflow.rule.as_str(), overflow.count, overflow.state()), ("_store_full", 3, State::Firing));
    assert!(overflow.message.ends_with("1 x panic at shop/service-01\n1 x panic at shop/service-02"), "{}", overflow.message);
    assert_eq!(server.events("rule=_store_full")[0]["id"], overflow.id);
    let removed = |reason: &str| server.figures().sum("kube_sentinel_store_errors_removed_total", &[&format!("reason=\"{reason}\"")]);
    assert_eq!((removed("store_full"), removed("expired")), (3.0, 0.0));
    assert_eq!(server.stop(), Some(0));
}
