#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two nodes: the second has no control plane and reaches the API over HTTPS; pods talk across nodes."""
import sys

import cluster
import tap

SERVE = ["sh", "-c", "hostname > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]


class TwoNodes:
    def __init__(self):
        self.cluster = cluster.Cluster(nodes=2)
        self.kubectl = self.cluster.kubectl

    def explain(self, out):
        for line in self.cluster.logs().splitlines():
            out.write(f"# {line}\n")

    def close(self):
        self.cluster.close()

    def pods(self):
        return self.cluster.get("pods", "-l", "app=web")["items"]

    def test_both_nodes_are_ready(self):
        self.cluster.up()
        nodes = self.cluster.get("nodes")["items"]
        assert [n["metadata"]["name"] for n in nodes] == ["node-1", "node-2"], nodes
        assert len({n["spec"]["podCIDR"] for n in nodes}) == 2

    def test_pods_are_spread_over_both_nodes(self):
        self.kubectl("create", "deployment", "web", "--image=localhost/busybox", "--replicas=4", "--", *SERVE)
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        assert {p["spec"]["nodeName"] for p in self.pods()} == {"node-1", "node-2"}, self.pods()

    def test_logs_and_exec_reach_the_second_node(self):
        for pod in self.pods():
            name = pod["metadata"]["name"]
            assert self.kubectl("exec", name, "--", "hostname").stdout.strip() == name
            self.kubectl("logs", name)

    def test_a_pod_reaches_a_pod_on_the_other_node(self):
        first = next(p for p in self.pods() if p["spec"]["nodeName"] == "node-1")
        second = next(p for p in self.pods() if p["spec"]["nodeName"] == "node-2")
        for here, there in ((first, second), (second, first)):
            url = f"http://{there['status']['podIP']}:8080/index.html"
            answer = self.kubectl("exec", here["metadata"]["name"], "--", "wget", "-q", "-O", "-", url).stdout
            assert answer.strip() == there["metadata"]["name"], answer

    def test_a_cordoned_node_gets_no_pods(self):
        self.kubectl("cordon", "node-2")
        self.kubectl("create", "deployment", "more", "--image=localhost/busybox", "--replicas=3", "--", *SERVE)
        self.kubectl("rollout", "status", "deployment/more", "--timeout=60s")
        nodes = {p["spec"]["nodeName"] for p in self.cluster.get("pods", "-l", "app=more")["items"]}
        assert nodes == {"node-1"}, nodes

    def test_down_leaves_nothing(self):
        self.cluster.down()
        assert not self.cluster.leftovers(), self.cluster.leftovers()


if __name__ == "__main__":
    sys.exit(tap.run(TwoNodes, cluster.why_not()))
