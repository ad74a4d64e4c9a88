# SPDX-License-Identifier: Apache-2.0
"""What keeps a control plane from starting is said in one line, and nothing is half done."""
import os
import pathlib
import shutil
import socket
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).parent), os.environ["KUBERNEL_SOURCE"] + "/tests/e2e"]
import control_plane
import tap


class Start:
    INDEPENDENT = True

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kubernel-faults-"))
        self.plane = None

    def close(self):
        if self.plane:
            self.plane.end()
        shutil.rmtree(self.directory)

    def explain(self, out):
        if self.plane and self.plane.log.exists():
            for line in self.plane.log.read_text().splitlines():
                print(f"# {line}", file=out)

    def fresh(self, **options):
        """A place nothing has run in."""
        here = self.directory / str(len(list(self.directory.iterdir())))
        (here / "state").mkdir(parents=True)
        self.plane = control_plane.ControlPlane(here, **options)
        return self.plane

    def used(self):
        """A place where a control plane has run, with one object."""
        plane = self.fresh()
        plane.start()
        status, made = plane.put("kept", 10)
        assert status == 201, made
        plane.stop()
        return plane

    def expect(self, plane, *parts):
        line = plane.fails_to_start()
        for part in parts:
            assert str(part) in line, f"no \"{part}\" in: {line}"

    def keeps(self, plane):
        plane.start()
        assert plane.names() == {"kept": 10}, plane.names()
        plane.stop()

    def test_a_port_in_use_is_named_and_the_state_stays_usable(self):
        plane = self.used()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            plane.listen = f"127.0.0.1:{taken.getsockname()[1]}"
            self.expect(plane, "component apiserver", plane.listen, "already in use")
        plane.listen = "127.0.0.1:0"
        self.keeps(plane)

    def test_a_missing_state_directory_is_named(self):
        plane = self.fresh()
        plane.database = plane.directory / "nowhere" / "state.db"
        self.expect(plane, "component apiserver", plane.database, "No such file or directory")
        assert not plane.database.parent.exists()

    def test_a_state_directory_that_is_a_file_is_named(self):
        plane = self.fresh()
        plane.state.rmdir()
        plane.state.write_text("a file")
        self.expect(plane, "component apiserver", plane.database, "Not a directory")
        assert plane.state.read_text() == "a file"

    def test_a_certificate_directory_that_is_a_file_is_named(self):
        plane = self.fresh()
        plane.pki.write_text("a file")
        self.expect(plane, "component apiserver", plane.pki)
        assert plane.pki.read_text() == "a file"

    def test_a_file_that_is_no_database_is_left_alone(self):
        plane = self.fresh()
        plane.database.write_bytes(b"a letter to a friend\n" * 1000)
        self.expect(plane, "component apiserver", plane.database)
        assert plane.database.read_bytes() == b"a letter to a friend\n" * 1000

    def test_a_database_that_was_cut_off_is_not_taken_for_a_good_one(self):
        plane = self.used()
        size = plane.database.stat().st_size
        os.truncate(plane.database, size // 3 // 4096 * 4096 + 100)
        for beside in ("-wal", "-shm"):
            pathlib.Path(str(plane.database) + beside).unlink(missing_ok=True)
        before = plane.database.read_bytes()
        self.expect(plane, "component apiserver", plane.database)
        assert plane.database.read_bytes() == before, "a broken database was written to"

    def test_a_broken_ca_certificate_is_named(self):
        plane = self.used()
        (plane.pki / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n")
        self.expect(plane, "component apiserver", plane.pki / "ca.crt")

    def test_a_ca_certificate_without_its_key_is_named(self):
        plane = self.used()
        key = plane.pki / "ca.key"
        content = key.read_text()
        key.unlink()
        self.expect(plane, plane.pki / "ca.crt", key, "restore it")
        assert not key.exists()
        key.write_text(content)
        self.keeps(plane)

    def test_the_key_of_another_ca_is_named(self):
        plane = self.used()
        shutil.copy(plane.pki / "front-proxy-ca.key", plane.pki / "ca.key")
        self.expect(plane, plane.pki / "ca.key", "is not the private key of", plane.pki / "ca.crt")

    def test_an_empty_key_of_service_accounts_is_named(self):
        plane = self.used()
        (plane.pki / "sa.key").write_text("")
        self.expect(plane, plane.pki / "sa.key")

    def test_a_broken_server_certificate_is_made_again(self):
        plane = self.used()
        (plane.pki / "apiserver.crt").write_text("not a certificate")
        self.keeps(plane)

    def test_a_plugin_that_is_missing_is_named(self):
        plane = self.fresh()
        text = pathlib.Path(plane.manifest()).read_text()
        plane.manifest = lambda: self.write(plane, text.replace("storage-sqlite", "storage-sqlight"))
        self.expect(plane, "storage-sqlight.so", "did you mean \"storage-sqlite\"?")
        assert list(plane.state.iterdir()) == []

    @staticmethod
    def write(plane, text):
        file = plane.directory / "manifest.yaml"
        file.write_text(text)
        return str(file)


sys.exit(tap.run(Start))
