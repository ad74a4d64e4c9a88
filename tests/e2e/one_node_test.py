#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a new user does with a one-node cluster and kubectl, from up to down."""
import json
import os
import signal
import sys
import time

import cluster
import tap

LOOP = ["sh", "-c", "while true; do date; sleep 1; done"]


class OneNode:
    def __init__(self):
        self.cluster = cluster.Cluster()
        self.kubectl = self.cluster.kubectl

    def explain(self, out):
        for line in self.cluster.logs().splitlines():
            out.write(f"# {line}\n")

    def close(self):
        self.cluster.close()

    def pods(self):
        return self.cluster.get("pods", "-l", "app=web")["items"]

    def test_up_ends_with_the_node_ready(self):
        self.cluster.up()
        node = self.cluster.get("node", "node-1")
        ready = [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"]
        assert ready == ["True"], ready

    def test_a_second_up_finds_it_running(self):
        began = time.monotonic()
        self.cluster.up()
        assert time.monotonic() - began < 2
        refused = self.cluster.kubernel("up", "--nodes", "2", check=False)
        assert refused.returncode == 1 and "running with 1 node(s)" in refused.stderr, refused.stderr

    def test_kubectl_lists_nodes_and_pods(self):
        assert "node-1" in self.kubectl("get", "nodes").stdout
        self.kubectl("get", "nodes,pods", "-A")
        assert "v1.36" in self.kubectl("version").stdout

    def test_a_deployment_runs_three_pods(self):
        self.kubectl("create", "deployment", "web", "--image=localhost/busybox", "--replicas=3", "--", *LOOP)
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        phases = [p["status"]["phase"] for p in self.pods()]
        assert phases == ["Running"] * 3, phases
        addresses = {p["status"]["podIP"] for p in self.pods()}
        assert len(addresses) == 3 and all(a.startswith("10.244.1.") for a in addresses), addresses

    def test_wide_output_has_the_columns_of_kubectl(self):
        header = self.kubectl("get", "pods", "-o", "wide").stdout.splitlines()[0].split()
        assert header[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"], header

    def test_logs_show_what_the_container_writes(self):
        self.kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=web", "--timeout=30s")
        assert "UTC" in self.kubectl("logs", "deploy/web", "--tail=1").stdout

    def test_exec_runs_a_command_in_the_container(self):
        assert self.kubectl("exec", "deploy/web", "--", "echo", "hello").stdout == "hello\n"
        assert self.kubectl("exec", "-i", "deploy/web", "--", "cat", stdin="typed").stdout == "typed"

    def test_exec_reports_the_exit_code(self):
        done = self.kubectl("exec", "deploy/web", "--", "sh", "-c", "exit 7", check=False)
        assert done.returncode == 7, done

    def test_describe_tells_the_pods_story(self):
        text = self.kubectl("describe", "pod", self.pods()[0]["metadata"]["name"]).stdout
        for word in ("Scheduled", "Started", "node-1", "localhost/busybox"):
            assert word in text, text

    def test_a_new_image_rolls_out_and_back(self):
        before = self.cluster.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"]
        self.kubectl("set", "image", "deployment/web", "busybox=localhost/busybox:latest")
        self.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        self.kubectl("rollout", "undo", "deployment/web")
        self.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        after = self.cluster.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"]
        assert after == before, (before, after)

    def test_scale_changes_the_number_of_pods(self):
        self.kubectl("scale", "deployment/web", "--replicas=1")
        self.cluster.wait_for("deployment/web", "{.status.replicas}", "1", seconds=60)
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")

    def test_a_killed_kubernel_comes_back_and_adopts_its_containers(self):
        before = self.pods()
        alive = [p for p in before if "deletionTimestamp" not in p["metadata"]]
        container = alive[0]["status"]["containerStatuses"][0]
        created = json.loads(self.kubectl("create", "configmap", "kept", "--from-literal=a=b", "-o", "json").stdout)
        (pid,) = self.cluster.kubernel_pids()
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while self.kubectl("get", "--raw", "/readyz", check=False).returncode != 0:
            assert time.monotonic() < deadline, "the API did not come back"
        assert self.cluster.get("configmap", "kept")["metadata"]["uid"] == created["metadata"]["uid"]
        self.kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=30s")
        after = self.cluster.get("pod", alive[0]["metadata"]["name"])["status"]["containerStatuses"][0]
        assert after["containerID"] == container["containerID"], (container, after)
        assert after["restartCount"] == container["restartCount"], after

    def test_bad_input_is_refused_with_the_wrong_fields(self):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "Bad_Name"},
               "spec": {"containers": [{"name": "c", "image": "x", "imagePullPolicy": "Sometimes"}]}}
        done = self.kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(pod), check=False)
        assert done.returncode != 0 and "metadata.name" in done.stderr and "imagePullPolicy" in done.stderr, done.stderr

    def test_deleting_the_deployment_removes_its_pods(self):
        self.kubectl("delete", "deployment", "web")
        self.kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s")
        assert not self.pods()

    def test_down_leaves_nothing(self):
        self.cluster.down()
        assert not self.cluster.leftovers(), self.cluster.leftovers()


if __name__ == "__main__":
    sys.exit(tap.run(OneNode, cluster.why_not()))
