//! Messages in datagrams: read as fast as can be, never waited for.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::collect::socket::Inlet;
use crate::collect::wire::{Counts, Room};
use crate::flow::Shutdown;

use super::Door;

/// Largest datagram.
const LARGEST: usize = 64 << 10;

/// Bytes and datagrams that are taken together.
const TOGETHER: usize = 256 << 10;

const MOST_TOGETHER: usize = 1024;

/// When the process stops, what comes is still read until there was nothing for this long.
const FAREWELL: Duration = Duration::from_millis(100);

/// How often the kernel is asked what it dropped.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Datagrams that are read together.
struct Batch {
    /// Of one datagram.
    space: Vec<u8>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Reads until the shutdown begins, and then what is there.
pub(super) async fn serve(door: Arc<Door>, socket: UdpSocket, shutdown: Shutdown) -> usize {
    let mut batch = Batch { space: vec![0; LARGEST], bytes: Vec::new(), ends: Vec::new() };
    let mut kernel = KernelDrops::of(&socket).await;
    let mut look = interval(ASK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.begun() => break,
            _ = look.tick() => kernel.note(&door).await,
            readable = socket.readable() => if readable.is_err() {
                // Nothing that a pause would not be good for.
                tokio::time::sleep(Duration::from_millis(100)).await;
            },
        }
        // What cannot be committed stays with the kernel as far as there is room, which also counts what it drops.
        if door.inlet.ready(None, || shutdown.has_begun()).await && batch.fill(&socket) {
            take(&door, &mut batch).await;
        }
    }
    // What was sent before the stop is still taken, for as long as it comes, and not for ever.
    let last = async {
        while timeout(FAREWELL, socket.readable()).await.is_ok() {
            if batch.fill(&socket) {
                take(&door, &mut batch).await;
            }
        }
    };
    timeout(10 * FAREWELL, last).await.ok();
    kernel.note(&door).await;
    0
}

/// Hands a batch on, or drops and counts it.
async fn take(door: &Door, batch: &mut Batch) {
    let inlet: &Arc<Inlet> = &door.inlet;
    inlet.read(batch.ends.len(), batch.bytes.len());
    let received = inlet.doors.clock.now();
    let held = batch.bytes.len();
    let taken = match Room::lease(&inlet.doors.budget, held) {
        Ok(room) => door.decode(batch.messages(), &mut Some(room), 0, received),
        Err(busy) => Err(busy.into()),
    };
    match taken {
        // Its fate is noted when it is known; the next datagrams do not wait for it.
        Ok(decoded) => drop(inlet.deliver(decoded, Some(Duration::ZERO)).await),
        Err(error) => {
            let lines = batch.ends.len() as u64;
            inlet.lost(error.refusal(), &Counts { lines, ..Counts::default() });
        }
    }
    batch.bytes.clear();
    batch.ends.clear();
}

impl Batch {
    /// Reads what is there; `false` when there is nothing.
    fn fill(&mut self, socket: &UdpSocket) -> bool {
        while self.bytes.len() < TOGETHER && self.ends.len() < MOST_TOGETHER {
            // An error is that there is nothing now, or that of another datagram, which the next look tells.
            let Ok(length) = socket.try_recv(&mut self.space) else { break };
            self.bytes.extend_from_slice(self.space.get(..length).unwrap_or_default());
            self.ends.push(self.bytes.len());
        }
        !self.ends.is_empty()
    }

    /// One message for each datagram, without the line break at its end.
    fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| self.bytes.get(std::mem::replace(&mut start, *end)..*end).unwrap_or_default())
    }
}

/// What the kernel has dropped of a socket: the last column of its line in `/proc/net/udp`.
struct KernelDrops {
    inode: Option<String>,
    known: u64,
}

impl KernelDrops {
    async fn of(socket: &UdpSocket) -> Self {
        let link = tokio::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).await;
        let inode = link.ok().and_then(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()));
        Self { inode, known: 0 }
    }

    /// Counts what was dropped since the last look.
    async fn note(&mut self, door: &Door) {
        let Some(inode) = &self.inode else { return };
        for table in ["/proc/net/udp", "/proc/net/udp6"] {
            let Ok(text) = tokio::fs::read_to_string(table).await else { continue };
            if let Some(now) = drops_of(&text, inode)
                && now > self.known
            {
                let more = now - self.known;
                self.known = now;
                door.metrics.dropped.increment(more);
                door.inlet.missed();
                tracing::warn!(source = "syslog", datagrams = more, "the kernel dropped datagrams: raise net.core.rmem_default");
            }
        }
    }
}

/// The drops of the socket with this inode in the table.
fn drops_of(table: &str, inode: &str) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        (columns.nth(9)? == inode).then(|| columns.last()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_those_of_the_socket() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
            1234: 0100007F:158A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0\n \
            1235: 0100007F:158B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 37\n";
        assert_eq!((drops_of(table, "4711"), drops_of(table, "4712"), drops_of(table, "4713")), (Some(0), Some(37), None));
        assert_eq!(drops_of("", "1"), None);
    }

    #[tokio::test]
    async fn the_kernel_is_asked_for_the_socket_that_is_open() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let kernel = KernelDrops::of(&socket).await;
        let table = std::fs::read_to_string("/proc/net/udp").expect("Linux");
        assert_eq!(drops_of(&table, kernel.inode.as_deref().expect("a socket")), Some(0));
    }
}
