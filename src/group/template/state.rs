//! What a miner knows, as text that outlives it.
//!
//! Groups follow from the keys that they were born with, in that order. So these keys and the layouts are all that is written, and restoring
//! gives the same ids, aliases and variables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::groups::Groups;
use super::key::LONGEST_KEY;
use super::layout::Layouts;
use super::{GroupId, TemplateConfig, TemplateMiner};

/// Goes up when keys or the rules of merging change: groups of another version cannot be continued.
const VERSION: u32 = 5;

/// Why a state cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is no state, or not all of one.
    #[error("is no saved state of template groups: {0}; move the file away to begin anew")]
    Unreadable(#[from] serde_json::Error),
    /// It was written by a program with other rules.
    #[error("was saved by another version of template groups ({0}, and this is {VERSION}); move the file away to begin anew")]
    OtherVersion(u32),
    /// It was changed, or more groups are in it than may be.
    #[error("does not fit: {0}; move the file away to begin anew")]
    Unfit(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    /// By the name of a stream.
    layouts: BTreeMap<String, Layouts>,
    /// Keys in the order of birth. Bytes that are no UTF-8 are the characters U+F700 to U+F7FF.
    keys: Vec<String>,
    /// Groups that were merged, each with the older one that it is a part of. They follow from the keys, so they are a check, too.
    aliases: Vec<(u32, u32)>,
}

impl TemplateMiner {
    /// All that the miner knows, as JSON.
    ///
    /// # Errors
    /// Never in practice: when JSON cannot be written to memory.
    pub fn save(&self) -> Result<String, serde_json::Error> {
        let keys = self.groups.born_with().map(to_text).collect();
        serde_json::to_string(&State { version: VERSION, layouts: self.layouts.clone(), keys, aliases: aliases_of(&self.groups) })
    }

    /// A miner that goes on where the saved one stood.
    ///
    /// # Errors
    /// When the text is not what [`Self::save`] wrote, or needs more than `config` allows.
    pub fn restore(config: TemplateConfig, saved: &str) -> Result<Self, RestoreError> {
        let version = serde_json::from_str::<Version>(saved)?.version;
        if version != VERSION {
            return Err(RestoreError::OtherVersion(version));
        }
        let state: State = serde_json::from_str(saved)?;
        if state.keys.len() > config.max_groups {
            return Err(RestoreError::Unfit("it has more groups than are allowed"));
        }
        if state.layouts.len() > config.max_streams + 1 || !state.layouts.values().all(Layouts::is_bounded) {
            return Err(RestoreError::Unfit("it has more layouts than are allowed"));
        }
        let mut groups = Groups::default();
        for (index, key) in state.keys.iter().enumerate() {
            let key = to_bytes(key);
            if key.len() > LONGEST_KEY {
                return Err(RestoreError::Unfit("a key is too long"));
            }
            if groups.of(&key, config.max_groups) != Some(index as u32) {
                return Err(RestoreError::Unfit("a key is of an earlier group"));
            }
        }
        if aliases_of(&groups) != state.aliases {
            return Err(RestoreError::Unfit("other groups are merged"));
        }
        let mut miner = Self::new(config);
        miner.shown.resize(groups.len(), String::new());
        (miner.groups, miner.layouts) = (groups, state.layouts);
        debug_assert_eq!(miner.current(GroupId::OTHER), GroupId::OTHER);
        Ok(miner)
    }
}

fn aliases_of(groups: &Groups) -> Vec<(u32, u32)> {
    groups.aliases().map(|(group, older)| (group.0, older.0)).collect()
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn to_text(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        // A character of the private range is written as its bytes, so that it is not taken for one.
        for c in chunk.valid().chars() {
            if ('\u{f700}'..='\u{f7ff}').contains(&c) {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.push(of_byte(byte)));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push(of_byte(*byte)));
    }
    text
}

fn of_byte(byte: u8) -> char {
    char::from_u32(0xf700 + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn to_bytes(text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(0xf700).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => key.push(byte),
            None => key.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    key
}
