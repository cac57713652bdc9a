//! The corpora under `tests/corpus/traces`: each trace behind a line `##### NAME`, with the identity that it must have behind `##= `.

const FILES: [(&str, &str); 8] = [
    ("dotnet", include_str!("../../../tests/corpus/traces/dotnet.txt")),
    ("go", include_str!("../../../tests/corpus/traces/go.txt")),
    ("java", include_str!("../../../tests/corpus/traces/java.txt")),
    ("node", include_str!("../../../tests/corpus/traces/node.txt")),
    ("plain", include_str!("../../../tests/corpus/traces/plain.txt")),
    ("python", include_str!("../../../tests/corpus/traces/python.txt")),
    ("ruby", include_str!("../../../tests/corpus/traces/ruby.txt")),
    ("rust", include_str!("../../../tests/corpus/traces/rust.txt")),
];

/// One text of a corpus.
pub(in crate::group) struct Sample {
    /// File and name.
    pub(in crate::group) name: String,
    /// `None` for what only looks like a trace.
    pub(in crate::group) identity: Option<String>,
    pub(in crate::group) lines: Vec<String>,
}

impl Sample {
    pub(in crate::group) fn text(&self) -> String {
        self.lines.join("\n")
    }
}

pub(in crate::group) fn samples() -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for (stem, text) in FILES {
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("##### ") {
                samples.push(Sample { name: format!("{stem}: {name}"), identity: None, lines: Vec::new() });
            } else if let Some(identity) = line.strip_prefix("##= ") {
                samples.last_mut().unwrap().identity = Some(identity.to_owned());
            } else {
                samples.last_mut().unwrap().lines.push(line.to_owned());
            }
        }
    }
    samples
}
