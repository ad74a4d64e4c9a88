# SPDX-License-Identifier: Apache-2.0
"""A small Kubernetes API client on http.client: one connection, requests one after another, and watches in a thread."""
import base64
import http.client
import json
import pathlib
import re
import ssl
import tempfile
import threading
import time
import urllib.parse


class ApiError(Exception):
    def __init__(self, status, text):
        super().__init__(f"HTTP status {status}: {text[:300]}")
        self.status = status


class Credentials:
    """Where a kubeconfig leads, and the TLS context it gives."""

    def __init__(self, kubeconfig):
        text = pathlib.Path(kubeconfig).read_text()

        def field(name):
            return re.search(rf"{name}: *[\"']?([^\s\"']+)", text).group(1)

        address = urllib.parse.urlsplit(field("server"))
        self.host, self.port = address.hostname, address.port
        self.tls = ssl.create_default_context(cadata=base64.b64decode(field("certificate-authority-data")).decode())
        with tempfile.NamedTemporaryFile() as pair:  # load_cert_chain takes only files; 0600, gone at once.
            pair.write(base64.b64decode(field("client-certificate-data")) + base64.b64decode(field("client-key-data")))
            pair.flush()
            self.tls.load_cert_chain(pair.name)


class Api:
    def __init__(self, credentials, timeout=60):
        self.connection = http.client.HTTPSConnection(credentials.host, credentials.port, context=credentials.tls,
                                                      timeout=timeout)

    def request(self, method, path, body=None, content_type="application/json"):
        """The reply's object; ApiError for every status but 2xx."""
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, {"Content-Type": content_type})
        reply = self.connection.getresponse()
        text = reply.read().decode()
        if not 200 <= reply.status < 300:
            raise ApiError(reply.status, text)
        return json.loads(text)

    def close(self):
        self.connection.close()


class Watch:
    """Keeps the newest state of a collection; the time each change was seen is that of time.monotonic()."""

    def __init__(self, credentials, path, selector=""):
        self.changed = threading.Condition()
        self.objects = {}
        self.failure = None
        self.closed = False
        query = "?labelSelector=" + urllib.parse.quote(selector)
        api = Api(credentials)
        listed = api.request("GET", path + query)
        api.close()
        for item in listed["items"]:
            self.objects[item["metadata"]["name"]] = item
        self.connection = http.client.HTTPSConnection(credentials.host, credentials.port, context=credentials.tls)
        version = listed["metadata"]["resourceVersion"]
        self.connection.request("GET", f"{path}{query}&watch=1&resourceVersion={version}")
        self.reply = self.connection.getresponse()
        if self.reply.status != 200:
            raise ApiError(self.reply.status, self.reply.read().decode())
        self.socket = self.connection.sock
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            while line := self.reply.readline():
                self._apply(json.loads(line))
            self._fail("the watch ended")
        except (OSError, ValueError, http.client.HTTPException, AttributeError) as failure:
            self._fail(f"the watch broke: {failure}")

    def _fail(self, why):
        with self.changed:
            self.failure = why
            self.changed.notify_all()

    def _apply(self, event):
        with self.changed:
            if event["type"] == "ERROR":
                self.failure = json.dumps(event["object"])
            elif event["type"] == "DELETED":
                self.objects.pop(event["object"]["metadata"]["name"], None)
            elif event["type"] in ("ADDED", "MODIFIED"):
                self.objects[event["object"]["metadata"]["name"]] = event["object"]
            self.changed.notify_all()

    def until(self, condition, what, timeout=120):
        """Returns when condition(objects by name) holds, with the time at which it was seen."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while not condition(self.objects):
                if self.failure and not self.closed:
                    raise RuntimeError(f"{what}: {self.failure}")
                if not self.changed.wait(deadline - time.monotonic()):
                    raise RuntimeError(f"{what}: not within {timeout} s")
            return time.monotonic()

    def close(self):
        self.closed = True
        self.socket.shutdown(2)  # Ends the reader's recv.
        self.thread.join(5)
        self.connection.close()
