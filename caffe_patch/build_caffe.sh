#!/bin/sh
# From nothing to a patched Caffe, build/caffe/bin/caffe (CPU only). `make caffe` runs this.
#   CAFFE_SRC=DIR    take this tree, which is copied, instead of Debian's source package
#   CAFFE_BUILD=DIR  build there instead of in build/caffe
#   JOBS=N           compile N files at once
# Exit status: 0 built, 1 a step failed, 2 wrong input, 3 Debian's source package cannot be had.
set -eu
cd "$(dirname "$0")/.."
out=${CAFFE_BUILD:-build/caffe}
python=${PYTHON:-python3}
debian_release=bullseye  # the last one that had Caffe

say() { echo "make caffe: $*"; }

# COMMAND {} + for the files of a folder that a build may need, as names within it; links are followed. Its history, data,
# models and what was built or generated in it stay out, by the names in Caffe's own .gitignore.
for_files() {
    folder=$1
    shift
    (cd "$folder" && find -L . \( -name .git -o -name data -o -name models -o -name '*lmdb' -o -name '*leveldb' \
        -o -name build -o -name '.build_*' -o -name distribute -o -name '*_cache*' \) -prune \
        -o -type f ! -name '*.md' ! -name '*.pyc' ! -name '*.pb.h' ! -name '*.pb.cc' ! -name '*.caffemodel*' \
        ! -name '*.solverstate*' -exec "$@" {} +)
}

# One line that changes when any of these folders' files does.
fingerprint() {
    for folder in "$@"; do
        for_files "$folder" sha256sum
    done | sort | sha256sum
}

need_packages() {
    command -v dpkg-query >/dev/null || return 0  # not a Debian: cmake will say what is missing
    for package in "$@"; do
        installed="dpkg-query -W -f '\${Status}' $package | grep -q 'install ok installed'"
        sh .ci/need "$package" "$package" -- sh -c "$installed"
    done
}

need_programs() {
    for program in "$@"; do
        sh .ci/need "$program" "$program" -- "$program" --version
    done
}

# Debian's source, through an apt configuration of our own: nothing outside $out changes.
get_debian_source() {
    if ! command -v apt-get >/dev/null; then
        say 'there is no apt-get here; give a Caffe tree: make caffe CAFFE_SRC=DIR' >&2
        exit 3
    fi
    need_packages dpkg-dev
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -v security |
        grep /debian | head -n 1)
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    rm -rf "$out/apt" && mkdir -p "$out/apt/lists/partial"
    uri=${uri:-http://deb.debian.org/debian/}
    echo "deb-src [signed-by=$keys] $uri $debian_release main contrib" >"$out/apt/sources.list"
    set -- -qq -o Dir::Etc::SourceList="$out/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$out/apt/lists" -o Dir::Cache="$out/apt" -o APT::Sandbox::User=root
    say "fetching Debian's source package ($debian_release, $uri)"
    if ! (cd "$out/apt" && apt-get "$@" update && apt-get "$@" source --download-only caffe); then
        say "Debian's source package of Caffe cannot be had; give a Caffe tree: make caffe CAFFE_SRC=DIR" >&2
        exit 3
    fi
    dpkg-source --no-check --no-copy -x "$out"/apt/caffe_*.dsc "$out/src" >/dev/null
}

# $out/src: a copy of the tree with the patch. It is made anew only when the source changes, so that a changed patch
# compiles no more than it must; one that puts its blocks elsewhere finds the copy half-patched, and undoes it first.
make_source() {
    if [ "$(cat "$out/source" 2>/dev/null)" != "$source" ]; then
        rm -rf "$out/src" "$out/source"
        if [ -n "${CAFFE_SRC:-}" ]; then
            mkdir "$out/src"
            for_files "$CAFFE_SRC" cp --parents -t "$out/src"
        else
            get_debian_source
        fi
        echo "$source" >"$out/source"
    fi
    checked=0
    "$python" caffe_patch/patch_caffe.py "$out/src" --check >/dev/null 2>&1 || checked=$?
    [ "$checked" -ne 2 ] || "$python" caffe_patch/patch_caffe.py "$out/src" --revert >/dev/null
    "$python" caffe_patch/patch_caffe.py "$out/src"
}

compile() {
    need_programs cmake g++ make
    need_packages libboost-system-dev libboost-thread-dev libboost-filesystem-dev libprotobuf-dev \
        protobuf-compiler libgoogle-glog-dev libgflags-dev libhdf5-dev liblmdb-dev libleveldb-dev libsnappy-dev \
        libopenblas-dev
    say "compiling (minutes); the log is $out/log"
    {
        cmake -S "$out/src" -B "$out/obj" -DCMAKE_POLICY_VERSION_MINIMUM=3.5 -DCMAKE_BUILD_TYPE=Release -DCPU_ONLY=ON \
            -DBLAS=open -DUSE_OPENCV=OFF -DBUILD_python=OFF -DBUILD_python_layer=OFF -DBUILD_docs=OFF &&
            cmake --build "$out/obj" -j "${JOBS:-$(nproc)}" --target caffe.bin
    } >"$out/log" 2>&1 || {
        tail -n 30 "$out/log" >&2
        say "failed; the whole log is $out/log" >&2
        exit 1
    }
    mkdir -p "$out/bin"
    ln -sf ../obj/tools/caffe "$out/bin/caffe"
}

if [ -n "${CAFFE_SRC:-}" ]; then
    [ -d "$CAFFE_SRC" ] || { say "CAFFE_SRC=$CAFFE_SRC is not a folder" >&2; exit 2; }
    CAFFE_SRC=$(cd "$CAFFE_SRC" && pwd)
    proto=src/caffe/proto/caffe.proto
    [ -f "$CAFFE_SRC/$proto" ] || { say "$CAFFE_SRC is not a Caffe source tree: it has no $proto" >&2; exit 2; }
    source=$(fingerprint "$CAFFE_SRC")
else
    source="Debian $debian_release"
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)
made_from="$source $(fingerprint caffe_patch csrc/include)"

if [ -x "$out/bin/caffe" ] && [ "$(cat "$out/made-from" 2>/dev/null)" = "$made_from" ]; then
    say "$out/bin/caffe is up to date"
    exit 0
fi
rm -f "$out/made-from"
make_source
compile
echo "$made_from" >"$out/made-from"
say "$out/bin/caffe is ready"
