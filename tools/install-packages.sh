#!/usr/bin/env bash
# Installs what diffgen needs on Debian 12 or Ubuntu 24.04 and newer; asks apt for nothing that is already there.
#
#   tools/install-packages.sh [build|test|fuzz]...      build: compile it (the default); test: also run its tests;
#                                                       fuzz: also run the fuzz targets
# Runs as root or through sudo.
set -euo pipefail

build=(gcc libc6-dev cmake ninja-build pkg-config libdnnl-dev libpng-dev libjpeg-dev zlib1g-dev libjansson-dev libsodium-dev
    libsqlite3-dev libfftw3-dev libarchive-dev libutf8proc-dev libwebp-dev libtiff-dev g++ libdcmtk-dev libstb-dev liblapacke-dev
    libopenblas-serial-dev libopenmpi-dev openmpi-bin)
test=(check libsubunit-dev)
fuzz=(clang libclang-rt-dev llvm)

wanted=("${build[@]}")
for kind in "$@"; do
    case $kind in
    build) ;;
    test) wanted+=("${test[@]}") ;;
    fuzz) wanted+=("${fuzz[@]}") ;;
    *)
        echo "install-packages.sh: unknown kind \"$kind\"; say build, test or fuzz" >&2
        exit 2
        ;;
    esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "install-packages.sh: no apt-get here. Install these by the means of your system: ${wanted[*]}" >&2
    exit 1
fi

missing=()
for package in "${wanted[@]}"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
        missing+=("$package")
    fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install-packages.sh: run this as root, sudo is not here: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1; }
install() { apt install -y --no-install-recommends "${missing[@]}"; }

echo "installing ${missing[*]}"
# A package list that is there and fresh enough does; else it is fetched once and the installation tried again.
if ! install; then
    if ! { apt update && install; }; then
        cat "$log" >&2
        echo "install-packages.sh: apt-get could not install ${missing[*]}" >&2
        exit 1
    fi
fi
