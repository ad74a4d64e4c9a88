// SPDX-License-Identifier: Apache-2.0
// Built, it claims, against other headers and another json library. Its initialiser would abort if it were loaded.
#include <cstdlib>

#include <kubernel/plugin/abi.h>

[[gnu::section(".kubernel.plugin"), gnu::used]] static const char text[] =
    "magic=kubernel-plugin\0abi.headers=0123456789abcdef\0abi.compiler=gcc-" KUBERNEL_STR(__GNUC__) "\0abi.std=202002\0"
    "abi.cxx11=1\0abi.stl=plain\0abi.json=3.10.5\0abi.sanitizer=none\0name=other-abi\0version=0\0summary=";

[[gnu::constructor]] static void never_runs() {
  std::abort();
}
