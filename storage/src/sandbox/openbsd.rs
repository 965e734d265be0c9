//! OpenBSD: unveil(2) and pledge(2).

use super::{Needs, Walls};
use std::os::unix::ffi::OsStrExt as _;

/// Files of its own and their modes, sockets of the network and of this host, locks, names of users. No exec, no fork, no device, no tracing.
const PROMISES: &str = "stdio rpath wpath cpath fattr chown flock inet unix dns getpw";

pub(super) struct System;

impl Walls for System {
    fn hide(&self) -> Result<(), String> {
        // Who made no promise of it cannot trace, and ktrace(2) and core dumps are for the owner only.
        Ok(())
    }

    fn files(&self, needs: &Needs) -> Result<&'static str, String> {
        let all = [(&needs.read, "r"), (&needs.sockets, "rwc"), (&needs.ends, "c"), (&needs.write, "rwc")];
        for (path, rights) in all.into_iter().flat_map(|(paths, rights)| paths.iter().map(move |path| (path, rights))) {
            unveil::unveil(path.as_os_str().as_bytes(), rights).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        unveil::unveil("", "").map_err(|e| e.to_string())?;
        Ok("unveil")
    }

    fn calls(&self) -> Result<&'static str, String> {
        pledge::pledge(PROMISES, None).map_err(|e| e.to_string())?;
        Ok("pledge")
    }

    fn lacks(&self) -> Option<String> {
        None
    }
}
