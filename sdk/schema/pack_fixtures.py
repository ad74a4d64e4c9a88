#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packs the API fixtures of golang-k8s-api-dev for the codec tests: pack_fixtures.py TESTDATA_DIR OUT [--all]

TESTDATA_DIR is the package's usr/share/gocode/src/k8s.io/api/testdata/HEAD. Each line of OUT is name, compact JSON and
protobuf in base64, separated by tabs. Without --all only the GA versions that are served are packed.
"""

import base64
import glob
import json
import os
import sys

import facts as api_facts


def main(arguments):
    everything = '--all' in arguments
    folder, out = [a for a in arguments if a != '--all']
    facts = api_facts.Facts(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'facts'))
    kinds = {(t.group, t.version, t.name) for t in facts.types.values() if everything or t.raw.get('stage') == 'GA'}
    with open(out, 'w', encoding='utf-8') as packed:
        for path in sorted(glob.glob(os.path.join(folder, '*.json'))):
            with open(path, encoding='utf-8') as source:
                document = json.load(source)
            group, version, kind = os.path.basename(path)[:-len('.json')].rsplit('.', 2)
            if ('' if group == 'core' else group, version, kind) not in kinds:
                continue
            with open(path[:-len('json')] + 'pb', 'rb') as source:
                protobuf = base64.b64encode(source.read()).decode()
            name = os.path.basename(path)[:-len('.json')]
            text = json.dumps(document, separators=(',', ':'), ensure_ascii=False)
            packed.write(f'{name}\t{text}\t{protobuf}\n')


main(sys.argv[1:])
