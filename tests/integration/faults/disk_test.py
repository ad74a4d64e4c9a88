# SPDX-License-Identifier: Apache-2.0
"""A disk without room, and one that takes no writes: nothing acknowledged is lost, and it goes on when there is room again.

The small file systems are mounted in a mount namespace of the test's own, which takes them away when it ends.
"""
import errno
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).parent), os.environ["KUBERNEL_SOURCE"] + "/tests/e2e"]
import control_plane
import tap

KILOBYTE = 1024


class Disk:
    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kubernel-faults-"))
        self.plane = None
        self.mounted = []
        self.kept = {}
        self.made = 0

    def close(self):
        if self.plane:
            self.plane.end()
        for place in reversed(self.mounted):
            subprocess.run(["umount", place], check=True)
        shutil.rmtree(self.directory)

    def explain(self, out):
        if self.plane and self.plane.log.exists():
            for line in self.plane.log.read_text().splitlines()[:60]:
                print(f"# {line}", file=out)

    def small(self, name, kilobytes):
        place = self.directory / name
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place], check=True)
        self.mounted.append(place)
        return place

    @staticmethod
    def fill(place):
        """A file that takes all room there is."""
        with open(place / "filler", "ab", buffering=0) as filler:
            for size in (64 * KILOBYTE, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError as full:
                    assert full.errno == errno.ENOSPC, full

    def refused(self):
        """Writes until one is refused, which must be said as the API says it."""
        for _ in range(1000):
            name = f"m{self.made}"
            self.made += 1
            status, answer = self.plane.put(name, 100 * KILOBYTE)
            if status == 201:
                self.kept[name] = 100 * KILOBYTE
                continue
            assert status in (500, 503), (status, answer)
            assert answer["kind"] == "Status" and answer["status"] == "Failure", answer
            assert "no space left" in answer["message"], answer
            return
        raise AssertionError("a full disk took everything")

    def test_a_start_on_a_full_disk_is_one_line_and_leaves_no_half_made_file(self):
        state = self.small("full", 512)
        self.fill(state)
        here = self.directory / "one"
        here.mkdir()
        self.plane = control_plane.ControlPlane(here, state=state)
        line = self.plane.fails_to_start()
        assert "no space left" in line.lower() or "disk is full" in line.lower(), line
        assert str(state) in line, line
        (state / "filler").unlink()
        state_left = [p.name for p in state.rglob("*.new")]
        assert state_left == [], state_left

    def test_with_room_again_it_starts(self):
        subprocess.run(["mount", "-o", "remount,size=8192k", self.plane.state], check=True)
        self.plane.start()

    def test_a_disk_that_gets_full_refuses_writes_and_answers_reads(self):
        self.refused()
        assert self.kept, "nothing fitted at all"
        assert self.plane.names() == self.kept
        status, text = self.plane.request("GET", "/livez")
        assert status == 200, text

    def test_readyz_says_that_nothing_can_be_written(self):
        status, text = self.plane.request("GET", "/readyz?verbose")
        assert status == 500, text
        assert "[-]apiserver failed: " in text and "no space left" in text, text

    def test_a_deletion_that_fits_no_more_is_refused_and_not_half_done(self):
        status, answer = self.plane.request("DELETE", "/api/v1/namespaces/default/configmaps/m0")
        if status == 200:
            del self.kept["m0"]
        else:
            assert answer["kind"] == "Status" and "no space left" in answer["message"], answer
        assert self.plane.names() == self.kept

    def test_killed_while_the_disk_is_full_it_keeps_what_it_acknowledged(self):
        self.plane.kill()
        subprocess.run(["mount", "-o", "remount,size=9216k", self.plane.state], check=True)
        self.plane.start()
        assert self.plane.names() == self.kept

    def test_full_again_it_goes_on_without_a_restart_when_there_is_room(self):
        self.refused()
        subprocess.run(["mount", "-o", "remount,size=16384k", self.plane.state], check=True)
        status, answer = self.plane.put("after", 1000)
        assert status == 201, answer
        self.kept["after"] = 1000
        status, text = self.plane.request("GET", "/readyz?verbose")
        assert status == 200, text
        self.plane.stop()
        self.plane.start()
        assert self.plane.names() == self.kept
        self.plane.stop()

    def test_a_read_only_disk_is_named(self):
        state = self.small("readonly", 512)
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        here = self.directory / "two"
        here.mkdir()
        self.plane = control_plane.ControlPlane(here, state=state)
        line = self.plane.fails_to_start()
        assert "Read-only file system" in line or "readonly" in line, line
        assert str(state) in line, line


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit(tap.run(Disk, "needs root"))
    if "--inside" not in sys.argv:
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "--", sys.executable, __file__, "--inside"])
    sys.exit(tap.run(Disk))
