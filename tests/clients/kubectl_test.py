#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What kubectl reads the OpenAPI documents for: validation of files, explain, lists, apply. Each kubectl on the PATH is tried (kubectl and
kubectl.1.27, say), and those in KUBERNEL_TEST_KUBECTLS, separated by colons."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import api_server  # noqa: E402
import cluster  # noqa: E402
import tap  # noqa: E402

LIST = """apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: one}
  data: {a: "1"}
- apiVersion: v1
  kind: Service
  metadata: {name: two}
  spec: {selector: {app: x}, ports: [{port: 80, name: http}]}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: three}
  spec:
    selector: {matchLabels: {app: x}}
    template:
      metadata: {labels: {app: x}}
      spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}], env: [{name: A, value: "1"}]}]}
"""

MISSPELT = """apiVersion: v1
kind: Pod
metadata: {name: wrong}
spec: {containers: [{name: c, imag: i}]}
"""


def all_kubectls():
    """By version, as (major, minor); two of the same version count once."""
    files = [p for p in os.environ.get("KUBERNEL_TEST_KUBECTLS", "").split(":") if p]
    for directory in os.get_exec_path():
        if os.path.isdir(directory):
            files += [os.path.join(directory, n) for n in sorted(os.listdir(directory)) if re.fullmatch(r"kubectl(\.1\.\d+)?", n)]
    out = {}
    for file in files:
        told = subprocess.run([file, "version", "--client", "-o", "json"], capture_output=True, text=True)
        found = re.search(r'"gitVersion": *"v(\d+)\.(\d+)', told.stdout)
        if found:
            out.setdefault((int(found.group(1)), int(found.group(2))), file)
    return dict(sorted(out.items()))


class Kubectls:
    def __init__(self):
        self.server = api_server.ApiServer()
        self.kubectls = all_kubectls()
        print("# kubectl " + ", ".join(f"{major}.{minor}" for major, minor in self.kubectls), flush=True)
        first = next(iter(self.kubectls))
        self.run(first, "create", "serviceaccount", "default")

    def run(self, version, *words, stdin=None, check=True):
        environment = dict(os.environ, KUBECONFIG=str(self.server.kubeconfig), HOME=str(self.server.directory / f"home-{version[1]}"))
        done = subprocess.run([self.kubectls[version], *words], env=environment, input=stdin, capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {version}: {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def refused(self, version, wanted, *words, stdin=None):
        done = self.run(version, *words, stdin=stdin, check=False)
        assert done.returncode != 0, f"kubectl {version}: {' '.join(words)} succeeded: {done.stdout}"
        assert wanted in done.stderr, f"kubectl {version}: {wanted!r} is not in {done.stderr!r}"

    def test_a_list_is_created_and_applied(self):
        for version in self.kubectls:
            made = self.run(version, "create", "-f", "-", stdin=LIST).stdout
            assert made.splitlines() == ["configmap/one created", "service/two created", "deployment.apps/three created"], made
            self.run(version, "delete", "-f", "-", "--wait=false", stdin=LIST)
            self.run(version, "apply", "-f", "-", stdin=LIST)
            again = self.run(version, "apply", "-f", "-", stdin=LIST).stdout
            assert again.count("unchanged") == 3, f"{version}: {again}"
            changed = LIST.replace('value: "1"', 'value: "2"').replace("containerPort: 80", "containerPort: 81")
            again = self.run(version, "apply", "-f", "-", stdin=changed).stdout
            assert "deployment.apps/three configured" in again, f"{version}: {again}"
            # Lists of maps merge by their keys, as the document says.
            ports = self.run(version, "get", "deployment", "three", "-o", "jsonpath={.spec.template.spec.containers[*].ports[*].containerPort}")
            assert ports.stdout == "81", f"{version}: {ports.stdout}"
            self.run(version, "delete", "-f", "-", "--wait=false", stdin=LIST)

    def test_a_misspelt_field_is_named(self):
        for version in self.kubectls:
            # From 1.25 the server decides; before, kubectl does, by the schema.
            wanted = ('Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].imag"'
                      if version >= (1, 25) else
                      'ValidationError(Pod.spec.containers[0]): unknown field "imag" in io.k8s.api.core.v1.Container')
            self.refused(version, wanted, "create", "-f", "-", stdin=MISSPELT)
            self.refused(version, wanted, "apply", "-f", "-", stdin=MISSPELT)

    def test_a_wrong_type_is_named(self):
        for version in self.kubectls:
            wrong = MISSPELT.replace("imag: i", "image: i, ports: [{containerPort: x}]")
            wanted = "containerPort" if version >= (1, 25) else "ValidationError(Pod.spec.containers[0].ports[0].containerPort): invalid type"
            self.refused(version, wanted, "create", "-f", "-", stdin=wrong)

    def test_fields_are_explained(self):
        for version in self.kubectls:
            spec = self.run(version, "explain", "pod.spec").stdout
            for field in (r"containers\s+<\[\]Container> -required-", r"hostNetwork\s+<boolean>", r"nodeSelector\s+<map\[string\]string>",
                          r"securityContext\s+<(PodSecurityContext|Object)>", r"terminationGracePeriodSeconds\s+<integer>"):
                field = field.replace("Container>", "(Container|Object)>") if version < (1, 27) else field
                assert re.search(field, spec), f"{version}: {field!r} is not in\n{spec}"
            for path in ("deployments.spec.strategy.rollingUpdate.maxSurge", "pods.spec.containers.resources.limits", "events",
                         "ingress.spec.rules.http.paths", "crd.spec.versions.schema"):
                self.run(version, "explain", path)
            whole = self.run(version, "explain", "deployment", "--recursive").stdout
            assert re.search(r"preferredDuringSchedulingIgnoredDuringExecution", whole), version

    def test_an_unknown_field_is_not_explained(self):
        for version in self.kubectls:
            self.refused(version, 'field "nonsense" does not exist', "explain", "pod.spec.nonsense")

    def test_dry_runs_reach_the_server(self):
        for version in self.kubectls:
            self.run(version, "create", "configmap", "dry", "--dry-run=server")
            self.run(version, "apply", "--dry-run=server", "-f", "-", stdin=LIST)
            self.refused(version, "not found", "get", "configmap", "dry")

    def test_the_documents_cost_little_memory(self):
        newest = list(self.kubectls)[-1]
        before = self.server.resident_kib()
        for _ in range(3):
            self.run(newest, "get", "--raw", "/openapi/v2")
        # What is not used goes back to the system after a second. A sanitizer keeps freed memory from being used again.
        deadline = time.monotonic() + 15
        while (grown := self.server.resident_kib() - before) >= 1024 and cluster.SANITIZERS == "none":
            assert time.monotonic() < deadline, grown
            time.sleep(0.1)
        print(f"# {grown} KiB more", flush=True)

    def explain(self, out):
        for line in self.server.log_text().splitlines()[-20:]:
            print(f"# {line}", file=out)

    def close(self):
        self.server.close()


if __name__ == "__main__":
    problem = api_server.enter_own_network() or ("" if shutil.which("kubectl") else "needs kubectl")
    sys.exit(tap.run(Kubectls, problem))
