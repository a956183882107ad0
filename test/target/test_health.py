import http.server
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Lab


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        left = self.server.statuses
        status, body = left.pop(0) if len(left) > 1 else left[0]
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        return self.socket.accept()[0], ("unix", 0)


class Dribble(socketserver.BaseRequestHandler):
    """Answers, but so slowly that nobody should wait for the end of it."""

    def handle(self):
        try:
            for letter in b"HTTP/1.1 200 OK\r\n" + b"X" * 1000:
                self.request.sendall(bytes([letter]))
                time.sleep(0.05)
        except OSError:
            pass


class Health(unittest.TestCase):
    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="it's a tmp ")
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.lab = Lab(self.base)

    def serve(self, *statuses, server=None):
        server = server or http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.statuses, server.requests = list(statuses), []
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def origin(self, server, scheme="http"):
        return ("--origin", f"{scheme}://127.0.0.1:{server.server_address[1]}")

    def ask(self, *words, path="/", retries="0", **more):
        basics = ("--host", "www.example.com", "--path", path, "--retries", retries, "--interval", "0.05")
        return self.lab.run("health.py", *basics, *words, **more)

    def test_asks_as_a_proxy_would_and_uses_none(self):
        server = self.serve((200, b"well"))
        env = dict(os.environ, http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1")
        done = self.ask(*self.origin(server), path="/health/?deep=1", env=env)
        self.assertEqual(done.code, 0, done)
        [(path, headers)] = server.requests
        self.assertEqual(path, "/health/?deep=1")
        self.assertEqual((headers["host"], headers["x-forwarded-proto"]), ("www.example.com", "https"))

    def test_follows_no_redirect(self):
        server = self.serve((302, b""))
        self.assertEqual(self.ask(*self.origin(server)).code, 0)
        done = self.ask(*self.origin(server), "--status", "200-299")
        self.assertEqual(done.code, 1, done)
        self.assertIn("302, wanted 200-299", done["message"])
        self.assertEqual([path for path, _ in server.requests], ["/", "/"])

    def test_one_status_can_be_wanted(self):
        self.assertEqual(self.ask(*self.origin(self.serve((204, b""))), "--status", "204").code, 0)

    def test_asks_again_until_it_fits(self):
        server = self.serve((503, b""), (500, b""), (200, b""))
        done = self.ask(*self.origin(server), retries="5")
        self.assertEqual((done.code, len(server.requests)), (0, 3), done)

    def test_says_what_it_got_and_where(self):
        server = self.serve((500, b"\n<h1>Server Error</h1>\nmore"))
        done = self.ask(*self.origin(server), path="/up", retries="2")
        self.assertEqual((done.code, len(server.requests)), (1, 3), done)
        for word in ("500", "<h1>Server Error</h1>", "/up", self.origin(server)[1], "www.example.com"):
            self.assertIn(word, done["message"])

    def test_400_names_allowed_hosts(self):
        done = self.ask(*self.origin(self.serve((400, b"Bad Request"))))
        self.assertIn("ALLOWED_HOSTS", done["hint"])

    def test_nobody_there(self):
        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        words = self.origin(server)
        server.server_close()
        done = self.ask(*words)
        self.assertEqual(done.code, 1, done)
        self.assertIn("refused", done["message"])

    def test_no_answer_takes_no_longer_than_the_timeout(self):
        server = self.serve(server=socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dribble))
        began = time.monotonic()
        done = self.ask(*self.origin(server), "--timeout", "0.4")
        self.assertLess(time.monotonic() - began, 2)
        self.assertIn("no answer within 0.4 s", done["message"])

    def test_unix_socket(self):
        path = f"{self.base}/so cket"
        server = self.serve((200, b""), server=UnixServer(path, Handler))
        self.assertEqual(self.ask("--socket", path, path="/x").code, 0)
        with open(f"{self.base}/address", "w") as file:
            file.write(f"unix:{path}")
        self.assertEqual(self.ask("--address-file", f"{self.base}/address").code, 0)
        self.assertEqual([path for path, _ in server.requests], ["/x", "/"])

    def test_address_file(self):
        server = self.serve((200, b""))
        with open(f"{self.base}/address", "w") as file:
            file.write(self.origin(server)[1].partition("://")[2])
        self.assertEqual(self.ask("--address-file", f"{self.base}/address").code, 0)
        self.assertEqual(len(server.requests), 1)

    def test_without_an_address_there_is_a_warning(self):
        done = self.ask("--address-file", f"{self.base}/none")
        self.assertEqual(done.code, 0, done)
        self.assertIn("not asked", done["warning"])

    @unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificate")
    def test_https_on_loopback_needs_no_certificate_of_that_name(self):
        import ssl

        made = ["-keyout", f"{self.base}/key", "-out", f"{self.base}/certificate", "-subj", "/CN=other.example.com"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made], check=True, stderr=subprocess.DEVNULL
        )
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self.base}/certificate", f"{self.base}/key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.serve((200, b""), server=server)
        self.assertEqual(self.ask(*self.origin(server, "https")).code, 0)


if __name__ == "__main__":
    unittest.main()
