//! MessagePack, which the API of 2015 speaks to whoever does not ask for JSON.

use serde_json::Value;

/// Writes a JSON value as MessagePack.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(false) => out.push(0xc2),
        Value::Bool(true) => out.push(0xc3),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(unsigned), _) => write_unsigned(unsigned, out),
            (None, Some(signed)) => {
                out.push(0xd3);
                out.extend(signed.to_be_bytes());
            }
            (None, None) => {
                out.push(0xcb);
                out.extend(number.as_f64().unwrap_or_default().to_be_bytes());
            }
        },
        Value::String(text) => {
            write_length(text.len(), [(0xa0, 32), (0xda, 1 << 16)], 0xdb, out);
            out.extend(text.as_bytes());
        }
        Value::Array(items) => {
            write_length(items.len(), [(0x90, 16), (0xdc, 1 << 16)], 0xdd, out);
            items.iter().for_each(|item| write(item, out));
        }
        Value::Object(map) => {
            write_length(map.len(), [(0x80, 16), (0xde, 1 << 16)], 0xdf, out);
            for (key, value) in map {
                write(&Value::String(key.clone()), out);
                write(value, out);
            }
        }
    }
}

fn write_unsigned(number: u64, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    match number {
        0..0x80 => out.push(bytes[7]),
        0x80..0x100 => out.extend([0xcc, bytes[7]]),
        0x100..0x1_0000 => out.extend([0xcd, bytes[6], bytes[7]]),
        0x1_0000..0x1_0000_0000 => {
            out.push(0xce);
            out.extend(&bytes[4..]);
        }
        _ => {
            out.push(0xcf);
            out.extend(bytes);
        }
    }
}

/// Writes a length as the narrowest of three forms: within the first byte, in two bytes, in four.
fn write_length(
    length: usize,
    [(within, below_a), (short, below_b)]: [(u8, usize); 2],
    long: u8,
    out: &mut Vec<u8>,
) {
    let bytes = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    if length < below_a {
        out.push(within | bytes[3]);
    } else if length < below_b {
        out.extend([short, bytes[2], bytes[3]]);
    } else {
        out.push(long);
        out.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_take_their_narrowest_form() {
        assert_eq!(encode(&json!({"a": [1, true, null]})), [0x81, 0xa1, b'a', 0x93, 1, 0xc3, 0xc0]);
        assert_eq!(encode(&json!(255)), [0xcc, 255]);
        assert_eq!(encode(&json!(4096)), [0xcd, 0x10, 0]);
        assert_eq!(encode(&json!(1 << 20)), [0xce, 0, 0x10, 0, 0]);
        assert_eq!(encode(&json!("x".repeat(40)))[..3], [0xda, 0, 40]);
    }
}
