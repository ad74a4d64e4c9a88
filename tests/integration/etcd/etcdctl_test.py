#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's etcdctl, and a real etcd made from a snapshot, against `kernel run` with config/etcd-server.yaml: an etcd over SQLite.

Usage: etcdctl_test.py KERNEL PLUGIN_DIR CONFIG_DIR [TEST…]
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

kernel, plugin_dir, config_dir = sys.argv[1:4]


class Server:
    """The kernel with config/etcd-server.yaml and one directory of data."""

    def __init__(self, directory, manifest="etcd-server.yaml", listen="127.0.0.1:0"):
        environment = dict(os.environ, KUBERNEL_PLUGIN_PATH=plugin_dir, KUBERNEL_DATA=str(directory), KUBERNEL_ETCD_LISTEN=listen)
        self.process = subprocess.Popen([kernel, "run", "--manifest", str(pathlib.Path(config_dir) / manifest)],
                                        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
        log = ""
        for line in self.process.stderr:
            log += line
            if "serving" in line and (found := re.search(r"127\.0\.0\.1:\d+", line)):
                self.address = found[0]
                return
        raise AssertionError("the server did not start:\n" + log)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.process.stderr.close()
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def etcdctl(address, *arguments, stdin=None, fails=False):
    done = subprocess.run(["etcdctl", "--endpoints", address, *arguments], input=stdin, capture_output=True, text=True, timeout=60,
                          env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]})
    if (done.returncode != 0) != fails:
        raise AssertionError(f"etcdctl {' '.join(arguments)} exited with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stderr if fails else done.stdout


def etcdctl_json(address, *arguments):
    return json.loads(etcdctl(address, *arguments, "-w", "json"))


class Etcdctl(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kubernel-etcdctl-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.server = Server(self.directory)
        self.addCleanup(lambda: self.server.process.poll() is None and self.server.kill())

    def ctl(self, *arguments, **options):
        return etcdctl(self.server.address, *arguments, **options)

    def json(self, *arguments):
        return etcdctl_json(self.server.address, *arguments)

    def watch(self, *arguments):
        process = subprocess.Popen(["etcdctl", "--endpoints", self.server.address, "watch", *arguments], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]})
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close(), process.stderr.close()))
        return process

    def test_keys_are_put_read_and_deleted(self):
        self.assertEqual(self.ctl("put", "/a", "1"), "OK\n")
        self.ctl("put", "/b", "2")
        self.assertEqual(self.ctl("put", "/a", "3", "--prev-kv"), "OK\n/a\n1\n")
        self.assertEqual(self.ctl("get", "/a"), "/a\n3\n")
        self.assertEqual(self.ctl("get", "/a", "--rev", "2"), "/a\n1\n")
        self.assertEqual(self.ctl("get", "/", "--prefix", "--keys-only", "--order", "DESCEND", "--sort-by", "KEY").split(), ["/b", "/a"])
        self.assertEqual(self.ctl("get", "/", "--prefix", "--sort-by", "MODIFY", "--order", "ASCEND", "--print-value-only").split(), ["2", "3"])
        self.assertEqual(self.ctl("get", "", "--from-key", "--limit", "1", "--print-value-only").split(), ["3"])
        page = self.json("get", "/", "--prefix", "--limit", "1")
        self.assertEqual((page["count"], page["more"], page["header"]["revision"]), (2, True, 4))
        self.assertIn("future revision", self.ctl("get", "/a", "--rev", "99", fails=True))
        self.assertEqual(self.ctl("put", "/a", "--ignore-value"), "OK\n")
        self.assertIn("key not found", self.ctl("put", "/none", "--ignore-value", fails=True))
        self.assertEqual(self.ctl("del", "/", "--prefix", "--prev-kv").split(), ["2", "/a", "3", "/b", "2"])
        self.assertEqual(self.ctl("get", "/", "--prefix"), "")

    def test_transactions_do_what_their_conditions_say(self):
        self.ctl("put", "/a", "1")
        script = 'value("/a") = "1"\nmod("/b") = "0"\n\nput /a 2\nput /b 1\nget /a\n\nget /a\n\n'
        self.assertEqual(self.ctl("txn", stdin=script), "SUCCESS\n\nOK\n\nOK\n\n/a\n2\n")
        self.assertEqual(self.ctl("txn", stdin=script), "FAILURE\n\n/a\n2\n")
        same = self.json("get", "/", "--prefix")["kvs"]
        self.assertEqual({kv["mod_revision"] for kv in same}, {3}, "one transaction is one revision")
        self.assertIn("duplicate key", self.ctl("txn", stdin='mod("/z") = "0"\n\nput /a 1\nput /a 2\n\n\n', fails=True))

    def test_a_watch_tells_of_the_past_and_what_comes(self):
        self.ctl("put", "/w/a", "1")
        watch = self.watch("/w/", "--prefix", "--rev", "2", "--prev-kv")
        self.assertEqual(self.lines(watch, 3), ["PUT", "/w/a", "1"])
        self.ctl("put", "/w/a", "2")
        self.assertEqual(self.lines(watch, 5), ["PUT", "/w/a", "1", "/w/a", "2"])
        self.ctl("put", "/elsewhere", "1")
        self.ctl("del", "/w/a")
        self.assertEqual(self.lines(watch, 4), ["DELETE", "/w/a", "2", "/w/a"])

    def test_leases_take_their_keys_with_them(self):
        lease = self.ctl("lease", "grant", "100").split()[1]
        self.ctl("put", "/leased", "1", f"--lease={lease}")
        self.assertIn(f"lease {lease} keepalived with TTL(100)", self.ctl("lease", "keep-alive", lease, "--once"))
        told = self.json("lease", "timetolive", lease, "--keys")
        self.assertEqual((told["granted-ttl"], len(told["keys"])), (100, 1))
        self.assertIn(lease, self.ctl("lease", "list"))
        self.assertIn("requested lease not found", self.ctl("put", "/x", "1", "--lease=1234", fails=True))
        self.ctl("lease", "revoke", lease)
        self.assertEqual(self.ctl("get", "/leased"), "")
        self.assertIn("already expired", self.ctl("lease", "timetolive", lease))
        short = self.ctl("lease", "grant", "1").split()[1]
        self.ctl("put", "/short", "1", f"--lease={short}")
        watch = self.watch("/short", "--rev", "1")
        self.assertEqual(self.lines(watch, 3), ["PUT", "/short", "1"])
        self.assertEqual(self.lines(watch, 2), ["DELETE", "/short"])

    @staticmethod
    def lines(watch, count):
        return [watch.stdout.readline().strip() for _ in range(count)]

    def test_a_lock_is_held_by_one(self):
        holder = subprocess.Popen(["etcdctl", "--endpoints", self.server.address, "lock", "/lock"], stdout=subprocess.PIPE, text=True,
                                  env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]})
        self.assertTrue(holder.stdout.readline().startswith("/lock/"))
        holder.send_signal(signal.SIGINT)
        holder.wait(timeout=10)
        holder.stdout.close()
        self.assertTrue(self.ctl("lock", "/lock", "echo", "mine").startswith("mine"))

    def test_compaction_forgets_the_past(self):
        for value in "123":
            self.ctl("put", "/a", value)
        self.assertIn("compacted revision 4", self.ctl("compaction", "4"))
        self.assertIn("has been compacted", self.ctl("get", "/a", "--rev", "2", fails=True))
        self.assertIn("has been compacted", self.ctl("compaction", "4", fails=True))
        self.assertIn("future revision", self.ctl("compaction", "40", fails=True))
        watch = self.watch("/a", "--rev", "2")
        self.assertIn("compacted", watch.stderr.readline())

    def test_operators_see_one_healthy_member(self):
        self.ctl("put", "/a", "1")
        self.assertTrue(self.json("endpoint", "health")[0]["health"])
        status = self.json("endpoint", "status")[0]["Status"]
        self.assertEqual(status["header"]["revision"], 2)
        self.assertEqual(status["leader"], status["header"]["member_id"])
        self.assertGreater(status["dbSize"], 0)
        members = self.json("member", "list")["members"]
        self.assertEqual([(m["name"], m["clientURLs"]) for m in members], [("kubernel", [f"http://{self.server.address}"])])
        self.assertEqual(self.ctl("alarm", "list"), "")
        self.assertIn("Finished defragmenting", self.ctl("defrag"))
        one, other = (self.json("endpoint", "hashkv")[0]["HashKV"]["hash"] for _ in range(2))
        self.assertEqual(one, other)
        self.assertIn("root user does not exist", self.ctl("auth", "enable", fails=True))
        self.assertEqual(self.ctl("user", "list"), "")

    def test_what_one_member_without_users_cannot_do_is_refused_in_words(self):
        member = self.ctl("member", "list").split(",")[0]
        for words in (("add", "x", "--peer-urls=http://127.0.0.1:1"), ("remove", member), ("promote", member),
                      ("update", member, "--peer-urls=http://127.0.0.1:1")):
            self.assertIn("members cannot be changed", self.ctl("member", *words, fails=True), words)
        self.assertIn("bad leader transferee", self.ctl("move-leader", member, fails=True))
        self.assertEqual(self.ctl("alarm", "disarm"), "")
        self.assertEqual(self.ctl("auth", "disable"), "Authentication Disabled\n")
        self.assertEqual(self.ctl("role", "list"), "")
        for words in (("user", "add", "x:y"), ("user", "get", "x"), ("user", "delete", "x"), ("user", "grant-role", "x", "y"),
                      ("user", "revoke-role", "x", "y"), ("role", "add", "x"), ("role", "get", "x"), ("role", "delete", "x"),
                      ("role", "grant-permission", "x", "read", "k"), ("role", "revoke-permission", "x", "k")):
            self.assertIn("Unimplemented", self.ctl(*words, fails=True), words)
        self.assertIn("Unimplemented", self.ctl("user", "passwd", "x", "--interactive=false", stdin="y\n", fails=True))

    def test_performance_is_checked(self):
        # It loads the server for a minute; whether this machine is fast enough is not what is tested.
        done = subprocess.run(["etcdctl", "--endpoints", self.server.address, "check", "perf", "--load=s"], capture_output=True, text=True,
                              timeout=120, env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]})
        self.assertIn("Throughput", done.stdout, done.stderr)
        self.assertNotIn("FAIL: too many errors", done.stdout)
        self.assertEqual(self.ctl("get", "/etcdctl-check-perf/", "--prefix"), "", "it takes its keys away again")

    def test_every_verb_is_tried_here(self):
        """Of what `etcdctl help` lists; one that a newer etcdctl has must be looked at, too."""
        here = pathlib.Path(__file__).read_text(encoding="utf-8")
        verbs = []
        for line in etcdctl(self.server.address, "help").split("COMMANDS:")[1].split("OPTIONS:")[0].splitlines():
            if line.startswith("\t"):
                verbs.append(line.strip().split("\t")[0].strip())
        self.assertGreater(len(verbs), 40)
        # Without a server: completion, help, version; against a v2 store: migrate; minutes of load: check datascale.
        elsewhere = {"migrate", "check datascale", "help", "version"}
        missing = []
        for verb in verbs:
            words = verb.split()
            tried = '", "'.join(words)
            subject = words[0] in ("member", "user", "role") and f'("{words[-1]}"' in here
            if verb not in elsewhere and words[0] != "completion" and f'"{tried}"' not in here and not subject:
                missing.append(verb)
        self.assertEqual(missing, [])

    def test_a_leader_is_elected_by_clients(self):
        leader = subprocess.Popen(["etcdctl", "--endpoints", self.server.address, "elect", "crown", "first"], stdout=subprocess.PIPE,
                                  text=True, env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]})
        self.addCleanup(lambda: (leader.kill(), leader.wait(), leader.stdout.close()))
        self.assertTrue(leader.stdout.readline().startswith("crown/"))
        self.assertEqual(leader.stdout.readline(), "first\n")
        listener = subprocess.Popen(["etcdctl", "--endpoints", self.server.address, "elect", "-l", "crown"], stdout=subprocess.PIPE,
                                    text=True, env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]})
        self.addCleanup(lambda: (listener.kill(), listener.wait(), listener.stdout.close()))
        self.assertTrue(listener.stdout.readline().startswith("crown/"))
        self.assertEqual(listener.stdout.readline(), "first\n")

    def test_a_mirror_gets_what_is_there_and_what_comes(self):
        with tempfile.TemporaryDirectory(prefix="kubernel-etcdctl-") as other:
            target = Server(pathlib.Path(other))
            self.addCleanup(lambda: target.process.poll() is None and target.kill())
            for i in range(5):
                self.ctl("put", f"/m/{i}", str(i))
            mirror = subprocess.Popen(["etcdctl", "--endpoints", self.server.address, "make-mirror", "--prefix=/m/", target.address],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]})
            self.addCleanup(lambda: (mirror.kill(), mirror.wait()))
            watch = subprocess.Popen(["etcdctl", "--endpoints", target.address, "watch", "/m/", "--prefix", "--rev", "1"],
                                     stdout=subprocess.PIPE, text=True, env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]})
            self.addCleanup(lambda: (watch.kill(), watch.wait(), watch.stdout.close()))
            self.assertEqual(self.lines(watch, 15), [line for i in range(5) for line in ("PUT", f"/m/{i}", str(i))])
            self.ctl("put", "/m/9", "later")
            self.assertEqual(self.lines(watch, 3), ["PUT", "/m/9", "later"])
            self.assertEqual(target.stop(), 0)

    def test_a_real_etcd_starts_from_a_snapshot(self):
        lease = self.ctl("lease", "grant", "1000").split()[1]
        for i in range(60):
            self.ctl("put", f"/registry/{i:02}", f"value {i} " + "x" * (i * 37 % 5000))
        self.ctl("put", "/leased", "1", f"--lease={lease}")
        self.ctl("del", "/registry/00")
        before = self.json("get", "", "--from-key")["kvs"]
        file = self.directory / "snapshot.db"
        self.ctl("snapshot", "save", str(file))
        status = etcdctl_json(self.server.address, "snapshot", "status", str(file))
        self.assertEqual(status["totalKey"], 60 + 1 + 3, "the keys, the lease, and what etcd keeps of the store")
        client, peer = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self.ctl("snapshot", "restore", str(file), "--data-dir", str(self.directory / "restored"), "--name", "n1",
                 "--initial-cluster", f"n1={peer}", "--initial-advertise-peer-urls", peer)
        etcd = subprocess.Popen(["etcd", "--name", "n1", "--data-dir", str(self.directory / "restored"), "--listen-client-urls", client,
                                 "--advertise-client-urls", client, "--listen-peer-urls", peer, "--unsafe-no-fsync"],
                                stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.addCleanup(lambda: (etcd.kill(), etcd.wait(), etcd.stderr.close()))
        for line in etcd.stderr:
            if "ready to serve client requests" in line:
                break
        self.assertEqual(etcdctl_json(client, "get", "", "--from-key")["kvs"], before)
        self.assertEqual(etcdctl(client, "put", "/more", "1"), "OK\n")
        self.assertIn(lease, etcdctl(client, "lease", "list"))

    def test_a_watch_goes_on_after_the_server_was_started_again(self):
        watch = self.watch("/w/", "--prefix", "--rev", "1")
        self.ctl("put", "/w/ready", "1")
        self.assertEqual(self.lines(watch, 3), ["PUT", "/w/ready", "1"])
        address = self.server.address
        self.assertEqual(self.server.stop(), 0)
        self.server = Server(self.directory, listen=address)
        for i in range(5):
            self.ctl("put", f"/w/{i}", str(i))
        seen = self.lines(watch, 15)
        self.assertEqual(seen, [line for i in range(5) for line in ("PUT", f"/w/{i}", str(i))], "no gap and nothing twice")
        self.server.kill()
        self.server = Server(self.directory, listen=address)
        self.assertEqual(self.ctl("get", "/w/4", "--print-value-only"), "4\n")
        self.ctl("put", "/w/5", "5")
        self.assertEqual(self.lines(watch, 3), ["PUT", "/w/5", "5"])


if __name__ == "__main__":
    if not shutil.which("etcdctl") or not shutil.which("etcd"):
        print("SKIPPED: etcd-server and etcd-client are not installed", file=sys.stderr)
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
