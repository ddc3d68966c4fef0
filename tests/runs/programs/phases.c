// Two phases, each slower on one instruction set by a sleep, which is longer than a busy host keeps anybody waiting:
// with MAIZE_PLACE=fastest each ends up on the other one, and a phase whose thread has been sent elsewhere is not
// measured there.
#include <maize.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *isa(void) {
  static struct utsname name;
  return uname(&name) ? "?" : name.machine;
}

// Runs the phase some times; where it was the last time.
static const char *run(const char *name, const char *slow_on, int times) {
  static char last[16];
  for (int i = 0; i < times; i++) {
    maize_phase(name);
    strcpy(last, isa());
    usleep(strcmp(last, slow_on) ? 1000 : 1000000);
  }
  maize_phase(NULL);
  return last;
}

int main(void) {
  const char *names[] = {"first", "second"}, *slow_on[] = {"aarch64", "x86_64"};
  for (int i = 0; i < 2; i++) printf("%s: on %s\n", names[i], run(names[i], slow_on[i], 6));
  for (int i = 0; i < 2; i++) {
    unsigned long best[2];
    unsigned x86_64 = maize_phase_runs(names[i], 62, &best[0]);
    unsigned aarch64 = maize_phase_runs(names[i], 183, &best[1]);
    unsigned faster = i ? aarch64 : x86_64;
    printf("%s: %u times, %u on the faster, %s\n", names[i], x86_64 + aarch64, faster,
           x86_64 && aarch64 && best[i] < best[!i] ? "measured" : "-");
  }
  return 0;
}
