//! What a simple client needs: one request on one connection, answered up to its end.

use crate::{Method, limits::FIELDS_MAX};
use alloc::{format, string::String, vec::Vec};

/// A request as bytes. It says HTTP/1.0, so the response is neither chunked nor followed by another: it ends with the connection.
pub fn request(method: Method, target: &str, body: &[u8]) -> Vec<u8> {
    let word = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
    };
    let mut bytes = format!("{word} {target} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A target of a path and the values that are asked for.
pub fn target<'a>(path: &str, asks: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(asks).finish();
    if query.is_empty() { path.into() } else { format!("{path}?{query}") }
}

/// Status and body of a response that came whole; `None` if it is none.
pub fn response(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(len) = head.parse(bytes).ok()? else { return None };
    let length = head.headers.iter().find(|f| f.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|f| str::from_utf8(f.value).ok()).and_then(|v| v.parse::<usize>().ok());
    let body = &bytes[len..];
    // Shorter than announced: the connection broke.
    if length.is_some_and(|length| length != body.len()) { None } else { Some((head.code?, body)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_written_so_that_it_can_be_read() {
        assert_eq!(target("/queue", []), "/queue");
        assert_eq!(target("/trace", [("of", "a+b@x y.test"), ("days", "3")]), "/trace?of=a%2Bb%40x+y.test&days=3");
        assert_eq!(request(Method::Post, "/reload", b"x"), b"POST /reload HTTP/1.0\r\nContent-Length: 1\r\n\r\nx");
    }

    #[test]
    fn a_response_is_whole_or_none() {
        assert_eq!(response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), Some((200, &b"hi"[..])));
        assert_eq!(response(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi"), None);
        assert_eq!(response(b"HTTP/1.1 404 \r\n\r\nto the end"), Some((404, &b"to the end"[..])));
        assert_eq!(response(b"HTTP/1.1 200 OK\r\nContent-"), None);
        assert_eq!(response(b"* OK IMAP"), None);
    }
}
