#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A store that cannot be opened is one clear line, from a process with each of config/storage-*.yaml and from `kubernel storage check`.

What needs a database server that answers (a wrong password, its newer tables, a user who may only read) is in server_trouble_test.cpp
and ../etcd/etcd_trouble_test.cpp. A file is made read-only by a mount, in a mount namespace of the test's own: root may write all others.
"""
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path[:0] = [str(SOURCE / "tests/e2e")]

import tap  # noqa: E402

BUILD = pathlib.Path(os.environ["KUBERNEL_BUILD"]).absolute()
PATIENCE = 60
SECRET = "swordfish"


class Refusals:
    INDEPENDENT = True

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kubernel-refusals-"))
        self.password = self.directory / "password"
        self.password.write_text(SECRET + "\n", encoding="utf-8")
        self.password.chmod(0o600)
        self.mounted = []
        self.said = ""

    def close(self):
        for place in self.mounted:
            subprocess.run(["umount", place], check=True)
        shutil.rmtree(self.directory)

    def explain(self, out):
        for line in self.said.splitlines():
            print(f"# {line}", file=out)

    def run(self, *command, code=1, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNEL_")}
        environment.update(KUBERNEL_PLUGIN_PATH=str(BUILD), **{name: str(value) for name, value in variables.items()})
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.said = f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == code, done.returncode
        assert SECRET not in self.said, "the password is shown"
        lines = [line for line in done.stderr.splitlines() if " info " not in line]
        assert len(lines) == 1, f"{len(lines)} lines instead of one"
        return lines[0]

    def starts_not(self, kind, *parts, **variables):
        """A process with config/storage-KIND.yaml ends with one line that has all parts."""
        manifest = self.directory / "manifest.yaml"
        manifest.write_text(f"apiVersion: kubernel/v1alpha1\nkind: PluginManifest\ninclude: [{SOURCE}/config/storage-{kind}.yaml]\n"
                            "plugins:\n  - name: etcd-server\n    config: {listen: [\"127.0.0.1:0\"]}\n", encoding="utf-8")
        self.expect(self.run(BUILD / "core/kubernel", "run", "--manifest", manifest, **variables), *parts)

    def checks_not(self, url, *parts):
        self.expect(self.run(BUILD / "tools/storage/kubernel-storage", "check", url), *parts)

    @staticmethod
    def expect(line, *parts):
        for part in parts:
            assert str(part) in line, f"no \"{part}\" in: {line}"

    def place(self, name):
        """A directory with a state.db that is still to be made."""
        place = self.directory / name
        place.mkdir()
        return place, place / "state.db"

    @staticmethod
    def database(file, *statements):
        with sqlite3.connect(file) as made:
            for statement in statements:
                made.execute(statement)
        made.close()

    def both(self, place, *parts):
        """The same line from a process and from the command."""
        self.starts_not("sqlite", "storage-sqlite", place / "state.db", *parts, KUBERNEL_DATA=place)
        self.checks_not(f"sqlite:{place}/state.db", "storage-sqlite", place / "state.db", *parts)

    def test_a_file_of_a_newer_program_is_refused(self):
        place, file = self.place("newer")
        self.database(file, "PRAGMA application_id=1263685196", "PRAGMA user_version=99", "CREATE TABLE log (id INTEGER)")
        self.both(place, "has schema version 99", "use the newer program that wrote it")

    def test_another_programs_database_is_left_alone(self):
        place, file = self.place("other")
        self.database(file, "CREATE TABLE songs (title TEXT)")
        before = file.read_bytes()
        self.both(place, "is a database of another program", "choose another path")
        assert file.read_bytes() == before

    def test_a_file_that_is_no_database_is_left_alone(self):
        place, file = self.place("letter")
        file.write_bytes(b"a letter to a friend\n" * 1000)
        self.both(place, "is not a store, or is damaged", "restore it from a backup")
        assert file.read_bytes() == b"a letter to a friend\n" * 1000

    def test_a_read_only_file_is_named(self):
        place, file = self.place("readonly")
        file.touch(0o600)
        subprocess.run(["mount", "--bind", file, file], check=True)
        self.mounted.append(file)
        subprocess.run(["mount", "-o", "remount,bind,ro", file], check=True)
        self.both(place, "cannot be opened for writing: Read-only file system")

    def test_a_place_that_is_not_there_is_named(self):
        nowhere = self.directory / "nowhere"
        self.starts_not("sqlite", "storage-sqlite", nowhere / "state.db", "No such file or directory", KUBERNEL_DATA=nowhere)
        self.checks_not(f"sqlite:{nowhere}/state.db", nowhere / "state.db", "there is no such file")
        assert not nowhere.exists()

    def servers(self):
        for kind, scheme in (("postgres", "postgresql"), ("mysql", "mysql")):
            if (BUILD / f"storage-{kind}.so").exists():
                yield kind, scheme, f"KUBERNEL_{kind.upper()}_URL", f"KUBERNEL_{kind.upper()}_PASSWORD_FILE"
            else:
                print(f"# SKIPPED: storage-{kind} has not been built")

    def test_a_database_server_that_is_not_there_is_named(self):
        for kind, scheme, url, password in self.servers():
            server = f"{scheme}://kubernel@127.0.0.1:1/kubernel"
            self.starts_not(kind, f"storage-{kind}: {server}", "is the server running there?", **{url: server, password: self.password})
            self.checks_not(f"{server}?passwordFile={self.password}", f"storage-{kind}: {server}", "is the server running there?")

    def test_a_password_that_cannot_be_read_is_named(self):
        missing = self.directory / "no-password"
        for kind, scheme, url, password in self.servers():
            server = f"{scheme}://kubernel@127.0.0.1:1/kubernel"
            self.starts_not(kind, f"storage-{kind}", missing, **{url: server, password: missing})
            self.checks_not(f"{server}?passwordFile={missing}", f"storage-{kind}", missing)

    def test_a_url_with_a_password_or_without_sense_is_refused(self):
        for kind, scheme, url, password in self.servers():
            self.starts_not(kind, f"storage-{kind}", "password", **{url: f"{scheme}://kubernel:{SECRET}@127.0.0.1:1/kubernel",
                                                                   password: self.password})
            self.starts_not(kind, f"storage-{kind}", **{url: "127.0.0.1:1", password: self.password})
        self.expect(self.run(BUILD / "tools/storage/kubernel-storage", "check", "postgress://kubernel@db/kubernel", code=2),
                    "unknown kind of store", "did you mean \"postgres\"?")

    def test_an_etcd_that_is_not_there_is_named(self):
        if not (BUILD / "storage-etcd.so").exists():
            print("# SKIPPED: storage-etcd has not been built")
            return
        said = ("etcd http://127.0.0.1:1: connection refused", "is etcd running there?")
        self.starts_not("etcd", *said, KUBERNEL_ETCD_URL="http://127.0.0.1:1")
        self.checks_not("etcd://127.0.0.1:1", *said)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit(tap.run(Refusals, "needs root"))
    if "--inside" not in sys.argv:
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "--", sys.executable, __file__, "--inside"])
    sys.exit(tap.run(Refusals))
