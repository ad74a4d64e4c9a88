# SPDX-License-Identifier: Apache-2.0
"""What the tests here run, built with Go into the build directory: kube-apiserver, kubectl, etcd's benchmark, kine, and a load
generator of ours on etcd's client.

Their versions are those of the go.mod files beside this one. What has been built is not built again until its module here changes.
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("KUBERNEL_BUILD", HERE.parent.parent / "build")).absolute()
BIN = BUILD / "upstream/bin"
# Name: its module's folder here, its package.
PROGRAMS = {
    "kube-apiserver": ("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kubectl": ("kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    "benchmark": ("etcd", "go.etcd.io/etcd/v3/tools/benchmark"),
    "load": ("etcd", "./load"),
    "kine": ("kine", "github.com/k3s-io/kine"),
}
# What the output of a failed build says when the modules could not be had.
NO_NETWORK = re.compile(r"dial tcp|no such host|i/o timeout|connection refused|network is unreachable|TLS handshake|proxyconnect|"
                        r"module lookup disabled")


class Missing(Exception):
    """A program that cannot be built here; the text says what to do, in one line."""


def path(name):
    return BIN / name


def mark_of(name):
    """The fingerprint of what `name` is built from."""
    folder, package = PROGRAMS[name]
    sha = hashlib.sha256(package.encode())
    for file in sorted((HERE / folder).rglob("*")):
        if file.is_file():
            sha.update(file.read_bytes())
    return sha.hexdigest()


def is_built(name):
    stamp = BIN / (name + ".stamp")
    return path(name).exists() and stamp.exists() and stamp.read_text() == mark_of(name)


def version_flags(folder):
    """Kubernetes learns its version from its linker."""
    found = re.search(r"^require k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)$", (HERE / folder / "go.mod").read_text(), re.MULTILINE)
    if not found:
        return []
    values = {"gitVersion": found[1], "gitMajor": found[2], "gitMinor": found[3], "gitTreeState": "archive"}
    places = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return ["-ldflags", " ".join(f"-X {place}.{name}={value}" for place in places for name, value in values.items())]


def check_go(folder):
    """Go itself fetches a newer toolchain when it may; one that may not says so when it builds."""
    if not shutil.which("go"):
        wanted = re.search(r"^go (\S+)$", (HERE / folder / "go.mod").read_text(), re.MULTILINE)[1]
        raise Missing(f"Go is not installed; install Go {wanted} or newer (https://go.dev/dl) and put it on the PATH")


def build(name, jobs=2):
    """Errors: Missing."""
    if is_built(name):
        return
    folder, package = PROGRAMS[name]
    check_go(folder)
    BIN.mkdir(parents=True, exist_ok=True)
    print(f"building {package} (once; minutes)", flush=True)
    command = ["go", "build", "-mod=readonly", "-p", str(jobs), *version_flags(folder), "-o", str(path(name)), package]
    done = subprocess.run(command, cwd=HERE / folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        (BIN / (name + ".stamp")).write_text(mark_of(name))
        return
    log = BIN.parent / (name + ".log")
    log.write_text(done.stdout + done.stderr)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("go: downloading", "#"))] or ["no reason given"]
    if NO_NETWORK.search(done.stderr):
        raise Missing(f"the Go modules of {name} cannot be fetched; run this once with a network, or set GOPROXY to a proxy within reach "
                      f"({log} has the rest)")
    raise Missing(f"{name} cannot be built: {lines[-1].strip()} ({log} has the rest)")
