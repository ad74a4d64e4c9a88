#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev test --upstream`: builds upstream's programs with Go, runs the tests of this folder with them, and counts.

Usage: run.py [--build-only | TEST…]     TEST: a file's name without _test.py, with an argument after a colon: kube_apiserver:sqlite
"""
import os
import re
import subprocess
import sys

import programs

TESTS = [f"{test}:{store}" for test in ("etcd_client", "kube_apiserver") for store in ("sqlite", "postgres", "mysql")]
POINT = re.compile(r"(not )?ok \d+ - [^#]*(# SKIP)?")


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, line):
        found = POINT.match(line)
        if not found:
            return
        if found[1]:
            self.failed += 1
        elif found[2]:
            self.skipped += 1
        else:
            self.passed += 1

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed or not self.passed else 0


def run(test, count):
    name, _, argument = test.partition(":")
    print(f"== {name.replace('_', '-')} {argument}".rstrip(), flush=True)
    command = [sys.executable, str(programs.HERE / f"{name}_test.py"), *filter(None, [argument])]
    failed_before = count.failed
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            count.add(line)
    if process.returncode != 0 and count.failed == failed_before:
        print(f"not ok - {name}: it ended with {process.returncode}")
        count.failed += 1


def main(words):
    os.environ.setdefault("KUBERNEL_BUILD", str(programs.BUILD))
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    count = Count()
    build_only = words == ["--build-only"]
    tests = TESTS if build_only or not words else words
    unknown = [test for test in tests if not (programs.HERE / f"{test.partition(':')[0]}_test.py").exists()]
    if unknown:
        print(f"dev: test --upstream: there is no test {unknown[0]}; there are: {' '.join(TESTS)}", file=sys.stderr)
        return 2
    try:
        for name in programs.PROGRAMS:
            programs.build(name)
    except programs.Missing as why:
        print(f"dev: test --upstream: {why}", file=sys.stderr)
        count.skipped = len(tests)
        return count.finish()
    if build_only:
        return 0
    for test in tests:
        run(test, count)
    return count.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
