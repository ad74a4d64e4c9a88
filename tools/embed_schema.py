#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a plugin's config.schema.json the C++ literal KUBERNEL_PLUGIN_SCHEMA.

Usage: embed_schema.py SCHEMA.json OUT.h
"""
import json
import pathlib
import sys

source, out = map(pathlib.Path, sys.argv[1:])
text = json.dumps(json.loads(source.read_text()), separators=(",", ":"))
# Adjacent literals: a single one may not be longer than compilers promise to accept.
pieces = [text[i:i + 2000] for i in range(0, len(text), 2000)]
literal = " \\\n".join('R"kubernel(' + piece + ')kubernel"' for piece in pieces)
out.write_text("#pragma once\n#define KUBERNEL_PLUGIN_SCHEMA " + literal + "\n")
