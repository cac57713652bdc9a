//! What a system-call trace shows about the order of disk and answer.

use std::process::Command;

use crate::support::{Server, binary, eventually, now, push_body};

const CALLS: &str = "trace=read,recvfrom,fsync,fdatasync,write,writev,sendto,sendmsg,pwrite64";

#[test]
fn the_log_of_the_store_is_synced_before_the_answer_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let mut strace = Command::new("strace");
    // -y names the file behind each descriptor; -ff would hide the order among threads.
    strace.args(["-f", "-y", "-s", "64", "-e", CALLS, "-o"]).arg(&trace).arg(binary());
    let server = Server::start_as(strace, folder.path(), "");
    assert_eq!(server.push(&push_body(&[("pod", "api-0")], now(), &["panic: runtime error: index out of range"])), 204);
    let text = eventually("the answer in the trace", || {
        let text = std::fs::read_to_string(&trace).expect("strace is there and may trace");
        text.contains("204 No Content").then_some(text)
    });
    server.kill();

    // The request, the last write to the log, its sync, and the answer, in this order.
    let lines: Vec<&str> = text.lines().collect();
    let asked = lines.iter().position(|line| line.contains("POST /loki")).expect("the request");
    let answer = lines.iter().position(|line| line.contains("204 No Content")).expect("the answer");
    let meanwhile = &lines[asked..answer];
    let written = meanwhile.iter().rposition(|line| line.contains("pwrite64(") && line.contains("-wal>"));
    let after_write = &meanwhile[written.expect("a write to the log")..];
    let begun = after_write.iter().position(|line| line.contains("sync(") && line.contains("-wal>")).expect("a sync of the log");
    // Where another thread spoke meanwhile, a call is split in two lines, both with the number of its thread.
    let thread = after_write[begun].split_whitespace().next().expect("a thread number");
    let returned = after_write[begun].ends_with("= 0")
        || after_write[begun..].iter().any(|line| line.starts_with(thread) && line.contains("sync resumed>") && line.ends_with("= 0"));
    assert!(returned, "the sync had not returned when the answer was written:\n{}", after_write.join("\n"));
}
