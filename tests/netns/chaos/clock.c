/* Stands between a daemon and the clocks of the machine, which others use too and which are therefore left alone: adds to the
 * wall clock and to CLOCK_BOOTTIME what the file $VXMESH_CLOCK says, two 64-bit numbers of seconds. Preloaded by the run. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct shift {
  long long wall, boot;
};
static const volatile struct shift *shift;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("VXMESH_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *at = mmap(NULL, sizeof(struct shift), PROT_READ, MAP_SHARED, file, 0);
  if (at != MAP_FAILED) shift = at;
  close(file);
}

int clock_gettime(clockid_t which, struct timespec *time) {
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(which, time);
  if (code == 0 && shift && which == CLOCK_REALTIME) time->tv_sec += shift->wall;
  if (code == 0 && shift && which == CLOCK_BOOTTIME) time->tv_sec += shift->boot;
  return code;
}
