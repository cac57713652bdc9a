//! What a body is, by its headers.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::DecodeError;

/// The compression around a body. Snappy is not one of them: it belongs to the protobuf form, with or without its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// None.
    Plain,
    /// One or more gzip members.
    Gzip,
    /// Deflate, with the header of zlib or without: both are sent under this name.
    Deflate,
    /// Zstandard.
    Zstd,
}

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A `PushRequest` in protobuf within snappy.
    Protobuf,
    /// JSON.
    Json,
    /// Lines as they are.
    Raw,
}

/// Reads `Content-Type` and `Content-Encoding` as Loki does.
///
/// # Errors
/// When the type is missing or no media type, or the encoding is none that we know. Both are 400.
pub fn negotiate(headers: &HeaderMap) -> Result<(Form, Coding), DecodeError> {
    let media_type = headers.get(CONTENT_TYPE).ok_or(DecodeError::ContentType("there is none"))?;
    let media_type = media_type.to_str().map_err(|_| DecodeError::ContentType("not a text"))?;
    let form = if essence(media_type)?.eq_ignore_ascii_case("application/json") { Form::Json } else { Form::Protobuf };
    Ok((form, coding(headers)?))
}

/// Reads `Content-Encoding` alone.
///
/// # Errors
/// When it is none that we know.
pub fn coding(headers: &HeaderMap) -> Result<Coding, DecodeError> {
    match headers.get(CONTENT_ENCODING).map_or(&b""[..], |value| value.as_bytes()) {
        b"" | b"snappy" => Ok(Coding::Plain),
        b"gzip" => Ok(Coding::Gzip),
        b"deflate" => Ok(Coding::Deflate),
        // COMPAT: Vector with `compression: zstd`; Loki itself refuses it.
        b"zstd" => Ok(Coding::Zstd),
        other => Err(DecodeError::Encoding(String::from_utf8_lossy(other).into_owned())),
    }
}

/// The body is snappy where that is a compression like any other.
#[must_use]
pub fn is_snappy(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).is_some_and(|coding| coding == "snappy")
}

/// The media type without its parameters, which must be well formed all the same: Go's `mime.ParseMediaType`.
///
/// # Errors
/// When it is none.
pub fn essence(value: &str) -> Result<&str, DecodeError> {
    let (essence, mut rest) = value.split_once(';').unwrap_or((value, ""));
    let essence = essence.trim();
    let (kind, subtype) = essence.split_once('/').unwrap_or((essence, "any"));
    if !is_token(kind) || !is_token(subtype) {
        return Err(DecodeError::ContentType("no media type"));
    }
    while !rest.trim().is_empty() {
        rest = parameter(rest).ok_or(DecodeError::ContentType("a parameter is broken"))?;
    }
    Ok(essence)
}

/// Reads one parameter and gives what follows its semicolon.
fn parameter(text: &str) -> Option<&str> {
    let (name, value) = text.split_once('=')?;
    is_token(name.trim()).then_some(())?;
    let value = value.trim_start();
    let rest = match value.strip_prefix('"') {
        None => {
            let length = value.find(';').unwrap_or(value.len());
            is_token(value.get(..length)?.trim_end()).then_some(())?;
            value.get(length..)?
        }
        Some(quoted) => {
            let mut escaped = false;
            let close = quoted.find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            })?;
            quoted.get(close + 1..)?
        }
    };
    let rest = rest.trim_start();
    if rest.is_empty() { Some("") } else { rest.strip_prefix(';') }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_what_a_body_is() {
        let cases = [
            ("application/json", None, Some((Form::Json, Coding::Plain))),
            ("Application/JSON; charset=utf-8", None, Some((Form::Json, Coding::Plain))),
            ("application/json;charset=\"utf;\\\"8\" ; v=1;", None, Some((Form::Json, Coding::Plain))),
            ("application/json", Some("gzip"), Some((Form::Json, Coding::Gzip))),
            ("application/json", Some("deflate"), Some((Form::Json, Coding::Deflate))),
            ("application/json", Some("zstd"), Some((Form::Json, Coding::Zstd))),
            ("application/json", Some("snappy"), Some((Form::Json, Coding::Plain))),
            ("application/x-protobuf", None, Some((Form::Protobuf, Coding::Plain))),
            ("application/x-protobuf", Some(""), Some((Form::Protobuf, Coding::Plain))),
            ("application/x-protobuf", Some("snappy"), Some((Form::Protobuf, Coding::Plain))),
            ("application/x-protobuf", Some("gzip"), Some((Form::Protobuf, Coding::Gzip))),
            ("application/x-protobuf", Some("deflate"), Some((Form::Protobuf, Coding::Deflate))),
            ("text/whatever", None, Some((Form::Protobuf, Coding::Plain))),
            ("thing", None, Some((Form::Protobuf, Coding::Plain))),
            ("", None, None),
            ("; charsetutf-8", None, None),
            ("application/json; charsetutf-8", None, None),
            ("application/json; charset=", None, None),
            ("application/json; charset=\"utf-8", None, None),
            ("application/json; charset=\"utf-8\" x", None, None),
            ("application/", None, None),
            ("a b/c", None, None),
            ("application/x-protobuf", Some("br"), None),
            ("application/x-protobuf", Some("lz4"), None),
            ("application/x-protobuf", Some("x-snappy-framed"), None),
            ("application/x-protobuf", Some("GZIP"), None),
            ("application/x-protobuf", Some("gzip, snappy"), None),
        ];
        for (media_type, coding, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, media_type.parse().expect("a header"));
            if let Some(coding) = coding {
                headers.insert(CONTENT_ENCODING, coding.parse().expect("a header"));
            }
            assert_eq!(negotiate(&headers).ok(), expected, "{media_type:?} {coding:?}");
        }
        assert!(matches!(negotiate(&HeaderMap::new()), Err(DecodeError::ContentType(_))));
    }
}
