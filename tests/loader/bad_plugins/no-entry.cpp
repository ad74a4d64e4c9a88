// SPDX-License-Identifier: Apache-2.0
// Carries the text but exports no function.
#include <kubernel/plugin/abi.h>

[[gnu::section(".kubernel.plugin"), gnu::used]] static const char text[] =
    "magic=kubernel-plugin\0" KUBERNEL_ABI_TEXT "name=no-entry\0version=0\0summary=";
