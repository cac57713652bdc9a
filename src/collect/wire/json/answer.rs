//! How Loki answers a query for log lines.
//!
//! ```json
//! {"status": "success", "data": {"resultType": "streams", "result": [
//!   {"stream": {"app": "api"}, "values": [["1700000000123456789", "boom", {"structuredMetadata": {"pod": "api-0"}}]]}], "stats": {}}}
//! ```
//!
//! What is no such answer must never be taken for one without lines, because nobody would ask again: `status`, `resultType` and `result` have
//! to be there.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use crate::collect::wire::{DecodeError, Sink};

use super::{At, Place, Reading, Shapes, skip};

/// Reads an answer to a query for log lines, and puts its lines into the sink's block, which is empty.
///
/// # Errors
/// When the text is no JSON, another answer or one of a failure, or needs more memory than there is.
pub fn decode_answer(text: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    super::read(text, Shapes::Answered, sink, |reading, json| Whole { part: Part::Answer, reading }.deserialize(json))
}

/// A part of an answer around its streams.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Answer,
    Data,
}

struct Whole<'r, 's, 'a> {
    part: Part,
    reading: &'r mut Reading<'s, 'a>,
}

impl<'de> DeserializeSeed<'de> for Whole<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.part {
            Part::Answer => "an answer with \"status\" and \"data\"",
            Part::Data => "an object with \"resultType\" and \"result\"",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { part, reading } = self;
        let (said, held) = match part {
            Part::Answer => (("status", "success"), "data"),
            Part::Data => (("resultType", "streams"), "result"),
        };
        let (mut is_said, mut is_held) = (false, false);
        while let Some(name) = map.next_key::<Name>()? {
            if name.is(said.0) {
                let value = map.next_value::<Name>()?;
                if !value.is(said.1) {
                    return Err(A::Error::custom(format_args!("{:?} is not {:?}", said.0, said.1)));
                }
                is_said = true;
            } else if name.is(held) && is_held {
                return Err(A::Error::custom(format_args!("{held:?} stands twice")));
            } else if name.is(held) {
                match part {
                    Part::Answer => map.next_value_seed(Whole { part: Part::Data, reading: &mut *reading })?,
                    Part::Data => map.next_value_seed(At(Place::Streams, &mut *reading))?,
                }
                is_held = true;
            } else {
                skip(&mut map)?;
            }
        }
        match (is_said, is_held) {
            (true, true) => Ok(()),
            (false, _) => Err(A::Error::custom(format_args!("{:?} is missing", said.0))),
            (_, false) => Err(A::Error::custom(format_args!("{held:?} is missing"))),
        }
    }
}

/// A short text: one of those that are looked for, or any other.
#[derive(PartialEq, Eq)]
struct Name([u8; Name::LONGEST], usize);

impl Name {
    const LONGEST: usize = 10;

    fn is(&self, text: &str) -> bool {
        self.0.get(..self.1) == Some(text.as_bytes())
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let short = |text: &[u8]| {
            let mut name = Self([0; Self::LONGEST], 0);
            if let Some(place) = name.0.get_mut(..text.len()) {
                place.copy_from_slice(text);
                name.1 = text.len();
            }
            name
        };
        super::Text(short).deserialize(from)
    }
}

#[cfg(test)]
mod tests {
    use crate::collect::wire::{Counts, LabelCache, LineRules, Room, Scratch};
    use crate::flow::Budget;
    use crate::model::{Block, Timestamp};

    use super::*;

    fn decode(text: &str) -> Result<(Counts, Vec<String>), DecodeError> {
        let (budget, mut scratch, labels) = (Budget::new(1 << 20), Scratch::default(), LabelCache::new(10, 1 << 20));
        let (mut block, mut room) = (Block::default(), Room::lease(&budget, 0)?);
        let rules = LineRules { received: Timestamp(1_700_000_060_000_000_000), max_line: 100 };
        let mut sink = Sink::new(&mut block, &mut room, &mut scratch, &labels, rules).of_loki();
        decode_answer(text.as_bytes(), &mut sink)?;
        let counts = sink.counts();
        let text = |line| String::from_utf8_lossy(block.text(line)).into_owned();
        let lines = block.lines().iter().map(|line| format!("{} {} {}", line.at.nanos(), block.stream_of(line).labels(), text(line)));
        Ok((counts, lines.collect()))
    }

    #[test]
    fn an_answer_has_the_lines_that_the_same_push_has() {
        let text = r#"{"status":"success","data":{"resultType":"streams","encodingFlags":["categorize-labels"],"result":[
            {"stream":{"app":"api"},"values":[["1700000000123456789","boom",{"structuredMetadata":{"pod":"a"},"parsed":{}}],["1700000001000000000","b\u00f6"]]},
            {"values":[["1700000002000000000","later"]],"stream":{"app":"web","__backfill__":"1"}}],"stats":{"summary":{"x":[1,2]}}}}"#;
        let (counts, lines) = decode(text).expect("an answer");
        assert_eq!((counts.streams, counts.lines), (2, 3));
        let expected = [
            r#"1700000000123456789 {app="api"} boom"#,
            r#"1700000001000000000 {app="api"} bö"#,
            r#"1700000002000000000 {__backfill__="1", app="web"} later"#,
        ];
        assert_eq!(lines, expected);
        assert!(decode(r#"{"data":{"result":[],"resultType":"streams"},"status":"success"}"#).expect("no lines").1.is_empty());
    }

    #[test]
    fn what_is_no_answer_is_never_one_without_lines() {
        let wrong = [
            "",
            "{}",
            "null",
            "[]",
            r#"{"status":"success"}"#,
            r#"{"status":"error","data":{"resultType":"streams","result":[]}}"#,
            r#"{"data":{"resultType":"streams","result":[]}}"#,
            r#"{"status":"success","data":null}"#,
            r#"{"status":"success","data":{"resultType":"streams"}}"#,
            r#"{"status":"success","data":{"result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"streams","result":{}}}"#,
            r#"{"status":"success","data":{"resultType":"streams","result":[],"result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"streams","result":[]}"#,
            r#"{"status":"success","data":{"resultType":"streams","result":[]}} x"#,
            "<html>502 Bad Gateway</html>",
        ];
        for text in wrong {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
