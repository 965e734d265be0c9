//! MIME: the structure of a message with byte offsets, its envelope, header fields, transfer encodings and charsets.
//!
//! Works on messages as they are stored, whatever their line ends. Knows no protocol, no file and no mailbox.
#![no_std]

extern crate alloc;

mod cache;
mod correspond;
mod date;
mod fields;
mod lex;
mod limits;
mod params;
mod recode;
mod room;
mod scan;
mod search;
mod structure;

pub use date::date;
pub use fields::{Field, FieldFilter, fields};
pub use recode::{Charset, Obstacle, Recoder, Source, Target};
pub use scan::Scanner;
pub use search::{Matcher, Needle, Piece, decoded, text_matches};
pub use structure::{Correspondent, Disposition, Envelope, Kind, Media, Param, Part, Structure};
