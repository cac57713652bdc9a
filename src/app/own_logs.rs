//! Lines that this program wrote itself.
//!
//! A collector of all logs of a cluster sends ours, too. A rule that meets one of them makes an event, and where that makes another line of ours,
//! it never ends. So they are dropped, whichever door they come by, and counted: lines of our own pod, and lines that labels or records say
//! are of a process of our name.

use memchr::memmem::Finder;

use crate::collect::OwnLogsConfig;
use crate::model::{Block, Hit, SourceName, Stream, kubernetes_of};

/// Environment variables of the downward API.
const POD: [&str; 2] = ["POD_NAMESPACE", "POD_NAME"];

/// Knows what is ours.
#[derive(Debug)]
pub(super) struct OwnLogs {
    /// Namespace and name, where both are known.
    pod: Option<(String, String)>,
    /// Names of processes, and a way to see quickly that none is in a record.
    names: Vec<String>,
    finders: Vec<Finder<'static>>,
}

impl OwnLogs {
    pub(super) fn new(config: &OwnLogsConfig) -> Self {
        let [namespace, pod] = [(&config.namespace, POD[0]), (&config.pod, POD[1])].map(|(said, variable)| {
            let told = said.clone().or_else(|| std::env::var(variable).ok());
            told.filter(|name| config.ignore && !name.is_empty())
        });
        let pod = namespace.zip(pod);
        let names: Vec<String> = config.names.iter().filter(|name| config.ignore && !name.is_empty()).cloned().collect();
        let finders = pod.iter().map(|(_, pod)| pod).chain(&names).map(|name| Finder::new(name).into_owned()).collect();
        Self { pod, names, finders }
    }

    /// Takes lines of our own streams out of a block and says how many.
    pub(super) fn drop_from(&self, block: &mut Block, source: SourceName) -> u64 {
        if !self.looks_at(source) {
            return 0;
        }
        let ours: Vec<bool> = block.streams().iter().map(|stream| self.is_ours(stream)).collect();
        if !ours.contains(&true) {
            return 0;
        }
        let before = block.lines().len();
        block.retain_lines(|_, line, _| !ours[line.stream as usize]);
        (before - block.lines().len()) as u64
    }

    /// Takes hits away that are on records of ours, where labels name no pod. Says how many lines these are, and their bytes.
    ///
    /// PERF: only of hits it matters whose they are, so no other record is looked at.
    pub(super) fn drop_hits(&self, block: &Block, hits: &mut Vec<Hit>, source: SourceName) -> (u64, u64) {
        let (mut lines, mut bytes) = (0, 0);
        if !self.looks_at(source) {
            return (lines, bytes);
        }
        let mut last = None;
        hits.retain(|hit| {
            let (of, is_ours) = match last {
                Some((of, is_ours)) if of == hit.line => (of, is_ours),
                _ => {
                    let line = &block.lines()[hit.line as usize];
                    let is_ours = block.stream_of(line).workload().pod.is_empty() && self.is_our_record(block.text(line));
                    if is_ours {
                        lines += 1;
                        bytes += u64::from(line.end - line.start);
                    }
                    (hit.line, is_ours)
                }
            };
            last = Some((of, is_ours));
            !is_ours
        });
        (lines, bytes)
    }

    /// What the cluster says of our pod is no log of ours.
    fn looks_at(&self, source: SourceName) -> bool {
        !self.finders.is_empty() && !source.tells_of_others()
    }

    fn is_ours(&self, stream: &Stream) -> bool {
        let workload = stream.workload();
        let is_pod = self.pod.as_ref().is_some_and(|(namespace, pod)| *workload.pod == **pod && *workload.namespace == **namespace);
        is_pod || self.names.iter().any(|name| *workload.name == **name || stream.names_process(name))
    }

    fn is_our_record(&self, text: &[u8]) -> bool {
        if self.finders.iter().all(|finder| finder.find(text).is_none()) {
            return false;
        }
        kubernetes_of(text).is_some_and(|record| {
            let is_pod = self.pod.as_ref().is_some_and(|(namespace, pod)| record.pod == pod && record.namespace == namespace);
            is_pod || self.names.iter().any(|name| record.container == name)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::model::{Labels, Line, RuleId, Timestamp};

    use super::*;

    fn block(lines: &[(&[(&str, &str)], &str)]) -> Block {
        let mut block = Block::default();
        for (labels, text) in lines {
            let pairs = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let stream = block.add_stream(Arc::new(Stream::claimed(Labels::try_new(pairs).unwrap())));
            let start = block.bytes().len() as u32;
            block.bytes_mut().extend_from_slice(text.as_bytes());
            block.push(Line { start, end: start + text.len() as u32, stream, at: Timestamp(0) });
        }
        block
    }

    #[test]
    fn lines_of_our_pod_and_process_are_dropped_and_no_others() {
        let config =
            OwnLogsConfig { namespace: Some("monitoring".to_owned()), pod: Some("sentinel-0".to_owned()), ..OwnLogsConfig::default() };
        let ours = OwnLogs::new(&config);
        let record = |namespace: &str, pod: &str, container: &str| {
            format!(
                r#"{{"log":"error","kubernetes":{{"pod_name":"{pod}","namespace_name":"{namespace}","container_name":"{container}"}}}}"#
            )
        };
        let records = [
            record("monitoring", "sentinel-0", "main"),
            record("other", "x-0", "kube-sentinel"),
            record("other", "sentinel-0", "main"),
            r#"{"log":"cannot reach kube-sentinel","kubernetes":{"pod_name":"shipper-1"}}"#.to_owned(),
        ];
        let collector: &[(&str, &str)] = &[("job", "fluent-bit")];
        let mut block = block(&[
            (&[("namespace", "monitoring"), ("pod", "sentinel-0")], "error 1"),
            (&[("namespace", "shop"), ("pod", "sentinel-0")], "stays 1"),
            (&[("namespace", "x"), ("pod", "kube-sentinel-7b9c4d6f8-xk2m3")], "error 2"),
            (&[("app", "kube-sentinel")], "error 3"),
            (&[("pod", "y"), ("container", "kube-sentinel")], "error 4"),
            (&[("unit", "kube-sentinel.service")], "error 5"),
            (&[("app", "shop"), ("note", "kube-sentinel")], "stays 2"),
            (collector, &records[0]),
            (collector, &records[1]),
            (collector, &records[2]),
            (collector, &records[3]),
            (&[("app", "shop")], "stays: kube-sentinel is down"),
        ]);
        let text = |block: &Block, line: u32| String::from_utf8_lossy(block.text(&block.lines()[line as usize])).into_owned();
        assert_eq!(ours.drop_from(&mut block, SourceName::LokiPush), 5);
        // Each line is met by two rules.
        let lines = block.lines().len() as u32;
        let mut hits: Vec<Hit> = (0..lines).flat_map(|line| [0, 1].map(|rule| Hit { line, rule: RuleId(rule) })).collect();
        assert_eq!(ours.drop_hits(&block, &mut hits, SourceName::LokiPush), (2, (records[0].len() + records[1].len()) as u64));
        let left: Vec<_> = hits.iter().step_by(2).map(|hit| text(&block, hit.line)).collect();
        assert_eq!(left, ["stays 1", "stays 2", &records[2], &records[3], "stays: kube-sentinel is down"]);
        assert_eq!(ours.drop_from(&mut block, SourceName::LokiPush), 0);
    }

    #[test]
    fn nothing_is_dropped_where_that_is_switched_off() {
        let config = OwnLogsConfig { ignore: false, ..OwnLogsConfig::default() };
        let mut block = block(&[(&[("app", "kube-sentinel")], "error")]);
        assert_eq!(OwnLogs::new(&config).drop_from(&mut block, SourceName::LokiPush), 0);
    }
}
