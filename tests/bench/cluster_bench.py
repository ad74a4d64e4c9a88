#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a cluster of one node costs and how fast it is, over the API as a user sees it.

usage: cluster_bench.py [-o json] [--rounds N] [--pods N] [NAME...]

Names: start (exec to /readyz on an empty store), idle (memory, CPU, wake-ups, writes), pod (create to Running), burst (50 pods at
once), rollout (a deployment from 1 to 20 and back), api (one client, one request at a time). Without a name: all of them.
Ends with exit code 1 when a figure misses its floor. Needs root, for namespaces.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import cluster  # noqa: E402
from api_client import Api, Credentials, Watch  # noqa: E402
from figures import Figures  # noqa: E402

KERNEL = cluster.BUILD / "core/kubernel"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
READY_FLOOR_MS, RESIDENT_FLOOR_MB, POD_FLOOR_MS = 300, 80, 500
QUIET_S, IDLE_S = 30, 20
# Ends at once when told to, so that deleting measures the cluster and not the patience of a shell.
COMMAND = ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]


def seconds_until_ready(port, ca_file, began, alive):
    """Asks /readyz until it answers 200; the seconds since `began`, a time of time.time()."""
    tls = ssl.create_default_context(cafile=ca_file)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", context=tls, timeout=60):
                return time.time() - began()
        except (urllib.error.URLError, OSError):
            if not alive():
                raise RuntimeError("the process ended before it was ready") from None
            time.sleep(0.002)
    raise RuntimeError("not ready within 60 s")


# --- start -------------------------------------------------------------------------------------------------------------------------

CONTROL_PLANE = """apiVersion: kubernel/v1alpha1
kind: PluginManifest
plugins:
  - name: storage-sqlite
    config: {{path: {directory}/state.db}}
  - name: apiserver
    config: {{listen: ["127.0.0.1:{port}"], pkiDirectory: {directory}/pki, serverNames: ["127.0.0.1"]}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_control_plane(directory):
    """Starts storage and API server on an empty store; milliseconds until ready."""
    for path in pathlib.Path(directory).glob("state.db*"):
        path.unlink()
    port = free_port()
    manifest = pathlib.Path(directory) / "manifest.yaml"
    manifest.write_text(CONTROL_PLANE.format(directory=directory, port=port))
    with open(f"{directory}/log", "w", encoding="utf-8") as log:
        began = time.time()
        process = subprocess.Popen([KERNEL, "run", "--manifest", manifest], stdout=log, stderr=log,
                                   env=dict(os.environ, KUBERNEL_PLUGIN_PATH=str(cluster.BUILD)))
    try:
        ca_file = pathlib.Path(directory) / "pki/ca.crt"
        while not ca_file.exists() and process.poll() is None:
            time.sleep(0.002)  # Only the first start makes it; that one is not counted.
        return 1000 * seconds_until_ready(port, ca_file, lambda: began, lambda: process.poll() is None)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def start_everything():
    """Brings up a whole node with an empty store; milliseconds from the exec of `kubernel run` until ready."""
    one = cluster.Cluster()
    try:
        # Notes the time of the exec, which happens inside the sandbox.
        stamp = pathlib.Path(one.state) / "exec-time"
        wrapper = pathlib.Path(one.state) / "kubernel"
        wrapper.write_text(f"#!/bin/bash\necho $EPOCHREALTIME >{stamp}.new\nmv {stamp}.new {stamp}\nexec {KERNEL} \"$@\"\n")
        wrapper.chmod(0o755)
        one.environment["KUBERNEL_PROGRAM"] = str(wrapper)
        port = free_port()
        up = threading.Thread(target=one.up, args=("--port", str(port)))
        up.start()
        while not stamp.exists() and up.is_alive():
            time.sleep(0.002)
        ca_file = f"{one.state}/{one.name}/pki/ca.crt"
        spent = 1000 * seconds_until_ready(port, ca_file, lambda: float(stamp.read_text()), up.is_alive)
        up.join()
        return spent
    finally:
        one.close()


def measure_start(figures, options):
    directory = tempfile.mkdtemp(prefix="kubernel-bench-")
    try:
        start_control_plane(directory)  # Makes the PKI and warms the page cache.
        spent = [start_control_plane(directory) for _ in range(options.rounds)]
    finally:
        shutil.rmtree(directory)
    figures.add_spread("exec to /readyz, storage and API server", spent, READY_FLOOR_MS)
    figures.add_spread("exec to /readyz, everything", [start_everything() for _ in range(options.rounds)], READY_FLOOR_MS)


# --- idle --------------------------------------------------------------------------------------------------------------------------

def descendants(pid):
    """A process and all below it."""
    out = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            out += descendants(int(child))
    return out


def number(path, name):
    found = re.search(rf"^{name}:\s+(\d+)", pathlib.Path(path).read_text(), re.M)
    return int(found.group(1)) if found else 0


def cpu_ms(pid):
    """CPU time of a process, ended threads too, and finer than the ticks of utime and stime: clock_getcpuclockid(3)."""
    return 1000 * time.clock_gettime((~pid << 3) | 2)


def usage(pids):
    """What the processes have used since they began: CPU in ms, bytes written, and each living thread's voluntary switches."""
    out = {"cpu": sum(cpu_ms(pid) for pid in pids), "written": 0, "switches": {}}
    for pid in pids:
        out["written"] += number(f"/proc/{pid}/io", "write_bytes")
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            out["switches"][task.name] = number(task / "status", "voluntary_ctxt_switches")
    return out


def count_syncs(pid):
    """fsync and fdatasync calls in IDLE_S seconds; None without strace."""
    if not shutil.which("strace"):
        return None
    with tempfile.NamedTemporaryFile("r") as out:
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", out.name, "-p", str(pid)],
                                  stderr=subprocess.DEVNULL)
        time.sleep(IDLE_S)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
        return sum("sync(" in line for line in out)


def measure_idle(figures, one):
    """Over a cluster that nobody uses, after some quiet."""
    (kernel,) = one.kubernel_pids()
    pids = descendants(one.record()["pid"])
    time.sleep(QUIET_S)
    before = usage(pids)
    time.sleep(IDLE_S)
    after = usage(pids)
    rss = sum(number(f"/proc/{pid}/status", "VmRSS") for pid in pids) / 1024
    pss = sum(number(f"/proc/{pid}/smaps_rollup", "Pss") for pid in pids) / 1024
    own = number(f"/proc/{kernel}/status", "VmRSS") / 1024
    figures.add("idle: resident, all processes", rss, "MB", RESIDENT_FLOOR_MB, f"{len(pids)} processes, kubernel run alone {own:.1f}")
    figures.add("idle: proportional (PSS), all processes", pss, "MB")
    figures.add("idle: CPU", (after["cpu"] - before["cpu"]) / IDLE_S / 10, "%", None, f"of one core, over {IDLE_S} s")
    switches = sum(count - before["switches"].get(thread, 0) for thread, count in after["switches"].items())
    figures.add("idle: voluntary context switches", switches / IDLE_S, "/s")
    figures.add("idle: written", (after["written"] - before["written"]) / IDLE_S / 1024, "KB/s")
    syncs = count_syncs(kernel)
    if syncs is not None:
        figures.add("idle: fsyncs", syncs * 10 / IDLE_S, "/10s")


# --- pods --------------------------------------------------------------------------------------------------------------------------

def pod(name, app):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": app}}, "spec": pod_spec()}


def pod_spec():
    return {"containers": [{"name": "c", "image": "localhost/busybox", "imagePullPolicy": "IfNotPresent", "command": COMMAND}]}


def is_running(objects, name):
    return name in objects and objects[name].get("status", {}).get("phase") == "Running"


def measure_pod(figures, credentials, options):
    api, watch = Api(credentials), Watch(credentials, PODS, "bench=pod")
    spent = []
    for index in range(options.pods + 1):
        name = f"pod-{index}"
        began = time.monotonic()
        api.request("POST", PODS, pod(name, "pod"))
        spent.append(1000 * (watch.until(lambda objects: is_running(objects, name), f"{name} Running") - began))
        api.request("DELETE", f"{PODS}/{name}")
        watch.until(lambda objects: name not in objects, f"{name} gone")
    watch.close()
    figures.add_percentiles("pod create to Running", spent[1:], POD_FLOOR_MS)  # The first finds cold caches.


def measure_burst(figures, credentials, count=50, writers=8):
    watch = Watch(credentials, PODS, "bench=burst")
    names = [f"burst-{index}" for index in range(count)]
    local = threading.local()

    def post(name):
        if not hasattr(local, "api"):
            local.api = Api(credentials)
        local.api.request("POST", PODS, pod(name, "burst"))

    with concurrent.futures.ThreadPoolExecutor(writers) as pool:
        began = time.monotonic()
        list(pool.map(post, names))
        ended = watch.until(lambda objects: all(is_running(objects, name) for name in names), f"{count} pods Running", 300)
        figures.add(f"{count} pods at once, all Running", 1000 * (ended - began), "ms")
    api = Api(credentials)
    began = time.monotonic()
    for name in names:
        api.request("DELETE", f"{PODS}/{name}")
    ended = watch.until(lambda objects: not objects, f"{count} pods gone", 300)
    figures.add(f"{count} pods deleted, all gone", 1000 * (ended - began), "ms")
    watch.close()


def measure_rollout(figures, credentials, most=20):
    api = Api(credentials)
    deployments, pods = Watch(credentials, DEPLOYMENTS, "bench=rollout"), Watch(credentials, PODS, "bench=rollout")
    labels = {"bench": "rollout"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec()}

    def scale(replicas):
        began = time.monotonic()
        api.request("PATCH", f"{DEPLOYMENTS}/rollout", {"spec": {"replicas": replicas}}, "application/merge-patch+json")
        return began

    def available(replicas):
        def reached(objects):
            status = objects.get("rollout", {}).get("status", {})
            return status.get("availableReplicas") == replicas and status.get("replicas") == replicas
        return reached

    api.request("POST", DEPLOYMENTS, {"metadata": {"name": "rollout", "labels": labels}, "spec": {
        "replicas": 1, "selector": {"matchLabels": labels}, "template": template}})
    deployments.until(available(1), "1 replica available")
    began = scale(most)
    figures.add(f"deployment 1 to {most}, all available",
                1000 * (deployments.until(available(most), f"{most} replicas available", 300) - began), "ms")
    began = scale(1)
    figures.add(f"deployment {most} to 1, pods gone",
                1000 * (pods.until(lambda objects: len(objects) == 1, "1 pod left", 300) - began), "ms")
    api.request("DELETE", f"{DEPLOYMENTS}/rollout")
    pods.until(lambda objects: not objects, "no pod left")
    deployments.close()
    pods.close()


def measure_api(figures, credentials, count=300):
    api = Api(credentials)
    maps = "/api/v1/namespaces/default/configmaps"

    def timed(method, path, body=None):
        began = time.monotonic()
        api.request(method, path, body)
        return 1000 * (time.monotonic() - began)

    figures.add_percentiles("POST a ConfigMap of 1 KB, durable", [
        timed("POST", maps, {"metadata": {"name": f"bench-{index}"}, "data": {"k": "x" * 1000}}) for index in range(count)])
    figures.add_percentiles("GET a ConfigMap", [timed("GET", f"{maps}/bench-{index}") for index in range(count)])
    figures.add_percentiles(f"LIST {count} ConfigMaps", [timed("GET", maps) for _ in range(20)])


# --- all ---------------------------------------------------------------------------------------------------------------------------

NAMES = ("start", "idle", "pod", "burst", "rollout", "api")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(NAMES)}")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--rounds", type=int, default=10, help="how many starts (10)")
    parser.add_argument("--pods", type=int, default=30, help="how many pods one after another (30)")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown benchmark \"{unknown[0]}\"; there are: {', '.join(NAMES)}")
    if options.rounds < 1 or options.pods < 1:
        parser.error("--rounds and --pods take a number from 1")
    options.names = options.names or NAMES
    return options


def measure_cluster(figures, options):
    one = cluster.Cluster()
    try:
        one.up()
        credentials = Credentials(one.environment["KUBECONFIG"])
        if "idle" in options.names:
            measure_idle(figures, one)
        if "pod" in options.names:
            measure_pod(figures, credentials, options)
        if "burst" in options.names:
            measure_burst(figures, credentials)
        if "rollout" in options.names:
            measure_rollout(figures, credentials)
        if "api" in options.names:
            measure_api(figures, credentials)
    finally:
        one.close()


def main():
    options = read_options()
    if os.geteuid() != 0:
        sys.exit("cluster_bench: needs root, for namespaces")
    load = os.getloadavg()
    figures = Figures(show=options.output == "text")
    if "start" in options.names:
        measure_start(figures, options)
    if set(options.names) - {"start"}:
        measure_cluster(figures, options)
    return figures.finish(load)


if __name__ == "__main__":
    sys.exit(main())
