//! Percent escapes, as paths, queries and resource addresses have them.

/// `text` as a part of a path or of a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// What [`encode`] was given. What is no valid escape stays as it is; `None` if the outcome is no UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = bytes
            .get(at + 1..at + 3)
            .filter(|digits| *byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path_can_not_leave_it() {
        assert_eq!(encode("../status?x=1 ä"), "..%2Fstatus%3Fx%3D1%20%C3%A4");
        assert_eq!(encode("0a9f-._~"), "0a9f-._~");
    }

    #[test]
    fn what_was_escaped_reads_back() {
        for text in ["a b/c?d=1&e", "ä 50%", "", "100%25"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(decode("50% of %zz %2").as_deref(), Some("50% of %zz %2"));
        assert_eq!(decode("%FF"), None);
    }
}
