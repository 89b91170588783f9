"""Holds the files of compose and Prometheus to each other, to the Dockerfile and to what is promised of a container, and the
Dockerfile to the manifest."""

import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import yaml

CONFIG = Path("config")


def main():
    compose = yaml.safe_load((CONFIG / "compose.yaml").read_text())
    dockerfile = Path("Dockerfile").read_text()
    ignored = Path(".gitignore").read_text().split()
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # In clear text, to this machine alone.
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name

    closegate = compose["services"]["closegate"]
    for secret in closegate["secrets"]:
        file = CONFIG / compose["secrets"][secret]["file"]
        assert f"/{file.parent}" in ignored, f"{file} could be committed"
        assert f"/run/secrets/{secret}" in closegate["environment"].values(), secret
    check = closegate["healthcheck"]["test"]
    assert f"CMD [{', '.join(map(quoted, check[1:]))}]" in dockerfile, check

    prometheus = compose["services"]["prometheus"]
    mounted = dict(volume.split(":")[:2] for volume in prometheus["volumes"])
    scraped = yaml.safe_load((CONFIG / "prometheus.yml").read_text())["scrape_configs"]
    assert mounted["./prometheus.yml"] == "/etc/prometheus/prometheus.yml", mounted
    # The rules lie beside it, there as here.
    assert mounted["./prometheus"] == "/etc/prometheus/prometheus", mounted
    assert f"--config.file={mounted['./prometheus.yml']}" in prometheus["command"]
    for target in (target for job in scraped for found in job["static_configs"] for target in found["targets"]):
        host, port = target.split(":")
        assert host in compose["services"], target
        assert port in exposed(dockerfile), target
    print("compose.yaml and prometheus.yml agree with the Dockerfile")
    make_empty_crate(dockerfile)
    print("the Dockerfile makes an empty crate that fits the manifest")


def make_empty_crate(dockerfile):
    """Does what the image's first layer does before it builds the dependencies: every bench of the manifest must be there."""
    command = dockerfile.split("RUN mkdir src", 1)[1].split("&& cargo build", 1)[0].replace("\\\n", "")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy("Cargo.toml", folder)
        subprocess.run(["sh", "-c", f"mkdir src{command}"], cwd=folder, check=True)
        for bench in tomllib.loads(Path("Cargo.toml").read_text())["bench"]:
            assert Path(folder, "benches", f"{bench['name']}.rs").is_file(), bench["name"]


def exposed(dockerfile):
    return next(line for line in dockerfile.splitlines() if line.startswith("EXPOSE ")).split()[1:]


def quoted(text):
    return f'"{text}"'


if __name__ == "__main__":
    main()
