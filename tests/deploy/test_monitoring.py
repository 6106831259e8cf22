"""deploy/monitoring: rules by promtool, dashboards against Grafana's schema and what is really exported, and
the whole way of an alert, from a capture of dcgm-exporter to a webhook and back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any, ClassVar

import httpx
import jsonschema
import pytest
import yaml

from shared.process import free_port
from tests.conftest import MATERIAL, ROOT
from tests.fixtures.stack import RunningStack

MONITORING = ROOT / "deploy" / "monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yml"))
SPECIFICATIONS = sorted((Path(__file__).parent / "monitoring").glob("*_test.yml"))
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
DCGM = MATERIAL / "captures" / "dcgm"
SCHEMA = MATERIAL / "captures" / "grafana" / "dashboard.jsonschema.json"
NOT_CAPTURED = {"DCGM_FI_DEV_XID_ERRORS"}
"""dcgm-exporter has the series only once there was an error."""


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"no {name} on this machine")
    return found


def promtool(*arguments: object, cwd: Path = ROOT) -> None:
    command = [program("promtool"), *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


ALERTS = [rule for rule in rules() if "alert" in rule]


# Rules


def test_the_configurations_are_valid() -> None:
    promtool("check", "config", "--syntax-only", MONITORING / "prometheus.yml")
    promtool("check", "rules", *RULES)
    command = [program("amtool"), "check-config", str(MONITORING / "alertmanager.yml")]
    subprocess.run(command, capture_output=True, timeout=60, check=True)


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda path: path.stem)
def test_each_alert_fires_and_rests_as_specified(specification: Path, tmp_path: Path) -> None:
    shutil.copytree(MONITORING / "rules", tmp_path / "rules")
    # promtool reads YAML strictly, without the merge keys that keep the specification short.
    plain = json.dumps(yaml.safe_load(specification.read_text()))
    (tmp_path / "specification.yml").write_text(plain)
    promtool("test", "rules", "specification.yml", cwd=tmp_path)


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_each_alert_fires_and_rests_in_a_specification(alert: str) -> None:
    expectations = [
        expected["exp_alerts"]
        for path in SPECIFICATIONS
        for test in yaml.safe_load(path.read_text())["tests"]
        for expected in test.get("alert_rule_test", [])
        if expected["alertname"] == alert
    ]
    assert any(expectations), f"{alert} never fires in a specification"
    assert [] in expectations, f"{alert} never rests in a specification"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_to_do_and_where_its_runbook_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    notes = rule["annotations"]
    assert notes["summary"]
    assert notes["action"]
    page, _, anchor = notes["runbook_url"].partition("#")
    headings = {
        line.lstrip("# ").strip("`")
        for line in (ROOT / page).read_text().splitlines()
        if line.startswith("#")
    }
    assert anchor in headings


# Dashboards


def panels(dashboard: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(dashboard.read_text())["panels"]
    assert found
    return found


def expressions(dashboard: Path) -> list[str]:
    return [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_what_grafana_reads(dashboard: Path) -> None:
    if not SCHEMA.is_file():
        pytest.skip("no ../shared/captures beside this checkout")
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(json.loads(dashboard.read_text()))


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_each_query_of_a_dashboard_parses(dashboard: Path, tmp_path: Path) -> None:
    records = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(expressions(dashboard))]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": records}]}))
    promtool("check", "rules", tmp_path / "rules.yml")


def names_in(expression: str) -> set[str]:
    words = re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r'"[^"]*"', "", expression))
    return {word for word in words if re.match(r"(DCGM|nv|voxloop|node|process)_|\w+:\w+", word)}


def exposed(text: str) -> set[str]:
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")} | {
        re.split(r"[{ ]", line)[0] for line in text.splitlines() if line and line[0] != "#"
    }


@pytest.fixture(scope="session")
def known_metrics(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What our services, their Triton and a node exporter really export, and what the captures hold."""
    known = {rule["record"] for rule in rules() if "record" in rule} | NOT_CAPTURED
    for path in DCGM.glob("*.prom"):
        known |= exposed(path.read_text())
    for service in ("nova", "sophia", "aurora"):
        known |= exposed(httpx.get(stack.http(service) + "/metrics", trust_env=False).text)
    known |= exposed(httpx.get(stack.triton_metrics, trust_env=False).text)
    port = free_port()
    command = [program("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as exporter:
        try:
            known |= exposed(eventually(lambda: answered(f"http://127.0.0.1:{port}/metrics")))
        finally:
            exporter.terminate()
    families = {name for name in known if f"{name}_count" in known}
    return known | {f"{name}_bucket" for name in known} | families


def test_each_metric_that_a_dashboard_or_a_rule_names_exists(known_metrics: set[str]) -> None:
    if not DCGM.is_dir():
        pytest.skip("no ../shared/captures beside this checkout")
    named = {name for path in DASHBOARDS for expr in expressions(path) for name in names_in(expr)}
    named |= {name for rule in rules() for name in names_in(rule["expr"])}
    assert len(named) > 40
    assert named <= known_metrics, sorted(named - known_metrics)


# The way of an alert


class Capture(BaseHTTPRequestHandler):
    """A replayed dcgm-exporter at GET, and whoever is told of alerts at POST."""

    text: ClassVar[str] = ""
    temperature: ClassVar[float | None] = None
    told: ClassVar[Queue[dict[str, Any]]]

    def do_GET(self) -> None:
        lines = []
        for line in self.text.splitlines():
            hot = self.temperature is not None and line.startswith("DCGM_FI_DEV_GPU_TEMP{")
            lines.append(f"{line.rpartition(' ')[0]} {self.temperature}" if hot else line)
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write("\n".join([*lines, ""]).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.told.put(json.loads(body))

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def gpus() -> Iterator[str]:
    if not DCGM.is_dir():
        pytest.skip("no ../shared/captures beside this checkout")
    Capture.text = (DCGM / "dcgm_sample_l40s.prom").read_text()
    Capture.temperature = None
    Capture.told = Queue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Capture)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def answered(url: str) -> str:
    try:
        answer = httpx.get(url, trust_env=False)
    except httpx.TransportError:
        return ""
    return answer.text if answer.is_success else ""


def eventually(ask: Callable[[], Any], deadline_s: float = 60.0) -> Any:
    deadline = time.monotonic() + deadline_s
    while not (found := ask()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)  # between two asks of another process there is no event to await
    return found


def quickened(source: Path, target: Path, **replaced: str) -> None:
    """A configuration as it is, with seconds for minutes and addresses of this test."""
    text = re.sub(
        r"\b(for|scrape_interval|evaluation_interval|group_wait|group_interval): \d+[ms]",
        r"\1: 1s",
        source.read_text(),
    )
    for old, new in replaced.items():
        text = text.replace(old.replace("__", ":"), new)
    target.write_text(text)


def started(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def test_heat_reaches_a_webhook_and_so_does_its_end(gpus: str, stack: RunningStack, tmp_path: Path) -> None:
    """The real Prometheus and Alertmanager, our rules and our services; the GPU alone is a capture."""
    prometheus, alertmanager = program("prometheus"), program("prometheus-alertmanager")
    web, alerts = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    (tmp_path / "rules").mkdir()
    for path in RULES:
        quickened(path, tmp_path / "rules" / path.name)
    shutil.copytree(MONITORING / "targets" / "dgx", tmp_path / "targets")
    addresses = {
        "nova": stack.http("nova").removeprefix("http://"),
        "sophia": stack.http("sophia").removeprefix("http://"),
        "aurora": stack.http("aurora").removeprefix("http://"),
        "triton": httpx.URL(stack.triton_metrics).netloc.decode(),
        "dcgm": gpus,
    }
    for job, address in addresses.items():
        target = [{"targets": [address], "labels": {"machine": "this"}}]
        (tmp_path / "targets" / f"{job}.yml").write_text(json.dumps(target))
    (tmp_path / "targets" / "host.yml").unlink()
    for name in ("nova", "sophia", "aurora"):
        (tmp_path / f"{name}_api_key").write_text("made-up")
    keys = {"/run/secrets/": f"{tmp_path}/", "alertmanager__9093": alerts}
    quickened(MONITORING / "prometheus.yml", tmp_path / "prometheus.yml", **keys)
    receiver = f"  - name: operators\n    webhook_configs: [{{url: 'http://{gpus}/'}}]"
    quickened(
        MONITORING / "alertmanager.yml", tmp_path / "alertmanager.yml", **{"  - name__ operators": receiver}
    )
    promtool("check", "config", tmp_path / "prometheus.yml")
    running = [
        started(tmp_path, alertmanager, f"--web.listen-address={alerts}", "--cluster.listen-address=",
                "--config.file=alertmanager.yml", "--storage.path=am"),
        started(tmp_path, prometheus, f"--web.listen-address={web}", "--config.file=prometheus.yml",
                "--storage.tsdb.path=data"),
    ]  # fmt: skip
    try:
        eventually(lambda: answered(f"http://{alerts}/-/ready"))
        eventually(lambda: healthy_targets(web) >= set(addresses))
        assert firing(web) == set()
        Capture.temperature = 99.0
        hot = Capture.told.get(timeout=60)
        assert hot["status"] == "firing"
        assert {alert["labels"]["alertname"] for alert in hot["alerts"]} == {"gpu_overtemp"}
        assert hot["alerts"][0]["annotations"]["action"]
        Capture.temperature = 50.0
        cool = Capture.told.get(timeout=60)
        while cool["status"] == "firing":  # told again before the end
            cool = Capture.told.get(timeout=60)
        assert cool["status"] == "resolved"
        assert {alert["labels"]["alertname"] for alert in cool["alerts"]} == {"gpu_overtemp"}
    finally:
        for process in running:
            process.terminate()
            process.wait(30)


def healthy_targets(web: str) -> set[str]:
    text = answered(f"http://{web}/api/v1/targets")
    targets = json.loads(text)["data"]["activeTargets"] if text else []
    return {target["labels"]["job"] for target in targets if target["health"] == "up"}


def firing(web: str) -> set[str]:
    alerts = json.loads(answered(f"http://{web}/api/v1/alerts"))["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
