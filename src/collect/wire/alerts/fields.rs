//! Parts of JSON that others write: whatever their types are, reading goes on, and who looks for a text finds one or none.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Members of one object and items of one list that are kept. Prometheus itself allows fewer labels wherever it bounds them.
const MOST: usize = 128;

/// Objects and lists within each other that are kept: those of an alert, its status, and the silences in that.
const DEPTH: usize = 3;

/// One value. What is over the bounds is left out, and said to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Field {
    /// It is not there, null, or too deep.
    #[default]
    Missing,
    /// A text, or a number or truth value as it is written.
    Text(String),
    /// A list.
    List(Vec<Field>),
    /// An object.
    Object(Object),
}

/// The members of an object in the order sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Object {
    members: Vec<(String, Field)>,
    /// There were more members than are kept.
    pub(super) is_cut: bool,
}

impl Field {
    /// The text, if it is one and not empty.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub(super) fn object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The texts of a list.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let items = if let Self::List(items) = self { items.as_slice() } else { &[] };
        items.iter().filter_map(Self::text)
    }
}

impl Object {
    /// The first member of that name.
    pub(super) fn get(&self, name: &str) -> &Field {
        const NOTHING: &Field = &Field::Missing;
        self.members.iter().find(|(known, _)| known == name).map_or(NOTHING, |(_, field)| field)
    }

    /// The text under a name, if there is one that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).text()
    }

    /// All members that are texts and not empty.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().filter_map(|(name, field)| Some((name.as_str(), field.text()?)))
    }

    /// True when a member is an object or a list.
    pub(super) fn is_nested(&self) -> bool {
        self.members.iter().any(|(_, field)| matches!(field, Field::List(_) | Field::Object(_)))
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Level(DEPTH).deserialize(deserializer)
    }
}

/// Reads a value with as many levels below it.
struct Level(usize);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Field, E> {
        Ok(Field::Text(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Field, E> {
        Ok(Field::Text(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Field, E> {
        Ok(Field::Text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Field, E> {
        Ok(Field::Text(value.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Field, E> {
        Ok(Field::Missing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        let mut items = Vec::new();
        if let Some(below) = self.0.checked_sub(1) {
            while items.len() < MOST
                && let Some(item) = seq.next_element_seed(Level(below))?
            {
                items.push(item);
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        let mut object = Object::default();
        if let Some(below) = self.0.checked_sub(1) {
            while object.members.len() < MOST
                && let Some(name) = map.next_key::<String>()?
            {
                object.members.push((name, map.next_value_seed(Level(below))?));
            }
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            object.is_cut = true;
        }
        Ok(Field::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Field {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_no_text_is_found_as_none() {
        let field = read(r#"{"a":"x","b":1.5,"c":true,"d":null,"e":["y",2,{}],"f":{"g":"z"},"h":"","a":"second"}"#);
        let object = field.object().unwrap();
        assert_eq!(
            ["a", "b", "c", "d", "e", "h", "i"].map(|name| object.text(name)),
            [Some("x"), Some("1.5"), Some("true"), None, None, None, None]
        );
        assert_eq!(object.get("e").texts().collect::<Vec<_>>(), ["y", "2"]);
        assert_eq!(object.get("f").object().and_then(|inner| inner.text("g")), Some("z"));
        assert!(object.is_nested() && !object.is_cut);
    }

    #[test]
    fn members_items_and_levels_are_bounded() {
        let wide = format!("{{{}}}", (0..1000).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(","));
        let object = read(&wide).object().unwrap().clone();
        assert_eq!((object.members.len(), object.is_cut), (MOST, true));
        assert_eq!(read(&format!("[{}]", vec!["1"; 1000].join(","))).texts().count(), MOST);
        let deep = read(r#"{"a":{"b":{"c":{"d":1}}}}"#);
        let third = deep.object().and_then(|a| a.get("a").object()).and_then(|b| b.get("b").object()).unwrap();
        assert_eq!(third.get("c"), &Field::Object(Object { members: Vec::new(), is_cut: true }));
        assert!(serde_json::from_str::<Field>(&"[".repeat(100_000)).is_err());
    }
}
