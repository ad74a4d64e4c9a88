#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints the packages of packages.txt that are not installed, one a line.
set -euo pipefail
cd "$(dirname "$0")"
installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii *//p' | sort -u)
grep -v -e '^#' -e '^$' packages.txt | while IFS= read -r line; do
  found=no
  first=
  for name in ${line//|/ }; do
    first=${first:-$name}
    if grep -qxF "$name" <<<"$installed"; then found=yes; fi
  done
  [ $found = yes ] || echo "$first"
done
# The cluster's client: any kubectl on the PATH serves, else Debian's.
command -v kubectl >/dev/null || echo kubernetes-client
