use super::*;

fn shown(message: &str) -> String {
    let mut out = Vec::new();
    key(message.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).replace('\0', "<*>")
}

#[test]
fn what_varies_becomes_a_hole() {
    for (message, expected) in [
        ("Received block blk_-12 of size 67 from /10.0.0.1", "Received block <*> of size <*> from <*>"),
        ("src: /10.0.0.1:5 dest: /10.0.0.2:6", "src: <*> dest: <*>"),
        ("a  list 1 2 3,4 : 5", "a list <*>"),
        ("connection from 1.2.3.4 () at Fri Jul  1 07:57:30 2005", "connection from <*> at <*>"),
        ("connection from 1.2.3.4 (a.example.net) at Fri Jul  1 07:57:30 2005", "connection from <*> at <*>"),
        ("size 93.0 B, free 317.1 KB)", "size <*>, free <*>)"),
        ("lifetime <1 sec", "lifetime <*>"),
        ("lifetime 00:02", "lifetime <*>"),
        ("init() ok /etc/a/b.properties", "init() ok <*>"),
        ("java.net.NoRouteToHostException: No route", "java.net.NoRouteToHostException: No route"),
        ("rhost=a.b.c user=root", "rhost=<*> user=root"),
        ("session closed for user news", "session closed for user <*>"),
        ("Started Session 7 of User bob.", "Started Session <*> of User <*>"),
        ("C:\\Windows\\System", "C:<*>"),
        ("to hdfs://a:1/b, to http://a?b=c.", "to <*>, to <*>"),
        ("mail to bob@example.com ok", "mail to <*> ok"),
        ("read/write on I/O", "read/write on I/O"),
        ("bssid 5c:50:ab:36:bc:03, fe80::ab:c1", "bssid <*>"),
        ("PSU status ( on off ), light: on", "PSU status (<*> ), light: <*>"),
        ("up 5 on host (no route)", "up <*> on host (no route)"),
        ("ready=true, old: null, is false", "ready=<*>, old: <*>, is false"),
        ("a.example.co.uk:80 and proxy.corp:443 and Main.java:17", "<*> and <*> and <*>"),
        ("in com.example.app/.view.Main and conf/server.xml", "in <*> and <*>"),
        ("deadbeef bad", "<*> bad"),
        ("in vhost '/', 5 / 7, is it secure? true", "in vhost '<*>', <*> / <*>, is it secure? <*>"),
        ("Fan speeds ( 3552 **** 3375 ), key *****", "Fan speeds (<*> ), key <*>"),
        ("refused, client: 10.0.0.1, request: \"GET / HTTP/1.1\", host: \"a\"", "refused, client: <*>, request: <*>, host: <*>"),
        ("refused, client: , host: \"", "refused, client: <*>, host: <*>"),
        ("refused, reason: none, the host: up", "refused, reason: none, the host: up"),
        ("sent 2279 bytes (2.2 KB) in all", "sent <*> bytes in all"),
        ("open a=b c, d=e f", "open a=<*>, d=e f"),
        ("with parameters: {\"id\"=>\"x\"} as text", "with parameters: <*> as text"),
        ("set [a, b] and hosts=[a, b]", "set [a, b] and hosts=[a, b]"),
        ("completed 404 Not Found in 5 ms, 200 OKAY", "completed <*> in <*> OKAY"),
        ("\"GET / HTTP/1.1\" 200 \"-\" \"x\"", "\"GET <*>\" <*> \"<*>\" \"x\""),
        ("it 5 - - \"x\" - a", "it <*> \"x\" - a"),
        ("with qr,aa,rd and a,b and time,level,msg,", "with <*> and a,b and time,level,msg,"),
        ("asked for /search?q=a&b=c now", "asked for <*> now"),
        ("ended with status failed on branch fix/it", "ended with status <*> on branch <*>"),
        ("", ""),
    ] {
        assert_eq!(shown(message), expected, "{message}");
    }
}

#[test]
fn words_are_found_between_marks_and_holes() {
    let key = b"user=root at \0 (x) _a";
    let words: Vec<&str> = words_of(key, false).map(|(a, b)| std::str::from_utf8(&key[a..b]).expect("ASCII")).collect();
    assert_eq!(words, ["user", "root", "at", "x", "_a"]);
}

#[test]
fn a_quoted_text_behind_an_assignment_is_one_word() {
    for (key, expected) in [
        (r#"failed err="no \"x\" here" pod="a""#, vec!["failed", "err", r#"no \"x\" here"#, "pod", "a"]),
        (r#""Probe failed" a="b c", d"#, vec!["Probe", "failed", "a", "b c", "d"]),
        (r#"a="b c"#, vec!["a", "b", "c"]),
        (r#"a="b"c d"e"#, vec!["a", "b", "c", "d", "e"]),
    ] {
        let words: Vec<&str> = words_of(key.as_bytes(), true).map(|(a, b)| &key[a..b]).collect();
        assert_eq!(words, expected, "{key}");
    }
}
