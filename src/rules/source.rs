//! Where rule files come from.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::{MAX_FILE_BYTES, Problem};

/// The pack that is in force when no path is given.
const DEFAULT_PACK: &str = include_str!("../../rules/default.yaml");

/// Name of the pack in problems and in the API.
const DEFAULT_PACK_NAME: &str = "(default pack)";

/// The text of one rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSource {
    /// What problems call it: its path as it was given.
    pub name: String,
    /// YAML.
    pub text: String,
}

/// Which files of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Rules,
    Tests,
}

/// Hash over names and texts of files. Equal digests mean equal files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest(pub u128);

impl RuleSource {
    /// The fifteen rules that come with the program.
    #[must_use]
    pub fn default_pack() -> Self {
        Self { name: DEFAULT_PACK_NAME.to_owned(), text: DEFAULT_PACK.to_owned() }
    }

    /// Bytes that came from somewhere else, such as a request.
    ///
    /// # Errors
    /// When they are too long or not UTF-8.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, Problem> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(Problem::of_file(name, format!("larger than {} MiB", MAX_FILE_BYTES >> 20), "split the file"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name: name.to_owned(), text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() as u64 + 1;
                Err(Problem { line, ..Problem::of_file(name, "not UTF-8", "save the file as UTF-8") })
            }
        }
    }
}

/// Reads files, and of folders every `*.yaml` and `*.yml` directly in them, by name. No path at all is the default pack.
///
/// Test files (`*.test.yaml`, see [`read_tests`]) are left out, and names with a leading dot: editors' temporary files, and the `..data`
/// folder through which Kubernetes swaps the files of a ConfigMap. Links to files are followed.
///
/// # Errors
/// With every path that cannot be read, is too large, is not UTF-8, or is a folder without rule files.
pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<RuleSource>, Vec<Problem>> {
    if paths.is_empty() {
        return Ok(vec![RuleSource::default_pack()]);
    }
    read_all(paths.iter().map(|path| files_of(path.as_ref(), Wanted::Rules)))
}

/// Reads test files: those named, of named folders every `*.test.yaml` and `*.test.yml`, and those that stand beside the rules. Beside a
/// folder of rules are all that are in it, beside `a.yaml` is `a.test.yaml`: others may be about rules that are not loaded.
///
/// # Errors
/// With every path that cannot be read, and every named folder without test files.
pub fn read_tests(named: &[PathBuf], rules: &[PathBuf]) -> Result<Vec<RuleSource>, Vec<Problem>> {
    let beside = rules.iter().flat_map(|path| tests_beside(path)).map(|file| Ok(vec![file]));
    let mut seen = HashSet::new();
    // One that is named and stands beside a rule file as well runs once.
    let mut first = |file: &PathBuf| seen.insert(fs::canonicalize(file).unwrap_or_else(|_| file.clone()));
    read_all(named.iter().map(|path| files_of(path, Wanted::Tests)).chain(beside).map(|files| {
        let mut files = files?;
        files.retain(&mut first);
        Ok(files)
    }))
}

fn read_all(found: impl Iterator<Item = Result<Vec<PathBuf>, Problem>>) -> Result<Vec<RuleSource>, Vec<Problem>> {
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    for files in found {
        match files {
            Ok(files) => {
                for file in files {
                    match read_file(&file) {
                        Ok(source) => sources.push(source),
                        Err(problem) => problems.push(problem),
                    }
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

/// The digest of these files in this order.
#[must_use]
pub fn content_digest(sources: &[RuleSource]) -> ContentDigest {
    let mut hash = Xxh3::new();
    for part in sources.iter().flat_map(|source| [&source.name, &source.text]) {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    ContentDigest(hash.digest128())
}

/// None at all is fine: most rules have no test file. A path that cannot be read was reported when its rules were.
fn tests_beside(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return files_of(path, Wanted::Tests).unwrap_or_default();
    }
    let endings = ["test.yaml", "test.yml"];
    endings.into_iter().map(|ending| path.with_extension(ending)).filter(|file| !is_test(path) && file.is_file()).collect()
}

fn is_test(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| stem.as_encoded_bytes().ends_with(b".test"))
}

fn files_of(path: &Path, wanted: Wanted) -> Result<Vec<PathBuf>, Problem> {
    let meta = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !meta.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let file = entry.map_err(|error| unreadable(path, &error))?.path();
        let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && !hidden && is_test(&file) == (wanted == Wanted::Tests) && !file.is_dir() {
            files.push(file);
        }
    }
    if files.is_empty() {
        let (what, hint) = match wanted {
            Wanted::Rules => ("no *.yaml or *.yml in this folder", "add a rule file, or name another folder"),
            Wanted::Tests => ("no *.test.yaml or *.test.yml in this folder", "add a test file, or name another folder"),
        };
        return Err(Problem::of_file(&path.to_string_lossy(), what, hint));
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<RuleSource, Problem> {
    let name = path.to_string_lossy();
    // Opening a pipe would wait for a writer.
    let meta = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !meta.is_file() {
        return Err(Problem::of_file(&name, "not a file", "name a file or a folder"));
    }
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(|error| unreadable(path, &error))?;
    RuleSource::from_bytes(&name, bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "let the user that the program runs as read it",
        _ => "check the file and its folder",
    };
    Problem::of_file(&path.to_string_lossy(), format!("cannot be read: {error}"), hint)
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &Path) -> Vec<String> {
        read(&[path]).expect_err("a problem").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_folder_gives_its_rule_files_by_name() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["b.yaml", "a.yml", "b.test.yaml", "a.test.yml", ".hidden.yaml", "c.txt"] {
            fs::write(dir.path().join(name), name).expect("written");
        }
        fs::create_dir(dir.path().join("nested.yaml")).expect("made");
        let texts: Vec<String> = read(&[dir.path()]).expect("read").into_iter().map(|source| source.text).collect();
        assert_eq!(texts, ["a.yml", "b.yaml"]);
        let tests = |named: &[&str], rules: &[&str]| -> Vec<String> {
            let [named, rules] = [named, rules].map(|names| names.iter().map(|name| dir.path().join(name)).collect::<Vec<_>>());
            read_tests(&named, &rules).expect("read").into_iter().map(|source| source.text).collect()
        };
        assert_eq!(tests(&[], &[""]), ["a.test.yml", "b.test.yaml"]);
        assert_eq!(tests(&[], &["a.yml", "c.txt"]), ["a.test.yml"], "those of other rule files are left out");
        assert_eq!(tests(&["b.test.yaml"], &["b.yaml", "a.yml"]), ["b.test.yaml", "a.test.yml"], "each runs once");
    }

    #[cfg(unix)]
    #[test]
    fn a_config_map_is_read_once_although_kubernetes_links_it_twice() {
        let dir = tempfile::tempdir().expect("a folder");
        let version = dir.path().join("..2026_11_21");
        fs::create_dir(&version).expect("made");
        fs::write(version.join("rules.yaml"), "rules: []").expect("written");
        std::os::unix::fs::symlink("..2026_11_21", dir.path().join("..data")).expect("linked");
        std::os::unix::fs::symlink("..data/rules.yaml", dir.path().join("rules.yaml")).expect("linked");
        let sources = read(&[dir.path()]).expect("read");
        assert_eq!(sources.len(), 1);
        assert!(sources[0].name.ends_with("rules.yaml"));
    }

    #[test]
    fn what_cannot_be_read_is_named_all_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let missing = dir.path().join("missing.yaml");
        assert!(problems(&missing)[0].contains("missing.yaml: cannot be read:"));
        assert!(problems(dir.path())[0].contains("no *.yaml or *.yml in this folder"));
        let binary = dir.path().join("binary.yaml");
        fs::write(&binary, b"rules:\n- \xff").expect("written");
        assert!(problems(&binary)[0].ends_with("binary.yaml:2: not UTF-8; save the file as UTF-8"));
        assert_eq!(read(&[&missing, &binary]).expect_err("problems").len(), 2);
        let long = RuleSource::from_bytes("long", vec![b' '; MAX_FILE_BYTES + 1]).expect_err("too long");
        assert_eq!(long.to_string(), "long: larger than 16 MiB; split the file");
        #[cfg(unix)]
        assert!(problems(Path::new("/dev/null"))[0].contains("not a file"));
    }

    #[test]
    fn the_digest_changes_with_names_texts_and_order() {
        let source = |name: &str, text: &str| RuleSource { name: name.to_owned(), text: text.to_owned() };
        let sets = [
            vec![],
            vec![source("a", "b")],
            vec![source("ab", "")],
            vec![source("a", "c")],
            vec![source("a", "b"), source("c", "d")],
            vec![source("c", "d"), source("a", "b")],
        ];
        let digests: std::collections::HashSet<ContentDigest> = sets.iter().map(|set| content_digest(set)).collect();
        assert_eq!(digests.len(), sets.len());
        assert_eq!(content_digest(&sets[1]), content_digest(&sets[1].clone()));
        assert_eq!(ContentDigest(255).to_string(), format!("{:0>32}", "ff"));
    }
}
