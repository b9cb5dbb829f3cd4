#!/usr/bin/env bash
# The program's manners: help, version, names, messages, exit codes, what goes to which stream.
# usage: test_cli.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

# Help and version go to stdout, and nothing to stderr.
for arguments in --help -h help "help train" "train --help" "sample -h" "info --help" "bench --help" "budget --help" "evaluate --help" "audit --help" "inspect --help" --version; do
    # shellcheck disable=SC2086
    expect 0 $arguments
    is_empty err
    [ -s out ] || fail "diffgen $arguments prints nothing"
    awk 'length > 100 { exit 1 }' out || fail "diffgen $arguments is wider than 100 columns"
    ! grep -q $'\033' out || fail "diffgen $arguments uses escape sequences in a pipe"
done
expect 0 --version
grep -qE '^diffgen [0-9]+\.[0-9]+\.[0-9]+$' out || fail "the version is malformed"
expect 0 train --help
says out "--label-dropout"
expect 0 sample --help
says out "--num-samples"

# No command or an unknown one: usage, exit code 2, the nearest name.
expect 2
says err "Usage: diffgen COMMAND"
expect 2 trian
says err "diffgen: error: unknown command 'trian'; did you mean 'train'?"
is_empty out
expect 2 help smaple
says err "did you mean 'sample'?"
expect 2 xyzzy
says err "diffgen --help"

# Options.
expect 2 train --imges x
says err "diffgen: error: unknown option --imges; did you mean --images?"
is_empty out
expect 2 train
says err "--images is missing"
expect 2 train --images
says err "--images needs a value"
expect 2 train --images x --lr fast
says err "--lr: 'fast' is not valid here"
expect 2 train --images x --label_dropout 2
says err "--label-dropout: 2 is out of range; it takes a number from 0 to 0.9"
expect 2 train --images x --resume mst
says err "did you mean must?"
expect 2 train --images x --steps 5 --epochs 1
says err "give one of them"
expect 2 sample --class a b
says err "unexpected argument 'b'"
expect 2 sample --shard 4/4
expect 2 sample -n 0
expect 2 info
says err "usage: diffgen info PATH..."
expect 2 bench --seconds never
[ "$(wc -l <err)" = 1 ] || fail "an error takes more than one line"

# What is not there, and what cannot be done.
expect 69 train --images x --device cuda
says err "--device cuda:"
expect 66 train --images "$work/none"
says err "$work/none"
expect 66 info "$work/none"
says err "$work/none"
expect 66 sample
[ -s err ] || fail "no word about the missing model"
mkdir empty
expect 66 train --images empty
expect 66 info empty
is_empty out
expect 66 train --images empty --json
grep -q '"exit_code":66' out || fail "--json does not report the failure"
[ ! -e synthetic ] || fail "a failed call left synthetic/ behind"

# With --json every failure is the last line of stdout, also where the options could not be read.
for arguments in "train --imges x" "train" "sample -n 0" "info" "info none" "bench --seconds never" "budget --delta 2" \
    "inspect --images none" "evaluate --real none --synthetic none" "audit --models x" "accountant --noise no" trian "help smaple"; do
    # shellcheck disable=SC2086
    "$program" $arguments --json >out 2>err </dev/null
    code=$?
    [ "$code" != 0 ] || fail "diffgen $arguments is no failure"
    tail -1 out | grep -q "^{\"event\":\"result\",\"status\":\"[A-Z_]*\",\"exit_code\":$code,\"error\":\"..*\".*}\$" ||
        fail "diffgen $arguments --json does not report the failure"
    [ "$(wc -l <out)" = 1 ] || fail "diffgen $arguments --json prints more than the failure"
done
expect 2 train --imges x --json --no-json
is_empty out

# Names that others chose: whatever they hold, a terminal gets nothing that commands it, turns text around or is not
# seen, and --json gets all of it.
hostile=$'a\xc2\x9b31m\xc2\x85\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8f\xd8\x9c\xe2\x80\x8b\xe2\x80\xa8z'
unseen='[\x01-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf'
holds_unseen() { LC_ALL=C grep -aqP "$unseen" "$1"; }
printf '%s\n' "$hostile" >name.txt
holds_unseen name.txt || fail "the test does not find what it looks for"
is_clean() {
    iconv -f UTF-8 -t UTF-8 "$1" >/dev/null 2>&1 || fail "$2: $1 is not UTF-8"
    ! holds_unseen "$1" || fail "$2: $1 holds characters that are not to be seen"
}
mkdir -p names/"$hostile" names/plain
cp "$2"/samples/fashion/bag/0*0.png names/plain
cp "$2"/samples/fashion/bag/0*1.png names/"$hostile"
echo damaged >names/plain/"$hostile"$'\033[31m\x9b1m\xff.png'
for arguments in "info names" "info names/$hostile/none" "sample --class $hostile --model $2/tests/fixtures/io/tiny" \
    "sample --$hostile" "$hostile" "train --images names --out dry --dry-run" "train --images names --out dry --dry-run --strict" \
    "train --images names --out dry --dry-run --dp --epsilon 8" "train --images $hostile --preset $hostile" \
    "inspect --images names --out report"; do
    IFS=' ' read -ra words <<<"$arguments"
    "$program" "${words[@]}" >out 2>err </dev/null
    [ $? -lt 128 ] || fail "diffgen $arguments crashed"
    is_clean out "diffgen $arguments"
    is_clean err "diffgen $arguments"
done
is_clean report/inspection.html "inspect"
expect 0 info names --json
grep -qF '"name":"a\u009B31m\u0085\u202E\u2066\u200F\u061C\u200B\u2028z"' out ||
    fail "info --json does not hold the class's whole name"

# What things are.
samples=$2/samples/fashion
model=$2/tests/fixtures/io/tiny
expect 0 info "$samples"
is_empty err
says out "num classes             10"
says out "ankle boot     200"
! grep -q ' $' out || fail "info leaves spaces at the ends of lines"
expect 0 info "$samples" "$model" --json
[ "$(wc -l <out)" = 2 ] || fail "info --json does not print one line per path"
grep -q '"kind":"images".*"images":2000' out || fail "info --json does not describe the images"
grep -q '"kind":"model".*"parameters":[0-9]' out || fail "info --json does not describe the model"
expect 65 info "$2/LICENSE"
"$program" info "$samples" "$samples" 2>err | head -1 >out
is_empty err # a reader that has seen enough is no error

# The status line: redrawn on a terminal and never wider than it, no escape sequence elsewhere.
expect 0 train --images "$samples" --out piped --steps 2 --batch 4 --grid-every never --holdout 0
! grep -q $'\033\|\r' err || fail "escape sequences in a log file"
[ "$(cat out)" = piped/model ] || fail "stdout is not the model's path alone"
says err "2 of 2  100%"
expect 0 train --images "$samples" --out quiet --steps 2 --batch 4 --grid-every never --holdout 0 --quiet
is_empty out
is_empty err
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    train="'$program' train --images '$samples' --out terminal --steps 3 --batch 4 --grid-every never --log-every 1"
    NO_COLOR=1 TERM=xterm script -qec "stty cols 60; $train" /dev/null </dev/null >out 2>err
    grep -q $'\r\033\[K' out || fail "no status line on a terminal"
    ! grep -q $'\033\[3' out || fail "colour in spite of NO_COLOR"
    tr '\r' '\n' <out | sed -n 's/^\x1b\[K\(1 of 3.*\)/\1/p' | awk 'length > 59 { exit 1 }' || fail "a line is too wide"
fi

# Manual pages: every command has one, and roff finds nothing wrong with it.
for page in "" train sample info bench budget; do
    # shellcheck disable=SC2086
    expect 0 man $page
    says out ".TH DIFFGEN"
    if command -v groff >/dev/null; then
        groff -man -ww -Tutf8 -P-c <out >/dev/null 2>err || fail "groff refuses the page of '$page'"
        is_empty err
    fi
done
expect 2 man nonsense
expect 0 man --markdown
diff out "$source/docs/cli.md" >diff.txt ||
    fail "docs/cli.md is out of date; make it with: diffgen man --markdown >docs/cli.md"

# A full disk under the results is an error, not silence.
if [ -w /dev/full ]; then
    "$program" train --help >/dev/full 2>err
    [ $? = 74 ] || fail "writing help to a full disk is not reported"
fi

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
