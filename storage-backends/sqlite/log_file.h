// SPDX-License-Identifier: Apache-2.0
//
// The writer's write-ahead log: SQLite's own file, with fewer calls.
//
// SQLite writes the pages of a commit into its log one by one, each in two pieces: with small pages that is a hundred
// calls for thirty keys. Opened with this VFS, the pieces are gathered and written at once.

#pragma once

namespace kubernel::storage_sqlite {

/// What sqlite3_open_v2() needs for it. Above SQLite's default VFS, whichever that is when a file is opened. Null when
/// it cannot be had, which is that default.
///
/// What is gathered is written when SQLite asks for a sync. With synchronous=FULL it does so at the end of each commit,
/// before readers are shown the pages; so the connection needs that, and must be the only one that writes.
const char* log_vfs();

}  // namespace kubernel::storage_sqlite
