"""TLS, client certificates and tokens, with stock clients."""

import contextlib
import os
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

import grpc
import tritonclient.grpc as triton
from grpc import StatusCode
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bad_request_test import good_request
from daemon import DIGITS, ROOT, Daemon


class Authority:
    """Signs certificates; all files lie in one folder."""

    def __init__(self, folder, name):
        self.folder, self.name = pathlib.Path(folder), name
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", f"/CN={name}", "-keyout", self.path("key"), "-out", self.path("pem"))

    def path(self, ending, of=None):
        return str(self.folder / f"{of or self.name}.{ending}")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def sign(self, name, alternative=None, days=1):
        """Writes NAME.key and NAME.pem."""
        alternative = alternative or f"DNS:{name}"
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}",
                      "-keyout", self.path("key", name), "-out", self.path("csr", name))
        self._openssl("x509", "-req", "-in", self.path("csr", name), "-CA", self.path("pem"), "-CAkey", self.path("key"),
                      "-CAcreateserial", "-days", str(days), "-copy_extensions", "copyall", "-out", self.path("pem", name))


def read(path):
    return pathlib.Path(path).read_bytes()


class TlsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.ours, self.theirs = Authority(folder.name, "ours"), Authority(folder.name, "theirs")
        self.ours.sign("localhost", "IP:127.0.0.1")
        self.ours.sign("scorer")
        self.ours.sign("batch", "URI:spiffe://prod/batch")
        self.ours.sign("nobody")
        self.theirs.sign("stranger")

    def start(self, more="client_ca: ours.pem", auth=""):
        tls = f"tls: {{certificate: {self.folder}/localhost.pem, key: {self.folder}/localhost.key"
        tls += f", {more.replace('ours.pem', str(self.folder / 'ours.pem'))}}}" if more else "}"
        # Its own client, which has no certificate, is of no use here.
        daemon = Daemon([f"dir: {DIGITS}", f"dir: {DIGITS}, name: other"], server=tls, more=auth)
        self.addCleanup(daemon.stop)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel(daemon, "scorer"))
        # ServerReady is open to whoever gets through TLS.
        daemon.wait_until(lambda: stub.ServerReady(service_pb2.ServerReadyRequest(), wait_for_ready=True, timeout=10).ready)
        return daemon

    def channel(self, daemon, name=None, token=None):
        credentials = grpc.ssl_channel_credentials(
            read(self.ours.path("pem")),
            read(self.ours.path("key", name)) if name else None,
            read(self.ours.path("pem", name)) if name else None,
        )
        if token:
            credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
        channel = grpc.secure_channel(daemon.grpc_address, credentials, [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def code_of(self, daemon, name=None, token=None, model="digits"):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel(daemon, name, token))
        request = good_request()
        request.model_name = model
        try:
            stub.ModelInfer(request, timeout=10)
            return StatusCode.OK
        except grpc.RpcError as error:
            return error.code()

    def test_only_clients_with_a_certificate_of_the_ca_get_through(self):
        daemon = self.start()
        self.assertEqual(self.code_of(daemon, "scorer"), StatusCode.OK)
        self.assertEqual(self.code_of(daemon), StatusCode.UNAVAILABLE)
        self.assertEqual(self.code_of(daemon, "stranger"), StatusCode.UNAVAILABLE)
        with grpc.insecure_channel(daemon.grpc_address) as plain, self.assertRaises(grpc.RpcError) as error:
            service_pb2_grpc.GRPCInferenceServiceStub(plain).ModelInfer(good_request(), timeout=5)
        self.assertEqual(error.exception.code(), StatusCode.UNAVAILABLE)

    def test_the_triton_client_connects(self):
        daemon = self.start()
        client = triton.InferenceServerClient(
            daemon.grpc_address, ssl=True, root_certificates=self.ours.path("pem"),
            private_key=self.ours.path("key", "scorer"), certificate_chain=self.ours.path("pem", "scorer"))
        self.addCleanup(client.close)
        self.assertTrue(client.is_model_ready("digits"))

    def test_our_own_client_connects(self):
        daemon = self.start()
        ours = ["--tls-ca", self.ours.path("pem")]
        images = str(ROOT / "tests/demo/test_images.npy")
        for more, exit_code in (([*ours, "--tls-certificate", self.ours.path("pem", "scorer"),
                                  "--tls-key", self.ours.path("key", "scorer")], 0), (ours, 1), ([], 1)):
            done = subprocess.run([os.environ["HACHI"], "infer", "--address", daemon.grpc_address, "--model", "digits",
                                   "--input", f"image={images}", "--timeout", "5", *more], capture_output=True)
            self.assertEqual(done.returncode, exit_code, done.stderr)

    def test_clients_use_the_models_that_they_are_configured_for(self):
        auth = "auth: {clients: [{name: scorer, models: [digits]}, {name: 'spiffe://prod/batch', models: ['*']}]}"
        daemon = self.start(auth=auth)
        self.assertEqual(self.code_of(daemon, "scorer"), StatusCode.OK)
        self.assertEqual(self.code_of(daemon, "scorer", model="other"), StatusCode.PERMISSION_DENIED)
        self.assertEqual(self.code_of(daemon, "scorer", model="none"), StatusCode.PERMISSION_DENIED)
        self.assertEqual(self.code_of(daemon, "batch", model="other"), StatusCode.OK)
        self.assertEqual(self.code_of(daemon, "batch", model="none"), StatusCode.NOT_FOUND)
        self.assertEqual(self.code_of(daemon, "nobody"), StatusCode.PERMISSION_DENIED)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel(daemon, "scorer"))
        statistics = stub.ModelStatistics(service_pb2.ModelStatisticsRequest())
        self.assertEqual([model.name for model in statistics.model_stats], ["digits"])
        for ask, request in ((stub.ModelMetadata, service_pb2.ModelMetadataRequest(name="other")),
                             (stub.ModelConfig, service_pb2.ModelConfigRequest(name="other")),
                             (stub.ModelReady, service_pb2.ModelReadyRequest(name="other"))):
            with self.assertRaises(grpc.RpcError) as error:
                ask(request)
            self.assertEqual(error.exception.code(), StatusCode.PERMISSION_DENIED)

    def test_tokens_say_who_a_client_is_too(self):
        tokens = self.folder / "tokens"
        tokens.write_text("# owners\nscorer first-token-0123456789\n")
        tokens.chmod(0o644)
        auth = f"auth: {{clients: [{{name: scorer, models: [digits]}}], tokens: {tokens}}}"
        daemon = self.start("client_certificates: none", auth)
        self.assertIn("may be read by everybody", daemon.log())
        self.assertEqual(self.code_of(daemon, token="first-token-0123456789"), StatusCode.OK)
        self.assertEqual(self.code_of(daemon, token="first-token-0123456789", model="other"), StatusCode.PERMISSION_DENIED)
        self.assertEqual(self.code_of(daemon, token="another-token-0123456789"), StatusCode.UNAUTHENTICATED)
        self.assertEqual(self.code_of(daemon), StatusCode.UNAUTHENTICATED)
        tokens.write_text("scorer second-token-0123456789\n")
        daemon.wait_until(lambda: self.code_of(daemon, token="second-token-0123456789") == StatusCode.OK)
        self.assertEqual(self.code_of(daemon, token="first-token-0123456789"), StatusCode.UNAUTHENTICATED)

    def test_changed_certificates_are_used_and_no_call_fails(self):
        daemon = self.start()
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel(daemon, "scorer"))
        codes, stop = set(), threading.Event()

        def call():
            while not stop.is_set():
                codes.add(self.code_of(daemon, "scorer"))  # a handshake each
                stub.ModelInfer(good_request(), timeout=10)  # over one connection

        caller = threading.Thread(target=call)
        caller.start()
        before = self.served_certificate(daemon)
        # A half that does not fit the other is not taken.
        self.ours.sign("fresh", "IP:127.0.0.1")
        new = {ending: read(self.ours.path(ending, "fresh")) for ending in ("pem", "key")}
        self.replace("localhost.pem", new["pem"])
        daemon.wait_until(lambda: 'hachi_certificate_reload_failures_total{surface="grpc"} 1' in daemon.metrics_page())
        self.assertEqual(self.served_certificate(daemon), before)
        self.replace("localhost.key", new["key"])
        daemon.wait_until(lambda: self.served_certificate(daemon) == new["pem"].decode().strip())
        time.sleep(0.5)
        stop.set()
        caller.join()
        self.assertEqual(codes, {StatusCode.OK})

    def start_with_page_tls(self, more):
        """A daemon whose metrics page has TLS, while gRPC is in the clear."""
        daemon = Daemon(server=f"metrics_tls: {{certificate: {self.folder}/localhost.pem, key: {self.folder}/localhost.key, {more}}}")
        self.addCleanup(daemon.stop)
        return daemon.wait_until_ready()

    def page(self, daemon, name=None):
        context = ssl.create_default_context(cafile=self.ours.path("pem"))
        if name:
            authority = self.theirs if name == "stranger" else self.ours
            context.load_cert_chain(authority.path("pem", name), authority.path("key", name))
        with urllib.request.urlopen(f"https://{daemon.metrics_address}/metrics", timeout=10, context=context) as response:
            return response.read().decode()

    def test_the_metrics_page_asks_for_certificates_too(self):
        daemon = self.start_with_page_tls(f"client_ca: {self.folder}/ours.pem")
        self.assertIn("hachi_build_info", self.page(daemon, "scorer"))
        for name in (None, "stranger"):
            with self.assertRaises(OSError):
                self.page(daemon, name)
        with self.assertRaises(OSError):
            daemon.metrics_page()  # in the clear

    def test_slow_handshakes_keep_nobody_from_the_metrics_page(self):
        daemon = self.start_with_page_tls("client_certificates: none")
        host, port = daemon.metrics_address.split(":")
        with contextlib.ExitStack() as sockets:
            for i in range(60):
                client = sockets.enter_context(socket.create_connection((host, int(port)), timeout=10))
                client.sendall(b"\x16\x03\x01"[:i % 4])
            started = time.monotonic()
            self.assertIn("hachi_build_info", self.page(daemon))
            self.assertLess(time.monotonic() - started, 2)

    def test_changed_certificates_of_the_metrics_page_are_used(self):
        daemon = self.start_with_page_tls("client_certificates: none")
        self.ours.sign("fresh", "IP:127.0.0.1")
        for ending in ("pem", "key"):
            self.replace(f"localhost.{ending}", read(self.ours.path(ending, "fresh")))
        fresh = read(self.ours.path("pem", "fresh")).decode().strip()
        host, port = daemon.metrics_address.split(":")
        daemon.wait_until(lambda: ssl.get_server_certificate((host, int(port))).strip() == fresh)
        self.assertIn("hachi_certificate_expiry_timestamp_seconds{surface=\"metrics\"}", self.page(daemon))

    def test_keys_that_others_may_read_are_warned_of(self):
        for mode, readers in ((0o600, None), (0o640, "its group"), (0o644, "everybody")):
            (self.folder / "localhost.key").chmod(mode)
            log = self.start_with_page_tls("client_certificates: none").log()
            if readers:
                self.assertIn(f"localhost.key' may be read by {readers}", log)
            else:
                self.assertNotIn("may be read by", log)

    def test_files_that_do_not_fit_are_an_error_at_the_start(self):
        self.ours.sign("mismatch")
        (self.folder / "localhost.key").write_bytes(read(self.ours.path("key", "mismatch")))
        with self.assertRaisesRegex(AssertionError, "key: is another certificate's"):
            self.start()

    def replace(self, name, content):
        (self.folder / "new").write_bytes(content)
        (self.folder / "new").replace(self.folder / name)

    def served_certificate(self, daemon):
        out = subprocess.run(
            ["openssl", "s_client", "-connect", daemon.grpc_address, "-cert", self.ours.path("pem", "scorer"),
             "-key", self.ours.path("key", "scorer"), "-alpn", "h2"], input=b"", capture_output=True).stdout.decode(errors="replace")
        begin, end = out.find("-----BEGIN CERTIFICATE-----"), out.find("-----END CERTIFICATE-----")
        return out[begin:end] + "-----END CERTIFICATE-----" if begin >= 0 else ""


if __name__ == "__main__":
    unittest.main()
