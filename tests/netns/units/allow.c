/* usage: allow PROGRAM [ARGUMENT ...]
 * Runs a program under an allow list of system calls; every other one fails with EPERM: what systemd makes of SystemCallFilter= and
 * SystemCallErrorNumber=EPERM. calls.h, made by the test, has the number of each call that this architecture knows. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned allowed[] = {
#include "calls.h"
};
enum { CALLS = sizeof allowed / sizeof allowed[0] };

int main(int count, char **words)
{
    static struct sock_filter code[2 * CALLS + 2];
    unsigned n = 0;

    if (count < 2)
        return 2;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < CALLS; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {.len = n, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("allow");
        return 1;
    }
    execv(words[1], words + 1);
    perror(words[1]);
    return 1;
}
