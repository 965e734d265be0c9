//! A request and a response, as the host sees them.

use alloc::{borrow::Cow, boxed::Box, string::String, vec::Vec};

/// What is to be done with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Show it.
    Get,
    /// Show what a GET would say about it.
    Head,
    /// Act on it.
    Post,
}

/// A whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// The path of the target as it was sent, without its query; begins with `/`.
    pub path: Box<str>,
    /// The query of the target as it was sent, without its `?`.
    pub query: Box<str>,
    /// The type of the body as it was sent; empty if nobody said one.
    pub kind: Box<str>,
    /// The body.
    pub body: Vec<u8>,
}

/// What the host says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// As in 200.
    pub status: u16,
    /// The type of the body, as in `application/json`.
    pub kind: &'static str,
    /// What is said.
    pub body: Body,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// It comes piece by piece, and nobody knows yet how long it is.
    Pieces,
}

impl Request {
    /// The first value of a name in the query, decoded.
    pub fn asks<'a>(&'a self, name: &str) -> Option<Cow<'a, str>> {
        form_urlencoded::parse(self.query.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// All names and values of the query, decoded, in order.
    pub fn asked(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query.as_bytes())
    }
}

impl Response {
    /// A whole response.
    pub fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response { status, kind, body: Body::Whole(body.into()) }
    }

    /// A line of text for people.
    pub fn text(status: u16, text: &str) -> Response {
        let mut line = String::from(text);
        line.push('\n');
        Response::new(status, "text/plain; charset=utf-8", line)
    }
}

/// The phrase of a status (RFC 9110 §15), which no program reads.
pub(crate) fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
