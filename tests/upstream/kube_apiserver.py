# SPDX-License-Identifier: Apache-2.0
"""A stock kube-apiserver on an etcd, and kubectl against it."""
import json
import os
import pathlib
import select
import subprocess
import time

import programs

PATIENCE = 180  # Seconds, for a start: it does much, and the machine may be busy.
# An address that Kubernetes accepts as an endpoint: of the documentation's range, and only this namespace's.
ADDRESS = "192.0.2.1"


def prepare_network():
    """Once, in the namespace the servers run in."""
    subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)


class KubeApiserver:
    def __init__(self, directory, authority, etcd, port=6443, more=()):
        self.directory, self.authority, self.port = pathlib.Path(directory), authority, port
        self.directory.mkdir()
        self.etcd, self.more = etcd, more
        self.log = self.directory / "kube-apiserver.log"
        self.kubeconfig = self.directory / "kubeconfig"
        self.process = None

    def flags(self):
        at = self.authority.directory
        return [f"--etcd-servers={self.etcd.url()}", f"--etcd-cafile={at}/ca.crt", f"--etcd-certfile={at}/client.crt",
                f"--etcd-keyfile={at}/client.key", f"--secure-port={self.port}", "--bind-address=127.0.0.1", f"--advertise-address={ADDRESS}",
                f"--tls-cert-file={at}/server.crt", f"--tls-private-key-file={at}/server.key", f"--client-ca-file={at}/ca.crt",
                f"--cert-dir={self.directory}", "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={at}/server.key", f"--service-account-signing-key-file={at}/server.key",
                "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.0.0.0/24", "--anonymous-auth=true", *self.more]

    def start(self):
        """Returns when /readyz is ok."""
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([programs.path("kube-apiserver"), *self.flags()], stdout=log, stderr=log)
        if not self.authority.directory.joinpath("admin.crt").exists():
            self.authority.issue("admin", "/O=system:masters/CN=admin")
        self.write_kubeconfig()
        ended = os.pidfd_open(self.process.pid)
        try:
            until = time.monotonic() + PATIENCE
            # It tells nobody that it is ready; whoever wants to know has to ask.
            while self.kubectl("get", "--raw", "/readyz", check=False).stdout != "ok":
                if select.select([ended], [], [], 0.2)[0] or time.monotonic() > until:
                    raise AssertionError("kube-apiserver did not become ready:\n" + self.log_tail(60))
        finally:
            os.close(ended)

    def write_kubeconfig(self):
        at = self.authority.directory
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "admin"}}],
            "clusters": [{"name": "it", "cluster": {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": f"{at}/ca.crt"}}],
            "users": [{"name": "admin", "user": {"client-certificate": f"{at}/admin.crt", "client-key": f"{at}/admin.key"}}]}))

    def environment(self):
        return dict(os.environ, KUBECONFIG=str(self.kubeconfig), HOME=str(self.directory / "home"))

    def kubectl(self, *words, stdin=None, check=True, timeout=60):
        done = subprocess.run([programs.path("kubectl"), *words], env=self.environment(), input=stdin, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def get(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def watching(self, *words):
        return Lines([programs.path("kubectl"), "get", *words], self.environment())

    def log_tail(self, lines):
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-lines:])

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Silence(AssertionError):
    """Nothing more came."""


class Lines:
    """A process that goes on, read line by line."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False)
        self.rest = b""

    def until(self, last, seconds=60):
        """All lines up to the one that `last` (a function) is true of."""
        seen = []
        end = time.monotonic() + seconds
        while True:
            line, newline, rest = self.rest.partition(b"\n")
            if newline:
                self.rest = rest
                seen.append(line.decode())
                if last(seen[-1]):
                    return seen
                continue
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Silence(f"what was waited for did not come in {seconds} s; seen: {seen}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise AssertionError(f"it ended: {self.process.stderr.read().decode()}; seen: {seen}")
            self.rest += data

    def goes_on(self):
        return self.process.poll() is None

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
