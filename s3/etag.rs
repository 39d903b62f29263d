//! S3's entity tags, kept without their quotes: the MD5 of a body, or for a multipart object the MD5 of its
//! parts' MD5s with `-N` behind it.

use md5::{Digest, Md5};

/// The tag of an object written in one piece.
pub fn single(md5: &[u8; 16]) -> String {
    hex::encode(md5)
}

/// The tag of a multipart object, from its parts' MD5s in order.
pub fn multipart<'a>(parts: impl IntoIterator<Item = &'a [u8; 16]>) -> String {
    let mut hash = Md5::new();
    let mut count = 0u32;
    for part in parts {
        hash.update(part);
        count += 1;
    }
    format!("{}-{count}", hex::encode(hash.finalize()))
}

/// The MD5 that a tag of one piece names.
pub fn md5_of(etag: &str) -> Option<[u8; 16]> {
    let mut md5 = [0; 16];
    hex::decode_to_slice(etag, &mut md5).ok().map(|()| md5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_s3s() {
        let empty: [u8; 16] = Md5::digest(b"").into();
        assert_eq!(single(&empty), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(multipart([&empty]), "59adb24ef3cdbe0297f05b395827453f-1");
        assert_eq!(md5_of(&single(&empty)), Some(empty));
        assert_eq!(md5_of(&multipart([&empty])), None);
    }
}
