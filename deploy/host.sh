#!/bin/sh
# Runs a command on this machine with what it needs to reach our containers: addresses, the CA and the keys.
#   sh deploy/host.sh voxloop doctor|smoke|talk …
# Ports and NOVA_CONTRACT are those of .env, where the environment does not say otherwise, as compose has it.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

fail() {
    echo "host: $1" >&2
    exit 1
}

[ $# -gt 0 ] || fail "which command? For example: sh deploy/host.sh voxloop smoke"
[ -r secrets/sophia_api_key ] || fail "there are no keys in secrets/: sh deploy/prepare.sh"

setting() { # NAME: its value in the environment, else in .env, else in .env.example
    eval "value=\${$1:-}"
    for file in .env .env.example; do
        if [ -z "$value" ] && [ -r "$file" ]; then value=$(sed -n "s/^$1=//p" "$file" | tail -n 1); fi
    done
    echo "$value"
}

compose=docker-compose
if docker compose version >/dev/null 2>&1; then compose="docker compose"; fi
mkdir -p .voxloop/containers
ca=$PWD/.voxloop/containers/ca.pem
if said=$($compose exec -T sophia cat /ca/ca.pem 2>&1); then
    echo "$said" >"$ca"
else
    echo "host: sophia's container does not show its CA, so Riva is not trusted: $(echo "$said" | tail -n 1)" >&2
    ca=
fi

here=127.0.0.1
SOPHIA_HTTP_PORT=$(setting SOPHIA_PORT)
NOVA_HTTP_PORT=$(setting NOVA_PORT)
AURORA_HTTP_PORT=$(setting AURORA_PORT)
NOVA_GRPC_PORT=$(setting NOVA_GRPC_PORT)
AURORA_GRPC_PORT=$(setting AURORA_GRPC_PORT)
export SOPHIA_HTTP_PORT NOVA_HTTP_PORT AURORA_HTTP_PORT NOVA_GRPC_PORT AURORA_GRPC_PORT

NOVA_TRITON_URL=$here:$(setting TRITON_GRPC_PORT)
NOVA_CONTRACT=$(setting NOVA_CONTRACT)
SOPHIA_RIVA_URI=$here:$(setting RIVA_PORT)
SOPHIA_RIVA_CA=$ca
AURORA_A2F_URI=$here:$(setting AUDIO2FACE_PORT)
VOXLOOP_DOCTOR_DCGM_URL=http://$here:$(setting DCGM_PORT)/metrics
export NOVA_TRITON_URL NOVA_CONTRACT SOPHIA_RIVA_URI SOPHIA_RIVA_CA AURORA_A2F_URI VOXLOOP_DOCTOR_DCGM_URL

VOXLOOP_API_KEY=$(cat secrets/sophia_api_key)
SOPHIA_NOVA_API_KEY=$(cat secrets/nova_api_key)
SOPHIA_AURORA_API_KEY=$(cat secrets/aurora_api_key)
VOXLOOP_GRAFANA_URL=http://$here:$(setting GRAFANA_PORT)
VOXLOOP_GRAFANA_PASSWORD=$(cat secrets/grafana_admin_password)
VOXLOOP_PROMETHEUS_URL=http://$here:$(setting PROMETHEUS_PORT)
export VOXLOOP_API_KEY SOPHIA_NOVA_API_KEY SOPHIA_AURORA_API_KEY
export VOXLOOP_GRAFANA_URL VOXLOOP_GRAFANA_PASSWORD VOXLOOP_PROMETHEUS_URL

exec "$@"
