// Which cores the program sees, and what is said to a wish for each of two.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/utsname.h>

int main(void) {
  struct utsname name;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set)) return 1;
  printf("%d cores", CPU_COUNT(&set));
  for (int core = 1; core >= 0; core--) {
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    int refused = sched_setaffinity(0, sizeof set, &set);
    for (long i = 0; i < 1000 && sched_getcpu() != core && !refused; i++) continue;
    if (uname(&name)) return 2;
    printf(", %d: %s on %s", core, refused ? errno == EINVAL ? "EINVAL" : "?" : "went", name.machine);
  }
  puts("");
  return 0;
}
