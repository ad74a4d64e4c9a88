# SPDX-License-Identifier: Apache-2.0
"""A control plane in one process (API server and sqlite) for tests that take its ground away."""
import http.client
import json
import os
import pathlib
import re
import select
import socket
import ssl
import subprocess

BUILD = pathlib.Path(os.environ["KUBERNEL_BUILD"]).absolute()
PATIENCE = 60  # Seconds; more than anything here takes: what needs them has failed.


class ControlPlane:
    """`directory` is the test's; `state` is where database and certificates go, made by the test."""

    def __init__(self, directory, state=None, database=None, pki=None, listen="127.0.0.1:0"):
        self.directory = pathlib.Path(directory)
        self.state = pathlib.Path(state or self.directory / "state")
        self.database = pathlib.Path(database or self.state / "state.db")
        self.pki = pathlib.Path(pki or self.state / "pki")
        self.listen = listen
        self.log = self.directory / "log"
        self.process = None
        self.port = 0

    def manifest(self):
        file = self.directory / "manifest.yaml"
        file.write_text(
            "apiVersion: kubernel/v1alpha1\nkind: PluginManifest\n"
            f"pluginPath: [{BUILD}]\nplugins:\n"
            f"  - name: storage-sqlite\n    config: {{path: {self.database}}}\n"
            f"  - name: apiserver\n    config: {{listen: [\"{self.listen}\"], pkiDirectory: {self.pki}}}\n")
        return str(file)

    def launch(self, notify):
        environment = {k: v for k, v in os.environ.items() if k != "KUBERNEL_PLUGIN_PATH"}
        environment["NOTIFY_SOCKET"] = notify
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([BUILD / "core/kubernel", "run", "--manifest", self.manifest()],
                                            env=environment, stdout=log, stderr=log)

    def start(self):
        """Returns once it is ready; fails when it ends before."""
        address = self.directory / "notify"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(address))
            self.launch(str(address))
            ended = os.pidfd_open(self.process.pid)
            try:
                readable, _, _ = select.select([notify, ended], [], [], PATIENCE)
            finally:
                os.close(ended)
            if notify not in readable:
                raise AssertionError("does not become ready:\n" + self.log.read_text())
        self.port = int(re.search(r"serving address=\"?127\.0\.0\.1:(\d+)", self.log.read_text()).group(1))

    def fails_to_start(self):
        """The one line with which it ends."""
        self.launch("")
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("runs on:\n" + self.log.read_text()) from None
        text = self.log.read_text()
        if code != 1:
            raise AssertionError(f"exit code {code}:\n{text}")
        lines = [line for line in text.splitlines() if " info " not in line and " debug " not in line]
        if len(lines) != 1:
            raise AssertionError(f"{len(lines)} lines instead of one:\n{text}")
        return lines[0]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        if code != 0:
            raise AssertionError(f"exit code {code}:\n" + self.log.read_text())

    def end(self):
        if self.process and self.process.poll() is None:
            self.kill()

    def request(self, method, path, body=None):
        """The status and the reply's object (or its text)."""
        tls = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        tls.load_cert_chain(self.pki / "apiserver-kubelet-client.crt", self.pki / "apiserver-kubelet-client.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=tls, timeout=PATIENCE)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read().decode()
            return reply.status, json.loads(text) if text.startswith("{") else text
        finally:
            connection.close()

    def put(self, name, size):
        return self.request("POST", "/api/v1/namespaces/default/configmaps",
                            {"metadata": {"name": name}, "data": {"fill": name[:1] * size}})

    def names(self):
        status, listed = self.request("GET", "/api/v1/namespaces/default/configmaps")
        assert status == 200, listed
        return {item["metadata"]["name"]: len(item["data"]["fill"]) for item in listed["items"] if "fill" in item["data"]}
