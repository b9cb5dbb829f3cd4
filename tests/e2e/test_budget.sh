#!/usr/bin/env bash
# diffgen budget as a user runs it.
# usage: test_budget.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"
samples=$source/samples/fashion
export DIFFGEN_LEDGER=$work/state/ledger.sqlite

# Nothing spent yet; asking makes no file.
expect 0 budget
is_empty err
says out "data sets  none"
expect 0 budget "$samples"
says out "images            2000"
expect 0 budget "$samples" --json --delta 1e-6
grep -q '"images":2000,.*"delta":1e-0*6.*"exceeded":false.*"runs":\[\]' out || fail "the JSON is not as documented"
[ "$(wc -l <out)" = 1 ] || fail "more than one line of JSON"
[ ! -e state ] || fail "reading made $DIFFGEN_LEDGER"

# Files that are no ledger, places where none can be, images that are not there.
echo "no ledger" >text
expect 65 budget --ledger text
says err "text: not a privacy ledger"
: >empty
expect 65 budget "$samples" --ledger empty
says err "empty: damaged privacy ledger"
expect 73 budget --release 0123 --ledger text/ledger
expect 66 budget --release 0123
says err "no run 0123"
[ "$(stat -c %a state state/ledger.sqlite | tr '\n' ' ')" = "700 600 " ] || fail "others may read the ledger"
expect 66 budget "$work/none"
expect 2 budget a b
expect 2 budget --delta 1
expect 2 budget --epsilon-total 0
env -u DIFFGEN_LEDGER XDG_STATE_HOME="$work/xdg" "$program" budget >out 2>err || fail "a missing state folder"
says out "$work/xdg/diffgen/privacy-ledger.sqlite"

# A private run is on record with its steps; another adds up; a limit is refused by both commands.
train() {
    "$program" train --images "$samples" --out "$1" --dp --noise-multiplier 5 --batch 20 --steps "$2" --max-grad-norm 1 \
        --noise-multiplicity 1 --grid-every never --quiet "${@:3}" >out 2>err
}
train first 2 || fail "the private run"
expect 0 budget "$samples" --json
grep -q '"state":"ended".*"noise_multiplier":5.*"steps":2,' out || fail "the run is not on record"
once=$(sed 's/.*"epsilon_spent":\([0-9.e+-]*\).*/\1/' out)
train second 2 || fail "the second private run"
expect 0 budget "$samples" --json --epsilon-total 10
twice=$(sed 's/.*"epsilon_spent":\([0-9.e+-]*\).*/\1/' out)
awk -v a="$once" -v b="$twice" 'BEGIN { exit !(a > 0 && b > a && b < 2 * a) }' || fail "epsilon went from $once to $twice"
expect 0 budget
says out "4  "
expect 21 budget "$samples" --epsilon-total 0.001
says err "more than the total of 0.001"
says out "exceeded          yes"
train third 2 --epsilon-total 0.001
[ $? = 21 ] || fail "a run over the total is not refused"
[ ! -e third/model ] || fail "a refused run has left a model"

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
