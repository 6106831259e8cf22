#!/bin/sh
# Riva's quickstart with our configuration: speech both ways, TLS on.
#   sh deploy/ngc/riva.sh configure|init|start|stop|check
# The quickstart's own config.sh stays as it came; voxloop.sh beside it lays ours over it. Its certificate is for
# Riva and Audio2Face alike, by one CA, which clients trust: SOPHIA_RIVA_CA and AURORA_A2F_CA.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD

quickstart=$(readlink -f "${RIVA_QUICKSTART:-.voxloop/ngc/riva_quickstart}" || true)
models=$(readlink -m "${RIVA_MODEL_LOC:-riva-models}")
tls=$(readlink -m "${VOXLOOP_STATE:-.voxloop}")/tls-engines
ours=$quickstart/voxloop.sh

fail() {
    echo "riva: $1" >&2
    exit 1
}

[ -f "$quickstart/config.sh" ] || fail "no quickstart at ${RIVA_QUICKSTART:-.voxloop/ngc/riva_quickstart}: sh deploy/ngc/download.sh"

configure() {
    "$root/.venv/bin/python" -c '
import sys
from pathlib import Path
from shared.tls import ensure_certificates
ensure_certificates(Path(sys.argv[1]), tuple(sys.argv[2:]))
' "$tls" riva audio2face localhost 127.0.0.1 ::1 "$(hostname)"
    mkdir -p "$models"
    cat >"$ours" <<CONFIG
# Written by deploy/ngc/riva.sh configure, over the quickstart's own.
source "$quickstart/config.sh"
service_enabled_asr=true
service_enabled_tts=true
service_enabled_nlp=false
service_enabled_nmt=false
gpus_to_use="device=${RIVA_GPU:-0}"
riva_model_loc="$models"
riva_speech_api_port="50051"
ssl_server_cert="$tls/server.pem"
ssl_server_key="$tls/server.key"
ssl_root_cert="$tls/ca.pem"
CONFIG
    echo "riva: wrote $ours; export SOPHIA_RIVA_CA=$tls/ca.pem"
}

configured() {
    [ -f "$ours" ] || fail "not configured: sh deploy/ngc/riva.sh configure"
    for file in server.pem server.key ca.pem; do
        [ -s "$tls/$file" ] || fail "$tls/$file is missing: sh deploy/ngc/riva.sh configure"
    done
}

check() {
    SOPHIA_RIVA_URI=${SOPHIA_RIVA_URI:-127.0.0.1:50051} SOPHIA_RIVA_CA=${SOPHIA_RIVA_CA:-$tls/ca.pem} \
        "$root/.venv/bin/python" -c '
import asyncio, sys
from voxloop import peers
found = asyncio.run(peers.outcome("riva", peers.ask_riva(peers.from_environment())))
sys.exit(f"riva: {found}" if found else 0)
' || exit 1
    echo "riva: hears and speaks, over TLS"
}

case "${1:-}" in
configure) configure ;;
init | start)
    configured
    (cd "$quickstart" && bash "riva_$1.sh" "$ours") || fail "riva_$1.sh failed; its last lines say why"
    if [ "$1" = start ]; then check; fi
    ;;
stop) (cd "$quickstart" && bash riva_stop.sh "$ours") ;;
check) check ;;
*) fail "configure, init, start, stop or check" ;;
esac
