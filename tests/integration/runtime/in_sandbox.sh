#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a test program in namespaces of its own: no route leads out of them, and when the program ends the kernel ends every process, mount
# and network it made. Control groups are not covered by that: the program makes them below $KUBERNEL_TEST_CGROUP, removed here.
#
# With KUBERNEL_TEST_NO_CGROUP2 it hides a version 2 tree beside version 1 ones, which makes `runtime: auto` take crun.
#
# usage: in_sandbox.sh PROGRAM [ARGUMENTS]      Without root it runs PROGRAM as it is, which then skips what needs more.
set -euo pipefail
if [ "$(id -u)" != 0 ] || ! unshare --net --mount --pid true 2>/dev/null; then
  exec "$@"
fi
directory=$(mktemp -d -t kubernel-test.XXXXXX)
export KUBERNEL_TEST_DIRECTORY=$directory KUBERNEL_TEST_CGROUP=/kubernel-test-$$
tidy() {
  # Rarely needed: only when the program was killed.
  find /sys/fs/cgroup -depth -type d -path "*$KUBERNEL_TEST_CGROUP*" -exec rmdir {} \; 2>/dev/null || true
  rm -rf --one-file-system "$directory"
}
trap tidy EXIT
"$KUBERNEL_TEST_MKIMAGE" --busybox "$directory/busybox.tar"
unshare --net --mount --pid --ipc --uts --fork --kill-child=SIGKILL --mount-proc --propagation private \
  bash -c 'if [ -n "${KUBERNEL_TEST_NO_CGROUP2:-}" ]; then umount /sys/fs/cgroup/unified 2>/dev/null || true; fi
           mount -t tmpfs -o mode=755 run /run; mkdir -p /run/netns /run/lock; ip link set lo up; "$@"' sandbox "$@"
