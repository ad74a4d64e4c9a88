# SPDX-License-Identifier: Apache-2.0
"""Runs the test methods of a class in the order they are written, as TAP, one point each.

The methods tell one story, so after the first failure the rest are skipped, with the reason; those of a class with
INDEPENDENT = True are run in any case.
"""
import inspect
import sys
import traceback


def run(story, skip=""):
    names = [n for n in vars(story) if n.startswith("test_")]
    names.sort(key=lambda n: inspect.getsourcelines(getattr(story, n))[1])
    print(f"1..{len(names)}")
    if skip:
        for number, name in enumerate(names, 1):
            print(f"ok {number} - {name} # SKIP {skip}")
        return 0
    failed = ""
    instance = story()
    try:
        for number, name in enumerate(names, 1):
            title = name.removeprefix("test_").replace("_", " ")
            if failed and not getattr(story, "INDEPENDENT", False):
                print(f"ok {number} - {title} # SKIP after the failure of: {failed}", flush=True)
                continue
            try:
                getattr(instance, name)()
                print(f"ok {number} - {title}", flush=True)
            except Exception:  # Whatever it is, it is this point's failure.
                failed = title
                print(f"not ok {number} - {title}", flush=True)
                for line in traceback.format_exc().splitlines():
                    print(f"# {line}", flush=True)
                instance.explain(sys.stdout)
    finally:
        instance.close()
    return 1 if failed else 0
