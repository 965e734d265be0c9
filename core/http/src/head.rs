//! The head of a request: understood whole, or refused with a status. Strict where a proxy in front might read it otherwise (RFC 9112 §11.2).

use crate::{
    Method, Request,
    limits::{BODY_MAX, FIELDS_MAX},
};
use alloc::vec::Vec;
use httparse::Header;

/// A head that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The request, its body still empty.
    pub request: Request,
    pub framing: Framing,
    /// Whether the connection stays open after the response.
    pub keep: bool,
    /// Whether the client waits for a word before it sends the body (RFC 9110 §10.1.1).
    pub expects: bool,
    /// Whether the client knows chunks.
    pub chunks: bool,
}

/// How the end of the body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Sized(usize),
    Chunked,
}

/// Understands a head, from its first line up to the empty one.
///
/// # Errors
/// The status and what is wrong. Nothing that follows can be trusted then.
pub(crate) fn parse(bytes: &[u8]) -> Result<Head, (u16, &'static str)> {
    // The parser takes a line feed alone for a line end; others do not, and see other fields.
    if bytes.iter().enumerate().any(|(i, b)| *b == b'\n' && (i == 0 || bytes[i - 1] != b'\r')) {
        return Err((400, "a line feed without a carriage return"));
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        Ok(_) => return Err((400, "this is no request")),
        Err(httparse::Error::TooManyHeaders) => return Err((431, "too many header fields")),
        Err(httparse::Error::Version) => return Err((505, "only HTTP/1.1 and HTTP/1.0 are spoken here")),
        Err(_) => return Err((400, "this is no request")),
    }
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err((400, "this is no request"));
    };
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => return Err((501, "only GET, HEAD and POST are known here")),
    };
    let (path, query) = origin(target).ok_or((400, "the target is no path"))?;
    let fields = &*head.headers;
    // RFC 9112 §3.2
    match (all(fields, "host").count(), version) {
        (1, _) | (0, 0) => {}
        _ => return Err((400, "there must be one Host")),
    }
    let framing = framing(fields, version)?;
    if matches!(framing, Framing::Sized(n) if n > BODY_MAX) {
        return Err((413, "the body is too large"));
    }
    let expects = match all(fields, "expect").next() {
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => version == 1 && framing != Framing::Sized(0),
        Some(_) => return Err((417, "nothing but 100-continue can be expected")),
        None => false,
    };
    let kind = all(fields, "content-type").next().and_then(|v| str::from_utf8(v).ok()).unwrap_or("");
    let closes = all(fields, "connection").flat_map(|v| v.split(|b| *b == b',')).any(|v| v.trim_ascii().eq_ignore_ascii_case(b"close"));
    Ok(Head {
        request: Request { method, path: path.into(), query: query.into(), kind: kind.into(), body: Vec::new() },
        framing,
        keep: version == 1 && !closes,
        expects,
        chunks: version == 1,
    })
}

/// Path and query of a target, which a proxy may send with the scheme and the host (RFC 9112 §3.2.2).
fn origin(target: &str) -> Option<(&str, &str)> {
    let path = if target.starts_with('/') {
        target
    } else {
        let (scheme, rest) = target.split_once("://")?;
        scheme.eq_ignore_ascii_case("http").then_some(())?;
        rest.find('/').map_or("/", |at| &rest[at..])
    };
    let path = path.split('#').next()?;
    Some(path.split_once('?').unwrap_or((path, "")))
}

/// RFC 9112 §6.3, and louder: whoever says a length and chunks means to be read in two ways.
fn framing(fields: &[Header<'_>], version: u8) -> Result<Framing, (u16, &'static str)> {
    let mut codings = all(fields, "transfer-encoding");
    let mut lengths = all(fields, "content-length");
    match (codings.next(), codings.next(), lengths.next()) {
        (None, _, None) => Ok(Framing::Sized(0)),
        (None, _, Some(length)) => {
            if lengths.any(|other| other != length) {
                return Err((400, "more than one Content-Length"));
            }
            // Digits only: `parse` would take a sign.
            let digits = str::from_utf8(length).ok().filter(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_digit()));
            let digits = digits.ok_or((400, "the Content-Length is no number"))?;
            // What is too large for a number is too large for us.
            Ok(Framing::Sized(digits.parse().unwrap_or(usize::MAX)))
        }
        (Some(_), _, Some(_)) => Err((400, "a Content-Length beside a Transfer-Encoding")),
        (Some(_), _, None) if version == 0 => Err((400, "HTTP/1.0 knows no Transfer-Encoding")),
        (Some(coding), None, None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Some(_), _, None) => Err((501, "no Transfer-Encoding but chunked is known here")),
    }
}

fn all<'a>(fields: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> u16 {
        parse(head.as_bytes()).expect_err("a mistake").0
    }

    #[test]
    fn targets() {
        let of = |target: &str| parse(format_args!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").to_string().as_bytes()).map(|h| h.request);
        use alloc::string::ToString as _;
        let request = of("/a/b?c=d+e&f=%40#g").unwrap();
        assert_eq!((&*request.path, &*request.query), ("/a/b", "c=d+e&f=%40"));
        assert_eq!((request.asks("c").unwrap(), request.asks("f").unwrap(), request.asks("g")), ("d e".into(), "@".into(), None));
        assert_eq!(&*of("http://host:1/p?q").unwrap().path, "/p");
        assert_eq!(&*of("HTTP://host").unwrap().path, "/");
        assert_eq!(of("*"), Err((400, "the target is no path")));
        assert_eq!(of("ftp://x/"), Err((400, "the target is no path")));
    }

    #[test]
    fn bodies() {
        let of = |fields: &str| {
            use alloc::format;
            parse(format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes()).map(|h| h.framing).map_err(|e| e.0)
        };
        assert_eq!(of(""), Ok(Framing::Sized(0)));
        assert_eq!(of("Content-Length: 7\r\nContent-Length: 7\r\n"), Ok(Framing::Sized(7)));
        assert_eq!(of("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        for wrong in ["Content-Length: 7\r\nContent-Length: 8\r\n", "Content-Length: +7\r\n", "Content-Length: \r\n"] {
            assert_eq!(of(wrong), Err(400), "{wrong}");
        }
        assert_eq!(of("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n"), Err(400));
        assert_eq!(of("Transfer-Encoding: gzip, chunked\r\n"), Err(501));
        assert_eq!(of("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Err(501));
        assert_eq!(of("Content-Length: 65537\r\n"), Err(413));
        assert_eq!(of("Content-Length: 99999999999999999999999\r\n"), Err(413));
    }

    #[test]
    fn what_is_wrong_has_a_status() {
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
        assert_eq!(status("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n"), 417);
        assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        assert_eq!(status("MAIL FROM:<a@b>\r\n\r\n"), 400);
    }
}
