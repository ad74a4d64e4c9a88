# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of a test's own, with a server's certificate for loopback and clients' certificates."""
import pathlib
import subprocess


class Authority:
    def __init__(self, directory, addresses=("127.0.0.1",)):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir()
        self.new_key("ca")
        self.openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=test", "-days", "1", "-out", "ca.crt")
        names = ",".join(["DNS:localhost", *(f"IP:{address}" for address in addresses)])
        self.issue("server", "/CN=server", f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
        self.issue("client", "/CN=client", "extendedKeyUsage=clientAuth\n")

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=self.directory)

    def new_key(self, name):
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        (self.directory / f"{name}.key").chmod(0o600)

    def issue(self, name, subject, extensions="extendedKeyUsage=clientAuth\n"):
        """NAME.key and NAME.crt."""
        self.new_key(name)
        (self.directory / f"{name}.ext").write_text(extensions)
        self.openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
                     "-extfile", f"{name}.ext", "-out", f"{name}.crt")
