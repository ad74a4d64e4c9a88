#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs the project into a directory of its own, builds the example plugin with nothing but what was installed there,
and loads and runs it with the installed program.

Usage: out_of_tree_plugin_test.py SOURCE_DIR BUILD_DIR PREFIX BINDIR LIBDIR
"""
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

source, build, prefix, bindir, libdir = sys.argv[1:6]


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
        run("meson", "setup", cls.plugins, example, env=environment)
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
    unittest.main(argv=sys.argv[:1])
