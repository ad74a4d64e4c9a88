# SPDX-License-Identifier: Apache-2.0
"""An API server alone, for tests of its clients: memory store, no controllers, in a network namespace without a way out."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ.get("KUBERNEL_BUILD", "build")).absolute()

MANIFEST = """apiVersion: kubernel/v1alpha1
kind: PluginManifest
plugins:
  - name: storage-memory
  - name: apiserver
    config: {{listen: ["127.0.0.1:6443"], pkiDirectory: {directory}/pki, serverNames: ["127.0.0.1"]}}
{more}"""


def enter_own_network():
    """Starts this program again where there is nothing but a loopback interface; gives why that cannot be, or an empty text."""
    if os.environ.get("KUBERNEL_OWN_NETWORK"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return ""
    for tool in ("unshare", "ip", "openssl"):
        if not shutil.which(tool):
            return f"needs {tool}"
    words = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*words, "true"], capture_output=True).returncode != 0:
        return "needs a network namespace of its own"
    os.environ["KUBERNEL_OWN_NETWORK"] = "yes"
    os.execvp(words[0], [*words, sys.executable, *sys.argv])


class ApiServer:
    def __init__(self, more_plugins="", plugin_path=""):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kubernel-clients-"))
        self.kubeconfig = self.directory / "kubeconfig"
        manifest = self.directory / "manifest.yaml"
        manifest.write_text(MANIFEST.format(directory=self.directory, more=more_plugins))
        self.log = open(self.directory / "log", "w", encoding="utf-8")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:  # As a service manager would wait.
            ready.bind(str(self.directory / "ready"))
            environment = dict(os.environ, KUBERNEL_PLUGIN_PATH=":".join(filter(None, [str(BUILD), plugin_path])), NOTIFY_SOCKET=str(self.directory / "ready"))
            self.process = subprocess.Popen([BUILD / "core/kubernel", "run", "--manifest", manifest],
                                            stdout=self.log, stderr=self.log, env=environment)
            try:
                ready.settimeout(0.2)
                for _ in range(300):
                    if self.process.poll() is not None:
                        raise OSError("it ended")
                    try:
                        if b"READY=1" in ready.recv(4096):
                            break
                    except TimeoutError:
                        continue
                else:
                    raise OSError("time is up")
            except OSError:
                text = self.log_text()
                self.close()
                raise AssertionError(f"the server did not become ready:\n{text}") from None
        self.write_kubeconfig()

    def write_kubeconfig(self):
        pki = self.directory / "pki"

        def openssl(*words):
            subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=self.directory)

        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "admin.key")
        openssl("req", "-new", "-key", "admin.key", "-subj", "/O=system:masters/CN=admin", "-out", "admin.csr")
        openssl("x509", "-req", "-in", "admin.csr", "-CA", str(pki / "ca.crt"), "-CAkey", str(pki / "ca.key"), "-CAcreateserial",
                "-CAserial", "ca.srl", "-days", "1", "-out", "admin.crt")
        self.kubeconfig.write_text(f"""apiVersion: v1
kind: Config
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: admin}}}}]
clusters: [{{name: it, cluster: {{server: "https://127.0.0.1:6443", certificate-authority: {pki}/ca.crt}}}}]
users: [{{name: admin, user: {{client-certificate: {self.directory}/admin.crt, client-key: {self.directory}/admin.key}}}}]
""")

    def resident_kib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("the server has gone")

    def log_text(self):
        self.log.flush()
        return (self.directory / "log").read_text(errors="replace")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
