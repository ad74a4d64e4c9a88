# SPDX-License-Identifier: Apache-2.0
"""A stock kube-apiserver on etcd-server, with TLS on both, driven by its own kubectl: what it needs of an etcd, through a kill, a
restart and compaction.

Usage: kube_apiserver_test.py [sqlite | postgres | mysql]
"""
import base64
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / part) for part in ("e2e", "clients")]

import api_server  # noqa: E402
import kube_apiserver  # noqa: E402
import programs  # noqa: E402
import stores  # noqa: E402
import tap  # noqa: E402
import tls  # noqa: E402

COMPACTION = 2  # Seconds between compactions; history is kept twice as long.
EVENT_TTL = 10
KIND = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
SHOWN = ["--output-watch-events", "-o", r"jsonpath={.type} {.object.metadata.name} {.object.data.n}{'\n'}"]

OBJECTS = """apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {key: AAECAwD/}
"""

WIDGETS = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [size], properties: {size: {type: integer, maximum: 10}}}
          status: {type: object, properties: {ready: {type: boolean}}}
"""

WIDGET = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {{name: {name}}}\nspec: {{size: {size}}}\n"

APPLIED = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: applied}}\ndata: {{{data}}}\n"

EVENT = """apiVersion: v1
kind: Event
metadata: {name: short-lived}
involvedObject: {kind: Namespace, name: default}
reason: Test
message: soon forgotten
type: Normal
"""


class StockKubeApiserver:
    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kubernel-upstream-"))
        kube_apiserver.prepare_network()
        self.authority = tls.Authority(self.directory / "tls", ("127.0.0.1", kube_apiserver.ADDRESS))
        self.store = stores.Store(self.directory, KIND, self.authority)
        self.etcd = self.store.etcd
        flags = [f"--etcd-compaction-interval={COMPACTION}s", f"--event-ttl={EVENT_TTL}s"]
        self.api = kube_apiserver.KubeApiserver(self.directory / "one", self.authority, self.etcd, more=flags)
        # The other one asks etcd-server for everything: its lists and watches come from no cache.
        self.other = kube_apiserver.KubeApiserver(self.directory / "two", self.authority, self.etcd, port=6444,
                                                  more=[*flags, "--watch-cache=false"])
        self.watch = None
        self.names = set()

    def close(self):
        if self.watch:
            self.watch.close()
        for server in (self.other, self.api):
            server.stop()
        self.store.close()
        shutil.rmtree(self.directory)

    def explain(self, out):
        for server in (self.api, self.other):
            if server.log.exists():
                for line in server.log_tail(25).splitlines():
                    print(f"# {server.directory.name}: {line[:400]}", file=out)
        if self.etcd.log.exists():
            for line in self.etcd.log.read_text(errors="replace").splitlines()[-25:]:
                print(f"# etcd-server: {line}", file=out)

    def kubectl(self, *words, **options):
        return self.api.kubectl(*words, **options)

    def raw(self, path, server=None):
        """The object at a path, also when it is an error."""
        done = (server or self.api).kubectl("get", "--raw", path, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
        return {"kind": "Status", "message": done.stderr}

    def wait(self, what, fact, seconds=60):
        """Until `fact()` is true, of something that nobody tells of."""
        until = time.monotonic() + seconds
        while not (found := fact()):
            assert time.monotonic() < until, f"{what}: not in {seconds} s"
            time.sleep(0.2)
        return found

    def test_it_starts_and_all_its_checks_pass(self):
        self.store.start()
        self.api.start()
        checks = self.wait("readyz", lambda: self.kubectl("get", "--raw", "/readyz?verbose", check=False).stdout)
        assert "[+]etcd ok" in checks and "[+]etcd-readiness ok" in checks and "readyz check passed" in checks, checks
        assert "[-]" not in checks, checks
        version = json.loads(self.kubectl("version", "-o", "json").stdout)
        wanted = re.search(r"^require k8s\.io/kubernetes (\S+)$", (programs.HERE / "kubernetes/go.mod").read_text(), re.MULTILINE)[1]
        assert version["serverVersion"]["gitVersion"] == version["clientVersion"]["gitVersion"] == wanted, version

    def test_what_it_makes_at_its_start_is_there(self):
        roles = {item["metadata"]["name"] for item in self.api.get("clusterroles")["items"]}
        assert {"cluster-admin", "edit", "view", "system:node", "system:kube-scheduler"} <= roles and len(roles) > 50, roles
        bindings = {item["metadata"]["name"] for item in self.api.get("clusterrolebindings")["items"]}
        assert "cluster-admin" in bindings, bindings
        self.wait("namespaces", lambda: {"default", "kube-system", "kube-public", "kube-node-lease"} <=
                  {item["metadata"]["name"] for item in self.api.get("namespaces")["items"]})
        classes = {item["metadata"]["name"] for item in self.api.get("priorityclasses")["items"]}
        assert classes == {"system-node-critical", "system-cluster-critical"}, classes
        assert self.api.get("flowschemas")["items"] and self.api.get("prioritylevelconfigurations")["items"]
        # Its own address, under a lease of the etcd.
        slices = self.wait("endpoints", lambda: self.api.get("endpointslices")["items"])
        assert slices[0]["endpoints"][0]["addresses"] == [kube_apiserver.ADDRESS], slices
        self.kubectl("create", "serviceaccount", "default")

    def test_every_api_service_is_available(self):
        def unavailable():
            found = self.api.get("apiservices")["items"]
            assert len(found) > 20, len(found)
            return [item["metadata"]["name"] for item in found
                    if not any(c["type"] == "Available" and c["status"] == "True" for c in item.get("status", {}).get("conditions", []))]
        self.wait("all available", lambda: not unavailable())

    def test_objects_are_made_changed_and_deleted(self):
        self.kubectl("create", "namespace", "work")
        made = self.kubectl("-n", "work", "create", "-f", "-", stdin=OBJECTS).stdout.splitlines()
        assert made == ["service/web created", "deployment.apps/web created", "secret/keys created"], made
        service = self.api.get("-n", "work", "service", "web")
        assert service["spec"]["clusterIP"].startswith("10.0.0.") and 30000 <= service["spec"]["ports"][0]["nodePort"] < 32768, service
        taken = OBJECTS.split("---")[0].replace("name: web", "name: thief").replace("type: NodePort", f"clusterIP: {service['spec']['clusterIP']}")
        refused = self.kubectl("-n", "work", "create", "-f", "-", stdin=taken, check=False)
        assert "provided IP is already allocated" in refused.stderr, refused
        secret = self.api.get("-n", "work", "secret", "keys")
        assert base64.b64decode(secret["data"]["key"]) == b"\x00\x01\x02\x03\x00\xff", "bytes stay what they are"
        self.kubectl("-n", "work", "scale", "deployment", "web", "--replicas=3")
        self.kubectl("-n", "work", "patch", "deployment", "web", "-p", '{"metadata": {"labels": {"tier": "front"}}}')
        changed = self.api.get("-n", "work", "deployments", "-l", "tier=front")["items"]
        assert [(item["metadata"]["name"], item["spec"]["replicas"]) for item in changed] == [("web", 3)], changed
        stale = json.dumps(dict(service, spec=dict(service["spec"], selector={"app": "other"})))
        self.kubectl("-n", "work", "label", "service", "web", "newer=yes")
        refused = self.kubectl("replace", "-f", "-", stdin=stale, check=False)
        assert "the object has been modified; please apply your changes to the latest version" in refused.stderr, refused
        self.kubectl("-n", "work", "delete", "deployment,service,secret", "--all")
        assert self.api.get("-n", "work", "deployment,service,secret")["items"] == []

    def test_server_side_apply_keeps_who_owns_what(self):
        def apply(data, manager, *more, check=True):
            return self.kubectl("-n", "work", "apply", "--server-side", f"--field-manager={manager}", "-f", "-", *more,
                                stdin=APPLIED.format(data=data), check=check)
        apply("a: one, b: one", "first")
        apply("c: two", "second")
        conflict = apply("a: two, c: two", "second", check=False)
        assert conflict.returncode != 0 and 'conflict with "first": .data.a' in conflict.stderr, conflict
        apply("a: two, c: two", "second", "--force-conflicts")
        apply("b: three", "first")
        found = self.api.get("-n", "work", "configmap", "applied", "--show-managed-fields")
        assert found["data"] == {"a": "two", "b": "three", "c": "two"}, found
        assert {field["manager"] for field in found["metadata"]["managedFields"]} == {"first", "second"}, found

    def test_custom_resources_are_stored(self):
        self.kubectl("create", "-f", "-", stdin=WIDGETS)
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/widgets.example.org")
        for number in range(5):
            self.kubectl("-n", "work", "create", "-f", "-", stdin=WIDGET.format(name=f"w{number}", size=number))
        refused = self.kubectl("-n", "work", "create", "-f", "-", stdin=WIDGET.format(name="big", size=11), check=False)
        assert "spec.size in body should be less than or equal to 10" in refused.stderr, refused
        self.kubectl("-n", "work", "patch", "widget", "w1", "--subresource=status", "--type=merge", "-p", '{"status": {"ready": true}}')
        found = self.api.get("-n", "work", "widgets")["items"]
        assert [(w["metadata"]["name"], w["spec"]["size"], "status" in w) for w in found] == [(f"w{n}", n, n == 1) for n in range(5)], found
        self.kubectl("delete", "crd", "widgets.example.org", "--timeout=60s")
        self.wait("the resource is gone", lambda: "NotFound" in self.kubectl("get", "widgets.example.org", check=False).stderr or
                  "doesn't have a resource type" in self.kubectl("get", "widgets.example.org", check=False).stderr)

    def make(self, first, last, server=None, namespace="work", value="0"):
        items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m{n:03}"}, "data": {"n": value}} for n in range(first, last)]
        names = (server or self.api).kubectl("-n", namespace, "create", "-f", "-", "-o", "name",
                                             stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})).stdout.split()
        assert len(names) == last - first, names

    def page(self, limit, token=None, more="", server=None):
        query = f"?limit={limit}" + (f"&continue={token}" if token else "") + more
        return self.raw("/api/v1/namespaces/pages/configmaps" + query, server)

    @staticmethod
    def names_in(listed):
        return [item["metadata"]["name"] for item in listed["items"]]

    def test_a_list_in_pages_is_of_one_moment(self):
        self.kubectl("create", "namespace", "pages")
        self.make(0, 100, namespace="pages")
        wanted = [f"m{n:03}" for n in range(100)]
        first = self.page(30)
        assert first["metadata"]["remainingItemCount"] == 70, first["metadata"]
        self.kubectl("-n", "pages", "delete", "configmap", "m050")
        self.make(100, 103, namespace="pages")
        seen, listed = self.names_in(first), first
        while listed["metadata"].get("continue"):
            listed = self.page(30, listed["metadata"]["continue"])
            assert listed["kind"] == "ConfigMapList", listed
            assert listed["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"], listed["metadata"]
            seen += self.names_in(listed)
        assert seen == wanted, seen
        chunked = self.kubectl("-n", "pages", "get", "configmaps", "--chunk-size=7", "-o", "name").stdout.split()
        assert len(chunked) == 102 and "configmap/m050" not in chunked, chunked

    def test_a_list_at_a_resource_version_shows_the_world_then(self):
        before = self.kubectl("-n", "pages", "get", "configmap", "m000", "-o", "jsonpath={.metadata.resourceVersion}").stdout
        changed = self.kubectl("-n", "pages", "patch", "configmap", "m000", "-p", '{"data": {"n": "1"}}', "-o", "jsonpath={.metadata.resourceVersion}").stdout
        now = self.page(1, more=f"&resourceVersion={changed}&resourceVersionMatch=Exact")
        assert now["items"][0]["data"] == {"n": "1"} and now["metadata"]["resourceVersion"] == changed, now
        assert int(before) < int(changed)
        newer = self.page(1, more=f"&resourceVersion={changed}&resourceVersionMatch=NotOlderThan")
        assert newer["items"][0]["data"] == {"n": "1"}, newer
        future = self.raw(f"/api/v1/namespaces/pages/configmaps?limit=1&resourceVersion={int(changed) + 100000}&resourceVersionMatch=Exact")
        assert future["kind"] == "Status", future

    def test_a_watch_tells_of_every_change(self):
        self.watch = self.watching(self.api)
        for n in range(3):
            self.kubectl("-n", "pages", "patch", "configmap", "m001", "-p", f'{{"data": {{"n": "{n + 7}"}}}}')
        self.kubectl("-n", "pages", "delete", "configmap", "m001")
        seen = self.watch.until(lambda line: line.startswith("DELETED"))
        seen = [line for line in seen if " m001 " in line]
        assert seen == ["MODIFIED m001 7", "MODIFIED m001 8", "MODIFIED m001 9", "DELETED m001 9"], seen

    def watching(self, server):
        """A watch of pages' config maps that has told of something already."""
        watch = server.watching("-n", "pages", "configmaps", "--watch-only", *SHOWN)

        def told():
            self.kubectl("-n", "pages", "annotate", "--overwrite", "configmap", "m002", f"t={time.monotonic()}")
            try:
                watch.until(lambda line: " m002 " in line, seconds=1)
            except kube_apiserver.Silence:
                return False
            return True
        self.wait("the watch", told)
        return watch

    def restarted(self, watch, end, value):
        """What the watch tells of changes made right before and after `end()` and a start."""
        def patch(n, **options):
            return self.kubectl("-n", "pages", "patch", "configmap", "m003", "-p", f'{{"data": {{"n": "{n}"}}}}', **options)
        patch(f"{value}0")
        patch(f"{value}1")
        end()
        failed = self.kubectl("-n", "pages", "patch", "configmap", "m003", "-p", '{"data": {"n": "lost"}}', "--request-timeout=2s", check=False)
        assert failed.returncode != 0, "a write went where there is nobody"
        assert watch.goes_on()
        self.etcd.start()
        self.wait("a write", lambda: patch(f"{value}2", check=False).returncode == 0)
        patch(f"{value}3")
        seen = watch.until(lambda line: line == f"MODIFIED m003 {value}3")
        # The write that failed may have been waiting for the server and then have been made.
        seen = [line for line in seen if " m003 " in line and not line.endswith(" lost")]
        assert seen == [f"MODIFIED m003 {value}{n}" for n in range(4)], seen
        assert watch.goes_on()
        self.wait("readyz", lambda: self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok")

    def test_a_watch_goes_on_when_etcd_server_was_killed(self):
        self.restarted(self.watch, self.etcd.kill, "k")
        assert len(self.page(0)["items"]) == 101

    def test_a_watch_goes_on_when_etcd_server_was_stopped(self):
        self.restarted(self.watch, self.etcd.stop, "s")

    def compacted(self):
        """The revision that kube-apiserver's compactor has come to; 0 before its first time."""
        found = re.search(r'"value":"(\w+=*)"', self.etcd.etcdctl("get", "compact_rev_key", "-w", "json"))
        return int(base64.b64decode(found[1])) if found else 0

    def test_compaction_goes_on_and_old_lists_are_gone(self):
        first = self.page(30)
        revision = int(first["metadata"]["resourceVersion"])
        self.kubectl("-n", "pages", "patch", "configmap", "m004", "-p", '{"data": {"n": "c"}}')
        self.wait("compaction", lambda: self.compacted() > revision)
        refused = self.etcd.etcdctl("get", "/registry/", "--prefix", "--limit=1", f"--rev={revision}")
        assert "required revision has been compacted" in refused, refused
        # kube-apiserver keeps lists of its own for a while, and asks every 15 seconds how far compaction is.
        then = f"&resourceVersion={revision}&resourceVersionMatch=Exact"
        gone = self.wait("410", lambda: (page := self.page(30, more=then))["kind"] == "Status" and page)
        assert "The resourceVersion for the provided list is too old" in gone["message"], gone

    def paged_over_compaction(self, server):
        """Its 410 has a token with which the rest is read as it is now."""
        first = self.page(40, server=server)
        revision = int(first["metadata"]["resourceVersion"])
        self.kubectl("-n", "pages", "patch", "configmap", "m004", "-p", f'{{"data": {{"n": "{revision}"}}}}')
        self.wait("compaction", lambda: self.compacted() > revision)
        token = first["metadata"]["continue"]
        path = f"/api/v1/namespaces/pages/configmaps?limit=40&continue={token}"
        told = self.wait("410", lambda: (done := server.kubectl("get", "-v=8", "--raw", path, check=False)).returncode != 0 and done)
        assert "The provided continue parameter is too old" in told.stderr, told
        fresh = re.search(r'\\*"continue\\*": *\\*"([^"\\]+)', told.stderr)
        assert fresh, told.stderr
        rest = self.page(0, fresh[1], server=server)
        assert rest["kind"] == "ConfigMapList", rest
        assert self.names_in(first) + self.names_in(rest) == self.names_in(self.page(0))

    def test_paging_goes_on_after_a_410(self):
        self.paged_over_compaction(self.api)

    def test_the_watch_was_not_disturbed_by_compaction(self):
        assert self.watch.goes_on()
        self.kubectl("-n", "pages", "patch", "configmap", "m005", "-p", '{"data": {"n": "after"}}')
        self.watch.until(lambda line: line == "MODIFIED m005 after")

    def test_an_event_is_forgotten_after_its_time(self):
        with_watch = self.api.watching("events", "--watch-only", "--output-watch-events", "-o", r"jsonpath={.type} {.object.metadata.name}{'\n'}")
        try:
            self.kubectl("create", "-f", "-", stdin=EVENT)
            assert "short-lived" in self.kubectl("get", "events", "-o", "name").stdout
            key = json.loads(self.etcd.etcdctl("get", "/registry/events/default/short-lived", "-w", "json"))["kvs"][0]
            assert key["lease"], key
            self.wait("the end", lambda: "short-lived" not in self.kubectl("get", "events", "-o", "name").stdout, 6 * EVENT_TTL)
            with_watch.until(lambda line: line == "DELETED short-lived")
        finally:
            with_watch.close()

    def test_a_second_server_sees_what_the_first_writes(self):
        self.other.start()
        self.kubectl("create", "namespace", "both")
        watch = self.other.watching("-n", "both", "configmaps", "-w", *SHOWN)
        try:
            self.make(0, 50, namespace="both")
            self.make(50, 100, server=self.other, namespace="both")
            seen = []
            watch.until(lambda line: seen.append(line) or len(seen) == 100)
            assert seen == [f"ADDED m{n:03} 0" for n in range(100)], seen
        finally:
            watch.close()
        for server in (self.api, self.other):
            found = self.names_in(self.raw("/api/v1/namespaces/both/configmaps", server))
            assert found == [f"m{n:03}" for n in range(100)], found
        # Both give out cluster addresses from one etcd.
        for n, server in enumerate([self.api, self.other] * 3):
            server.kubectl("-n", "both", "create", "service", "clusterip", f"s{n}", "--tcp=80")
        given = [item["spec"]["clusterIP"] for item in self.other.get("-n", "both", "services")["items"]]
        assert len(set(given)) == 6, given

    def test_without_a_watch_cache_lists_and_watches_are_the_same(self):
        for query in ("?limit=7", "?labelSelector=a", "?fieldSelector=metadata.name%3Dm007", "?resourceVersion=0", ""):
            path = "/api/v1/namespaces/pages/configmaps" + query
            assert self.raw(path, self.other)["items"] == self.raw(path)["items"], query
        self.paged_over_compaction(self.other)
        watch = self.watching(self.other)
        try:
            self.restarted(watch, self.etcd.kill, "u")
        finally:
            watch.close()
        self.other.stop()

    def test_a_namespace_is_taken_away(self):
        self.kubectl("-n", "both", "delete", "configmaps,services", "--all")
        self.kubectl("delete", "namespace", "both", "--wait=false")
        left = self.api.get("namespace", "both")
        assert left["status"]["phase"] == "Terminating", left
        left["spec"]["finalizers"] = []  # There is no controller that would do it.
        self.kubectl("replace", "--raw", "/api/v1/namespaces/both/finalize", "-f", "-", stdin=json.dumps(left))
        assert "not found" in self.kubectl("get", "namespace", "both", check=False).stderr

    def test_started_again_it_finds_everything(self):
        before = self.names_in(self.page(0))
        self.watch.close()
        self.watch = None
        self.api.stop()
        self.etcd.stop()
        self.etcd.start()
        self.api.start()
        assert self.names_in(self.page(0)) == before and len(before) == 101

    def test_the_store_is_sound(self):
        self.api.stop()
        self.etcd.stop()
        done = subprocess.run([api_server.BUILD / "tools/storage/kubernel-storage", "check", self.etcd.store_url()],
                              env={"KUBERNEL_PLUGIN_PATH": str(api_server.BUILD), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    problem = api_server.enter_own_network() or stores.why_not(KIND) or ("" if shutil.which("etcdctl") else "needs etcd-client")
    for name in ("kube-apiserver", "kubectl"):
        problem = problem or ("" if programs.is_built(name) else f"{name} has not been built; ./dev test --upstream does")
    sys.exit(tap.run(StockKubeApiserver, problem))
