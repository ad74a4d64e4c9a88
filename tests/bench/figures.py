# SPDX-License-Identifier: Apache-2.0
"""The figures of a run: their values, their floors, and how they are shown."""
import json
import math
import statistics
import sys


def percentile(values, share):
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Figures:
    def __init__(self, show):
        self.rows = []
        self.show = show

    def add(self, name, value, unit, floor=None, detail=""):
        """One figure; smaller is better, and more than its floor is a miss."""
        row = {"name": name, "value": round(value, 3), "unit": unit, "floor": floor, "detail": detail}
        row["missed"] = floor is not None and value > floor
        self.rows.append(row)
        if self.show:
            limit = "" if floor is None else f"  floor <= {floor:g} {unit}: {'MISSED' if row['missed'] else 'reached'}"
            print(f"{name:<46} {value:>9.2f} {unit:<6}{limit}{'  (' + detail + ')' if detail else ''}", flush=True)

    def add_spread(self, name, milliseconds, floor=None):
        """The median of several measurements, with the extremes beside it."""
        self.add(name, statistics.median(milliseconds), "ms", floor,
                 f"min {min(milliseconds):.0f}, max {max(milliseconds):.0f}, N={len(milliseconds)}")

    def add_percentiles(self, name, milliseconds, floor=None):
        self.add(name + " p50", percentile(milliseconds, 0.5), "ms", floor,
                 f"min {min(milliseconds):.0f}, max {max(milliseconds):.0f}, N={len(milliseconds)}")
        self.add(name + " p99", percentile(milliseconds, 0.99), "ms")

    def finish(self, load):
        """Prints what is left to print; the exit code."""
        missed = [row["name"] for row in self.rows if row["missed"]]
        if self.show:
            print(f"load average when it began: {load[0]:.1f}; on a machine with other work these figures say little")
        else:
            json.dump({"load": load, "figures": self.rows}, sys.stdout, indent=2)
            print()
        for name in missed:
            print(f"cluster_bench: floor missed: {name}", file=sys.stderr)
        return 1 if missed else 0
