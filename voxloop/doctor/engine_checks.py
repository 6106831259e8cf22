"""Phase 2: NVIDIA's registry, the images, Riva's configuration, and the engines themselves."""

from __future__ import annotations

from collections.abc import Callable

from voxloop.doctor.checks import Check, Finding, critical, info, ok, unknown, warning
from voxloop.doctor.facts import Answer, Engines
from voxloop.doctor.settings import DoctorSettings as Settings

START = (
    "Start it: `docker compose -f docker-compose.yml -f docker-compose.triton.yml up -d`, or `voxloop up`."
)


def ngc_key(engines: Engines, _: Settings) -> Finding:
    if engines.key_source is None:
        return critical(
            "no key of NVIDIA's registry was found",
            "`ngc config set`, or `export NGC_API_KEY=…` (never in git).",
        )
    return ok(f"in {engines.key_source}")


def registry_login(engines: Engines, _: Settings) -> Finding:
    if not engines.registry_login:
        return critical(
            "docker is not logged in to nvcr.io",
            "docker login nvcr.io --username '$oauthtoken' --password-stdin <<< \"$NGC_API_KEY\"",
        )
    return ok("docker has a login for nvcr.io")


def images(engines: Engines, _: Settings) -> Finding:
    if engines.images_fault:
        return unknown(engines.images_fault, "Mend docker first.")
    if not engines.images:
        return unknown("no image is named by docker-compose.triton.yml", "`sh deploy/prepare.sh`")
    missing = [image for image, here in engines.images.items() if not here]
    if missing:
        return warning(f"not here yet: {', '.join(missing)}", "`sh deploy/ngc/download.sh`")
    return ok(f"all {len(engines.images)} are here")


def riva_config(engines: Engines, _: Settings) -> Finding:
    if engines.riva_config is None:
        return info(
            "no Riva quickstart here", "`sh deploy/ngc/download.sh`, where Riva is to run on this machine."
        )
    values, path = engines.riva_config.values, engines.riva_config.path
    off = [kind for kind in ("asr", "tts") if values.get(f"service_enabled_{kind}") != "true"]
    plain = [name for name in ("ssl_server_cert", "ssl_server_key") if not values.get(name)]
    if off:
        return critical(
            f"{path}: {' and '.join(off)} are not enabled",
            "`sh deploy/ngc/riva.sh configure` writes it anew.",
        )
    if plain:
        return critical(f"{path}: TLS is off ({', '.join(plain)} empty)", "`sh deploy/ngc/riva.sh configure`")
    port, where = values.get("riva_speech_api_port", "50051"), values.get("riva_model_loc", "?")
    return ok(
        f"speech both ways over TLS on port {port}, {values.get('gpus_to_use', '?')}, models in {where}"
    )


def nemo(engines: Engines, _: Settings) -> Finding:
    image = next((name for name, here in engines.images.items() if here and "nemo" in name), None)
    if image or engines.nemo:
        return ok(image or f"the package {engines.nemo}")
    return info("neither NeMo's container nor its package is here", "Only needed to fine-tune.")


def _answers(
    pick: Callable[[Engines], Answer], works: str, do: str
) -> Callable[[Engines, Settings], Finding]:
    def rule(engines: Engines, _: Settings) -> Finding:
        answer = pick(engines)
        if answer.fault:
            return critical(answer.fault, answer.hint or do)
        return ok(f"{works} at {answer.where}")

    return rule


CHECKS: tuple[Check[Engines], ...] = (
    Check("ngc_key", "NGC key", "present", ngc_key, gpu=True),
    Check("registry", "registry login", "docker is logged in", registry_login, gpu=True),
    Check("images", "images", "all here", images, gpu=True),
    Check("riva_config", "Riva's config.sh", "ASR and TTS on, TLS on", riva_config),
    Check("nemo", "NeMo", "present where models are tuned", nemo),
    Check(
        "triton", "Triton", "a real inference", _answers(lambda e: e.triton, "answers an inference", START)
    ),
    Check(
        "riva",
        "Riva",
        "both lists of models, over TLS",
        _answers(lambda e: e.riva, "hears and speaks", START),
    ),
    Check(
        "audio2face",
        "Audio2Face",
        "animates a moment of silence",
        _answers(lambda e: e.audio2face, "animates", START),
    ),
    Check("dcgm", "dcgm-exporter", "has metrics", _answers(lambda e: e.dcgm, "has metrics", START), gpu=True),
)
