#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: finds.sh PROGRAM TEXT: PROGRAM must fail and TEXT be in what it says.
if said=$("$1" 2>&1); then
  echo "$1: nothing was found"
  exit 1
fi
case $said in
  *"$2"*) exit 0 ;;
esac
printf '%s: expected "%s", got:\n%s\n' "$1" "$2" "$said"
exit 1
