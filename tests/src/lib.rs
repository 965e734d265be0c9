//! Proofs: dialogs, dice, crashing disks, conformance, interop and the house rules.
