//! The house: everything that all connections share.
