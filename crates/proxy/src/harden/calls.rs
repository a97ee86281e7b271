//! seccomp: the calls of the kernel that are left. Any other answers as if it were not permitted.

use std::collections::BTreeMap;

use anyhow::Result;
use libc::{
    SYS_accept4, SYS_bind, SYS_brk, SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep,
    SYS_clone, SYS_clone3, SYS_close, SYS_connect, SYS_copy_file_range, SYS_dup, SYS_dup3,
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd2, SYS_exit,
    SYS_exit_group, SYS_faccessat, SYS_faccessat2, SYS_fallocate, SYS_fchmod, SYS_fcntl,
    SYS_fdatasync, SYS_flock, SYS_fstat, SYS_fsync, SYS_ftruncate, SYS_futex, SYS_getcwd,
    SYS_getdents64, SYS_getegid, SYS_geteuid, SYS_getgid, SYS_getpeername, SYS_getpid,
    SYS_getrandom, SYS_getsockname, SYS_getsockopt, SYS_gettid, SYS_gettimeofday, SYS_getuid,
    SYS_ioctl, SYS_linkat, SYS_listen, SYS_lseek, SYS_madvise, SYS_membarrier, SYS_mkdirat,
    SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munlock, SYS_munmap, SYS_nanosleep, SYS_newfstatat,
    SYS_openat, SYS_pipe2, SYS_ppoll, SYS_prctl, SYS_pread64, SYS_prlimit64, SYS_pwrite64,
    SYS_pwritev, SYS_read, SYS_readlinkat, SYS_readv, SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg,
    SYS_renameat, SYS_renameat2, SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction,
    SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_getaffinity, SYS_sched_yield, SYS_sendmmsg,
    SYS_sendmsg, SYS_sendto, SYS_set_robust_list, SYS_set_tid_address, SYS_setsockopt,
    SYS_shutdown, SYS_sigaltstack, SYS_socket, SYS_socketpair, SYS_statfs, SYS_statx, SYS_sysinfo,
    SYS_tgkill, SYS_uname, SYS_unlinkat, SYS_write, SYS_writev,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::Needs;

/// What serving takes: sockets and waiting for them, memory, threads, time, names of hosts.
#[rustfmt::skip] // A table reads best as one.
const SERVING: &[i64] = &[
    SYS_read, SYS_readv, SYS_write, SYS_writev, SYS_close, SYS_fcntl, SYS_ioctl, SYS_lseek,
    SYS_fstat, SYS_newfstatat, SYS_statx, SYS_openat, SYS_readlinkat, SYS_faccessat, SYS_faccessat2,
    SYS_socketpair, SYS_bind, SYS_listen, SYS_accept4, SYS_connect, SYS_shutdown,
    SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_sendto, SYS_sendmsg,
    SYS_sendmmsg, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg,
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd2, SYS_ppoll,
    SYS_pipe2, SYS_dup, SYS_dup3,
    SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk, SYS_munlock,
    SYS_clone3, SYS_futex, SYS_set_robust_list, SYS_set_tid_address, SYS_rseq,
    SYS_membarrier, SYS_sched_yield, SYS_sched_getaffinity, SYS_exit, SYS_exit_group,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall,
    SYS_tgkill, SYS_gettid, SYS_getpid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday,
    SYS_getrandom, SYS_uname, SYS_sysinfo, SYS_prlimit64,
];

/// Older forms of some of them, which other architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// What an archive takes besides.
#[rustfmt::skip] // A table reads best as one.
const FILES: &[i64] = &[
    SYS_getdents64, SYS_mkdirat, SYS_unlinkat, SYS_renameat, SYS_renameat2, SYS_linkat, SYS_fsync,
    SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_flock, SYS_pread64, SYS_pwrite64, SYS_pwritev,
    SYS_copy_file_range, SYS_statfs, SYS_fchmod, SYS_getcwd,
];

/// The same in older forms.
#[cfg(target_arch = "x86_64")]
const OLDER_FILES: &[i64] = &[
    libc::SYS_mkdir,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_chmod,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_FILES: &[i64] = &[];

/// What a call's first argument must be, for those that could do more than is needed.
#[rustfmt::skip] // A table reads best as one.
const FIRST_ARGUMENT: &[(i64, SeccompCmpOp, &[i32])] = &[
    // Threads, and no children.
    (SYS_clone, SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64), &[libc::CLONE_THREAD]),
    (SYS_prctl, SeccompCmpOp::Eq, &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA]),
    // Of the last the C library asks which addresses this machine has.
    (SYS_socket, SeccompCmpOp::Eq, &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]),
];

/// Leaves this thread, and those that it starts, only these calls: no other program is run, no other
/// process is touched.
pub(super) fn allow(needs: &Needs) -> Result<()> {
    let mut left = [SERVING, OLDER].concat();
    if needs.archive {
        left.extend([FILES, OLDER_FILES].concat());
    }
    let mut left: Rules = left.into_iter().map(|call| (call, Vec::new())).collect();
    for (call, how, values) in FIRST_ARGUMENT {
        let rules = values.iter().map(|value| {
            let value = u64::from(value.unsigned_abs());
            let first = SeccompCondition::new(0, SeccompCmpArgLen::Dword, how.clone(), value)?;
            Ok(SeccompRule::new(vec![first])?)
        });
        left.insert(*call, rules.collect::<Result<_>>()?);
    }
    let not_permitted = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let only = program(left, not_permitted, SeccompAction::Allow)?;
    // What it is to start stands in memory, where no filter can look: the C library is told that the
    // call is unknown, and takes the older one.
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let newer = Rules::from([(SYS_clone3, Vec::new())]);
    apply_filter(&program(newer, SeccompAction::Allow, unknown)?)?;
    Ok(apply_filter(&only)?)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A program that does this with any call, and that with those of the rules.
fn program(rules: Rules, any: SeccompAction, these: SeccompAction) -> Result<BpfProgram> {
    let filter = SeccompFilter::new(rules, any, these, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}
