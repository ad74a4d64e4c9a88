#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints the packages of packages.txt that are not installed, one a line: of alternatives the first that this release has, as far
# as apt's lists tell.
set -euo pipefail
cd "$(dirname "$0")"
installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii *//p' | sort -u)
known_to_apt() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }
grep -v -e '^#' -e '^$' packages.txt | while IFS= read -r line; do
  found=no
  wanted=
  for name in ${line//|/ }; do
    if grep -qxF "$name" <<<"$installed"; then found=yes; fi
    if [ $found = no ] && [ -z "$wanted" ] && known_to_apt "$name"; then wanted=$name; fi
  done
  [ $found = yes ] || echo "${wanted:-${line%% *}}"
done
# The cluster's client: any kubectl on the PATH serves, else Debian's.
command -v kubectl >/dev/null || echo kubernetes-client
