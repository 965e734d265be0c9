//! The questions of an HTTP server.

use crate::{Request, Response};
use alloc::vec::Vec;
use wire::{Question, Sink};

/// A question for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Somebody wants something.
    Request(Request),
    /// The next piece of the response that was given last; an empty one ends it.
    Piece,
}

/// The answer to a question, of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Request`.
    Response(Response),
    /// To `Piece`.
    Piece(Vec<u8>),
}

/// Whoever answers. No request has a body long enough to be streamed, so nothing comes to its sink.
pub trait Office: Sink {
    /// See [`Ask::Request`].
    fn request(&mut self, request: Request) -> Response;
    /// See [`Ask::Piece`].
    fn piece(&mut self) -> Vec<u8>;
}

impl<O: Office> Question<O> for Ask {
    type Answer = Answer;

    fn put_to(self, office: &mut O) -> Answer {
        match self {
            Ask::Request(request) => Answer::Response(office.request(request)),
            Ask::Piece => Answer::Piece(office.piece()),
        }
    }

    fn waits(&self) -> bool {
        true
    }
}
