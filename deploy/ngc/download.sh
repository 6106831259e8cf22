#!/bin/sh
# Fetch what a DGX needs from NGC: the resources of resources.txt, the images of docker-compose.triton.yml.
#   sh deploy/ngc/download.sh [--dry-run] [FOLDER]        (FOLDER: .voxloop/ngc)
# What is here and whole is not fetched again. A resource is put in place only when it came whole; docker goes on
# with the layers that it has. Checksums are written down at the first download, and held ever after.
set -eu
cd "$(dirname "$0")/../.."

dry=
[ "${1:-}" = --dry-run ] && dry=1 && shift
to=${1:-.voxloop/ngc}

fail() {
    echo "download: $1" >&2
    exit 1
}

for tool in ngc docker sha256sum; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done
compose="docker compose -f docker-compose.yml -f docker-compose.triton.yml"
images=$($compose config --images | grep '^nvcr\.io/' | sort -u) || fail "no image of NVIDIA's is named: sh deploy/prepare.sh"

megabytes() { # of the numbers on standard input
    awk '{ sum += $1 } END { if (sum) printf "%.0f MB\n", sum / 1e6; else print "unknown size" }'
}

resource_size() {
    ngc registry resource info "$1" --format_type json 2>/dev/null |
        sed -n 's/.*"totalSizeInBytes": *\([0-9]*\).*/\1/p' | head -1 | megabytes
}

image_size() { # compressed, as it is fetched
    docker manifest inspect "$1" 2>/dev/null | sed -n 's/.*"size": *\([0-9]*\).*/\1/p' | megabytes
}

whole() { # FOLDER: its checksums are written down and hold
    [ -f "$1.sha256" ] && [ -d "$1" ] && (cd "$1" && sha256sum --quiet -c "../$(basename "$1").sha256" >&2)
}

resource() {
    name=$(basename "${1%%:*}")
    folder="${name}_v${1##*:}"
    if whole "$to/$folder"; then
        echo "have  $1"
    elif [ -n "$dry" ]; then
        echo "want  $1  $(resource_size "$1")"
    elif [ -f "$to/$folder.sha256" ] && [ -d "$to/$folder" ]; then
        fail "$to/$folder is not what was downloaded; remove it and its .sha256 to fetch it again"
    else
        echo "fetch $1"
        rm -rf "$to/.part"
        mkdir -p "$to/.part"
        ngc registry resource download-version "$1" --dest "$to/.part" >&2 || fail "ngc could not fetch $1"
        [ -d "$to/.part/$folder" ] || fail "ngc fetched $1, but not into $folder"
        (cd "$to/.part/$folder" && find . -type f -exec sha256sum {} +) >"$to/.part/sums"
        if [ -f "$to/$folder.sha256" ]; then
            (cd "$to/.part/$folder" && sha256sum --quiet -c "../../$folder.sha256" >&2) ||
                fail "$1 is not what it was at its first download"
        fi
        mv "$to/.part/$folder" "$to/$folder"
        mv "$to/.part/sums" "$to/$folder.sha256"
        rmdir "$to/.part"
    fi
    [ -n "$dry" ] || ln -sfn "$folder" "$to/$name"
}

image() {
    if docker image inspect "$1" >/dev/null 2>&1; then
        echo "have  $1"
    elif [ -n "$dry" ]; then
        echo "want  $1  $(image_size "$1")"
        return
    else
        echo "fetch $1"
        docker pull --quiet "$1" >&2 || fail "docker could not fetch $1: is it logged in to nvcr.io?"
    fi
    [ -n "$dry" ] && return
    digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$1")
    before=$(sed -n "s|^$1 ||p" "$to/images.lock" 2>/dev/null || true)
    [ -n "$before" ] || echo "$1 $digest" >>"$to/images.lock"
    [ -z "$before" ] || [ "$before" = "$digest" ] || fail "$1 is $digest now, but was $before at its first download"
}

[ -n "$dry" ] || mkdir -p "$to"
grep -v '^#' deploy/ngc/resources.txt | while read -r reference; do
    resource "$reference"
done
for reference in $images; do
    image "$reference"
done
[ -n "$dry" ] || echo "all of it is in $to and in docker"
