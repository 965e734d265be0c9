//! A system that gives a program nothing to close itself in with, or nothing that can be called without unsafe code.

use super::{Needs, Walls};

const WHY: &str = "this system has no way that a program without unsafe code could take";

pub(super) struct System;

impl Walls for System {
    fn hide(&self) -> Result<(), String> {
        Err(WHY.into())
    }

    fn files(&self, _: &Needs) -> Result<&'static str, String> {
        Err(WHY.into())
    }

    fn calls(&self) -> Result<&'static str, String> {
        Err(WHY.into())
    }

    fn lacks(&self) -> Option<String> {
        Some(WHY.into())
    }
}
