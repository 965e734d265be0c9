//! Fuzz bodies: ordinary functions that take any bytes and panic if a promise is broken.
//!
//! A target of fuzz/ is one line that calls one of these. On stable, tests/fuzz.rs calls them with the committed corpus and with noise.

mod client;
mod disk;
mod dns;
mod http;
mod mime;
mod noise;
mod post;
mod recode;
mod report;
mod session;
mod text;

pub use self::post::{post_aliases, post_tidy};
pub use client::client_session;
pub use disk::{maildir_index, maildir_names, maildir_texts, queue_record};
pub use dns::dns_resolver;
pub use http::http_session;
pub use mime::{mime, mime_cache, mime_field, mime_match};
pub use noise::{dictionary, noise, seeds};
pub use recode::mime_recode;
pub use report::queue_report;
pub use session::{imap_message, imap_name, imap_session, lmtp_session, pop3_session, smtp_session, submission_session};
pub use text::{address, config, sasl};

/// A body by the name of its target.
pub type Body = fn(&[u8]);

/// Every target. Each has a file of that name in fuzz/fuzz_targets, seeds in fuzz/corpus and may have a dictionary in fuzz/dict.
pub const TARGETS: &[(&str, Body)] = &[
    ("address", address),
    ("client_session", client_session),
    ("config", config),
    ("dns_resolver", dns_resolver),
    ("http_session", http_session),
    ("imap_message", imap_message),
    ("imap_name", imap_name),
    ("imap_session", imap_session),
    ("lmtp_session", lmtp_session),
    ("maildir_index", maildir_index),
    ("maildir_names", maildir_names),
    ("maildir_texts", maildir_texts),
    ("mime", mime),
    ("mime_cache", mime_cache),
    ("mime_field", mime_field),
    ("mime_match", mime_match),
    ("mime_recode", mime_recode),
    ("pop3_session", pop3_session),
    ("post_aliases", post_aliases),
    ("post_tidy", post_tidy),
    ("queue_record", queue_record),
    ("queue_report", queue_report),
    ("sasl", sasl),
    ("smtp_session", smtp_session),
    ("submission_session", submission_session),
];
