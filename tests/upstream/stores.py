# SPDX-License-Identifier: Apache-2.0
"""etcd-server over each kind of store, and the database servers for it, from Debian's packages. All of them on loopback, in a network
namespace of the test's own (api_server.enter_own_network), so that their ports are nobody else's."""
import os
import pathlib
import pwd
import shutil
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "integration/faults")]

import control_plane  # noqa: E402

PASSWORD = "secret"
PLUGINS = {"sqlite": "storage-sqlite", "postgres": "storage-postgres", "mysql": "storage-mysql"}
PACKAGES = {"postgres": "postgresql", "mysql": "mariadb-server"}


def programs_of(kind):
    """Where the server's programs are; None: it is not installed."""
    if kind == "postgres":
        found = [p.parent for p in pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")]
        return max(found, key=lambda p: int(p.parent.name), default=None)
    return pathlib.Path("/usr/sbin") if os.path.exists("/usr/sbin/mariadbd") else None


def why_not(kind):
    """Why there can be no store of this kind here; empty when there can."""
    if not (control_plane.BUILD / f"{PLUGINS[kind]}.so").exists():
        return f"{PLUGINS[kind]} has not been built"
    if kind in PACKAGES and programs_of(kind) is None:
        return f"needs {PACKAGES[kind]}"
    return ""


class Database:
    """A server of `kind` (postgres or mysql) with the database and user `kubernel`; it syncs what it commits when `durable`."""

    def __init__(self, directory, kind, durable=False):
        self.directory, self.kind, self.durable = pathlib.Path(directory), kind, durable
        self.port = 5432 if kind == "postgres" else 3306
        self.programs = programs_of(kind)
        self.log = self.directory / "database.log"
        self.directory.mkdir()
        self.process = None
        if os.geteuid() == 0:
            owner = pwd.getpwnam(kind)
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
            for place in self.directory.parents:
                if not place.stat().st_mode & 0o001:
                    place.chmod(place.stat().st_mode | 0o011)

    def as_owner(self, *command):
        words = ["setpriv", "--pdeathsig=SIGKILL"]
        if os.geteuid() == 0:
            words += [f"--reuid={self.kind}", f"--regid={self.kind}", "--clear-groups"]
        return [*words, "--", *map(str, command)]

    def run(self, *command, **options):
        done = subprocess.run(self.as_owner(*command), capture_output=True, text=True, cwd="/", timeout=120, check=False, **options)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")

    def create(self):
        data = self.directory / "data"
        if self.kind == "postgres":
            self.run(self.programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        else:
            self.run("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db")

    def start(self):
        self.create()
        data = self.directory / "data"
        if self.kind == "postgres":
            command = [self.programs / "postgres", "-D", data, "-k", self.directory, "-p", self.port, "-c", "listen_addresses=127.0.0.1",
                       "-c", "max_connections=200", *([] if self.durable else ["-c", "fsync=off"])]
            ready = "ready to accept connections"
        else:
            command = [self.programs / "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={self.directory}/socket",
                       "--bind-address=127.0.0.1", f"--port={self.port}", "--skip-log-bin", "--skip-name-resolve", "--max-connections=300",
                       *([] if self.durable else ["--innodb-flush-method=nosync"])]
            ready = "ready for connections"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.as_owner(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/")
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                if ready in line.decode(errors="replace"):
                    break
            else:
                raise AssertionError("the database server did not start:\n" + self.log.read_text(errors="replace"))
        # It writes on: into the file, read by nobody.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stdout, stdout=open(self.log, "ab"))
        self.process.stdout.close()
        self.make_database()

    def make_database(self):
        if self.kind == "postgres":
            psql = [self.programs / "psql", "-X", "-q", "-h", self.directory, "-p", self.port, "-U", "postgres", "-v", "ON_ERROR_STOP=1"]
            self.run(*psql, "-c", f"CREATE ROLE kubernel LOGIN PASSWORD '{PASSWORD}'", "-c", "CREATE DATABASE kubernel OWNER kubernel",
                     "-c", "CREATE DATABASE kine OWNER kubernel")
        else:
            self.run("mariadb", "--no-defaults", f"--socket={self.directory}/socket", "--user=root", "-e",
                     f"CREATE USER kubernel@'%' IDENTIFIED BY '{PASSWORD}'; CREATE DATABASE kubernel; CREATE DATABASE kine; "
                     "GRANT ALL ON *.* TO kubernel@'%'")

    def url(self):
        return f"{'postgresql' if self.kind == 'postgres' else 'mysql'}://kubernel@127.0.0.1:{self.port}/kubernel"

    def kine_endpoint(self):
        if self.kind == "postgres":
            return f"postgres://kubernel:{PASSWORD}@127.0.0.1:{self.port}/kine?sslmode=disable"
        return f"mysql://kubernel:{PASSWORD}@tcp(127.0.0.1:{self.port})/kine"

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(control_plane.PATIENCE)
            self.drain.wait(control_plane.PATIENCE)


class EtcdServer(control_plane.ControlPlane):
    """A process with etcd-server over a store of `kind`; `tls` (tls.Authority) makes it ask its clients for certificates."""

    def __init__(self, directory, kind="sqlite", database=None, authority=None):
        super().__init__(directory)
        self.kind, self.server, self.authority = kind, database, authority
        self.state.mkdir(parents=True)
        (self.state / "password").write_text(PASSWORD + "\n")
        (self.state / "password").chmod(0o600)

    def storage(self):
        if self.kind == "sqlite":
            return f"{{path: {self.database}}}"
        return f"{{url: \"{self.server.url()}\", passwordFile: {self.state}/password}}"

    def store_url(self):
        """As `kubernel storage` names it."""
        return f"sqlite:{self.database}" if self.kind == "sqlite" else f"{self.server.url()}?passwordFile={self.state}/password"

    def manifest(self):
        tls = ""
        if self.authority:
            at = self.authority.directory
            tls = f", certFile: {at}/server.crt, keyFile: {at}/server.key, clientCaFile: {at}/ca.crt"
        file = self.directory / "manifest.yaml"
        file.write_text("apiVersion: kubernel/v1alpha1\nkind: PluginManifest\n"
                        f"pluginPath: [{control_plane.BUILD}]\nplugins:\n"
                        f"  - name: {PLUGINS[self.kind]}\n    config: {self.storage()}\n"
                        f"  - name: etcd-server\n    config: {{listen: [\"{self.listen}\"]{tls}}}\n")
        return str(file)

    def start(self):
        super().start()
        self.listen = f"127.0.0.1:{self.port}"  # Again there after a restart.

    def url(self):
        return ("https" if self.authority else "http") + f"://{self.listen}"

    def etcdctl(self, *words):
        """What etcdctl prints, both streams."""
        command = ["etcdctl", "--endpoints", self.url()]
        if self.authority:
            at = self.authority.directory
            command += [f"--cacert={at}/ca.crt", f"--cert={at}/client.crt", f"--key={at}/client.key"]
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=control_plane.PATIENCE, check=False,
                              env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]})
        return done.stdout + done.stderr


class Store:
    """etcd-server and what is below it, in `directory`."""

    def __init__(self, directory, kind, authority=None, durable=False):
        self.database = None if kind == "sqlite" else Database(pathlib.Path(directory) / "database", kind, durable)
        place = pathlib.Path(directory) / "etcd-server"
        place.mkdir()
        self.etcd = EtcdServer(place, kind, self.database, authority)

    def start(self):
        if self.database:
            self.database.start()
        self.etcd.start()

    def close(self):
        self.etcd.end()
        if self.database:
            self.database.stop()


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)
