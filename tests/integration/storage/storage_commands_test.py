#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`kubernel storage` beside a running API server: looking at its store, a backup that another server starts from while writes
go on, restoring, and what a damaged store is answered with."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

TESTS = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(TESTS / "e2e"), str(TESTS / "clients")]

import api_server  # noqa: E402
import tap  # noqa: E402

MANIFEST = """apiVersion: kubernel/v1alpha1
kind: PluginManifest
plugins:
  - name: storage-sqlite
    config: {{path: {directory}/state.db}}
  - name: apiserver
    config: {{listen: ["127.0.0.1:6443"], pkiDirectory: {directory}/pki, serverNames: ["127.0.0.1"]}}
"""
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


class Server(api_server.ApiServer):
    """An API server on a SQLite store in `directory`, which stays when it is closed."""

    def __init__(self, directory, ready=True):  # pylint: disable=super-init-not-called
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        (directory / "manifest.yaml").write_text(MANIFEST.format(directory=directory))
        self.log = open(directory / "log", "w", encoding="utf-8")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            (directory / "ready").unlink(missing_ok=True)
            told.bind(str(directory / "ready"))
            told.settimeout(60)
            environment = dict(os.environ, KUBERNEL_PLUGIN_PATH=str(api_server.BUILD), NOTIFY_SOCKET=str(directory / "ready"))
            self.process = subprocess.Popen([api_server.BUILD / "core/kubernel", "run", "--manifest", directory / "manifest.yaml"],
                                            stdout=self.log, stderr=self.log, env=environment)
            if not ready:
                return
            try:
                while b"READY=1" not in told.recv(4096):
                    pass
            except OSError:
                raise AssertionError(f"the server did not become ready:\n{self.log_text()}") from None
        self.write_kubeconfig()
        tls = ssl.create_default_context(cafile=str(directory / "pki/ca.crt"))
        tls.load_cert_chain(directory / "admin.crt", directory / "admin.key")
        self.tls = tls

    def call(self, method, path, body=None):
        """Status and object of the reply."""
        connection = http.client.HTTPSConnection("127.0.0.1", 6443, context=self.tls, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def create(self, name, value="x"):
        status, made = self.call("POST", CONFIG_MAPS, {"metadata": {"name": name}, "data": {"value": value}})
        assert status == 201, made
        return made

    def names(self):
        status, found = self.call("GET", CONFIG_MAPS)
        assert status == 200, found
        return {item["metadata"]["name"] for item in found["items"]}, int(found["metadata"]["resourceVersion"])

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        self.log.close()


def storage(*words, code=0):
    """Runs `kubernel storage WORDS...`; gives what it printed, errors when it was to fail."""
    command = [api_server.BUILD / "tools/storage/kubernel-storage", *words]
    environment = dict(os.environ, KUBERNEL_PLUGIN_PATH=str(api_server.BUILD))
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=120)
    assert done.returncode == code, f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stderr if code == 1 and not done.stdout else done.stdout


class Story:
    def __init__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="kubernel-storage-"))
        self.first = self.root / "first"
        self.first.mkdir()
        self.server = None
        self.backup = self.root / "backup.db"
        self.before = set()
        self.newest = 0

    def store(self, directory=None):
        return f"sqlite:{directory or self.first}/state.db"

    def another_machine(self, name):
        """A directory with nothing but the cluster's certificates."""
        directory = self.root / name
        directory.mkdir()
        shutil.copytree(self.first / "pki", directory / "pki")
        return directory

    def test_a_store_in_use_can_be_looked_at(self):
        self.server = Server(self.first)
        for i in range(50):
            self.server.create(f"before-{i}")
        told = json.loads(storage("stats", self.store(), "-o", "json"))
        assert told["keys"] >= 50 and told["revision"] > 50, told
        told = json.loads(storage("check", self.store(), "-o", "json"))
        assert told["good"] and told["keys"] >= 50 and told["events"] >= 50, told
        assert "compacts its store by itself" in storage("compact", self.store(), code=1)
        left = [path.name for path in self.first.iterdir() if path.name.startswith("state.db.") and path.suffix != ".lock"]
        assert not left, left

    def test_a_backup_is_made_while_writes_go_on(self):
        acknowledged, stop = [], threading.Event()

        def write():
            while not stop.is_set():
                name = f"during-{len(acknowledged)}"
                self.server.create(name)
                acknowledged.append(name)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while len(acknowledged) < 20:
                assert writer.is_alive()
            self.before = {f"before-{i}" for i in range(50)} | set(acknowledged)
            told = json.loads(storage("backup", "--from", self.store(), str(self.backup), "-o", "json"))
        finally:
            stop.set()
            writer.join()
        assert told["keys"] >= len(self.before), told
        assert {path.name for path in self.root.iterdir()} == {"first", "backup.db"}, "one file, and nothing beside it"
        assert self.backup.stat().st_mode & 0o777 == 0o600
        assert "exists already" in storage("backup", "--from", self.store(), str(self.backup), code=1)
        self.newest = self.server.names()[1]
        self.server.close()

    def test_another_machine_starts_from_the_one_file(self):
        directory = self.another_machine("second")
        shutil.copy(self.backup, directory / "state.db")
        self.server = Server(directory)
        names, _ = self.server.names()
        assert self.before <= names, self.before - names
        self.server.create("afterwards")
        self.server.close()

    def test_a_restored_store_goes_on_above_every_revision_that_was_given(self):
        assert "exists already" in storage("restore", str(self.backup), "--to", self.store(), code=1)
        directory = self.another_machine("third")
        storage("restore", str(self.backup), "--to", self.store(directory))
        self.server = Server(directory)
        names, version = self.server.names()
        assert self.before <= names, self.before - names
        assert version > self.newest, (version, self.newest)
        made = self.server.create("afterwards")
        assert int(made["metadata"]["resourceVersion"]) > self.newest
        status, answer = self.server.call("GET", f"{CONFIG_MAPS}?watch=1&resourceVersion={self.newest}&timeoutSeconds=1")
        assert status == 410 or answer.get("object", {}).get("code") == 410, (status, answer)
        self.server.close()
        assert "nothing is damaged" in storage("check", self.store(directory))

    def test_a_store_moves_to_another_file(self):
        directory = self.another_machine("fourth")
        told = json.loads(storage("migrate", "--from", self.store(), "--to", self.store(directory), "-o", "json"))
        assert told["revision"] > told["sourceRevision"] >= self.newest, told
        self.server = Server(directory)
        assert self.before <= self.server.names()[0]
        self.server.create("precious", "0123456789" * 300)
        self.server.close()
        assert "not empty" in storage("migrate", "--from", self.store(), "--to", self.store(directory), code=1)

    def test_a_flipped_bit_is_named_and_nothing_wrong_is_served(self):
        directory = self.root / "fourth"
        assert (directory / "state.db-wal").stat().st_size == 0, "nothing is read from there any more"
        data = bytearray((directory / "state.db").read_bytes())
        at = data.find(b"0123456789" * 20)
        assert at > 0
        while at >= 0:  # A page may have been moved and left a copy behind.
            data[at + 7] ^= 0x10
            at = data.find(b"0123456789" * 20, at + 200)
        (directory / "state.db").write_bytes(data)
        told = json.loads(storage("check", self.store(directory), "-o", "json", code=1))
        assert not told["good"] and told["damaged"] == 1, told
        assert "/registry/configmaps/default/precious" in told["damage"][0] and " at revision " in told["damage"][0], told
        self.server = Server(directory, ready=False)
        self.server.process.wait(60)
        log = self.server.log_text()
        assert self.server.process.returncode == 1, log
        assert "/registry/configmaps/default/precious" in log and "at revision" in log, log

    def explain(self, out):
        if self.server is not None and not self.server.log.closed:
            for line in self.server.log_text().splitlines()[-30:]:
                print(f"# {line}", file=out)

    def close(self):
        if self.server is not None and not self.server.log.closed:
            self.server.close()
        shutil.rmtree(self.root, ignore_errors=True)


if __name__ == "__main__":
    reason = api_server.enter_own_network()
    sys.exit(tap.run(Story, reason))
