//! Proofs: dialogs, dice, crashing disks, conformance, interop and the house rules.

pub mod dialog;
pub mod drive;
pub mod model;
