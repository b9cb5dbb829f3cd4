#!/usr/bin/env bash
# What `cmake --install` leaves can be used: by pkg-config (shared and static), by find_package, by a person.
# usage: test_install.sh PROGRAM SOURCE_DIR      PROGRAM lies in a finished build folder
set -u
program=$1
source=$2
build=$(cd "$(dirname "$program")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

fail() {
    echo "FAIL: $*"
    [ ! -s log ] || tail -20 log
    failures=$((failures + 1))
}
# try WHAT COMMAND...: the command succeeds
try() {
    local what=$1
    shift
    "$@" >log 2>&1 || fail "$what"
}

if grep -q '^DIFFGEN_SANITIZE:[A-Z]*=.' "$build/CMakeCache.txt"; then
    echo "skipped: programs that link a sanitized library need its flags"
    exit 0
fi

prefix="$work/a prefix"
try "cmake --install" cmake --install "$build" --prefix "$prefix"

# Program and manual pages.
version=$("$prefix/bin/diffgen" --version)
version=${version#diffgen }
[ -n "$version" ] || fail "the installed program does not run"
for page in diffgen diffgen-train diffgen-sample diffgen-info diffgen-bench diffgen-devices; do
    grep -q '^\.TH DIFFGEN' "$prefix/share/man/man1/$page.1" || fail "no manual page $page"
done
[ -s "$prefix/share/doc/diffgen/LICENSE" ] || fail "no licence"
diff -r "$source/include/diffgen" "$prefix/include/diffgen" >log || fail "the headers differ from the source's"

library=$(dirname "$(find "$prefix" -name libdiffgen.a)")
[ -L "$library/libdiffgen.so" ] || fail "no libdiffgen.so"
so_name=$(readelf -d "$library/libdiffgen.so" 2>/dev/null | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[ "$so_name" = "libdiffgen.so.${version%%.*}" ] || fail "SONAME is '$so_name'"

# The shared library shows the functions of the headers, all of them and nothing else.
sed -e 's://.*::' "$prefix"/include/diffgen/*.h | tr '\n' ' ' | sed -e 's:/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/::g' |
    grep -oE '\bdg_[a-z0-9_]+ ?\(' | tr -d ' (' | sort -u >declared
nm -D --defined-only "$library/libdiffgen.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u >exported
[ "$(wc -l <declared)" -gt 20 ] || fail "the headers declare only $(wc -l <declared) functions"
diff declared exported >log || fail "declared (<) and exported (>) functions differ"

# A program against each.
cat >program.c <<'END'
#include <diffgen/diffgen.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    dg_ctx *ctx = NULL;
    dg_train_options *options = NULL;
    dg_model *model = NULL;
    if (dg_ctx_create(&ctx) != DG_OK || dg_train_options_create(ctx, &options) != DG_OK ||
        dg_train_options_set(ctx, options, "images", "faces") != DG_OK)
        return 1;
    if (dg_model_open(ctx, "none", 1, &model) != DG_ENOINPUT || !strstr(dg_last_error(ctx), "none"))
        return 2;
    dg_model_free(model);
    dg_train_options_free(options);
    dg_ctx_free(ctx);
    puts(dg_version());
    return 0;
}
END
# runs WHAT PROGRAM: it prints the version
runs() {
    local out
    out=$("$2" 2>log) || fail "$1 fails"
    [ "$out" = "$version" ] || fail "$1 prints '$out', not '$version'"
}
cc=${CC:-cc}
export PKG_CONFIG_PATH=$library/pkgconfig
[ "$(pkg-config --modversion diffgen)" = "$version" ] || fail "pkg-config gives another version"
# pkg-config quotes the space in the folder's name for the shell: eval reads it back.
try "compiling with pkg-config" eval "$cc -Wall -Werror program.c -o shared $(pkg-config --cflags --libs diffgen)"
export LD_LIBRARY_PATH=$library
runs "the program with the shared library" ./shared
unset LD_LIBRARY_PATH
static_flags="$(pkg-config --static --cflags --libs diffgen)"
static_flags=${static_flags/-ldiffgen/-l:libdiffgen.a}
try "compiling with pkg-config --static" eval "$cc -Wall -Werror program.c -o static $static_flags"
runs "the program with the static library" ./static
! readelf -d static 2>/dev/null | grep -q 'libdiffgen' || fail "the static program needs libdiffgen.so"

mkdir project && cp program.c project/
cat >project/CMakeLists.txt <<END
cmake_minimum_required(VERSION 3.22)
project(uses_diffgen C)
find_package(diffgen ${version%.*} REQUIRED)
add_executable(with_shared program.c)
target_link_libraries(with_shared PRIVATE diffgen::diffgen)
add_executable(with_static program.c)
target_link_libraries(with_static PRIVATE diffgen::diffgen_static)
END
try "configuring with find_package" cmake -S project -B project/build "-DCMAKE_PREFIX_PATH=$prefix"
try "building with find_package" cmake --build project/build
runs "find_package, shared" project/build/with_shared
runs "find_package, static" project/build/with_static
sed -i 's/find_package(diffgen [0-9.]*/find_package(diffgen 99/' project/CMakeLists.txt
! cmake -S project -B project/other "-DCMAKE_PREFIX_PATH=$prefix" >log 2>&1 || fail "version 99 is found"

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
