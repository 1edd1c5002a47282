//! Lines of bounded length.

use std::io::{self, BufRead, Read};

/// The next line without its end; `None` at the end of the stream. A last line may lack its end.
///
/// # Errors
/// `InvalidData` for a line of more than `bytes_max` bytes, and the stream's own errors.
pub(super) fn read_line(stream: &mut impl BufRead, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = stream.by_ref().take(bytes_max as u64 + 1).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() > bytes_max {
        let reason = format!("the line is longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn lines_end_at_newlines_and_at_the_end() {
        let mut stream = BufReader::with_capacity(2, &b"one\n\nthree"[..]);
        let mut next = || read_line(&mut stream, 5).unwrap();
        assert_eq!(next(), Some(b"one".to_vec()));
        assert_eq!(next(), Some(vec![]));
        assert_eq!(next(), Some(b"three".to_vec()));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_long_line_is_refused_and_not_read_to_its_end() {
        let mut stream = BufReader::new(&b"12345\n123456\n"[..]);
        assert_eq!(read_line(&mut stream, 5).unwrap(), Some(b"12345".to_vec()));
        assert_eq!(read_line(&mut stream, 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut endless = BufReader::new(io::repeat(b'x'));
        assert_eq!(read_line(&mut endless, 1000).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
