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
pub mod world;
