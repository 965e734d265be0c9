//! The filter of system calls.

use nix::libc;
use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};
use std::{collections::BTreeMap, env::consts::ARCH};

/// Calls that a mail server has no use for, and somebody who took it over has. All others are allowed: which ones libc and the kernel agree on differs from
/// one version to the next, and a list of what is allowed would one day lose mail.
const DENIED: &[libc::c_long] = &[
    // Other programs. The server starts none.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Another user again, or another view of the system.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // A file without its path.
    libc::SYS_open_by_handle_at,
    // What most holes of the kernel of the last years began with.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_adjtimex,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

/// Added to the number of a call it means that of another interface (x32), with the same effect, on x86_64. Nothing here uses it.
const X32: i64 = 0x4000_0000;
/// The calls that have numbers of their own there: execve, ptrace, process_vm_readv, process_vm_writev, kexec_load, execveat.
const X32_OWN: [i64; 6] = [520, 521, 539, 540, 528, 545];

/// New namespaces make a root of anybody, with all the code of the kernel that only root reaches.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Refuses them to all threads.
pub(super) fn apply() -> Result<(), String> {
    [denied()?, unreadable()?].iter().try_for_each(|filter| seccompiler::apply_filter_all_threads(filter)).map_err(|e| e.to_string())
}

/// The filter of what is refused with EPERM.
fn denied() -> Result<BpfProgram, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    #[allow(clippy::useless_conversion, reason = "the number of a call is not 64 bits wide everywhere")]
    for call in DENIED.iter().map(|call| i64::from(*call)) {
        rules.insert(call, Vec::new());
    }
    let is = |op, value: libc::c_int| SeccompCondition::new(0, SeccompCmpArgLen::Dword, op, u64::from(value.cast_unsigned()));
    // A server speaks to the network and to this host; packets, tables of the kernel and virtual machines are not its business.
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(|family| is(SeccompCmpOp::Ne, family));
    let families = families.into_iter().collect::<Result<_, _>>().and_then(SeccompRule::new).map_err(|e| e.to_string())?;
    rules.insert(libc::SYS_socket, vec![families]);
    let namespaces = NAMESPACES.map(|flag| {
        let flag64 = u64::from(flag.cast_unsigned());
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag64), flag64).and_then(|is| SeccompRule::new(vec![is]))
    });
    rules.insert(libc::SYS_clone, namespaces.into_iter().collect::<Result<_, _>>().map_err(|e| e.to_string())?);
    if ARCH == "x86_64" {
        let other: Vec<i64> = rules.keys().copied().chain(X32_OWN).map(|call| call | X32).collect();
        rules.extend(other.into_iter().map(|call| (call, Vec::new())));
    }
    filter(rules, Errno::PERM)
}

/// The filter of what says in memory what it wants, where no filter can read it: libc takes the older call then.
fn unreadable() -> Result<BpfProgram, String> {
    filter(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), Errno::NOSYS)
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, error: Errno) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(ARCH).map_err(|_| format!("not for {ARCH}"))?;
    let deny = SeccompAction::Errno(error.raw_os_error().cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, deny, arch).map_err(|e| e.to_string())?;
    filter.try_into().map_err(|e: seccompiler::BackendError| e.to_string())
}
