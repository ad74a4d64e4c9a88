// SPDX-License-Identifier: Apache-2.0
//
// How jemalloc is to work, which the executables link that serve for long. Objects are made on one thread and freed on
// another here, and parsed objects are blocks of a few kilobytes among small ones: glibc's malloc takes a fifth of all
// CPU for that.
//
// Memory that is not used goes back to the system after a second: a small machine has other uses for it.

extern "C" {
extern const char* malloc_conf;  // jemalloc's name for it: jemalloc(3), "TUNING".
const char* malloc_conf = "background_thread:true,narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:0";
}
