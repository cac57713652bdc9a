//! The JSON schemas of rule files and of their tests, for editors.

use super::file::RuleFile;

/// The schema as it stands in `schema/rules.schema.json`, with a line feed at its end.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(RuleFile);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}

/// The schema of test files. `scenario` reads them by hand, so this is written by hand as well; tests hold the two together.
#[must_use]
pub fn test_schema() -> &'static str {
    include_str!("../../schema/rule-tests.schema.json")
}
