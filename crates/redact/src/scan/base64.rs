//! Base64, of either alphabet, with or without padding.

/// What this stands for; `None` where it is not base64.
pub(super) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let text = text.get(..text.len() - padding)?;
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4 + 3);
    for four in text.chunks(4) {
        let mut bits = 0u32;
        for byte in four {
            bits = bits << 6 | digit(*byte)?;
        }
        match four.len() {
            4 => bytes.extend(bits.to_be_bytes().get(1..)?),
            3 => bytes.extend((bits >> 2).to_be_bytes().get(2..)?),
            2 => bytes.extend((bits >> 4).to_be_bytes().get(3..)?),
            _ => return None,
        }
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(digit))
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn both_alphabets_with_and_without_padding() {
        let cases = [
            ("aGk=", Some("hi")),
            ("aGk", Some("hi")),
            ("aGkh", Some("hi!")),
            ("aGkhIQ==", Some("hi!!")),
            ("a", None),
            ("a b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decoded(text.as_bytes()).as_deref(), expected.map(str::as_bytes), "{text}");
        }
        assert_eq!(
            [decoded(b"-_-_"), decoded(b"+/+/")],
            [const { Some([251, 255, 191]) }; 2].map(|o| o.map(Vec::from))
        );
    }
}
