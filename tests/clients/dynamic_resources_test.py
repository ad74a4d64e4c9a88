#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Devices for pods, from the template to the reservation: API server, scheduler and controllers in one process, nodes that are simulated."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import api_server  # noqa: E402
import kubectl  # noqa: E402
import tap  # noqa: E402

PLUGINS = """  - name: controller-manager
  - name: serviceaccount
  - name: garbage-collector
  - name: resource-claim
  - name: scheduler
  - name: priority-sort
  - name: node-name
  - name: node-resources-fit
  - name: dynamic-resources
  - name: default-binder
  - name: simulated-nodes
    config: {templates: [{count: 2, name: n}]}
"""

DEVICES = """apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu}
spec:
  selectors: [{cel: {expression: "device.driver == 'gpu.example.com'"}}]
---
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: n-1}
spec:
  driver: gpu.example.com
  nodeName: n-1
  pool: {name: n-1, generation: 1, resourceSliceCount: 1}
  devices:
  - name: small
    attributes: {model: {string: s1}, driverVersion: {version: 1.9.3}}
    capacity: {memory: {value: 16Gi}}
  - name: large
    attributes: {model: {string: l1}, driverVersion: {version: 1.10.0}}
    capacity: {memory: {value: 80Gi}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: large}
spec:
  spec:
    devices:
      requests:
      - name: gpu
        exactly:
          deviceClassName: gpu
          selectors:
          - cel:
              expression: |
                device.capacity["gpu.example.com"].memory.isGreaterThan(quantity("40Gi")) &&
                device.attributes["gpu.example.com"].driverVersion.isGreaterThan(semver("1.9.9"))
"""


def pod(name):
    return f"""apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  resourceClaims: [{{name: device, resourceClaimTemplateName: large}}]
  containers: [{{name: c, image: i, resources: {{claims: [{{name: device}}]}}}}]
"""


class DynamicResources:
    def __init__(self):
        self.server = api_server.ApiServer(PLUGINS)
        self.kubectl = ["kubectl", "--kubeconfig", self.server.kubeconfig]
        self.environment = dict(os.environ, HOME=str(self.server.directory))
        self.wait_for("{.metadata.name}", "default", "serviceaccounts")
        self.run("create", "-f", "-", stdin=DEVICES)

    def wait_for(self, path, wanted, what):
        kubectl.wait_for([*self.kubectl, "get"], what, self.environment, path, wanted)

    def run(self, *words, stdin=None):
        done = subprocess.run([*self.kubectl, *words], input=stdin, capture_output=True, text=True, timeout=60, check=False,
                              env=self.environment)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def get(self, *words):
        return json.loads(self.run("get", *words, "-o", "json"))

    def test_a_pod_gets_the_device_its_template_asks_for(self):
        self.run("create", "-f", "-", stdin=pod("first"))
        self.wait_for("{.spec.nodeName}", "n-1", "pod/first")
        found = self.get("pod", "first")
        claim = self.get("resourceclaim", found["status"]["resourceClaimStatuses"][0]["resourceClaimName"])
        result = claim["status"]["allocation"]["devices"]["results"][0]
        assert (result["driver"], result["pool"], result["device"]) == ("gpu.example.com", "n-1", "large"), result
        assert [user["name"] for user in claim["status"]["reservedFor"]] == ["first"], claim["status"]
        assert claim["metadata"]["finalizers"] == ["resource.kubernetes.io/delete-protection"], claim["metadata"]

    def test_the_next_pod_waits_and_says_why(self):
        self.run("create", "-f", "-", stdin=pod("second"))
        self.run("wait", "--for=condition=PodScheduled=false", "pod/second", "--timeout=20s")
        message = [c["message"] for c in self.get("pod", "second")["status"]["conditions"] if c["type"] == "PodScheduled"][0]
        assert message.startswith("0/2 nodes are available: 2 cannot allocate all claims."), message

    def test_it_runs_when_the_device_is_given_back(self):
        self.run("delete", "pod", "first")
        self.wait_for("{.spec.nodeName}", "n-1", "pod/second")

    def explain(self, out):
        for line in self.server.log_text().splitlines()[-20:]:
            print(f"# {line}", file=out)

    def close(self):
        self.server.close()


if __name__ == "__main__":
    problem = api_server.enter_own_network() or ("" if shutil.which("kubectl") else "needs kubectl")
    sys.exit(tap.run(DynamicResources, problem))
