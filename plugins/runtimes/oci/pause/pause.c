// SPDX-License-Identifier: Apache-2.0
//
// The first process of a sandbox: holds its namespaces open and does nothing. Where a pod shares its process namespace this is process 1,
// so it also collects the children of others.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static void collect(int signal) {
  (void)signal;
  while (waitpid(-1, 0, WNOHANG) > 0) {
  }
}

int main(void) {
  struct sigaction on_end = {.sa_handler = end};
  struct sigaction on_child = {.sa_handler = collect, .sa_flags = SA_NOCLDSTOP};
  if (sigaction(SIGINT, &on_end, 0) != 0 || sigaction(SIGTERM, &on_end, 0) != 0 || sigaction(SIGCHLD, &on_child, 0) != 0) return 1;
  for (;;) pause();
}
