//! Replies of one line, for those who read them one by one.

use memchr::memchr;

/// Takes the first line out of what has been received, without its line break; none when it is not all there.
pub fn take_line(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = memchr(b'\n', input)?;
    let mut line: Vec<u8> = input.drain(..=end).collect();
    line.pop();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one() {
        let mut input = b"+OK\r\n\n-ERR x\r\n+half\r".to_vec();
        for want in [&b"+OK"[..], b"", b"-ERR x"] {
            assert_eq!(take_line(&mut input).as_deref(), Some(want));
        }
        assert_eq!(take_line(&mut input), None);
        assert_eq!(input, b"+half\r");
    }
}
