//! Enough of HTTP/1.1 for metrics, control and administration.
//!
//! Bytes in, bytes and questions out. This crate knows no page and no mail.
