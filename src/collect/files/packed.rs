//! Rotated logs are compressed: gzip by the kubelet, zstd by journald and others. They are read as what they were.

use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const XZ: &[u8] = b"\xfd7zXZ\0";

/// The content of an input: decompressed while it is read where it is gzip or zstd, of one part or several, and as it is where it is neither.
///
/// # Errors
/// When reading fails, or when it is compressed in a form that is not read here.
pub fn unpacked(mut input: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut start = Vec::with_capacity(XZ.len());
    input.by_ref().take(XZ.len() as u64).read_to_end(&mut start)?;
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let form = [GZIP, ZSTD, XZ].into_iter().find(|form| start.starts_with(form));
    let whole = Cursor::new(start).chain(input);
    match form {
        Some(GZIP) => Ok(Box::new(MultiGzDecoder::new(whole))),
        Some(ZSTD) => Ok(Box::new(zstd::stream::read::Decoder::new(whole)?)),
        Some(_) => Err(wrong("is compressed with xz: decompress it first, such as `xz -dc FILE | kube-sentinel ... -`")),
        None => Ok(Box::new(whole)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        unpacked(Box::new(Cursor::new(bytes)))?.read_to_end(&mut content).map(|_| content)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn every_form_gives_the_same_content_also_in_parts() {
        let text = b"panic: one\npanic: two\n".repeat(10_000);
        let zstd = |text: &[u8]| zstd::encode_all(text, 1).expect("memory");
        let (first, second) = text.split_at(text.len() / 3);
        let forms = [text.clone(), gzip(&text), zstd(&text), [gzip(first), gzip(second)].concat(), [zstd(first), zstd(second)].concat()];
        for form in forms {
            assert!(read(form).expect("readable") == text);
        }
        for short in ["", "a", "\u{1f}", "short"] {
            assert_eq!(read(short.as_bytes().to_vec()).expect("readable"), short.as_bytes());
        }
    }

    #[test]
    fn what_is_broken_or_cut_off_is_an_error() {
        let whole = gzip(b"panic: one\n");
        for broken in [whole[..whole.len() - 9].to_vec(), b"\x1f\x8b\x08\0panic: x\n".to_vec(), b"\x28\xb5\x2f\xfdpanic: x\n".to_vec()] {
            read(broken).expect_err("an error");
        }
        assert!(read(XZ.to_vec()).expect_err("an error").to_string().contains("`xz -dc FILE"));
    }
}
