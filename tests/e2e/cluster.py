# SPDX-License-Identifier: Apache-2.0
"""A sandboxed cluster for end-to-end tests: `kubernel up` on a state directory of its own, kubectl against it."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import kubectl

BUILD = pathlib.Path(os.environ.get("KUBERNEL_BUILD", "build")).absolute()
SANITIZERS = os.environ.get("KUBERNEL_SANITIZERS", "none")
# What is linked with sanitized libraries must be sanitized itself.
SANITIZER_OPTIONS = [] if SANITIZERS == "none" else [f"-Db_sanitize={SANITIZERS}", "-Db_lundef=false"]
SOURCE = pathlib.Path(os.environ.get("KUBERNEL_SOURCE", ".")).absolute()


def why_not():
    """Why a cluster cannot be started here; empty when it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("kubectl"):
        return "needs kubectl"
    return ""


class Cluster:
    def __init__(self, nodes=1, **options):
        self.state = tempfile.mkdtemp(prefix="kubernel-e2e-")
        self.name = "e2e-" + os.path.basename(self.state).rsplit("-", 1)[1].lower().replace("_", "x")
        self.image = pathlib.Path(self.state) / "busybox.tar"
        self.nodes = nodes
        self.options = options
        self.environment = dict(
            os.environ,
            KUBERNEL_PLUGIN_PATH=str(BUILD),
            KUBERNEL_LIBEXEC=str(BUILD / "tools/cluster"),
            KUBERNEL_PROGRAM=str(BUILD / "core/kubernel"),
            KUBERNEL_CONFIG_DIR=str(SOURCE / "config"),
            KUBECONFIG=f"{self.state}/{self.name}/kubeconfig",
            HOME=self.state,  # kubectl's cache
        )
        subprocess.run([SOURCE / "tools/mkimage", "--busybox", self.image], check=True, stdout=subprocess.DEVNULL)

    def kubernel(self, *words, check=True):
        """Runs `kubernel WORDS...` for this cluster; gives the finished process."""
        command = [str(BUILD / "core/kubernel"), *words, "--name", self.name, "--state-dir", self.state]
        done = subprocess.run(command, env=self.environment, text=True, capture_output=True, timeout=180)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def up(self, *more):
        return self.kubernel("up", "--nodes", str(self.nodes), "--image", str(self.image), *more)

    def down(self, *more):
        return self.kubernel("down", *more)

    def kubectl(self, *words, check=True, stdin=None, timeout=90):
        done = subprocess.run(["kubectl", *words], env=self.environment, text=True, capture_output=True, input=stdin,
                              timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def wait_for(self, what, path, wanted=None, seconds=30):
        kubectl.wait_for(["kubectl", "get"], what, self.environment, path, wanted, seconds)

    def get(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def record(self):
        return json.loads((pathlib.Path(self.state) / self.name / "cluster.json").read_text())

    def kubernel_pids(self):
        """The `kubernel run` processes of this cluster, as seen from here."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            ours = f"KUBERNEL_DATA={self.state}/".encode() in environment
            if ours and command[:2] == [str(BUILD / "core/kubernel").encode(), b"run"]:
                found.append(int(entry.name))
        return found

    def leftovers(self):
        """What of the cluster is still on this machine: processes, mounts, cgroups, files."""
        left = []
        needle = f"{self.state}/{self.name}"
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if needle.encode() in (entry / "cmdline").read_bytes():
                        left.append(f"process {entry.name}")
                except OSError:
                    pass
        left += [f"mount {line.split()[4]}" for line in open("/proc/self/mountinfo") if needle in line]
        left += [f"cgroup {path}" for path in pathlib.Path("/sys/fs/cgroup").glob(f"*/kubernel-{self.name}")]
        if os.path.exists(needle):
            left.append(f"directory {needle}")
        return left

    def logs(self):
        out = ""
        for path in sorted((pathlib.Path(self.state) / self.name).glob("**/*.log")):
            if "pods" not in path.parts:
                out += f"--- {path.name}\n" + "".join(path.read_text(errors="replace").splitlines(keepends=True)[-40:])
        return out

    def close(self):
        if os.path.exists(f"{self.state}/{self.name}/cluster.json"):
            self.kubernel("down", check=False)
        shutil.rmtree(self.state, ignore_errors=True)
