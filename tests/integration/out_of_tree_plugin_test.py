#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs the project into a directory of its own, builds the example plugin with nothing but what was installed there,
and loads and runs it with the installed program.

Usage: out_of_tree_plugin_test.py SOURCE_DIR BUILD_DIR PREFIX BINDIR LIBDIR SANITIZERS
"""
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

source, build, prefix, bindir, libdir, sanitizers = sys.argv[1:7]
os.environ["KUBERNEL_BUILD"] = build
sys.path.insert(0, str(pathlib.Path(source) / "tests" / "clients"))
import api_server  # noqa: E402

SCHEDULER_PLUGINS = ("priority-sort", "node-unschedulable", "node-name", "taint-toleration", "node-resources-fit", "default-binder")


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{shlex.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}")
    return done.stdout


class OutOfTreePlugin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(tempfile.mkdtemp(prefix="kubernel-out-of-tree-"))
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        stage = cls.scratch / "stage"
        run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", stage)
        cls.installed = pathlib.Path(f"{stage}{prefix}")
        cls.kernel = cls.installed / bindir / "kubernel"
        # The files lie below `stage`; whoever asks pkg-config must be told, as for any staged installation.
        environment = {name: value for name, value in os.environ.items()
                       if name in ("PATH", "HOME", "TMPDIR", "CCACHE_DIR")}
        environment["PKG_CONFIG_PATH"] = str(cls.installed / libdir / "pkgconfig")
        environment["PKG_CONFIG"] = f"pkg-config --define-variable=prefix={cls.installed}"
        environment["CXX"] = "ccache g++" if shutil.which("ccache") else "g++"
        example = cls.scratch / "example"
        shutil.copytree(pathlib.Path(source) / "examples" / "out-of-tree-plugin", example)
        cls.plugins = cls.scratch / "example-build"
        # What is linked with sanitized libraries must be sanitized itself.
        run("meson", "setup", cls.plugins, example, f"-Db_sanitize={sanitizers}", f"-Db_lundef={str(sanitizers == 'none').lower()}",
            env=environment)
        run("ninja", "-C", cls.plugins, env=environment)
        cls.environment = environment
        cls.manifest = example / "kernel.yaml"

    def test_they_load_into_the_installed_program(self):
        files = [self.plugins / "greeter.so", self.plugins / "quiet-nodes.so"]
        listed = json.loads(run(self.kernel, "plugin", "inspect", "-o", "json", *files))["plugins"]
        self.assertEqual([one["loadsHere"] for one in listed], [True, True], listed)
        self.assertEqual([one["provides"] for one in listed], [["component/greeter"], ["scheduler/QuietNodes"]])

    def test_the_scheduler_plugin_of_the_tutorial_loads_and_passes_its_own_tests(self):
        listed = json.loads(run(self.kernel, "plugin", "inspect", "-o", "json", self.plugins / "cheap-nodes.so"))["plugins"]
        self.assertEqual([(one["loadsHere"], one["provides"]) for one in listed], [(True, ["scheduler/CheapNodes"])], listed)
        libraries = str(self.installed / libdir)
        self.assertIn("Ok:", run("meson", "test", "-C", self.plugins, env={**self.environment, "LD_LIBRARY_PATH": libraries}))

    def start_server(self, entries):
        """An API server and scheduler with the given manifest entries; gives a kubectl for it."""
        server = api_server.ApiServer(entries + "".join(f"  - name: {name}\n" for name in SCHEDULER_PLUGINS), plugin_path=str(self.plugins))
        self.addCleanup(server.close)
        environment = dict(os.environ, KUBECONFIG=str(server.kubeconfig), HOME=str(server.directory))

        def kubectl(*words, stdin=None):
            return run("kubectl", *words, env=environment, input=stdin)

        kubectl("create", "serviceaccount", "default")
        for name, price in (("cheap", "10"), ("fair", "40"), ("dear", "90")):
            resources = {"cpu": "4", "memory": "8Gi", "pods": "110"}
            kubectl("create", "-f", "-", stdin=json.dumps({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"example.com/price": price}},
                "status": {"capacity": resources, "allocatable": resources, "conditions": [{"type": "Ready", "status": "True"}]}}))
            kubectl("taint", "node", name, "node.kubernetes.io/not-ready-")
        return kubectl

    @staticmethod
    def create_pod(kubectl, name, **spec):
        kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                                                       "spec": {"containers": [{"name": "c", "image": "pause"}], **spec}}))

    def snippet(self, number):
        """A piece of the tutorial's manifests, as it stands there."""
        text = (pathlib.Path(source) / "docs" / "scheduler-plugins.md").read_text()
        return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[number]

    def test_the_scheduler_plugin_of_the_tutorial_decides_in_a_running_configuration(self):
        kubectl = self.start_server(self.snippet(0))
        self.create_pod(kubectl, "web-0")
        kubectl("wait", "pod/web-0", "--for=condition=PodScheduled", "--timeout=30s")
        self.assertEqual(kubectl("get", "pod", "web-0", "-o", "jsonpath={.spec.nodeName}"), "cheap")
        kubectl("cordon", "cheap")
        kubectl("cordon", "fair")
        self.create_pod(kubectl, "web-1")
        kubectl("wait", "pod/web-1", "--for=condition=PodScheduled=False", "--timeout=30s")
        self.assertIn("0/3 nodes are available: 1 node(s) cost more than 50, 2 node(s) were unschedulable.", kubectl("describe", "pod", "web-1"))
        explained = json.loads(kubectl("get", "--raw", "/scheduler/explain?namespace=default&pod=web-1"))
        refusals = {(node["name"], verdict["plugin"]) for node in explained["nodes"] for verdict in node["filters"] if verdict.get("reasons")}
        self.assertIn(("dear", "CheapNodes"), refusals, explained)

    def test_the_scheduler_plugin_of_the_tutorial_has_other_arguments_in_a_profile(self):
        kubectl = self.start_server(self.snippet(1) + "  - name: cheap-nodes\n")
        for name, scheduler in (("plain", "default-scheduler"), ("thrifty", "thrifty")):
            self.create_pod(kubectl, name, schedulerName=scheduler, nodeName=None)
            kubectl("wait", f"pod/{name}", "--for=condition=PodScheduled", "--timeout=30s")
        self.assertEqual(kubectl("get", "pod", "thrifty", "-o", "jsonpath={.spec.nodeName}"), "cheap")
        kubectl("cordon", "cheap")
        self.create_pod(kubectl, "thrifty-2", schedulerName="thrifty")
        kubectl("wait", "pod/thrifty-2", "--for=condition=PodScheduled=False", "--timeout=30s")
        self.assertIn("2 node(s) cost more than 20", kubectl("describe", "pod", "thrifty-2"))

    def test_the_arguments_of_the_tutorials_plugin_are_checked(self):
        manifest = self.scratch / "misspelled.yaml"
        manifest.write_text("apiVersion: kubernel/v1alpha1\nkind: PluginManifest\nplugins:\n" + self.snippet(0).replace("limit:", "limti:"))
        done = subprocess.run([self.kernel, "plugin", "list", "--manifest", manifest], capture_output=True, text=True,
                              env={"KUBERNEL_PLUGIN_PATH": f"{build}:{self.plugins}"})
        self.assertEqual(done.returncode, 1)
        self.assertIn('config.limti: unknown key; did you mean "limit"?', done.stdout)

    def test_they_export_nothing_but_their_entry(self):
        for name in ("greeter", "quiet-nodes"):
            symbols = [line.split()[-1] for line in
                       run("nm", "-D", "--defined-only", self.plugins / f"{name}.so").splitlines()]
            self.assertEqual(symbols, ["kubernel_plugin_register"])

    def test_it_runs(self):
        address = str(self.scratch / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(address)
            notify.settimeout(30)
            kernel = subprocess.Popen(
                [self.kernel, "run", "--manifest", self.manifest], stderr=subprocess.PIPE, text=True,
                env={"NOTIFY_SOCKET": address, "KUBERNEL_PLUGIN_PATH": str(self.plugins), "TIME_OF_DAY": "evening"})
            try:
                ready = notify.recv(100)
            finally:
                kernel.send_signal(signal.SIGTERM)
                log = kernel.communicate(timeout=30)[1]
        self.assertEqual(ready, b"READY=1", log)
        self.assertEqual(kernel.returncode, 0, log)
        self.assertIn(" info greeter: good evening\n", log)
        self.assertIn(" info greeter: goodbye\n", log)

    def test_its_configuration_is_checked(self):
        manifest = self.scratch / "bad.yaml"
        manifest.write_text(self.manifest.read_text().replace("greeting:", "greting:"))
        done = subprocess.run([self.kernel, "plugin", "list", "--manifest", manifest], capture_output=True, text=True,
                              env={"KUBERNEL_PLUGIN_PATH": str(self.plugins)})
        self.assertEqual(done.returncode, 1)
        self.assertIn('plugins[0].config.greting: unknown key; did you mean "greeting"?', done.stdout)


if __name__ == "__main__":
    problem = api_server.enter_own_network()
    if problem:
        sys.exit(f"out_of_tree_plugin_test: {problem}")
    unittest.main(argv=sys.argv[:1])
