//! CPU time, and ratios that hold on a noisy machine.

use std::time::{Duration, Instant};

/// CPU time that all threads of this process have used so far, ended ones included.
pub fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time of another process, in steps of 10 ms.
pub fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    // The second field is the name in parentheses and may hold blanks.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 = fields[11..=12].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of a process in MiB.
pub fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

/// MB of log-line bytes per CPU-second.
pub fn rate(bytes: u64, cpu: Duration) -> f64 {
    bytes as f64 / 1e6 / cpu.as_secs_f64()
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The sum of a counter over its labels, from Prometheus text.
pub fn counter(metrics: &str, name: &str) -> u64 {
    let samples = metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// All hits so far, once no stack trace waits for more of its lines: the last ones count when their streams were silent for some seconds. CPU
/// time is taken before.
pub fn hits(metrics: impl Fn() -> String) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = metrics();
        if counter(&text, "kube_sentinel_group_open_traces") == 0 {
            return counter(&text, "kube_sentinel_detect_hits_total");
        }
        assert!(Instant::now() < deadline, "a stack trace waits for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What this was measured on.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{model}, {cores} cores, load {}", load.split_whitespace().next().unwrap_or("unknown"))
}
