#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The stores beside their peers (./dev bench upstream). Needs what `./dev test --upstream` builds.

c1           etcd under its own benchmark, then the embedded store, SQLite: 64 writers of 256 bytes each, both synced.
c2           the same with one writer, whose rate tells how long a write takes.
c3           etcd, then etcd-server over SQLite, both under etcd's own benchmark, `put`, both synced.
c4-postgres  kine, then etcd-server, on one PostgreSQL: compare-and-swap as kube-apiserver writes, and a watch that must see every write, by
c4-mysql     a client that leaves the machine to the servers (etcd-load). The same on one MariaDB.

The peer and ours take turns; the first round of both is thrown away. A round in which a request of ours failed is void. Figures mean
something on a quiet machine only.
"""
import argparse
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / part) for part in ("upstream", "clients", "integration/faults")]

import api_server  # noqa: E402
import control_plane  # noqa: E402
import programs  # noqa: E402
import stores  # noqa: E402

CLIENTS, CONNECTIONS, KEYS_EACH, VALUE_SIZE = 64, 8, 200, 256
# Of C1: 53 k writes/s where etcd did 17.7 k. Of C2: 150 us where etcd took 421.
FLOORS = {"c1": 3, "c2": 2.8, "c3": 1.3, "c4-postgres": 8, "c4-mysql": 8}
MOST_LAG_MS = 100
READY = {"etcd": b"ready to serve client requests", "kine": b"Kine available at"}


class Peer:
    """A process of another project, in `directory`; it serves on `url`."""

    def __init__(self, directory, name, command, url):
        self.url, self.log = url, pathlib.Path(directory) / f"{name}.log"
        with open(self.log, "wb") as log:
            # Its output is read to the line that says it is ready, and then by nobody: to a file.
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
        tail = subprocess.Popen(["tail", "-n", "+1", f"--pid={self.process.pid}", "-F", "-s", "0.05", self.log],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            for line in tail.stdout:
                if READY[name] in line:
                    return
        finally:
            tail.kill()
            tail.wait()
            tail.stdout.close()
        raise SystemExit(f"upstream_bench: {name} did not start:\n{self.log.read_text(errors='replace')[-2000:]}")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def start_etcd(directory):
    client, peer = "http://127.0.0.1:2479", "http://127.0.0.1:2480"
    return Peer(directory, "etcd", ["etcd", "--name", "n1", "--data-dir", f"{directory}/etcd", "--listen-client-urls", client,
                                    "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                                    "--initial-cluster", f"n1={peer}", "--quota-backend-bytes", "8000000000"], client)


def start_kine(directory, database):
    return Peer(directory, "kine", [programs.path("kine"), "--listen-address", "tcp://127.0.0.1:2579", "--metrics-bind-address", "0",
                                    "--endpoint", database.kine_endpoint()], "http://127.0.0.1:2579")


def usage_of(pid):
    """Seconds of CPU so far, resident bytes, bytes written so far."""
    at = pathlib.Path(f"/proc/{pid}")
    fields = (at / "stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    resident = int((at / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    written = int(re.search(r"^write_bytes: (\d+)", (at / "io").read_text(), re.MULTILINE)[1])
    return cpu, resident, written


class PutLoad:
    """etcd's benchmark counts requests, not seconds: a round is as long as the round before says."""

    def __init__(self, seconds, clients=CLIENTS, connections=CONNECTIONS):
        self.seconds, self.clients, self.connections, self.total = seconds, clients, connections, {}

    def run(self, url):
        total = self.total.get(url, 20000)
        command = [programs.path("benchmark"), "--endpoints", url.partition("//")[2], f"--clients={self.clients}", f"--conns={self.connections}",
                   "put", "--sequential-keys", f"--key-space-size={CLIENTS * KEYS_EACH}", "--key-size=16", f"--val-size={VALUE_SIZE}",
                   f"--total={total}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
        if done.returncode != 0 or not rate:
            raise SystemExit(f"upstream_bench: benchmark failed: {done.stdout}{done.stderr}"[:2000])
        errors = sum(int(n) for n in re.findall(r"^\s+\[(\d+)\]", done.stdout.partition("Error distribution")[2], re.MULTILINE))
        p50, p99 = (float(re.search(rf"{part}% in ([\d.]+) secs", done.stdout)[1]) * 1000 for part in (50, 99))
        self.total[url] = max(1000, int(float(rate[1]) * self.seconds))
        return {"writes": total - errors, "rate": float(rate[1]), "p50Ms": p50, "p99Ms": p99, "errors": errors}


class CompareAndSwapLoad:
    def __init__(self, seconds):
        self.seconds, self.number = seconds, 0

    def run(self, url):
        self.number += 1
        command = [control_plane.BUILD / "tests/bench/etcd-load", "--endpoint", url.partition("//")[2], "--clients", str(CLIENTS),
                   "--connections", str(CONNECTIONS), "--keys", str(KEYS_EACH), "--value-size", str(VALUE_SIZE), "--seconds", str(self.seconds),
                   "--prefix", f"/registry/load{self.number}/"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"upstream_bench: etcd-load failed: {done.stdout}{done.stderr}"[:2000])
        told = json.loads(done.stdout)
        return dict(told, rate=told["writes"] / told["seconds"])


def client_cpu():
    """Seconds of CPU of the clients that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def ticks_of(pid, own):
    """CPU of a process, or (not `own`) of those it has waited for; 0 when it has ended."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return sum(map(int, fields[11:13] if own else fields[13:15]))


def cpu_of(pid):
    """Seconds of a server and of what it started: PostgreSQL has a process for each connection, and some that come and go."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (sum(ticks_of(process, True) for process in [pid, *children]) + ticks_of(pid, False)) / os.sysconf("SC_CLK_TCK")


def one_round(load, url, pid, database=None):
    """A round of `load` on what serves `url` as process `pid`; `database`: pid of the database server under it."""
    before = usage_of(pid)
    stored, asked = cpu_of(database) if database else None, client_cpu()
    told = load.run(url)
    after = usage_of(pid)
    writes = max(told["writes"], 1)
    out = dict(told, cpu=(after[0] - before[0]) / writes * 1e6, resident=after[1], written=(after[2] - before[2]) / writes,
               clientCpu=(client_cpu() - asked) / writes * 1e6)
    if database:
        out["databaseCpu"] = (cpu_of(database) - stored) / writes * 1e6
    return out


def embedded_round(directory, seconds, which):
    """The store's own `which`, writers or writer, in a process that has nothing else to do."""
    before = client_cpu()
    command = [control_plane.BUILD / "tests/bench/storage-bench", directory, str(seconds), "1", "sqlite", which]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = re.search(r" writers, .* (\d+) writes/s, p50 +(\d+) us, p99 +(\d+) us", done.stdout)
    if done.returncode != 0 or not told:
        raise SystemExit(f"upstream_bench: storage-bench failed: {done.stdout}{done.stderr}"[:2000])
    writes = int(told[1]) * seconds
    return {"writes": writes, "rate": float(told[1]), "p50Ms": float(told[2]) / 1000, "p99Ms": float(told[3]) / 1000, "errors": 0,
            "cpu": (client_cpu() - before) / writes * 1e6}


def show(name, rounds):
    def middle(key):
        return statistics.median(r[key] for r in rounds)
    text = f"  {name:<22} {middle('rate'):>8.0f} writes/s, " + (f"p50 {middle('p50Ms'):.3f} ms, " if "p50Ms" in rounds[0] else "")
    text += f"p99 {middle('p99Ms'):>7.1f} ms, {middle('cpu'):>6.1f} us of its CPU each"
    for key, what in (("databaseCpu", "the database's"), ("clientCpu", "the client's")):
        text += f", {middle(key):.1f} of {what}" if key in rounds[0] else ""
    if "resident" in rounds[0]:
        text += f", {middle('written'):.0f} B to disk each, {middle('resident') / 1e6:.0f} MB resident"
    errors = sum(r["errors"] for r in rounds)
    text += f"; {errors} of {sum(r['writes'] for r in rounds) + errors} failed"
    if "lagP99Ms" in rounds[0]:
        text += (f"; watch: lag p99 {middle('lagP99Ms'):.1f} ms, {sum(r['missing'] for r in rounds)} events missing, "
                 f"{sum(r['disorder'] for r in rounds)} out of order, {sum(r['conflicts'] for r in rounds)} races lost to nobody")
    print(text, flush=True)
    for why in sorted({r[kind] for r in rounds for kind in ("firstError", "watchError") if r.get(kind)}):
        print(f"    {why[:200]}")


def compare(goal, peer, ours, count):
    """`peer` and `ours`: a name and what plays a round of it. Peer, ours, peer, ours."""
    theirs, our, void = [], [], 0
    for number in range(count + 1):
        pair = [play() for _, play in (peer, ours)]
        if number == 0:
            continue
        if pair[1]["errors"]:
            void += 1
        theirs.append(pair[0])
        our.append(pair[1])
    ratios = [mine["rate"] / max(other["rate"], 1e-9) for other, mine in zip(theirs, our)]
    show(peer[0], theirs)
    show(ours[0], our)
    wanted = FLOORS[goal]
    missed = statistics.median(ratios) < wanted or void > 0
    if "lagP99Ms" in our[0]:
        missed |= statistics.median(r["lagP99Ms"] for r in our) > MOST_LAG_MS or any(r["missing"] or r["disorder"] for r in our)
    cheaper = statistics.median((other["cpu"] + other.get("databaseCpu", 0)) / (mine["cpu"] + mine.get("databaseCpu", 0))
                                for other, mine in zip(theirs, our))
    print(f"{goal.upper()} {statistics.median(ratios):.2f} times {peer[0]} ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"
          f"{f', {void} of them void' if void else ''}), with {cheaper:.1f} times less CPU a write; floor {wanted:g}: "
          f"{'MISSED' if missed else 'reached'}", flush=True)
    return not missed


def run_embedded(directory, seconds, rounds, goal, load, which):
    etcd = start_etcd(directory)
    try:
        return compare(goal, ("etcd", lambda: one_round(load, etcd.url, etcd.process.pid)),
                       ("sqlite, embedded", lambda: embedded_round(directory, seconds, which)), rounds)
    finally:
        etcd.stop()


def run_c3(directory, seconds, rounds):
    store = stores.Store(directory, "sqlite", durable=True)
    etcd = None
    try:
        store.start()
        etcd = start_etcd(directory)
        load = PutLoad(seconds)
        return compare("c3", ("etcd", lambda: one_round(load, etcd.url, etcd.process.pid)),
                       ("etcd-server, sqlite", lambda: one_round(load, store.etcd.url(), store.etcd.process.pid)), rounds)
    finally:
        store.close()
        if etcd:
            etcd.stop()


def run_c4(directory, seconds, rounds, kind):
    store = stores.Store(directory, kind, durable=True)
    kine = None
    try:
        store.start()
        kine = start_kine(directory, store.database)
        load, database = CompareAndSwapLoad(seconds), store.database.process.pid
        return compare(f"c4-{kind}", (f"kine, {kind}", lambda: one_round(load, kine.url, kine.process.pid, database)),
                       (f"etcd-server, {kind}", lambda: one_round(load, store.etcd.url(), store.etcd.process.pid, database)), rounds)
    finally:
        if kine:
            kine.stop()
        store.close()


def run_c1(directory, seconds, rounds):
    return run_embedded(directory, seconds, rounds, "c1", PutLoad(seconds), "writers")


def run_c2(directory, seconds, rounds):
    return run_embedded(directory, seconds, rounds, "c2", PutLoad(seconds, 1, 1), "writer")


RUNS = {"c1": ("sqlite", ["benchmark"], run_c1),
        "c2": ("sqlite", ["benchmark"], run_c2),
        "c3": ("sqlite", ["benchmark"], run_c3),
        "c4-postgres": ("postgres", ["kine"], lambda *words: run_c4(*words, "postgres")),
        "c4-mysql": ("mysql", ["kine"], lambda *words: run_c4(*words, "mysql"))}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench upstream", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("goal", nargs="*", help="c1, c2, c3, c4-postgres, c4-mysql (default: all)")
    parser.add_argument("--seconds", type=int, default=8, help="of a round (default: 8)")
    parser.add_argument("--rounds", type=int, default=5, help="that count (default: 5)")
    parser.add_argument("--directory", default=str(programs.BUILD), help="on the disk to be measured (default: the build directory)")
    options = parser.parse_args()
    goals = options.goal or list(RUNS)
    for goal in goals:
        if goal not in RUNS:
            parser.error(f"there is no goal {goal}; there are: {', '.join(RUNS)}")
    problem = api_server.enter_own_network()
    if problem:
        sys.exit(f"upstream_bench: {problem}")
    for goal in goals:
        kind, needed, _ = RUNS[goal]
        problem = stores.why_not(kind)
        for name in needed:
            problem = problem or ("" if programs.is_built(name) else f"{name} has not been built; ./dev test --upstream --build-only does")
        if problem:
            sys.exit(f"upstream_bench: {goal}: {problem}")
    print(f"load average {os.getloadavg()[0]:.1f}; on a machine with other work these figures say little")
    reached = True
    for goal in goals:
        with tempfile.TemporaryDirectory(prefix="upstream-bench-", dir=options.directory) as directory:
            reached &= RUNS[goal][2](directory, options.seconds, options.rounds)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
