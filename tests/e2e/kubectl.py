# SPDX-License-Identifier: Apache-2.0
"""What the kubectl of Debian 12 (1.20) cannot do by itself."""
import subprocess
import threading


def followed(what):
    """The words after `kubectl get -w` that follow `what`, a resource or "resource/name", without a gap. Of one object by its name
    kubectl gets the object, then begins a watch and swallows that watch's first event, whatever changed in between; of a list it
    watches on from the list's own revision."""
    resource, _, name = what.partition("/")
    return [resource, f"--field-selector=metadata.name={name}"] if name else [resource]


def wait_for(get, what, environment, path, wanted=None, seconds=30):
    """Follows `what` with the command `get` until the member at `path` is `wanted`, or there at all: `kubectl wait` has no jsonpath
    before 1.23 and waits for no creation before 1.31."""
    seen = []
    command = [*get, *followed(what), "-w", "-o", f"jsonpath={path}{{'\\n'}}"]
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE) as watch:
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
    raise AssertionError(f"{what}: {path} did not become {wanted or 'anything'} in {seconds} s; it was {seen}")
