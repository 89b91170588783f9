"""Runs the root of the image as a container is run, and holds it to what an image of closegate promises.

Called by tests/container in a network namespace of its own: the folder for the runtime's files, with the image's
configuration in image.json, then the root, then the revision. The runtime is crun; the root is read-only, the user is the
image's, there is no capability, and the program is PID 1. Ends with an error at the first promise that is not kept.
"""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PROXY, METRICS = 8080, 9464
CLOSE_KEY, KEY = "api_0123456789.abcdef", "a-gateway-key-of-the-test"


def main():
    bundle, root, revision = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # crun refuses where both versions of control groups are mounted; these mounts are this process's own.
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)
    image = json.loads((bundle / "image.json").read_text())["Docker"]["config"]
    runtime = Runtime(bundle, root, image)
    for promise in [says_how_it_runs, holds_the_program_alone, answers_nobody_without_a_key, serves_and_drains,
                    ends_at_an_interrupt, resolves_names]:
        promise(runtime, revision)
        print(f"ok: {promise.__doc__.splitlines()[0]}", flush=True)


def says_how_it_runs(runtime, revision):
    """The image says its user, ports, stop signal, health check and revision."""
    image = runtime.image
    same(image["User"], "65532:65532")
    same(image["Entrypoint"], ["/closegate"])
    same(sorted(image["ExposedPorts"]), ["8080/tcp", "9464/tcp"])
    same(image["StopSignal"], "SIGTERM")
    same(image["Healthcheck"]["Test"], ["CMD", "/closegate", "health"])
    same(image["Labels"]["org.opencontainers.image.revision"], revision)
    same(image["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0")


def holds_the_program_alone(runtime, _):
    """The root holds the program, its libraries, the roots and the user, and nothing that its user may write."""
    held = {str(path.relative_to(runtime.root)) for path in runtime.root.rglob("*") if not path.is_dir()}
    wanted = {"closegate", "etc/group", "etc/nsswitch.conf", "etc/passwd", "etc/ssl/certs/ca-certificates.crt"}
    assert wanted <= held, held
    libraries = sorted(name for name in held - wanted if not name.startswith("lib"))
    same(libraries, [])
    assert (runtime.root / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE") > 100
    for path in runtime.root.rglob("*"):
        status = path.lstat()
        assert (status.st_uid, status.st_mode & 0o022) == (0, 0), f"{path}: {status}"


def answers_nobody_without_a_key(runtime, revision):
    """Without a configuration it is healthy, on every address, and answers nobody."""
    with runtime.start(CLOSE_API_KEY=CLOSE_KEY) as container:
        same(container.call("health"), 0)
        status, headers, _ = get(PROXY, "/api/v1/me/", address=another_address())
        same((status, headers["closegate-error"]), (401, "key_missing"))
        status, _, metrics = get(METRICS, "/metrics", address=another_address())
        same(status, 200)
        assert revision in metrics, "closegate_build_info does not tell the revision"
        same(container.status("Uid"), "65532")
        same(container.status("CapEff"), "0000000000000000")


def serves_and_drains(runtime, _):
    """A request goes out as Close's key, and one in flight is finished at SIGTERM; then the exit code is 0."""
    with Upstream() as upstream, runtime.start(**upstream.settings()) as container:
        presented = {"closegate-key": KEY}
        same(get(PROXY, "/api/v1/me/", presented)[0], 200)
        same(upstream.authorizations, {"Basic " + base64.b64encode(f"{CLOSE_KEY}:".encode()).decode()})
        answers = []
        held = threading.Thread(target=lambda: answers.append(get(PROXY, "/held", presented)), daemon=True)
        held.start()
        upstream.arrived.wait()
        container.send(signal.SIGTERM)
        same(until(lambda: get(METRICS, "/readyz")[0], 503), 503)
        same(container.call("health"), 1)
        same(container.ended(), None)
        upstream.release.set()
        held.join()
        same(answers[0][0], 200)
        same(container.wait(), 0)


def ends_at_an_interrupt(runtime, _):
    """PID 1 ends at SIGINT too, as with `docker run -it` and Ctrl-C."""
    with runtime.start(CLOSE_API_KEY=CLOSE_KEY) as container:
        container.send(signal.SIGINT)
        same(container.wait(), 0)


def resolves_names(runtime, _):
    """Names are asked of DNS, and of /etc/hosts first."""
    with Names() as names, runtime.start(CLOSE_API_KEY=CLOSE_KEY, CLOSEGATE_KEY=KEY) as container:
        status, headers, _ = get(PROXY, "/api/v1/me/", {"closegate-key": KEY})
        same((status, headers["closegate-error"]), (503, "upstream_unreachable"))
        assert "api.close.com" in names.asked, names.asked
        container.send(signal.SIGTERM)
        same(container.wait(), 0)
    settings = {"CLOSEGATE__UPSTREAM__URL": "https://close.test"}
    with Names() as names, runtime.start(CLOSE_API_KEY=CLOSE_KEY, CLOSEGATE_KEY=KEY, **settings):
        status, headers, _ = get(PROXY, "/api/v1/me/", {"closegate-key": KEY})
        same((status, headers["closegate-error"]), (503, "upstream_unreachable"))
        same(names.asked, set())


class Runtime:
    """crun, with containers as an orchestrator with good habits describes them."""

    def __init__(self, bundle, root, image):
        self.bundle, self.root, self.image = bundle, root, image

    @contextlib.contextmanager
    def start(self, **environment):
        """A container that runs the image's entry point, is ready, and is gone afterwards."""
        container = Container(self, environment)
        try:
            until(container.ready, True)
            yield container
        except BaseException:
            print(container.told(), file=sys.stderr)
            raise
        finally:
            container.remove()

    def crun(self, *arguments, **options):
        return subprocess.run(["crun", "--root", self.bundle / "state", "--cgroup-manager", "disabled", *arguments], **options)

    def describe(self, environment):
        """Writes the description that crun reads."""
        uid, gid = map(int, self.image["User"].split(":"))
        none = {kind: [] for kind in ["bounding", "effective", "inheritable", "permitted", "ambient"]}
        for name, text in [("hosts", HOSTS), ("resolv.conf", "nameserver 127.0.0.1\n")]:
            (self.bundle / name).write_text(text)
        description = {
            "ociVersion": "1.0.0",
            "process": {
                "user": {"uid": uid, "gid": gid},
                "args": self.image["Entrypoint"],
                "env": [*self.image["Env"], *(f"{name}={value}" for name, value in environment.items())],
                "cwd": "/",
                "capabilities": none,
                "noNewPrivileges": True,
            },
            "root": {"path": str(self.root), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "mode=755"]},
                *({"destination": f"/etc/{name}", "source": str(self.bundle / name), "options": ["bind", "ro"]}
                  for name in ["hosts", "resolv.conf"]),
            ],
            "linux": {"namespaces": [{"type": kind} for kind in ["pid", "ipc", "uts", "mount"]]},
        }
        (self.bundle / "config.json").write_text(json.dumps(description))


class Container:
    """One that runs."""

    def __init__(self, runtime, environment):
        self.runtime, self.log = runtime, tempfile.TemporaryFile("w+")
        runtime.describe(environment)
        command = ["crun", "--root", runtime.bundle / "state", "--cgroup-manager", "disabled",
                   "run", "--bundle", runtime.bundle, NAME]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def ready(self):
        assert self.process.poll() is None, "the container has ended"
        return self.call("health") == 0

    def call(self, *arguments):
        """The exit code of the program, called inside as a health check is."""
        program = self.runtime.image["Entrypoint"]
        return self.runtime.crun("exec", NAME, *program, *arguments, capture_output=True).returncode

    def status(self, field):
        """A field of PID 1's status."""
        state = json.loads(self.runtime.crun("state", NAME, capture_output=True, check=True).stdout)
        for line in Path(f"/proc/{state['pid']}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return line.split()[1]
        raise AssertionError(f"PID 1 has no {field}")

    def send(self, number):
        self.runtime.crun("kill", NAME, str(int(number)), check=True)

    def ended(self):
        """The exit code; nothing while it runs."""
        return self.process.poll()

    def wait(self):
        return self.process.wait(STUCK)

    def told(self):
        self.log.seek(0)
        return self.log.read()

    def remove(self):
        if self.process.poll() is None:
            self.runtime.crun("kill", NAME, "KILL", check=True)
            self.process.wait(STUCK)
        self.runtime.crun("delete", "--force", NAME, capture_output=True)
        self.log.close()


class Upstream:
    """Answers as Close would, `/held` only once released."""

    def __init__(self):
        self.authorizations, self.arrived, self.release = set(), threading.Event(), threading.Event()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                upstream.authorizations.add(self.headers["authorization"])
                if self.path == "/held":
                    upstream.arrived.set()
                    upstream.release.wait()
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def settings(self):
        """What makes a gateway send its requests here."""
        return {
            "CLOSE_API_KEY": CLOSE_KEY,
            "CLOSEGATE_KEY": KEY,
            "CLOSEGATE__UPSTREAM__URL": f"http://127.0.0.1:{self.server.server_port}",
            "CLOSEGATE__UPSTREAM__DANGER_CLEARTEXT_UPSTREAM": "true",
        }

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


class Names:
    """A name server that knows no name and remembers which it was asked for."""

    def __init__(self):
        self.asked, self.socket = set(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))

    def serve(self):
        while True:
            question, asker = self.socket.recvfrom(512)
            if not question:
                return
            self.asked.add(name_in(question))
            # The same question, as an answer (QR, RD, RA) that there is no such name.
            self.socket.sendto(question[:2] + b"\x81\x83" + question[4:6] + bytes(6) + one_question(question), asker)

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()


def one_question(message):
    """The question of a DNS message (RFC 1035 4.1.2), without what follows it."""
    return message[12:message.index(0, 12) + 5]


def name_in(message):
    labels, rest = [], message[12:]
    while rest[0]:
        labels.append(rest[1:1 + rest[0]].decode())
        rest = rest[1 + rest[0]:]
    return ".".join(labels)


def another_address():
    """One of loopback's, but not the one that a listener on loopback alone would have."""
    return "127.0.0.2"


def get(port, path, headers=None, address="127.0.0.1"):
    """Status, header fields and body of an answer."""
    connection = http.client.HTTPConnection(address, port, timeout=STUCK)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def until(look, wanted):
    """What `look` sees once it is what is wanted."""
    deadline = time.monotonic() + STUCK
    while time.monotonic() < deadline:
        if look() == wanted:
            return wanted
        time.sleep(0.05)
    raise AssertionError(f"{wanted!r} was not seen in {STUCK} s")


def same(found, wanted):
    assert found == wanted, f"{found!r} and not {wanted!r}"


NAME = "closegate-test"
# A public address, which a network of loopback alone does not reach.
HOSTS = "127.0.0.1 localhost\n11.0.0.1 close.test\n"
# After which a test counts as stuck.
STUCK = 30

if __name__ == "__main__":
    main()
