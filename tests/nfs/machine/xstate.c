/* Copyright (c) 2026, the uvnas.cluster contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A ptrace() for User Mode Linux (LD_PRELOAD) on processors with more registers than it knows, such as AMX.
 *
 * User Mode Linux reads and writes a process's extended registers with a buffer that is too small there. The host's
 * kernel fills as much as fits, but only accepts the full size back (EFAULT), so User Mode Linux dies with its first
 * process. This reads all registers, overwrites the part that User Mode Linux has, and writes all of them. The rest
 * keeps its initial state, because the header, which tells what is in use, comes first.
 */
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NT_X86_XSTATE 0x202

/* Not on the stack: User Mode Linux has small ones. It has one thread. */
static char whole[1 << 16];

static long call(long request, long pid, long address, void *data) {
    return syscall(SYS_ptrace, request, pid, address, data);
}

long ptrace(enum __ptrace_request request, ...) {
    va_list arguments;
    va_start(arguments, request);
    long pid = va_arg(arguments, pid_t);
    long address = (long)va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
        long word = -1;
        return call(request, pid, address, &word) < 0 ? -1 : word;
    }
    if (request != PTRACE_SETREGSET || address != NT_X86_XSTATE)
        return call(request, pid, address, data);

    struct iovec *part = data, all = {whole, sizeof whole};
    if (call(PTRACE_GETREGSET, pid, address, &all) < 0)
        return -1;
    memcpy(whole, part->iov_base, part->iov_len < all.iov_len ? part->iov_len : all.iov_len);
    return call(PTRACE_SETREGSET, pid, address, &all);
}
