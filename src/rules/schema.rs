//! The JSON schema of rule files, for editors.

use super::file::RuleFile;

/// The schema as it stands in `schema/rules.schema.json`, with a line feed at its end.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(RuleFile);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
