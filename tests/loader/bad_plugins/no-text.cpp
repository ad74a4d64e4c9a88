// SPDX-License-Identifier: Apache-2.0
// A shared object like any other.
int no_text() {
  return 1;
}
