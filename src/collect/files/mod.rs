//! From the bytes of a log file to lines.
//!
//! Only lines that somebody wants are framed: the prefilter looks at a whole chunk first, and [`Chunk::around`] finds the ends of a line
//! around each place that it reports. Files in the format of the container runtime interface (CRI) carry time, stream and a tag in front of
//! each line; what rules see is the text behind them, and parts of one line (tag `P`) are joined before anything looks at them.

mod cri;
mod json;
mod packed;
mod plain;
mod reader;

pub use cri::{CriLine, Joiner, StdStream, has_partial, parse_cri};
pub use json::json_time;
pub use packed::unpacked;
pub use plain::plain_time;
pub use reader::{Chunk, ChunkReader};

use crate::model::{Labels, Stream};

/// How the lines of a file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `<RFC 3339 time> stdout|stderr P|F <text>`
    Cri,
    /// The line is the text: plain or JSON.
    Plain,
}

impl Layout {
    /// What the first line of a file says.
    #[must_use]
    pub fn of(first_line: &[u8]) -> Self {
        if parse_cri(first_line).is_some() { Self::Cri } else { Self::Plain }
    }
}

/// The stream that a file's path tells of: the kubelet's two layouts name namespace, pod and container; any other path is its own label.
///
/// Layouts: `.../pods/<namespace>_<pod>_<uid>/<container>/<n>.log` and `.../containers/<pod>_<namespace>_<container>-<id>.log`.
#[must_use]
pub fn stream_of_path(path: &str) -> Stream {
    let mut labels = vec![("filename".to_owned(), path.to_owned())];
    if let Some((namespace, pod, container)) = kubelet_path(path) {
        let named = [("namespace", namespace), ("pod", pod), ("container", container)];
        labels.extend(named.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    // The names are distinct, so this cannot fail; a stream without labels is the honest fallback.
    Stream::claimed(Labels::try_new(labels).unwrap_or_default())
}

/// Namespace, pod and container that a path of the kubelet names.
pub(crate) fn kubelet_path(path: &str) -> Option<(&str, &str, &str)> {
    let mut parts = path.rsplit('/');
    let (file, folder, above) = (parts.next()?, parts.next()?, parts.next());
    if folder == "containers" {
        let (pod, rest) = file.strip_suffix(".log")?.split_once('_')?;
        let (namespace, container) = rest.split_once('_')?;
        let (container, _id) = container.rsplit_once('-')?;
        return Some((namespace, pod, container));
    }
    let mut names = above?.split('_');
    let (namespace, pod, uid) = (names.next()?, names.next()?, names.next()?);
    (file.contains(".log") && !uid.is_empty() && names.next().is_none()).then_some((namespace, pod, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelets_paths_name_the_workload() {
        for path in [
            "/var/log/pods/shop_api-7b9c4d6f8-xk2m3_0a1b2c3d-1111/api/0.log",
            "/var/log/containers/api-7b9c4d6f8-xk2m3_shop_api-0123456789abcdef.log",
        ] {
            let stream = stream_of_path(path);
            let workload = stream.workload();
            assert_eq!((&*workload.namespace, &*workload.name, &*workload.container), ("shop", "api", "api"), "{path}");
        }
        assert_eq!(stream_of_path("/var/log/syslog").labels().get("filename"), Some("/var/log/syslog"));
    }

    #[test]
    fn the_first_line_tells_the_layout() {
        assert_eq!(Layout::of(b"2023-10-06T00:17:09.669794202Z stdout F hello"), Layout::Cri);
        assert_eq!(Layout::of(b"2023-10-06T00:17:09.669794202Z INFO hello"), Layout::Plain);
        assert_eq!(Layout::of(b""), Layout::Plain);
    }
}
