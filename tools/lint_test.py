#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of tools/lint finds what it is for, and leaves alone what looks like it."""
import importlib.machinery
import importlib.util
import pathlib
import unittest

LINT = pathlib.Path(__file__).resolve().parent / "lint"
loader = importlib.machinery.SourceFileLoader("lint", str(LINT))
lint = importlib.util.module_from_spec(importlib.util.spec_from_loader("lint", loader))
loader.exec_module(lint)

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"


def found(path, text, header=SPDX):
    return [rule for _, rule, _ in lint.check_file(path, header + text)]


class Lint(unittest.TestCase):
    def test_finds(self):
        for path, text, rule in [
            ("plugins/a/x.cpp", "auto f = [this](int x) -> boost::asio::awaitable<void> {", "lambda-coroutine"),
            ("plugins/a/x.cpp", '#include "core/base/thread.h"', "layers"),
            ("plugins/a/x.cpp", '#include "plugins/b/y.h"', "layers"),
            ("core/main/x.cpp", "#include <kubernel/client/client.h>", "layers"),
            ("core/main/x.cpp", "#include <kubernel/testing/fake_clock.h>", "layers"),
            ("plugins/a/x.cpp", "#include <yaml-cpp/yaml.h>", "layers"),
            ("plugins/a/x.cpp", "void* library = dlopen(name, RTLD_NOW);", "layers"),
            ("sdk/include/kubernel/base/x.cpp", '#include "src/x.h"', "layers"),
            ("plugins/a/x_test.cpp", "std::this_thread::sleep_for(1s);", "sleep"),
            ("plugins/a/x.cpp", "  sleep(1);", "sleep"),
            ("plugins/a/x.cpp", "std::jthread worker;", "thread"),
            ("sdk/src/api/x.cpp", "auto now = std::chrono::system_clock::now();", "clock"),
            ("plugins/a/x.cpp", "time(nullptr)", "clock"),
            ("plugins/a/x.cpp", "std::random_device seed;", "random"),
            ("plugins/a/x_test.cpp", "const json x{1};", "json-braces"),
            ("core/main/x.cpp", "// Starts the kubelet.", "kubernetes-word"),
            ("plugins/a/x.cpp", "// FIXME later", "unfinished"),
            ("plugins/a/x.h", "int x;", "pragma-once"),
            ("plugins/a/x.cpp", "\n" * 901, "length"),
        ]:
            with self.subTest(text=text[:40]):
                self.assertEqual(found(path, text), [rule])

    def test_finds_a_missing_license(self):
        self.assertEqual(found("plugins/a/x.cpp", "int x;", header=""), ["spdx"])
        self.assertEqual(found("tools/x.py", "import sys", header="#!/usr/bin/env python3\n"), ["spdx"])

    def test_leaves_alone(self):
        for path, text in [
            ("plugins/a/x.cpp", "auto f = [](int x) -> Result<int> { return x; };"),
            ("plugins/a/x_test.cpp", '#include "core/base/system_clock.h"'),
            ("sdk/src/net/x_fixture.h", '#pragma once\n#include "core/base/system_clock.h"'),
            ("core/base/x.cpp", "std::chrono::system_clock::now(); std::thread t;"),
            ("sdk/src/net/x.cpp", "std::chrono::steady_clock::now();"),
            ("plugins/a/x.cpp", "log(\"call sleep(1)\");  // std::thread is not used; never sleep(1)"),
            ("plugins/a/x.cpp", "std::thread::id who; clock.time(now); runtime(0); wall_time(0);"),
            ("plugins/a/x.cpp", "json parse_json(const std::string& text) {"),
            ("plugins/a/x.cpp", "// TODO(#12): when the other side can."),
            ("core/main/x.cpp", "namespace kubernel { int node; }"),
        ]:
            with self.subTest(text=text[:40]):
                self.assertEqual(found(path, text), [])

    def test_an_excuse_counts_on_the_line_and_the_next_one_for_its_rule_only(self):
        self.assertEqual(found("plugins/a/x.cpp", "// lint: allow(thread) the library wants one\nstd::thread t;"), [])
        self.assertEqual(found("plugins/a/x.cpp", "std::thread t;  // lint: allow(thread) the library wants one"), [])
        self.assertEqual(found("plugins/a/x.cpp", "// lint: allow(clock) wrong rule\nstd::thread t;"), ["thread"])
        self.assertEqual(found("plugins/a/x.cpp", "std::thread t;  // lint: allow(thread)"), ["thread"])


if __name__ == "__main__":
    unittest.main()
