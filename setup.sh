#!/bin/sh
# Makes .venv (the product) and .venv-triton (the embedded tritonserver's Python, which needs numpy 1).
# With the argument `train`: .venv-train (PyTorch, for fine-tuning), and nothing else; with `wire`: .venv-wire
# (NVIDIA's stubs of Audio2Face-3D, which the tests hold ours against).
# Called by make; PYTHON may name the interpreter.
set -eu
cd "$(dirname "$0")"

version_of() { # prints 3.11; nothing if the command does not run (a pyenv shim may exist and not work)
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

what=${1:-}
if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3.11 python3.12 python3 python
fi
chosen='' seen=''
for candidate in "$@"; do
    version=$(version_of "$candidate")
    case $version in
    3.11 | 3.12) chosen=$candidate && break ;;
    ?*) seen="$seen $candidate is $version." ;;
    *) [ $# -gt 1 ] || seen=" $candidate does not run." ;;
    esac
done
if [ -z "$chosen" ]; then
    echo "setup: Voxloop needs Python 3.11 or 3.12.${seen:- No Python was found.} Name one: make setup PYTHON=/path/to/python3.12" >&2
    exit 1
fi
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    echo "setup: the embedded tritonserver exists for Linux on x86-64 only; this is $(uname -s) on $(uname -m)." >&2
    exit 1
fi

# An environment of another Python, or one that was left half made, is made anew.
environment() { # its folder, what it must be able to import, and venv's options for that
    test="import $2, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')"
    if [ -x "$1/bin/python" ] && "$1/bin/python" -c "$test" 2>/dev/null; then return; fi
    rm -rf "$1"
    # shellcheck disable=SC2086 # no word at all is meant where there is no option
    if ! "$chosen" -m venv $3 "$1"; then
        rm -rf "$1"
        echo "setup: $chosen cannot make $1; on Debian and Ubuntu it needs the package python$version-venv." >&2
        exit 1
    fi
}
install() { # environment, lock file
    .venv/bin/uv pip install --quiet --require-hashes --no-deps --python "$1/bin/python" -r "$2"
}
if [ "$what" = train ]; then
    environment .venv-train pip ''
    echo "setup: installing PyTorch with Python $version"
    .venv-train/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
    install .venv-train requirements/train.txt
    exit
fi
if [ "$what" = wire ]; then
    environment .venv-wire sys --without-pip
    install .venv-wire requirements/wire.txt
    exit
fi
environment .venv pip ''
environment .venv-triton sys --without-pip
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt; then
    echo "setup: pip could not install uv; is the package index reachable?" >&2
    exit 1
fi
echo "setup: installing with Python $version"
install .venv requirements/main.txt
install .venv-triton requirements/triton.txt
.venv/bin/uv pip install --quiet --no-deps --python .venv/bin/python --editable .
