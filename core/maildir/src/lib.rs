//! Maildir as pure functions: file names, flags, directory names, the mailbox index as records of a log.
//!
//! This crate turns names and bytes into facts and back. It opens no file, lists no directory and knows no clock: whoever
//! does hands listings and bytes in. It knows no protocol either; flags and names are those of `mail`.
#![no_std]

extern crate alloc;

mod file;
mod folder;
mod index;
mod keywords;
pub mod limits;
mod reconcile;
mod record;
mod register;
pub mod sealed;
mod table;
mod uids;

pub use file::{FileName, Marks, Sizes, base_name, is_of_log, log_id, log_unique, write_base_name};
pub use folder::{folder_name, mailbox_name};
pub use index::{Entry, Index};
pub use keywords::Keywords;
pub use reconcile::{Listing, Place, Plan, Scope, reconcile};
pub use record::{Add, Bits, Blob, Facts, Record, Records, blob_frame, blob_payload};
pub use register::Register;
pub use uids::Bounds;
