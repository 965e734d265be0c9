//! Proofs: dialogs, dice, crashing disks, conformance, interop and the house rules.

pub mod corpus;
pub mod dialog;
pub mod disk;
pub mod drive;
pub mod fuzz;
pub mod imaptest;
pub mod live;
pub mod model;
pub mod play;
pub mod promise;
pub mod told;
pub mod world;

/// A checkpoint of mailboxes that no spool knows of.
///
/// # Errors
/// If one of them is set aside.
pub fn settle(boxes: &storage::mailbox::Mailboxes) -> Result<(), imap::Refusal> {
    let failed = boxes.checkpoint(&std::collections::BTreeSet::new);
    if failed.is_empty() && boxes.aside().is_empty() { Ok(()) } else { Err(imap::Refusal::Fault(wire::Fault::Later)) }
}

/// The clean end of such mailboxes.
///
/// # Errors
/// As there.
pub fn close(boxes: &storage::mailbox::Mailboxes) -> Result<(), imap::Refusal> {
    boxes.close();
    settle(boxes)
}
