//! Which files are there? Folders are looked at again and again: nothing has to be told by the system, so nothing is missed where it does not tell
//! (network file systems, full queues). Only those that changed since they were read are read again, so a look at a thousand containers takes
//! some milliseconds.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity::FileId;

/// A file, and the log that it is a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The path that the log is written to.
    pub(super) log: PathBuf,
    /// Where the file is now: the same, or the name that it got when it was rotated.
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) size: u64,
    /// Number of the setting that names it.
    pub(super) input: usize,
}

/// What is not to be read: our own log, which would be read for ever.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    /// Files that our output goes to.
    pub(super) files: Vec<FileId>,
    /// Namespace and name of our pod; the namespace is empty where nobody tells it.
    pub(super) pod: Option<(String, String)>,
}

/// What folders held when they were read, and what their files were.
#[derive(Debug, Default)]
pub(super) struct Folders {
    known: HashMap<PathBuf, Folder>,
    looks: u64,
}

#[derive(Debug)]
struct Folder {
    /// When a name in it last changed, as the file system says.
    changed: (i64, i64),
    /// It was the same at two looks: clocks of file systems go in steps.
    is_settled: bool,
    /// In the order of names.
    paths: Arc<[PathBuf]>,
    /// Those that are no links, as far as anybody asked.
    files: HashMap<PathBuf, (FileId, u64)>,
    looked: u64,
}

/// So often everything is read again, changed or not: a file that grows does not change its folder.
const READ_ALL: u64 = 8;

/// Files that a pattern does not stand for unless it ends so itself: what a rotation compressed, and what it is just writing.
const PACKED: [&str; 5] = [".gz", ".zst", ".xz", ".bz2", ".tmp"];

/// One look.
#[derive(Debug, Default)]
pub(super) struct Look {
    folders: Folders,
    pub(super) found: Vec<Found>,
    /// Folders that could not be read, and why; those that are not there are none.
    pub(super) faults: Vec<(PathBuf, io::Error)>,
}

impl Own {
    /// What this process knows of itself. Kubernetes sets `HOSTNAME` to the name of the pod unless it uses the network of its node;
    /// `POD_NAMESPACE` and `POD_NAME` come from the manifest.
    pub(super) fn of_this_process() -> Self {
        let outputs = ["/proc/self/fd/1", "/proc/self/fd/2"].into_iter().filter_map(|path| fs::metadata(path).ok());
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let pod = variable("POD_NAME").or_else(|| variable("HOSTNAME"));
        Self {
            files: outputs.filter(Metadata::is_file).map(|output| FileId::of(&output)).collect(),
            pod: pod.map(|pod| (variable("POD_NAMESPACE").unwrap_or_default(), pod)),
        }
    }

    fn is_pod(&self, namespace: &str, pod: &str) -> bool {
        self.pod.as_ref().is_some_and(|(own_namespace, own)| own == pod && (own_namespace.is_empty() || own_namespace == namespace))
    }
}

impl Look {
    /// A look that knows what the last one saw.
    pub(super) fn after(mut folders: Folders) -> Self {
        folders.looks += 1;
        Self { folders, ..Self::default() }
    }

    /// What this look saw, for the next one.
    pub(super) fn into_folders(mut self) -> Folders {
        let looks = self.folders.looks;
        self.folders.known.retain(|_, folder| folder.looked == looks);
        self.folders
    }

    /// Files of the kubelet: `<namespace>_<pod>_<uid>/<container>/<n>.log` and, rotated, `<n>.log.<time>`. Compressed ones are left to recovery.
    pub(super) fn kubelet(&mut self, root: &Path, own: &Own, input: usize) {
        for pod in &*self.folder(root) {
            let Some([namespace, pod_name, _uid]) = name_of(pod).and_then(pod_of) else { continue };
            if own.is_pod(namespace, pod_name) {
                continue;
            }
            for container in &*self.folder(pod) {
                for file in &*self.folder(container) {
                    let Some(log) = name_of(file).and_then(log_of) else { continue };
                    self.file(container.join(log), file.clone(), own, input);
                }
            }
        }
    }

    /// Files by pattern.
    pub(super) fn pattern(&mut self, pattern: &str, own: &Own, input: usize) {
        let mut paths = vec![PathBuf::from("/")];
        let names: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty()).collect();
        let last = names.len().saturating_sub(1);
        for (at, name) in names.into_iter().enumerate() {
            if !name.contains(['*', '?']) {
                paths.iter_mut().for_each(|path| path.push(name));
                continue;
            }
            let is_text = |found: &str| at < last || PACKED.iter().all(|ending| !found.ends_with(ending) || name.ends_with(ending));
            let matching =
                |path: &&PathBuf| name_of(path).is_some_and(|found| matches(name.as_bytes(), found.as_bytes()) && is_text(found));
            let folders = std::mem::take(&mut paths);
            for folder in folders {
                paths.extend(self.folder(&folder).iter().filter(matching).cloned());
            }
        }
        for path in paths {
            self.file(path.clone(), path, own, input);
        }
    }

    fn file(&mut self, log: PathBuf, path: PathBuf, own: &Own, input: usize) {
        let folder = path.parent().and_then(|folder| self.folders.known.get_mut(folder));
        let known = folder.as_ref().and_then(|folder| folder.files.get(&path).copied());
        let (id, size) = match known {
            Some(known) => known,
            None => {
                // Links are followed: `/var/log/containers` has nothing else. One that leads nowhere is of a file that is just being rotated.
                let Ok(metadata) = fs::metadata(&path) else { return };
                if !metadata.is_file() {
                    return;
                }
                let file = (FileId::of(&metadata), metadata.len());
                if let Some(folder) = folder
                    && fs::symlink_metadata(&path).is_ok_and(|entry| entry.is_file())
                {
                    folder.files.insert(path.clone(), file);
                }
                file
            }
        };
        if !own.files.contains(&id) {
            self.found.push(Found { log, path, id, size, input });
        }
    }

    /// What stands in a folder, in the order of names.
    fn folder(&mut self, path: &Path) -> Arc<[PathBuf]> {
        let looks = self.folders.looks;
        let result = fs::metadata(path).and_then(|metadata| {
            let changed = (metadata.mtime(), metadata.mtime_nsec());
            let known = self.folders.known.get_mut(path).filter(|known| known.changed == changed);
            if let Some(known) = known {
                known.looked = looks;
                if std::mem::replace(&mut known.is_settled, true) && !looks.is_multiple_of(READ_ALL) {
                    return Ok(Arc::clone(&known.paths));
                }
            }
            let mut paths = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
            paths.sort_unstable();
            let paths: Arc<[PathBuf]> = paths.into();
            let is_settled = self.folders.known.get(path).is_some_and(|known| known.changed == changed && known.is_settled);
            let folder = Folder { changed, is_settled, paths: Arc::clone(&paths), files: HashMap::new(), looked: looks };
            self.folders.known.insert(path.to_owned(), folder);
            Ok(paths)
        });
        result.unwrap_or_else(|error| {
            self.folders.known.remove(path);
            // A pod that is just removed, a file beside folders, a volume that is not there yet.
            if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
                self.faults.push((path.to_owned(), error));
            }
            Arc::default()
        })
    }
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// `<namespace>_<pod>_<uid>`, of which none has a `_`.
fn pod_of(folder: &str) -> Option<[&str; 3]> {
    let mut parts = folder.split('_');
    let names = [parts.next()?, parts.next()?, parts.next()?];
    (parts.next().is_none() && names.iter().all(|name| !name.is_empty())).then_some(names)
}

/// The name of the log that a file of a container is a part of: `3.log` of `3.log` and of `3.log.20261121-100211`.
fn log_of(file: &str) -> Option<&str> {
    let (number, rest) = file.split_once(".log")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = rest.is_empty() || rest.starts_with('.') && !rest.ends_with(".gz") && !rest.ends_with(".tmp");
    (is_number && is_plain).then_some(&file[..number.len() + 4])
}

/// The folder that all files of a pattern are below.
pub(super) fn root_of(pattern: &str) -> PathBuf {
    let names = pattern.split('/').filter(|name| !name.is_empty());
    PathBuf::from("/").join(names.take_while(|name| !name.contains(['*', '?'])).collect::<PathBuf>())
}

/// A path is one that the pattern stands for.
pub(super) fn is_of_pattern(pattern: &str, path: &str) -> bool {
    let names = |text: &'_ str| text.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (pattern, path) = (names(pattern), names(path));
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(pattern, name)| matches(pattern.as_bytes(), name.as_bytes()))
}

/// `*` is any run of characters, `?` is one byte. A name that begins with a dot is asked for by its dot.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    // Where the last `*` stands, and how far the name is taken by it: only that one is ever tried again.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_one_name_and_leave_hidden_files_alone() {
        for (pattern, name, expected) in [
            ("*", "a.log", true),
            ("*.log", "a.log", true),
            ("*.log", "a.log.1", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.log", "a.log", true),
            ("?.log", ".log", false),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("", "", true),
            ("a", "", false),
            ("***a", "bca", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        let (long, stars) = ("a".repeat(4_000), "*a".repeat(500));
        assert!(!matches(format!("{stars}b").as_bytes(), long.as_bytes()), "in no time");
    }

    #[test]
    fn files_of_the_kubelet_are_told_from_what_stands_beside_them() {
        for (name, log) in [
            ("0.log", Some("0.log")),
            ("12.log.20261121-100211", Some("12.log")),
            ("0.log.20261121-100211.gz", None),
            ("0.log.20261121-100211.tmp", None),
            ("0.logs", None),
            ("a.log", None),
            (".log", None),
        ] {
            assert_eq!(log_of(name), log, "{name}");
        }
        assert_eq!(pod_of("shop_api-0_1-2"), Some(["shop", "api-0", "1-2"]));
        assert_eq!([pod_of("shop_api-0"), pod_of("a_b_c_d"), pod_of("a__c")], [None; 3]);
    }

    #[test]
    fn our_own_pod_and_output_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for pod in ["shop_api-0_1", "ops_sentinel-x_2", "shop_sentinel-x_3"] {
            let container = root.join(pod).join("main");
            fs::create_dir_all(&container).expect("a folder");
            fs::write(container.join("0.log"), pod).expect("a file");
        }
        let seen = |own: &Own| {
            let mut look = Look::default();
            look.kubelet(root, own, 0);
            let pod =
                |found: Found| found.path.strip_prefix(root).expect("below").iter().next().expect("a pod").to_string_lossy().into_owned();
            look.found.into_iter().map(pod).collect::<Vec<_>>()
        };
        let pod = |namespace: &str| Some((namespace.to_owned(), "sentinel-x".to_owned()));
        assert_eq!(seen(&Own::default()).len(), 3);
        assert_eq!(seen(&Own { pod: pod("ops"), ..Own::default() }), ["shop_api-0_1", "shop_sentinel-x_3"]);
        assert_eq!(seen(&Own { pod: pod(""), ..Own::default() }), ["shop_api-0_1"]);
        let output = FileId::of(&fs::metadata(root.join("shop_api-0_1/main/0.log")).expect("a file"));
        assert_eq!(seen(&Own { files: vec![output], pod: None }).len(), 2);
        let mut look = Look::default();
        look.pattern(&format!("{}/shop_*/main/?.log", root.display()), &Own::default(), 4);
        assert_eq!((look.found.len(), look.faults.len(), look.found[0].input), (2, 0, 4));
        assert_eq!([root_of("/a/b*/c"), root_of("/*"), root_of("/a/b.log")], ["/a", "/", "/a/b.log"].map(PathBuf::from));
    }
}
