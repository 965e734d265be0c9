//! Maildir as pure functions: file names, flags, directory names, the mailbox index as records of a log.
#![no_std]

extern crate alloc;
