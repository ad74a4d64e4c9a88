#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What users do once a cluster is up: watch, debug, configure and probe pods, limit them, share and delete things."""
import fcntl
import json
import os
import pathlib
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
import urllib.request

import cluster
import tap


def container(script, name="c", **more):
    return {"name": name, "image": "localhost/busybox", "command": ["sh", "-c", script], **more}


def pod(name, *containers, labels=None, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers), **spec}}


SLEEP = "trap 'exit 0' TERM; while true; do sleep 1 & wait; done"


class Terminal:
    """A kubectl on a terminal of its own, typed at and read from."""

    def __init__(self, environment, *words, rows=24, columns=80):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe("kubectl", ["kubectl", *words], environment)
        self.resize(rows, columns)
        self.text = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, wanted, seconds=15):
        """Reads until the text is there; forgets everything up to its end."""
        deadline = time.monotonic() + seconds
        while wanted not in self.text:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} did not come; there is {self.text!r}"
            self.text += os.read(self.fd, 4096).decode()
        before, _, self.text = self.text.partition(wanted)
        return before

    def ask(self, command):
        """Types a command into the shell there; gives its output."""
        self.type(f"{command}; echo en''d\n")
        self.expect("\n")  # The echo of what was typed.
        return self.expect("end\r\n").replace("\r\n", "\n")

    def end(self):
        """Waits for the end; gives the exit code."""
        try:
            while os.read(self.fd, 4096):
                pass
        except OSError:  # EIO: nobody has the other side open any more.
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Workloads:
    def __init__(self):
        self.cluster = cluster.Cluster()
        self.kubectl = self.cluster.kubectl
        self.children = []

    def explain(self, out):
        for words in (["get", "pods", "-A", "-o", "wide"], ["get", "events", "-A"]):
            for line in self.kubectl(*words, check=False).stdout.splitlines():
                out.write(f"# {line}\n")
        for line in self.cluster.logs().splitlines():
            out.write(f"# {line}\n")

    def close(self):
        for child in self.children:
            child.kill()
            child.communicate()
        self.cluster.close()

    def create(self, *objects, namespace="default"):
        return self.kubectl("create", "-n", namespace, "-f", "-", stdin="\n".join(map(json.dumps, objects)))

    def wait(self, what, condition, seconds=30):
        return self.kubectl("wait", f"--for={condition}", what, f"--timeout={seconds}s")

    def phase(self, name, phase, seconds=30):
        self.cluster.wait_for(f"pod/{name}", "{.status.phase}", phase, seconds)

    def status(self, name, index=0):
        return self.cluster.get("pod", name)["status"]["containerStatuses"][index]

    def until(self, what, seconds=30):
        """Asks until the answer is true; gives it. For what `kubectl wait` cannot tell."""
        deadline = time.monotonic() + seconds
        while True:
            answer = what()
            if answer:
                return answer
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.1)

    def start(self, *words):
        child = subprocess.Popen(["kubectl", *words], env=self.cluster.environment, text=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        self.children.append(child)
        return child

    def sh(self, name, script, *more):
        return self.kubectl("exec", name, *more, "--", "sh", "-c", script).stdout

    def build_filter(self):
        """Builds the example's scheduler plugin as a user would, against an installation; gives its directory."""
        def run(*command, **more):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
            assert done.returncode == 0, f"{command}: {done.stdout}"

        stage = pathlib.Path(self.cluster.state) / "stage"
        run("meson", "install", "-C", cluster.BUILD, "--no-rebuild", "--quiet", "--destdir", stage)
        (found,) = stage.glob("**/pkgconfig/kubernel-sdk.pc")
        prefix = found.parents[3] if found.parents[1].name.endswith("-gnu") else found.parents[2]
        environment = dict(os.environ, PKG_CONFIG_PATH=str(found.parent),
                           PKG_CONFIG=f"pkg-config --define-variable=prefix={prefix}",
                           CXX="ccache g++" if shutil.which("ccache") else "g++")
        built = pathlib.Path(self.cluster.state) / "example"
        run("meson", "setup", built, cluster.SOURCE / "examples/out-of-tree-plugin", *cluster.SANITIZER_OPTIONS, env=environment)
        run("ninja", "-C", built, "quiet-nodes.so", env=environment)
        return built

    def test_up_with_a_scheduler_plugin_of_ones_own(self):
        self.cluster.environment["KUBERNEL_PLUGIN_PATH"] += f":{self.build_filter()}"
        manifest = pathlib.Path(self.cluster.state) / "mine.yaml"
        manifest.write_text(f"""
            apiVersion: kubernel/v1alpha1
            kind: PluginManifest
            include: ["{cluster.SOURCE / 'config/all-in-one.yaml'}"]
            plugins: [{{name: quiet-nodes}}]
            """)
        self.cluster.up("--manifest", str(manifest))
        # What takes its time is started now and looked at below.
        self.create(
            pod("crashes", container("echo run; exit 3")),
            pod("never", container("exit 4"), restartPolicy="Never"),
            pod("on-failure", container("test -e /keep/was && exit 0; touch /keep/was; exit 1",
                                        volumeMounts=[{"name": "keep", "mountPath": "/keep"}]),
                volumes=[{"name": "keep", "emptyDir": {}}], restartPolicy="OnFailure"),
            pod("shell", container(SLEEP)))

    def test_the_plugin_decides(self):
        self.kubectl("label", "node", "node-1", "example.com/quiet=yes")
        self.create(pod("loud", container("true"), restartPolicy="Never"),
                    pod("soft", container("true"), restartPolicy="Never", labels={"example.com/quiet": "yes"}))
        self.phase("soft", "Succeeded")
        self.wait("pod/loud", "condition=PodScheduled=False")
        (condition,) = self.cluster.get("pod", "loud")["status"]["conditions"]
        assert condition["reason"] == "Unschedulable" and "1 node(s) wanted to be left quiet" in condition["message"], condition
        self.kubectl("label", "node", "node-1", "example.com/quiet-")
        self.phase("loud", "Succeeded")
        self.kubectl("delete", "pod", "loud", "soft")

    def test_logs_f_follows_to_the_end_of_the_pod(self):
        self.create(pod("talker", container("for i in 1 2 3; do echo line $i; sleep 1; done; echo bye"),
                        restartPolicy="Never"))
        self.cluster.wait_for("pod/talker", "{.status.containerStatuses[0].state.running}", seconds=20)
        follower = self.start("logs", "-f", "talker")
        out, _ = follower.communicate(timeout=20)
        assert out == "line 1\nline 2\nline 3\nbye\n" and follower.returncode == 0, out

    def test_logs_can_be_cut_by_time_and_length(self):
        stamped = self.kubectl("logs", "talker", "--timestamps").stdout.splitlines()
        assert [line.split(" ", 1)[1] for line in stamped] == ["line 1", "line 2", "line 3", "bye"], stamped
        third = stamped[2].split()[0]
        assert self.kubectl("logs", "talker", f"--since-time={third}").stdout == "line 3\nbye\n"
        assert self.kubectl("logs", "talker", "--tail=1").stdout == "bye\n"
        assert self.kubectl("logs", "talker", "--limit-bytes=6").stdout == "line 1"
        time.sleep(1)
        assert self.kubectl("logs", "talker", "--since=1s").stdout == ""
        assert "bye" in self.kubectl("logs", "talker", "--since=1m").stdout

    def test_restart_policies_are_kept_to(self):
        self.phase("never", "Failed")
        never = self.status("never")
        assert never["restartCount"] == 0 and never["state"]["terminated"]["exitCode"] == 4, never
        self.phase("on-failure", "Succeeded")
        assert self.status("on-failure")["restartCount"] == 1

    def test_a_crashing_container_is_backed_off_and_shows_its_last_words(self):
        self.cluster.wait_for("pod/crashes", "{.status.containerStatuses[0].state.waiting.reason}", "CrashLoopBackOff")
        status = self.status("crashes")
        assert status["restartCount"] >= 1 and status["lastState"]["terminated"]["exitCode"] == 3, status
        assert self.kubectl("logs", "crashes", "--previous").stdout == "run\n"
        done = self.kubectl("logs", "shell", "--previous", check=False)
        assert done.returncode == 1 and "previous terminated container" in done.stderr, done.stderr
        self.kubectl("delete", "pod", "crashes", "never", "on-failure", "talker")

    def test_exec_with_a_terminal(self):
        self.wait("pod/shell", "condition=Ready")
        terminal = Terminal(self.cluster.environment, "exec", "-it", "shell", "--", "sh", rows=30, columns=100)
        terminal.expect("# ")
        assert terminal.ask("tty").startswith("/dev/pts/")
        assert terminal.ask("stty size") == "30 100\n"
        terminal.resize(41, 132)
        self.until(lambda: terminal.ask("stty size") == "41 132\n", 5)
        terminal.type("sleep 100\n")
        self.until(lambda: "sleep 100" in self.sh("shell", "ps -o args"))
        terminal.type("\x03")  # Control-C ends the sleep, not the shell.
        terminal.expect("^C")
        terminal.expect("# ")
        assert terminal.ask("echo $?") == "130\n"
        terminal.type("exit 5\n")
        assert terminal.end() == 5

    def test_get_w_shows_changes(self):
        watcher = self.start("get", "pods", "-w", "--output-watch-events", "--no-headers")
        self.create(pod("brief", container("true"), restartPolicy="Never"))
        self.phase("brief", "Succeeded")
        self.kubectl("delete", "pod", "brief")
        seen = []
        while True:
            line = watcher.stdout.readline().split()
            if line[1] == "brief":
                seen.append((line[0], line[3]))
            if line[:2] == ["DELETED", "brief"]:
                break
        assert seen[0] == ("ADDED", "Pending") and ("MODIFIED", "Completed") in seen, seen

    def test_configuration_reaches_the_environment_and_files(self):
        self.kubectl("create", "configmap", "settings", "--from-literal=color=blue", "--from-literal=size=9")
        self.kubectl("create", "secret", "generic", "keys", "--from-literal=password=pa55")
        env = [
            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "no", "optional": True}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "JOINED", "value": "$(COLOR)-$$(COLOR)"}]
        mounts = [{"name": name, "mountPath": "/" + name} for name in ("settings", "keys", "about", "token")]
        volumes = [
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
            {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"name": "token", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 3600}},
                {"configMap": {"name": "settings", "items": [{"key": "size", "path": "deep/size"}]}}]}}]
        self.create(pod("configured", container(
            SLEEP, env=env, envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "S_"}], volumeMounts=mounts,
            resources={"limits": {"cpu": "1", "memory": "64Mi"}}), volumes=volumes, labels={"tier": "back"}))
        self.wait("pod/configured", "condition=Ready")
        seen = dict(line.split("=", 1) for line in self.sh("configured", "env").splitlines())
        address = self.cluster.get("pod", "configured")["status"]["podIP"]
        wanted = {"COLOR": "blue", "PASSWORD": "pa55", "POD": "configured", "POD_IP": address, "CPUS": "1",
                  "JOINED": "blue-$(COLOR)", "S_color": "blue", "S_size": "9", "HOSTNAME": "configured"}
        assert wanted.items() <= seen.items() and "NONE" not in seen, seen
        assert self.sh("configured", "cat /settings/color /keys/password /token/deep/size") == "bluepa559"
        assert self.sh("configured", "stat -Lc %a /keys/password").strip() == "400"
        assert self.sh("configured", "cat /about/labels").strip() == 'tier="back"'
        assert self.sh("configured", "cat /token/token").count(".") == 2
        assert self.sh("configured", "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace") == "default"

    def test_a_changed_config_map_reaches_the_mounted_file(self):
        self.kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"data":{"color":"red"}}')
        self.kubectl("annotate", "pod", "configured", "touched=yes")  # The pod is looked at sooner than by the clock.
        self.until(lambda: self.sh("configured", "cat /settings/color") == "red")

    def test_containers_share_volumes_and_init_containers_run_in_order(self):
        shared = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}, {"name": "host", "mountPath": "/host"}]}
        self.create(pod(
            "pair", container("echo web > /shared/web; " + SLEEP, "web", **shared), container(SLEEP, "side", **shared),
            initContainers=[container("echo first >> /shared/order", "first", **shared),
                            container("sleep 1; echo second >> /shared/order", "second", **shared)],
            volumes=[{"name": "shared", "emptyDir": {"medium": "Memory"}},
                     {"name": "host", "hostPath": {"path": "/run/shared-by-pods", "type": "DirectoryOrCreate"}}]))
        self.wait("pod/pair", "condition=Ready")
        assert self.sh("pair", "cat /shared/order /shared/web", "-c", "side") == "first\nsecond\nweb\n"
        assert "tmpfs" in self.sh("pair", "grep ' /shared ' /proc/mounts", "-c", "web")
        self.sh("pair", "echo kept > /host/file", "-c", "web")
        assert self.sh("pair", "cat /host/file", "-c", "side") == "kept\n"
        initial = self.cluster.get("pod", "pair")["status"]["initContainerStatuses"]
        assert [s["state"]["terminated"]["reason"] for s in initial] == ["Completed"] * 2, initial

    def test_files_are_copied_in_and_out(self):
        path = os.path.join(self.cluster.state, "copied")
        with open(path, "wb") as out:
            out.write(os.urandom(300000))
        self.kubectl("cp", path, "pair:/tmp/copied", "-c", "web")
        self.kubectl("cp", "pair:/tmp/copied", path + ".back", "-c", "web")
        with open(path, "rb") as one, open(path + ".back", "rb") as other:
            assert one.read() == other.read()

    def test_probes_decide_over_readiness_and_restarts(self):
        web = "mkdir /www; echo hello > /www/index.html; httpd -f -p 8080 -h /www"
        http = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
        self.create(
            pod("web", container(web, ports=[{"containerPort": 8080, "hostPort": 18080}], readinessProbe=http,
                                 startupProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1})),
            pod("sick", container("touch /tmp/well; sleep 2; rm /tmp/well; " + SLEEP,
                                  livenessProbe={"exec": {"command": ["cat", "/tmp/well"]}, "periodSeconds": 1,
                                                 "failureThreshold": 1})))
        self.cluster.wait_for("pod/web", "{.status.containerStatuses[0].started}", "true")
        self.until(lambda: "Unhealthy" in self.kubectl(
            "get", "events", "--field-selector=involvedObject.name=web").stdout)
        assert not self.status("web")["ready"]
        self.sh("web", "touch /www/ready")
        self.wait("pod/web", "condition=Ready")
        self.sh("web", "rm /www/ready")
        self.wait("pod/web", "condition=Ready=False")
        self.until(lambda: self.status("sick")["restartCount"] >= 1)
        assert "Liveness probe failed" in self.kubectl("describe", "pod", "sick").stdout
        self.kubectl("delete", "pod", "sick", "--wait=false")

    def test_pods_reach_each_other_and_the_port_of_the_node(self):
        address = self.cluster.get("pod", "web")["status"]["podIP"]
        node = self.cluster.get("pod", "web")["status"]["hostIP"]
        assert self.sh("shell", f"wget -qO- http://{address}:8080/") == "hello\n"
        assert self.sh("shell", f"wget -qO- http://{node}:18080/") == "hello\n"

    def test_port_forward_reaches_into_the_pod(self):
        forward = self.start("port-forward", "pod/web", ":8080")
        port = forward.stdout.readline().split("127.0.0.1:")[1].split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read() == b"hello\n"
        forward.terminate()

    def test_run_with_input_and_removal(self):
        done = self.kubectl("run", "once", "--image=localhost/busybox", "--restart=Never", "--rm", "-i", "--", "cat", stdin="typed\n")
        assert "typed\n" in done.stdout, done
        assert self.kubectl("get", "pod", "once", check=False).returncode == 1

    def test_a_pod_waits_for_what_it_refers_to(self):
        self.create(pod("waits", container("echo $A", envFrom=[{"configMapRef": {"name": "late"}}]), restartPolicy="Never"))
        self.cluster.wait_for("pod/waits", "{.status.containerStatuses[0].state.waiting.reason}", "CreateContainerConfigError")
        assert self.status("waits")["state"]["waiting"]["message"] == 'configmap "late" not found'
        self.kubectl("create", "configmap", "late", "--from-literal=A=came")
        self.phase("waits", "Succeeded")
        assert self.kubectl("logs", "waits").stdout == "came\n"

    def test_limits_and_requests_hold(self):
        hungry = "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done"
        self.create(
            pod("hungry", container(hungry, resources={"limits": {"memory": "16Mi"}}), restartPolicy="Never"),
            pod("measured", container(SLEEP, resources={"requests": {"cpu": "250m", "memory": "20Mi"},
                                                        "limits": {"cpu": "500m", "memory": "40Mi"}})))
        self.phase("hungry", "Failed")
        ended = self.status("hungry")["state"]["terminated"]
        assert ended["reason"] == "OOMKilled" and ended["exitCode"] == 137, ended
        self.wait("pod/measured", "condition=Ready")
        found = self.cluster.get("pod", "measured")
        assert found["status"]["qosClass"] == "Burstable"
        uid = found["metadata"]["uid"]
        values = {}
        for controller, name in (("cpu", "cpu.shares"), ("cpu", "cpu.cfs_quota_us"), ("memory", "memory.limit_in_bytes")):
            (group,) = [path for path in self.cgroups(controller) if path.name == f"pod{uid}"]
            values[name] = int((group / name).read_text())
        assert values == {"cpu.shares": 256, "cpu.cfs_quota_us": 50000, "memory.limit_in_bytes": 40 << 20}, values

    def cgroups(self, controller):
        root = pathlib.Path("/sys/fs/cgroup") / controller / f"kubernel-{self.cluster.name}"
        return root.glob("**/pod*")

    def test_a_pod_may_end_gracefully(self):
        notes = {"volumeMounts": [{"name": "host", "mountPath": "/host"}]}
        volumes = [{"name": "host", "hostPath": {"path": "/run/shared-by-pods", "type": "DirectoryOrCreate"}}]
        self.create(
            pod("polite", container("trap 'echo term >> /host/polite; exit 0' TERM; while true; do sleep 1 & wait; done",
                                    lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "echo stop >> /host/polite"]}}},
                                    **notes), volumes=volumes, terminationGracePeriodSeconds=20),
            pod("deaf", container("trap '' TERM; while true; do sleep 1; done"), terminationGracePeriodSeconds=2),
            pod("stuck", container("trap '' TERM; while true; do sleep 1; done"), terminationGracePeriodSeconds=600))
        for name in ("polite", "deaf", "stuck"):
            self.wait(f"pod/{name}", "condition=Ready")
        began = time.monotonic()
        self.kubectl("delete", "pod", "polite")
        assert time.monotonic() - began < 10
        assert self.sh("pair", "cat /host/polite", "-c", "web") == "stop\nterm\n"
        began = time.monotonic()
        self.kubectl("delete", "pod", "deaf")
        assert 1.5 < time.monotonic() - began < 12, time.monotonic() - began
        self.kubectl("delete", "pod", "stuck", "--force", "--grace-period=0")
        assert self.kubectl("get", "pod", "stuck", check=False).returncode == 1

    def test_jobs_complete_and_fail(self):
        def job(name, script, **spec):
            template = {"spec": {"restartPolicy": "Never", "containers": [container(script)]}}
            return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template, **spec}}

        self.create(job("three", "exit 0", completions=3, parallelism=2), job("fails", "exit 1", backoffLimit=0),
                    job("indexed", "echo $JOB_COMPLETION_INDEX", completions=2, parallelism=2, completionMode="Indexed"))
        self.wait("job/three", "condition=Complete")
        assert self.cluster.get("job", "three")["status"]["succeeded"] == 3
        self.wait("job/fails", "condition=Failed")
        condition = [c for c in self.cluster.get("job", "fails")["status"]["conditions"] if c["type"] == "Failed"][0]
        assert condition["reason"] == "BackoffLimitExceeded", condition
        self.wait("job/indexed", "condition=Complete")
        lines = self.kubectl("logs", "-l", "job-name=indexed").stdout.split()
        assert sorted(lines) == ["0", "1"], lines
        self.kubectl("delete", "job", "three", "fails", "indexed")
        self.until(lambda: not self.cluster.get("pods", "-l", "job-name")["items"])

    def test_apply_patch_label_and_annotate(self):
        deployment = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "labels": {"app": "app"}},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "app"}}, "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container(SLEEP, env=[{"name": "A", "value": "1"}])]}}}}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
        self.kubectl("patch", "deployment", "app", "-p",
                     '{"spec":{"template":{"spec":{"containers":[{"name":"c","env":[{"name":"B","value":"2"}]}]}}}}')
        self.kubectl("patch", "deployment", "app", "--type=json", "-p",
                     '[{"op":"replace","path":"/spec/replicas","value":2}]')
        self.kubectl("patch", "deployment", "app", "--type=merge", "-p", '{"metadata":{"annotations":{"note":"x"}}}')
        self.kubectl("label", "deployment", "app", "tier=front")
        self.kubectl("annotate", "deployment", "app", "note=y", "--overwrite")
        found = self.cluster.get("deployment", "app")
        names = [e["name"] for e in found["spec"]["template"]["spec"]["containers"][0]["env"]]
        assert sorted(names) == ["A", "B"] and found["spec"]["replicas"] == 2, found["spec"]
        assert found["metadata"]["labels"] == {"app": "app", "tier": "front"}, found["metadata"]
        assert found["metadata"]["annotations"]["note"] == "y"
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "C", "value": "3"}]
        self.kubectl("apply", "-f", "-", stdin=json.dumps(deployment))  # Takes A back, leaves B, which is not its own.
        env = self.cluster.get("deployment", "app")["spec"]["template"]["spec"]["containers"][0]["env"]
        assert sorted(e["name"] for e in env) == ["B", "C"], env
        self.kubectl("rollout", "status", "deployment/app", "--timeout=30s")
        self.kubectl("rollout", "restart", "deployment/app")
        self.kubectl("rollout", "status", "deployment/app", "--timeout=30s")
        assert len(self.cluster.get("replicasets", "-l", "app=app")["items"]) >= 2

    def test_owners_take_their_own_with_them_or_not(self):
        self.kubectl("delete", "deployment", "app", "--cascade=orphan")
        sets = self.cluster.get("replicasets", "-l", "app=app")["items"]
        assert sets and all("ownerReferences" not in one["metadata"] for one in sets), sets
        self.kubectl("delete", "replicasets", "-l", "app=app", "--cascade=foreground")
        assert not self.cluster.get("pods", "-l", "app=app")["items"]
        self.kubectl("create", "deployment", "again", "--image=localhost/busybox", "--", "sh", "-c", SLEEP)
        self.until(lambda: self.cluster.get("pods", "-l", "app=again")["items"])
        self.kubectl("delete", "deployment", "again", "--cascade=background")
        self.until(lambda: not self.cluster.get("pods,replicasets", "-l", "app=again")["items"], 60)

    def test_a_finalizer_holds_an_object(self):
        self.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
        self.kubectl("delete", "configmap", "held", "--wait=false")
        assert "deletionTimestamp" in self.cluster.get("configmap", "held")["metadata"]
        self.kubectl("patch", "configmap", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert self.kubectl("get", "configmap", "held", check=False).returncode == 1

    def test_a_service_account_may_do_what_its_roles_say(self):
        self.kubectl("create", "serviceaccount", "reader")
        self.kubectl("create", "rolebinding", "reader", "--clusterrole=view", "--serviceaccount=default:reader")
        self.kubectl("auth", "can-i", "delete", "pods")
        who = "--as=system:serviceaccount:default:reader"
        assert self.kubectl("auth", "can-i", "list", "pods", who).stdout == "yes\n"
        assert self.kubectl("auth", "can-i", "delete", "pods", who, check=False).stdout == "no\n"
        assert self.kubectl("auth", "can-i", "get", "secrets", who, check=False).stdout == "no\n"
        self.kubectl("get", "pods", who)
        done = self.kubectl("delete", "pod", "shell", who, check=False)
        assert done.returncode == 1 and "pods \"shell\" is forbidden: User " in done.stderr, done.stderr
        assert "system:serviceaccount:default:reader" in done.stderr, done.stderr
        asked = self.kubectl("create", "--raw", "/api/v1/namespaces/default/serviceaccounts/reader/token", "-f", "-",
                             stdin=json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}))
        token = json.loads(asked.stdout)["status"]["token"]
        config = os.path.join(self.cluster.state, "reader")
        raw = json.loads(self.kubectl("config", "view", "--raw", "-o", "json").stdout)
        raw["users"][0]["user"] = {"token": token}
        with open(config, "w") as out:
            json.dump(raw, out)
        whoami = self.kubectl("--kubeconfig", config, "create", "--raw", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "-f", "-",
                              stdin=json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})).stdout
        assert json.loads(whoami)["status"]["userInfo"]["username"] == "system:serviceaccount:default:reader", whoami

    def test_bad_input_is_refused_by_field(self):
        # Not by plain `create`: older kubectls check the fields themselves.
        done = self.kubectl("create", "--raw", "/api/v1/namespaces/default/pods?fieldValidation=Strict", "-f", "-", check=False,
                            stdin=json.dumps(pod("typo", container("true", imagePulPolicy="Always"))))
        assert done.returncode == 1 and 'unknown field "spec.containers[0].imagePulPolicy"' in done.stderr, done.stderr
        done = self.kubectl("create", "-f", "-", check=False, stdin=json.dumps(
            pod("bad", container("true", ports=[{"containerPort": 70000}]), restartPolicy="Sometimes")))
        for words in ("spec.containers[0].ports[0].containerPort", "spec.restartPolicy", "Sometimes"):
            assert words in done.stderr, done.stderr
        done = self.kubectl("patch", "pod", "shell", "-p", '{"spec":{"nodeName":"elsewhere"}}', check=False)
        assert done.returncode == 1 and "pod updates may not change fields other than" in done.stderr, done.stderr

    def test_a_namespace_takes_its_content_with_it(self):
        self.kubectl("create", "namespace", "team")
        self.until(lambda: self.kubectl("get", "serviceaccount", "default", "-n", "team", check=False).returncode == 0)
        self.create(pod("inside", container(SLEEP)), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "inside"}},
                    namespace="team")
        self.kubectl("wait", "-n", "team", "--for=condition=Ready", "pod/inside", "--timeout=30s")
        self.kubectl("delete", "namespace", "team", "--timeout=40s")
        assert self.kubectl("get", "namespace", "team", check=False).returncode == 1
        assert not self.cluster.get("pods,configmaps", "-n", "team")["items"]

    def test_down_leaves_nothing(self):
        self.cluster.down()
        assert not self.cluster.leftovers(), self.cluster.leftovers()


if __name__ == "__main__":
    sys.exit(tap.run(Workloads, cluster.why_not()))
