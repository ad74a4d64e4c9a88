#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Schedulers in processes of their own against an API server over HTTPS: one leads, is killed, and another goes on. What users see of it."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "clients"), str(TESTS / "e2e")]

import api_server  # noqa: E402
import tap  # noqa: E402

PLUGINS = """priority-sort scheduling-gates node-unschedulable node-name taint-toleration node-affinity node-ports node-resources-fit
  volume-restrictions node-volume-limits volume-binding volume-zone pod-topology-spread inter-pod-affinity default-preemption
  node-resources-balanced-allocation image-locality default-binder""".split()
LEASE_SECONDS = 3

MANIFEST = """apiVersion: kubernel/v1alpha1
kind: PluginManifest
plugins:
  - name: api-client
    config: {{kubeconfig: {kubeconfig}}}
  - name: scheduler
    config:
      leaderElection: {{leaderElect: true, leaseDuration: {lease}s, renewDeadline: 2s, retryPeriod: 500ms}}
{more}"""


def entries(names):
    return "".join(f"  - name: {name}\n" for name in names)


class SchedulerProcesses:
    def __init__(self):
        self.server = api_server.ApiServer()
        self.environment = dict(os.environ, KUBECONFIG=str(self.server.kubeconfig), HOME=str(self.server.directory))
        self.processes = []
        self.bound = {}  # By pod: every node it was ever seen on.
        self.news = threading.Condition()
        self.kubectl("create", "serviceaccount", "default")
        for number in range(4):
            self.add_node(f"node-{number}")
        words = ["kubectl", "get", "pods", "-w", "-o", "jsonpath={.metadata.name}={.spec.nodeName}{'\\n'}"]
        self.watch = subprocess.Popen(words, env=self.environment, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.follow, daemon=True)
        self.reader.start()

    def kubectl(self, *words, stdin=None, check=True):
        done = subprocess.run(["kubectl", *words], env=self.environment, capture_output=True, text=True, timeout=60, input=stdin)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout

    def add_node(self, name, cpu="4"):
        resources = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                "status": {"capacity": resources, "allocatable": resources, "conditions": [{"type": "Ready", "status": "True"}]}}
        self.kubectl("create", "-f", "-", stdin=json.dumps(node))
        self.kubectl("taint", "node", name, "node.kubernetes.io/not-ready-", check=False)

    def add_pods(self, prefix, count, cpu="1m"):
        pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{prefix}-{number}"},
                 "spec": {"containers": [{"name": "c", "image": "pause", "resources": {"requests": {"cpu": cpu}}}]}} for number in range(count)]
        self.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))

    def follow(self):
        for line in self.watch.stdout:
            pod, _, node = line.strip().partition("=")
            if node:
                with self.news:
                    self.bound.setdefault(pod, set()).add(node)
                    self.news.notify_all()

    def wait_for(self, what, condition, seconds):
        """Gives how long it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + seconds, f"{what}: not within {seconds} s"
            with self.news:
                self.news.wait(0.2)
        return time.monotonic() - began

    def all_bound(self, prefix, count):
        return lambda: sum(pod.startswith(prefix + "-") for pod in self.bound) == count

    def start_scheduler(self):
        number = len(self.processes)
        manifest = self.server.directory / f"scheduler-{number}.yaml"
        manifest.write_text(MANIFEST.format(kubeconfig=self.server.kubeconfig, lease=LEASE_SECONDS, more=entries(PLUGINS)))
        log = open(self.server.directory / f"scheduler-{number}.log", "w", encoding="utf-8")
        self.processes.append(subprocess.Popen([api_server.BUILD / "core/kubernel", "run", "--manifest", manifest], stdout=log, stderr=log,
                                               env=dict(os.environ, KUBERNEL_PLUGIN_PATH=str(api_server.BUILD))))
        log.close()
        return self.processes[-1]

    def leader(self):
        return self.kubectl("get", "lease", "-n", "kube-system", "kube-scheduler", "-o", "jsonpath={.spec.holderIdentity}", check=False)

    def test_one_of_two_schedules(self):
        first = self.start_scheduler()
        self.wait_for("a leader", lambda: self.leader() != "", 20)
        self.start_scheduler()
        self.add_pods("early", 20)
        self.wait_for("20 pods bound", self.all_bound("early", 20), 20)
        assert first.poll() is None

    def test_the_other_goes_on_within_the_lease_when_it_is_killed(self):
        before = self.leader()
        self.add_pods("during", 50)
        self.processes[0].send_signal(signal.SIGKILL)
        self.processes[0].wait()
        self.add_pods("late", 20)
        took = self.wait_for("the rest bound", lambda: self.all_bound("during", 50)() and self.all_bound("late", 20)(), LEASE_SECONDS + 7)
        print(f"# taken over {took:.1f} s after the kill; the lease is {LEASE_SECONDS} s")
        assert self.leader() not in ("", before)

    def test_nothing_was_bound_twice(self):
        moved = {pod: nodes for pod, nodes in self.bound.items() if len(nodes) != 1}
        assert not moved, moved
        told = json.loads(self.kubectl("get", "events", "-o", "json"))["items"]
        scheduled = [event["involvedObject"]["name"] for event in told if event["reason"] == "Scheduled"]
        assert len(scheduled) == len(set(scheduled)), sorted(scheduled)
        log = (self.server.directory / "scheduler-1.log").read_text()
        assert "already assigned" not in log, log

    def test_describe_says_why_a_pod_waits(self):
        self.kubectl("cordon", "node-0")
        self.kubectl("taint", "node", "node-1", "dedicated=x:NoSchedule")
        self.add_pods("large", 1, cpu="5")
        wanted = (r"0/4 nodes are available: 1 node\(s\) had untolerated taint\(s\), 1 node\(s\) were unschedulable, 2 Insufficient cpu\. "
                  r"preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling\.")
        self.wait_for("the message", lambda: "FailedScheduling" in self.kubectl("describe", "pod", "large-0"), 20)
        text = self.kubectl("describe", "pod", "large-0")
        assert re.search(r"Warning +FailedScheduling .*default-scheduler +" + wanted, text), text
        self.wait_for("its condition", lambda: re.search(wanted, self.kubectl("get", "pod", "large-0", "-o", "jsonpath={.status.conditions[*].message}")), 20)

    def test_one_event_and_one_write(self):
        version = self.kubectl("get", "pod", "large-0", "-o", "jsonpath={.metadata.resourceVersion}")
        self.add_pods("more", 20)  # What is bound meanwhile cannot help it.
        self.wait_for("20 pods bound", self.all_bound("more", 20), 20)
        assert self.kubectl("get", "pod", "large-0", "-o", "jsonpath={.metadata.resourceVersion}") == version
        told = json.loads(self.kubectl("get", "events", "-o", "json"))["items"]
        about = [event for event in told if event["involvedObject"]["name"] == "large-0"]
        assert len(about) == 1 and about[0].get("count", 1) == 1 and not about[0].get("series"), about
        self.add_node("node-big", cpu="8")
        self.wait_for("it bound", self.all_bound("large", 1), 30)
        assert self.bound["large-0"] == {"node-big"}

    def explain(self, out):
        for log in sorted(self.server.directory.glob("scheduler-*.log")):
            for line in log.read_text().splitlines()[-15:]:
                print(f"# {log.name}: {line}", file=out)

    def close(self):
        self.watch.kill()
        self.watch.wait()
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
        self.server.close()


if __name__ == "__main__":
    problem = api_server.enter_own_network() or ("" if shutil.which("kubectl") else "needs kubectl")
    sys.exit(tap.run(SchedulerProcesses, problem))
