#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes C++ from the API facts: generate.py list-views | tables OUTDIR | views OUTDIR | builders OUTDIR"""

import os
import sys

import builders
import defaults
import facts as api_facts
import tables
import views

TABLE_FILES = 4


def writer(folder):
    def write(name, text):
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as out:
            out.write(text)
    return write


def main(arguments):
    facts = api_facts.Facts(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'facts'))
    if arguments == ['list-views']:
        print('\n'.join(views.header_name(p) for p in facts.view_packages()))
    elif len(arguments) == 2 and arguments[0] == 'tables':
        write = writer(arguments[1])
        facts.defaulted = defaults.types_with_rules(facts)
        defaults.write_defaults(facts, write)
        tables.write_header(facts, write)
        tables.write_types(facts, write, TABLE_FILES)
        tables.write_index(facts, write)
    elif len(arguments) == 2 and arguments[0] == 'views':
        views.write_views(facts, writer(arguments[1]))
    elif len(arguments) == 2 and arguments[0] == 'builders':
        builders.write_builders(facts, writer(arguments[1]))
    else:
        sys.exit(__doc__)


main(sys.argv[1:])
