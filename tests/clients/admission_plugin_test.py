#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An admission plugin from a shared object that is no part of the API server: it is named in the manifest, and it decides."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import api_server  # noqa: E402
import tap  # noqa: E402

PLUGIN = "  - name: test-admission\n    config: {value: us}\n"


class AdmissionPlugin:
    def __init__(self):
        self.server = api_server.ApiServer(PLUGIN, plugin_path=os.environ["KUBERNEL_TEST_PLUGINS"])

    def kubectl(self, *words):
        environment = dict(os.environ, KUBECONFIG=str(self.server.kubeconfig), HOME=str(self.server.directory))
        return subprocess.run(["kubectl", *words], env=environment, capture_output=True, text=True, timeout=60)

    def test_it_changes_what_is_written(self):
        made = self.kubectl("create", "configmap", "one", "-o", "json")
        assert made.returncode == 0, made.stderr
        labels = json.loads(made.stdout)["metadata"]["labels"]
        assert labels["admitted-by"] == "us", labels
        # It may ask the API.
        uid = json.loads(self.kubectl("get", "namespace", "default", "-o", "json").stdout)["metadata"]["uid"]
        assert labels["namespace-uid"] == uid, labels

    def test_it_refuses(self):
        refused = self.kubectl("create", "configmap", "forbidden")
        assert refused.returncode != 0 and "not by this name" in refused.stderr, refused

    def test_what_it_does_not_handle_is_left_alone(self):
        made = self.kubectl("create", "secret", "generic", "one", "-o", "json")
        assert "labels" not in json.loads(made.stdout)["metadata"], made.stdout

    def test_a_plugin_that_cannot_be_made_ends_the_start_in_one_line(self):
        try:
            api_server.ApiServer(PLUGIN.replace("us", "''"), plugin_path=os.environ["KUBERNEL_TEST_PLUGINS"]).close()
        except AssertionError as error:
            assert "admission plugin test-admission: value: must not be empty" in str(error), error
        else:
            raise AssertionError("the server started")

    def explain(self, out):
        for line in self.server.log_text().splitlines()[-20:]:
            print(f"# {line}", file=out)

    def close(self):
        self.server.close()


if __name__ == "__main__":
    problem = api_server.enter_own_network() or ("" if shutil.which("kubectl") else "needs kubectl")
    sys.exit(tap.run(AdmissionPlugin, problem))
