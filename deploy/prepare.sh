#!/bin/sh
# Writes .env and the keys in secrets/ where they are missing; what is there stays as it is.
set -eu
cd "$(dirname "$0")/.."

[ -e .env ] || cp .env.example .env
mkdir -p secrets
chmod 700 secrets # the folder shuts others out; the files are open to the user that a container runs as
for name in nova_api_key sophia_api_key aurora_api_key grafana_admin_password; do
    if [ ! -s "secrets/$name" ]; then
        od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name"
    fi
done
[ -e secrets/ngc_api_key ] || : >secrets/ngc_api_key # yours, for docker-compose.triton.yml
chmod 444 secrets/*
echo "prepare: .env and secrets/ are ready; sophia's key is in secrets/sophia_api_key"
