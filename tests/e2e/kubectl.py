# SPDX-License-Identifier: Apache-2.0
"""What the kubectl of Debian 12 (1.20) cannot do by itself."""
import subprocess
import threading


def wait_for(get, environment, path, wanted=None, seconds=30):
    """Follows what the command `get` gets until the member at `path` is `wanted`, or there at all: `kubectl wait` has no jsonpath before
    1.23 and waits for no creation before 1.31."""
    seen = []
    with subprocess.Popen([*get, "-w", "-o", f"jsonpath={path}{{'\\n'}}"], env=environment, text=True, stdout=subprocess.PIPE) as watch:
        timer = threading.Timer(seconds, watch.kill)
        timer.start()
        try:
            for line in watch.stdout:
                seen.append(line.strip())
                if seen[-1] and wanted in (None, seen[-1]):
                    return
        finally:
            timer.cancel()
            watch.kill()
    raise AssertionError(f"{' '.join(get)}: {path} did not become {wanted or 'anything'} in {seconds} s; it was {seen}")
