"""Has schemathesis ask the admin API of a running gateway everything that its document permits, and much that it does not.

Every check is on, and must find nothing. The requests are the same each time; behind the gateway stands a Close that accepts
every secret. Called by tests/run, which installs what it needs, with the program as its argument.
"""

import http.server
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

TOKEN = "planted-token-of-the-fuzzed-admin"
EXAMPLES = "25"

CONFIGURATION = """
data_dir = "data"
[listen]
address = "127.0.0.1:0"
workers = 1
[admin]
address = "127.0.0.1:0"
[admin.tokens.ops]
secret = {{ file = "token" }}
role = "admin"
[upstream]
url = "http://127.0.0.1:{port}"
danger_cleartext_upstream = true
[log]
access = "off"
[credentials.sales]
api_key = {{ file = "secret" }}
"""

# A 503 tells that Close, or the token endpoint of some other place, cannot be reached: that is no fault of the gateway. 412 and
# 422 refuse what no schema can tell apart, such as a version that is over, or a route of which nobody has heard; 412 and 413
# are refusals like any other.
SCHEMATHESIS = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 412, 422, 429, 503]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 412, 413, 415, 421, 422, 429, 503]
"""


class Close(http.server.BaseHTTPRequestHandler):
    """Accepts everybody."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b'{"id": "user_1", "organizations": [{"id": "orga_1", "name": "Sales Inc"}]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def listening(log, gateway):
    """Where the admin listener listens, once it says so."""
    for _ in range(600):
        found = re.search(r"the admin listener listens address=(\S+)", log.read_text())
        if found:
            return found[1]
        if gateway.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"error: the gateway does not listen: {log.read_text()}")


def main(program):
    close = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Close)
    threading.Thread(target=close.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "token").write_text(TOKEN)
        (folder / "secret").write_text("api_fuzzed.by-strangers-and-others")
        (folder / "closegate.toml").write_text(CONFIGURATION.format(port=close.server_port))
        (folder / "schemathesis.toml").write_text(SCHEMATHESIS)
        log = folder / "log"
        with log.open("w") as written:
            gateway = subprocess.Popen([program, "--config", folder / "closegate.toml"], stdout=written, stderr=written)
        try:
            url = f"http://{listening(log, gateway)}"
            asked = subprocess.run(
                [sys.executable, "-m", "schemathesis.cli", "--config-file", folder / "schemathesis.toml", "run",
                 f"{url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}", "--checks", "all",
                 "--max-examples", EXAMPLES, "--generation-deterministic", "--workers", "1", "--request-timeout", "20",
                 "--continue-on-failure", "--no-color"],
                cwd=folder, check=False,
            )
            if gateway.poll() is not None or "panicked" in log.read_text():
                sys.exit(f"error: the gateway has ended or panicked: {log.read_text()[-4000:]}")
            sys.exit(asked.returncode)
        finally:
            gateway.terminate()
            gateway.wait()
            close.shutdown()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve())
