//! Linux: Landlock and seccomp.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
#[path = "seccomp.rs"]
mod seccomp;

/// On other processors there is no compiler of filters that takes no unsafe code.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod seccomp {
    pub(super) fn apply() -> Result<(), String> {
        Err(format!("not for {}", std::env::consts::ARCH))
    }
}

use super::{Needs, Walls};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, Scope, make_bitflags, path_beneath_rules,
};
use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::set_no_new_privs,
};

pub(super) struct System;

impl Walls for System {
    fn hide(&self) -> Result<(), String> {
        set_no_new_privs(true).map_err(|e| e.to_string())?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|e| e.to_string())
    }

    fn files(&self, needs: &Needs) -> Result<&'static str, String> {
        landlock(needs).map_err(old)?;
        Ok("landlock")
    }

    fn calls(&self) -> Result<&'static str, String> {
        seccomp::apply()?;
        Ok("seccomp")
    }

    fn lacks(&self) -> Option<String> {
        ruleset().and_then(|ruleset| ruleset.create()).err().map(old)
    }
}

fn old(error: RulesetError) -> String {
    format!("Landlock of Linux 5.19 or later is not there ({error})")
}

/// What is held back unless a rule allows it.
fn ruleset() -> Result<Ruleset, RulesetError> {
    Ruleset::default()
        // The first version lets nobody rename a file into another directory, and a Maildir does nothing else.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V2))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))?
        // All ports are bound; what dials out lets the system choose one.
        .handle_access(AccessNet::BindTcp)?
        .scope(BitFlags::from(Scope::Signal) | Scope::AbstractUnixSocket)
}

fn landlock(needs: &Needs) -> Result<(), RulesetError> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write = read
        | make_bitflags!(AccessFs::{WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSock | MakeFifo | MakeSym | Refer});
    let sockets = make_bitflags!(AccessFs::{MakeSock | RemoveFile});
    ruleset()?
        .create()?
        .add_rules(path_beneath_rules(&needs.read, read))?
        .add_rules(path_beneath_rules(&needs.write, write))?
        .add_rules(path_beneath_rules(&needs.sockets, sockets))?
        .add_rules(path_beneath_rules(&needs.ends, AccessFs::RemoveDir))?
        .add_rule(NetPort::new(0, AccessNet::BindTcp))?
        .restrict_self()
        .map(drop)
}
