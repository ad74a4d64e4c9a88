# SPDX-License-Identifier: Apache-2.0
"""etcd's own Go client and its benchmark against etcd-server: what a watch promises, through kills, restarts and compaction.

Usage: etcd_client_test.py [sqlite | postgres | mysql]
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / part) for part in ("e2e", "clients")]

import api_server  # noqa: E402
import programs  # noqa: E402
import stores  # noqa: E402
import tap  # noqa: E402

KIND = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
PATIENCE = 180


class EtcdClient:
    INDEPENDENT = True

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kubernel-etcd-client-"))
        self.store = stores.Store(self.directory, KIND)
        self.etcd = self.store.etcd
        self.store.start()

    def close(self):
        self.store.close()
        stores.remove(self.directory)

    def explain(self, out):
        for line in self.etcd.log.read_text(errors="replace").splitlines()[-25:]:
            print(f"# {line}", file=out)

    def load(self, seconds, *more):
        return subprocess.Popen([programs.path("load"), "-endpoint", self.etcd.url(), "-clients", "16", "-connections", "4", "-keys", "20",
                                 "-duration", f"{seconds}s", *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def told(process):
        """Its figures, after those that must be nothing have been looked at."""
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        assert process.returncode == 0, errors
        figures = json.loads(out)
        assert figures["writes"] > 100 and figures["watchError"] == "", figures
        for wrong in ("missing", "disorder", "torn", "early", "lost"):
            assert figures[wrong] == 0, figures
        print(f"# {figures['writes']} writes, {figures['errors']} failed, {figures['promises']} progress marks", flush=True)
        return figures

    def test_a_watch_tells_everything_once_in_order_and_whole(self):
        figures = self.told(self.load(4, "-prefix", "/calm/", "-twins", "-progress", "20ms"))
        assert figures["errors"] == 0 and figures["conflicts"] == 0, figures
        assert figures["promises"] > 0, figures

    def test_compaction_does_not_disturb_it(self):
        load = self.load(6, "-prefix", "/compacted/", "-twins")
        compactions = 0
        while load.poll() is None and compactions < 20:
            time.sleep(0.25)
            revision = json.loads(self.etcd.etcdctl("get", "x", "-w", "json"))["header"]["revision"]
            # The watch may be this far behind.
            done = self.etcd.etcdctl("compaction", str(max(1, revision - 2000)))
            compactions += "compacted revision" in done
        figures = self.told(load)
        assert figures["errors"] == 0 and compactions > 3, (figures, compactions)

    def test_it_goes_on_after_kills_and_nothing_acknowledged_is_lost(self):
        load = self.load(9, "-prefix", "/killed/", "-twins", "-progress", "50ms")
        for end in (self.etcd.kill, self.etcd.stop, self.etcd.kill, self.etcd.kill):
            time.sleep(1.5)  # Of load, between two ends.
            end()
            self.etcd.start()
        figures = self.told(load)
        assert figures["errors"] > 0, "it was never away"

    def benchmark(self, *words):
        command = [programs.path("benchmark"), "--endpoints", self.etcd.listen, "--clients=8", "--conns=2", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Requests/sec" in done.stdout, done.stdout + done.stderr
        assert "Error distribution" not in done.stdout, done.stdout
        rates = [float(rate) for rate in re.findall(r"Requests/sec:\s+([\d.]+)", done.stdout)]
        assert rates and min(rates) > 0, done.stdout
        return done.stdout

    def test_etcds_benchmark_runs_without_an_error(self):
        self.benchmark("put", "--total=2000", "--key-space-size=1000", "--val-size=256", "--check-hashkv")
        self.benchmark("put", "--total=2000", "--key-space-size=100", "--compact-interval=200ms", "--compact-index-delta=100")
        self.benchmark("txn-put", "--total=500", "--txn-ops=10", "--key-space-size=100")
        self.benchmark("txn-mixed", "--total=500", "--key-space-size=100", "--limit=10", "a")
        self.benchmark("range", "--total=500", "--limit=100", "--consistency=l", "!", "z")
        self.benchmark("range", "--total=500", "--consistency=s", "a")
        self.benchmark("lease-keepalive", "--total=500")
        self.benchmark("stm", "--total=200", "--keys=50", "--keys-per-txn=3", "--isolation=r")
        self.benchmark("stm", "--total=200", "--keys=50", "--keys-per-txn=3", "--stm-locker=lock-client")
        self.benchmark("watch", "--streams=4", "--watch-per-stream=10", "--watched-key-total=4", "--put-total=200", "--put-rate=200")
        self.benchmark("watch-latency", "--put-total=200", "--put-rate=200")
        self.benchmark("watch-get", "--watchers=20", "--events=4")


if __name__ == "__main__":
    problem = api_server.enter_own_network() or stores.why_not(KIND)
    for name in ("load", "benchmark"):
        problem = problem or ("" if programs.is_built(name) else f"{name} has not been built; ./dev test --upstream does")
    sys.exit(tap.run(EtcdClient, problem))
